"""Scores on LOL-v1 where it is at hand: the published ones of simple methods, and what the shipped weights reach."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lowlight import checkpoints, shipped
from lowlight.cameras.cameras import load_camera
from lowlight.data.batches.raw_cache import RawCache
from lowlight.data.batches.raw_sources import find_clean
from lowlight.data.sets.pairs import find_pairs
from lowlight.scoring.raw import raw_report, system_methods
from lowlight.scoring.raw_baselines import classical_methods
from lowlight.scoring.raw_samples import synthetic_samples
from lowlight.scoring.report import evaluate
from lowlight.scoring.srgb import baseline_methods, model_method, picture_samples


def lol() -> Path:
    """LOL-v1, which is not part of this project."""
    root = Path(os.environ.get("LOWLIGHT_LOL", Path(__file__).parents[2] / "shared/data/lol-v1"))
    if not (root / "eval15").is_dir():
        pytest.skip("no LOL-v1 pictures: set LOWLIGHT_LOL to their folder")
    return root


def test_baselines_on_lol():
    """Figures that others measured: the dark input 7.77 dB, 18.75 by the mean of RGB (here: of grey); rounded ones."""
    report = evaluate(picture_samples(find_pairs(lol())), baseline_methods())
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
    method = model_method("default", checkpoints.load("default", device="cpu"))
    report = evaluate(picture_samples(find_pairs(lol())), [method])
    (entry,) = report.summary()
    # how bright a truth is, the dark picture hardly tells: told it, the model must get the rest right
    assert entry["psnr_told"]["mean"] > 25.5
    assert entry["ssim_rgb_told"]["mean"] > 0.83
    assert entry["psnr_told"]["mean"] > entry["psnr"]["mean"] + 2
    assert entry["ssim_rgb"]["mean"] > 0.78


def test_shipped_raw_weights_on_lol(tmp_path):
    """Pictures that were not trained on, short by 200: above non-local means, which are told the noise."""
    paths = find_clean(lol(), "heldout")[::12]
    samples = synthetic_samples(paths, RawCache(tmp_path), load_camera("SonyA7S2"), [200.0], crop=96, shrink=2)
    system = checkpoints.load(shipped.DEFAULT_RAW_MODEL, device="cpu")
    methods = [*classical_methods(["untouched", "nlm"], ["blind"])[0], *system_methods("own", system, ["blind"])]
    report = evaluate(samples, methods, report=raw_report())
    untouched, nlm, own = (entry["raw_psnr"]["mean"] for entry in report.summary())
    assert own > nlm + 1 > untouched + 6
