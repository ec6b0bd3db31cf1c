"""Scores on LOL-v1 where it is at hand: the published ones of simple methods, and what the shipped weights reach."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lowlight import checkpoints
from lowlight.data.pairs import find_pairs
from lowlight.evaluate import baseline_methods, evaluate, model_method


def lol() -> Path:
    """LOL-v1, which is not part of this project."""
    root = Path(os.environ.get("LOWLIGHT_LOL", Path(__file__).parents[2] / "shared/data/lol-v1"))
    if not (root / "eval15").is_dir():
        pytest.skip("no LOL-v1 pictures: set LOWLIGHT_LOL to their folder")
    return root


def test_baselines_on_lol():
    """Figures that others measured: the dark input 7.77 dB, 18.75 by the mean of RGB (here: of grey); rounded ones."""
    report = evaluate(find_pairs(lol()), baseline_methods())
    figures = {entry["method"]: entry for entry in report.summary()}
    for name, psnr, psnr_gt_mean, ssim in (
        ("untouched", 7.77, 18.78, 0.195),
        ("gain to mean", 15.6, 18.8, 0.45),
        ("gamma to mean", 16.0, 19.6, 0.627),
        ("equalisation", 14.8, 17.5, 0.38),
        ("CLAHE", 9.2, 18.9, 0.37),
    ):
        entry = figures[name]
        assert entry["pictures"] == 15
        assert entry["psnr"]["mean"] == pytest.approx(psnr, abs=0.005 if name == "untouched" else 0.1), name
        assert entry["psnr_gt_mean"]["mean"] == pytest.approx(psnr_gt_mean, abs=0.15), name
        assert entry["ssim_rgb"]["mean"] == pytest.approx(ssim, abs=0.01), name


def test_shipped_weights_on_lol():
    """What the model card promises, on the first seed."""
    if not checkpoints.shipped_models():
        pytest.skip("no weights are in this checkout")
    report = evaluate(find_pairs(lol()), [model_method("default", checkpoints.load("default", device="cpu"))])
    (entry,) = report.summary()
    assert entry["psnr"]["mean"] > 20
    assert entry["psnr_gt_mean"]["mean"] > 24
    assert entry["ssim_rgb"]["mean"] > 0.75
