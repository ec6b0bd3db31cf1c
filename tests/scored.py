"""Pairs, a small model and `lowlight evaluate` on them, for the tests of scoring; fixtures by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lowlight.checkpoints import save_weights
from lowlight.cli import app
from lowlight.systems.diffll.network import DiffLLConfig
from lowlight.systems.diffll.system import DiffLL

SMALL = DiffLLConfig(ch=8, ch_mult=(1, 2), num_res_blocks=1, norm_groups=4, hfrm_width=8, levels=1, steps=2)


@pytest.fixture
def data(tmp_path) -> Path:
    """Three pairs of different sizes, the dark side 16-bit grey in one of them."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate([(24, 32), (17, 40), (30, 21)], start=1):
        bright = np.clip(np.linspace(40, 220, width)[None, :, None] + rng.normal(0, 20, (height, width, 3)), 0, 255)
        dark = bright * 0.15 + rng.normal(0, 1, bright.shape)
        for side, pixels, suffix in (("low", dark, "png"), ("high", bright, "bmp")):
            (root / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / side / f"{number}.{suffix}")
    return root


@pytest.fixture(scope="module")
def system() -> DiffLL:
    torch.manual_seed(0)
    return DiffLL(SMALL).eval()


@pytest.fixture
def weights(tmp_path, system) -> str:
    path = tmp_path / "small.safetensors"
    save_weights(path, system.state_dict(), {"system": "diffll", "config": SMALL}, dtype=torch.float32)
    return str(path)


@pytest.fixture(autouse=True)
def no_perceptual_weights(tmp_path, monkeypatch):
    """Whatever this machine has: LPIPS looks for AlexNet here."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def run(*arguments) -> tuple[int, str, str]:
    """Exit code, stdout, stderr without the sentence on LPIPS, which has its own tests."""
    code, stdout, stderr = run_plainly(*arguments)
    return code, stdout, "".join(line for line in stderr.splitlines(True) if not line.startswith("LPIPS is left out"))


def run_plainly(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def read(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy()).movedim(-1, 0)[None].float() / 255
