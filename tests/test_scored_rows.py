"""What `evaluate` counts: rows and means, pictures shown, splits and what a model was trained on."""

# ruff: noqa: F811 (fixtures of scored.py are imported, and arguments here)

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
import torch
from scored import SMALL, data, no_perceptual_weights, read, run, system  # noqa: F401

from lowlight.checkpoints import save_weights
from lowlight.data.sets.pairs import find_pairs
from lowlight.metrics.measures import MEASURES, picture_views, score
from lowlight.scoring.baselines import BASELINES
from lowlight.scoring.report import Method, evaluate
from lowlight.scoring.srgb import baseline_methods, model_method, picture_samples, seen_in_training


def test_rows_and_means(data, system):
    pairs = find_pairs(data)
    report = evaluate(picture_samples(pairs), [*baseline_methods(), model_method("small", system)], seeds=(3, 4))
    assert not report.problems
    assert len(report.rows) == 3 * (len(BASELINES) + 2)
    assert {row["seed"] for row in report.rows if row["method"] != "small"} == {None}
    low, truth = read(pairs[1].low), read(pairs[1].high)
    expected = score(picture_views(system.enhance_tensor(low, seed=4), truth))
    (row,) = (r for r in report.rows if (r["method"], r["picture"], r["seed"]) == ("small", "2", 4))
    names = [m.name + version for version in ("", "_gt_mean", "_ls_gain") for m in MEASURES if m.space == "srgb"]
    assert list(report.scores) == list(expected) == names
    for name, (_, value) in expected.items():
        assert row[name] == pytest.approx(value.item(), rel=1e-5), name

    entry = report.summary()[-1]
    assert (entry["method"], entry["pictures"], entry["seeds"]) == ("small", 3, [3, 4])
    of_seed = [
        statistics.fmean(r["psnr"] for r in report.rows if r["method"] == "small" and r["seed"] == seed)
        for seed in (3, 4)
    ]
    assert entry["psnr"]["mean"] == pytest.approx(statistics.fmean(of_seed))
    assert entry["psnr"]["std"] == pytest.approx(abs(of_seed[0] - of_seed[1]) / 2**0.5)
    assert entry["psnr"]["std"] > 0
    assert report.summary()[0]["psnr"]["std"] is None

    (picture,) = (p for p in report.summary("picture") if (p["method"], p["picture"]) == ("small", "2"))
    values = [r["ssim_grey_ls_gain"] for r in report.rows if (r["method"], r["picture"]) == ("small", "2")]
    assert picture["ssim_grey_ls_gain"]["mean"] == pytest.approx(statistics.fmean(values))
    assert picture["ssim_grey_ls_gain"]["std"] == pytest.approx(statistics.stdev(values))
    assert len(report.summary("picture")) == 3 * (len(BASELINES) + 1)


def test_pictures_shown_are_those_of_the_first_seed(data, system):
    shown = {}
    pairs = find_pairs(data)[:1]
    evaluate(picture_samples(pairs), [model_method("small", system)], (7, 8), lambda sample, seen: shown.update(seen))
    assert list(shown) == ["dark", "small", "truth"]
    assert torch.allclose(shown["small"], system.enhance_tensor(read(pairs[0].low), seed=7)[0], atol=1e-6)
    assert not torch.allclose(shown["small"], system.enhance_tensor(read(pairs[0].low), seed=8)[0], atol=1e-3)


def test_the_truth_itself_scores_perfectly(data):
    by_size = {read(pair.low).shape: read(pair.high)[0] for pair in find_pairs(data)}
    oracle = Method("oracle", lambda low, seed: by_size[low[None].shape])
    report = evaluate(picture_samples(find_pairs(data)), [oracle])
    (entry,) = report.summary()
    assert entry["psnr"]["mean"] == float("inf")
    assert entry["ssim_rgb"]["mean"] == pytest.approx(1)
    assert entry["saturation"]["mean"] == 1


def test_a_pair_that_fails_counts_for_no_method(data):
    def fussy(low: torch.Tensor, seed: int) -> torch.Tensor:
        if low.shape[-1] == 40:
            raise RuntimeError("too wide")
        return low

    seen = []
    report = evaluate(
        picture_samples(find_pairs(data)),
        [*baseline_methods(), Method("fussy", fussy)],
        on_sample=lambda sample, _: seen.append(sample.name),
        on_progress=lambda: seen.append("+"),
    )
    assert report.problems == ["2: too wide"]
    assert {row["picture"] for row in report.rows} == {"1", "3"}
    assert seen == ["1", "+", "+", "3", "+"]


@pytest.fixture
def fake_lol(data) -> Path:
    """Two pairs of eval15 and two of our485, one of them held out."""
    root = data.parent / "lol"
    for split, names in (("eval15", ("1", "22")), ("our485", ("2", "690"))):
        for side, suffix in (("low", "png"), ("high", "bmp")):
            (root / split / side).mkdir(parents=True)
            for name, source in zip(names, "12", strict=True):
                (root / split / side / f"{name}.{suffix}").write_bytes(
                    (data / side / f"{source}.{suffix}").read_bytes()
                )
    return root


def test_several_splits_and_what_a_model_was_trained_on(fake_lol, system, tmp_path):
    path = tmp_path / "m.safetensors"
    save_weights(path, system.state_dict(), {"system": "diffll", "config": SMALL, "split": "our485"})
    splits = ["--split", "eval15", "--split", "heldout"]
    files = ["--json", tmp_path / "s.json", "--markdown", tmp_path / "s.md", "--sheet", tmp_path / "s.png"]
    code, stdout, stderr = run(fake_lol, "--model", path, "--no-baselines", *splits, *files)
    assert code == 0
    assert "eval15: 2 pictures" in stdout
    assert "heldout: 1 pictures" in stdout
    assert "trained on our485" in stdout
    warning = f"{path} was trained on our485, all of heldout included: its scores there are memory."
    assert stderr == f"warning: {warning}\n"
    content = json.loads((tmp_path / "s.json").read_text())
    assert [(row["split"], row["picture"]) for row in content["rows"]] == [
        ("eval15", "1"),
        ("eval15", "22"),
        ("heldout", "690"),
    ]
    assert [(entry["split"], entry["pictures"]) for entry in content["summary"]] == [("eval15", 2), ("heldout", 1)]
    assert warning in content["notes"]
    assert content["models"][str(path)]["trained_on"] == "our485"
    markdown = (tmp_path / "s.md").read_text()
    assert warning in markdown
    assert "## eval15 (2 pictures, seeds 0)" in markdown
    assert "## heldout (1 pictures, seeds 0)" in markdown
    # another data set's part of the same name is not what it was trained on
    code, stdout, stderr = run(fake_lol.parent / "data", "--model", path, "--no-baselines", "--split", "all")
    assert (code, stderr) == (0, "")
    assert "data all: 3 pictures" in stdout
    # a model that keeps the held-out pictures apart is not warned of
    save_weights(path, system.state_dict(), {"system": "diffll", "config": SMALL, "split": "train"})
    assert run(fake_lol, "--model", path, "--no-baselines", *splits)[2] == ""


@pytest.mark.parametrize(
    ("trained_on", "split", "share"),
    [
        ("our485", "heldout", "all"),
        ("our485", "eval15", None),
        ("train", "heldout", None),
        ("train", "our485", "some"),
        ("all", "eval15", "all"),
        (None, "heldout", None),
        ("lsrw", "heldout", None),
        ("our485", "some folder", None),
    ],
)
def test_seen_in_training(trained_on, split, share):
    sentence = seen_in_training(Method("m", lambda low, seed: low, trained_on=trained_on), split)
    assert (sentence is None) if share is None else f"{share} of {split}" in sentence
