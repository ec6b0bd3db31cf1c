"""`lowlight steps`: samplers and numbers of steps side by side, the verdict, the files, the plot."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lowlight.checkpoints import save_weights
from lowlight.cli import app
from lowlight.data.sets.pairs import find_pairs
from lowlight.scoring.report import evaluate
from lowlight.scoring.srgb import picture_samples
from lowlight.scoring.steps import fewest_steps, sampler_methods, step_entries, verdicts
from lowlight.systems.diffll.network import DiffLLConfig
from lowlight.systems.diffll.system import DiffLL

SMALL = DiffLLConfig(
    ch=8, ch_mult=(1, 2), num_res_blocks=1, norm_groups=4, hfrm_width=8, levels=1, steps=2, spacing="trailing"
)


@pytest.fixture
def data(tmp_path) -> Path:
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for name in "12":
        bright = rng.integers(60, 220, (24, 32, 3)).astype(np.uint8)
        for side, pixels in (("low", bright // 6), ("high", bright)):
            (root / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / side / f"{name}.png")
    return root


@pytest.fixture(scope="module")
def system() -> DiffLL:
    torch.manual_seed(0)
    return DiffLL(SMALL).eval()


@pytest.fixture
def weights(tmp_path, system) -> Path:
    path = tmp_path / "small.safetensors"
    save_weights(path, system.state_dict(), {"system": "diffll", "config": SMALL}, dtype=torch.float32)
    return path


def run(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["steps", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_samplers_and_steps_reach_the_system(data, system):
    samples = picture_samples(find_pairs(data))
    report = evaluate(samples, sampler_methods(system, ["ddim", "dpm++", "ddim"], [3, 1, 3]), seeds=(5,))
    assert not report.problems
    entries = step_entries(report)
    assert [(e["sampler"], e["steps"]) for e in entries] == [("ddim", 1), ("ddim", 3), ("dpm++", 1), ("dpm++", 3)]
    shown = {}
    evaluate(
        samples[:1],
        sampler_methods(system, ["dpm++"], [3]),
        seeds=(5,),
        on_sample=lambda sample, pictures: shown.update(pictures),
    )
    low = shown["dark"][None]
    expected = system.enhance_tensor(low, steps=3, seed=5, sampler="dpm++")[0]
    assert torch.equal(shown["dpm++ 3"], expected)
    for other in ({"sampler": "ddim"}, {"steps": 4}, {"seed": 6}):
        wrong = system.enhance_tensor(low, **({"steps": 3, "seed": 5, "sampler": "dpm++"} | other))[0]
        assert (wrong - expected).abs().max() > 1e-3
    # up to two steps there is no second order
    torch.testing.assert_close(
        *(system.enhance_tensor(low, steps=2, sampler=s) for s in ("ddim", "dpm++")), rtol=0, atol=1e-5
    )


def entry(sampler, steps, value, split="eval15"):
    return {"split": split, "sampler": sampler, "steps": steps, "psnr": {"mean": value, "std": None}}


def test_the_fewest_steps_within_reach_of_the_best():
    entries = [entry("ddim", s, v) for s, v in ((1, 18.0), (2, 21.94), (3, 21.96), (5, 22.0), (10, 21.0))]
    assert fewest_steps(entries)["steps"] == 3
    assert fewest_steps(entries, 0.06)["steps"] == 2
    assert fewest_steps(entries, 0)["steps"] == 5
    assert fewest_steps(entries, 9)["steps"] == 1
    entries += [entry("dpm++", 4, 22.5), entry("dpm++", 20, 22.52)]
    assert verdicts(entries) == [
        "eval15, ddim: S = 3 (21.96 dB) is the smallest within 0.05 dB of the best (22.00 dB at S = 5).",
        "eval15, dpm++: S = 4 (22.50 dB) is the smallest within 0.05 dB of the best (22.52 dB at S = 20).",
    ]


def test_command(data, weights, tmp_path):
    out = tmp_path / "out"
    files = ["--csv", out / "s.csv", "--json", out / "s.json", "--markdown", out / "s.md"]
    code, stdout, stderr = run(weights, data, "--steps", "1,2,4", "--seed", 0, "--seed", 1, "--device", "cpu", *files)
    assert (code, stderr) == (0, "")
    content = json.loads((out / "s.json").read_text())
    assert [(e["sampler"], e["steps"]) for e in content["table"]] == [
        (s, n) for s in ("ddim", "dpm++") for n in (1, 2, 4)
    ]
    markdown = (out / "s.md").read_text()
    for e in content["table"]:
        cells = f"{e['psnr']['mean']:.2f} ± {e['psnr']['std']:.2f}"
        assert f"│ {cells} │" in stdout
        assert f"| {e['sampler']} | {e['steps']} | {cells} |" in markdown
    assert "The model's own: S = 2." in stdout
    for sentence in content["verdicts"]:
        assert sentence in markdown
    with (out / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(content["rows"]) == 2 * 2 * 6
    assert {row["method"] for row in rows} == {f"{s} {n}" for s in ("ddim", "dpm++") for n in (1, 2, 4)}
    assert sorted(os.listdir(out)) == ["s.csv", "s.json", "s.md"]


def test_spacing(data, weights, tmp_path):
    """Another spacing is another chain, and the table says which; one that is none is refused."""
    tables = {}
    for spacing in ("trailing", "inner"):
        out = tmp_path / f"{spacing}.json"
        code, stdout, _ = run(
            weights,
            data,
            "--steps",
            "2",
            "--sampler",
            "ddim",
            "--limit",
            1,
            "--set",
            f"spacing={spacing}",
            "--json",
            out,
        )
        assert code == 0
        assert f"Sampled with spacing = {spacing}." in stdout
        tables[spacing] = json.loads(out.read_text())["table"][0]["psnr"]["mean"]
    assert tables["trailing"] != tables["inner"]
    for change, message in (("spacing=even", "spacing must be one of"), ("ch=8", "with one of spacing, got 'ch=8'")):
        code, _, stderr = run(weights, data, "--set", change)
        assert code == 2
        assert message in stderr


def test_plot(data, weights, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is in the extra [train]")
    plots = [tmp_path / "new" / f"s{suffix}" for suffix in (".png", ".svg")]
    for path in plots:
        code, _, stderr = run(weights, data, "--steps", "1,3", "--limit", 1, "--plot", path)
        assert (code, stderr) == (0, "")
    with Image.open(plots[0]) as picture:
        assert picture.width > 1000
        # lines in two colours on white
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 50
    assert "<svg" in plots[1].read_text()[:2000]


def test_without_matplotlib(data, weights, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.backends.backend_agg", None)
    code, stdout, stderr = run(weights, data, "--plot", tmp_path / "s.png")
    assert (code, stdout) == (2, "")
    assert "pip install 'lowlight-ext[train]'" in " ".join(stderr.replace("│", " ").split())
    assert run(weights, data, "--steps", "1", "--limit", 1)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "1,two"], "--steps must be integers such as 1,2,5, got '1,two'"),
        (["--steps", "0,2"], "steps must lie in 1 .. 200, got 0, 2"),
        (["--steps", "2,201"], "steps must lie in 1 .. 200, got 2, 201"),
        (["--sampler", "euler"], "sampler must be one of ddim, dpm++, got 'euler'"),
        (["--split", "tests"], "split must be one of"),
        (["--plot", "s.bmpx"], "cannot draw a plot as 's.bmpx'"),
    ],
)
def test_usage_errors(data, weights, arguments, message):
    if "--plot" in arguments:
        pytest.importorskip("matplotlib", reason="matplotlib is in the extra [train]")
    code, _, stderr = run(weights, data, *arguments)
    assert code == 2
    assert message in " ".join(stderr.replace("│", " ").split())


def test_nothing_to_score(data, weights):
    for path in (data / "low").iterdir():
        path.write_bytes(b"")
    code, _, stderr = run(weights, data, "--steps", "1")
    assert code == 1
    assert "No picture could be scored." in stderr
