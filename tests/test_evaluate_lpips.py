"""`lowlight evaluate` with and without LPIPS, and its contact sheet."""

# ruff: noqa: F811 (fixtures of scored.py are imported, and arguments here)

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scored import data, no_perceptual_weights, read, run, run_plainly  # noqa: F401

from lowlight.metrics import scores as metrics
from lowlight.scoring.baselines import BASELINES


def test_without_perceptual_weights_the_rest_is_scored(data, tmp_path):
    code, stdout, stderr = run_plainly(data, "--model", "none", "--markdown", tmp_path / "s.md")
    assert code == 0
    assert stderr.startswith("LPIPS is left out: ")
    assert stderr.count("\n") == 1
    assert "PSNR" in stdout
    assert "LPIPS" not in stdout
    assert "LPIPS is left out." in (tmp_path / "s.md").read_text()
    assert run_plainly(data, "--model", "none", "--no-lpips")[2] == ""


def test_lpips_is_in_every_output(data, tmp_path, monkeypatch):
    """With the distance of mean greys in the network's place: the network has its own tests."""

    class Fake:
        path, sha256 = Path("alexnet.pth"), "0123456789abcdef"

        def __init__(self, net, weights, device):
            assert (net, str(weights)) == ("alex", "some.pth")

        def features(self, picture):
            return picture.mean(dim=(1, 2, 3))

        def distance(self, ours, theirs):
            return (ours - theirs).abs().double()

    monkeypatch.setattr("lowlight.metrics.lpips.Lpips", Fake)
    files = ["--csv", tmp_path / "s.csv", "--json", tmp_path / "s.json", "--markdown", tmp_path / "s.md"]
    code, stdout, stderr = run_plainly(data, "--model", "none", "--lpips-weights", "some.pth", *files)
    assert (code, stderr) == (0, "")
    entry = json.loads((tmp_path / "s.json").read_text())["summary"][0]
    low, truth = (metrics.eight_bit(read(data / name)).mean() for name in ("low/1.png", "high/1.bmp"))
    with (tmp_path / "s.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["lpips"]) == pytest.approx(truth.item() - low.item())
    assert entry["lpips"]["mean"] > 10 * entry["lpips_gt_mean"]["mean"]
    for text in (stdout, (tmp_path / "s.md").read_text()):
        assert "SHA-256 01234567" in text
        assert f"{entry['lpips']['mean']:.3f}" in text


def test_sheet_shows_dark_result_and_truth(data, tmp_path):
    run(data, "--model", "none", "--limit", 1, "--sheet", tmp_path / "s.png")
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    low, truth = (np.asarray(Image.open(path)) for path in (data / "low/1.png", data / "high/1.bmp"))
    columns = 2 + len(BASELINES)
    assert sheet.shape[1] == 8 + columns * 328
    assert np.array_equal(sheet[26 : 26 + 24, 8 : 8 + 32], low)
    equalised = (BASELINES["equalisation"](read(data / "low/1.png")[0]) * 255).round().byte().movedim(0, -1).numpy()
    x = 8 + (1 + list(BASELINES).index("equalisation")) * 328
    assert np.array_equal(sheet[26 : 26 + 24, x : x + 32], equalised)
    x = 8 + (columns - 1) * 328
    assert np.array_equal(sheet[26 : 26 + 24, x : x + 32], truth)
