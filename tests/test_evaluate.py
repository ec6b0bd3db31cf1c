"""`lowlight evaluate`: its rows, its table, its files and its exit code."""

from __future__ import annotations

import csv
import json
import os
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lowlight import checkpoints, metrics
from lowlight.baselines import BASELINES
from lowlight.checkpoints import save_weights
from lowlight.cli import app
from lowlight.data.pairs import find_pairs
from lowlight.evaluate import SCORES, Method, baseline_methods, evaluate, model_method
from lowlight.networks.diffll import DiffLLConfig
from lowlight.systems.diffll import DiffLL

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


def run(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def read(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy()).movedim(-1, 0)[None].float() / 255


def test_rows_and_means(data, system):
    pairs = find_pairs(data)
    report = evaluate(pairs, [*baseline_methods(), model_method("small", system)], seeds=(3, 4))
    assert not report.problems
    assert len(report.rows) == 3 * (len(BASELINES) + 2)
    assert {row["seed"] for row in report.rows if row["method"] != "small"} == {None}
    low, truth = read(pairs[1].low), read(pairs[1].high)
    expected = metrics.score(system.enhance_tensor(low, seed=4), truth)
    (row,) = (r for r in report.rows if (r["method"], r["picture"], r["seed"]) == ("small", "2", 4))
    for name in SCORES:
        assert row[name] == pytest.approx(expected[name].item(), rel=1e-5), name

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


def test_pictures_shown_are_those_of_the_first_seed(data, system):
    shown = {}
    pairs = find_pairs(data)[:1]
    evaluate(
        pairs, [model_method("small", system)], (7, 8), on_pair=lambda pair, low, results, truth: shown.update(results)
    )
    assert torch.allclose(shown["small"], system.enhance_tensor(read(pairs[0].low), seed=7)[0], atol=1e-6)
    assert not torch.allclose(shown["small"], system.enhance_tensor(read(pairs[0].low), seed=8)[0], atol=1e-3)


def test_the_truth_itself_scores_perfectly(data):
    by_size = {read(pair.low).shape: read(pair.high)[0] for pair in find_pairs(data)}
    report = evaluate(find_pairs(data), [Method("oracle", lambda low, seed: by_size[low[None].shape], seeded=False)])
    (entry,) = report.summary()
    assert entry["psnr"]["mean"] == float("inf")
    assert entry["ssim_rgb"]["mean"] == pytest.approx(1)


def test_a_pair_that_fails_counts_for_no_method(data):
    def fussy(low: torch.Tensor, seed: int) -> torch.Tensor:
        if low.shape[-1] == 40:
            raise RuntimeError("too wide")
        return low

    seen = []
    report = evaluate(
        find_pairs(data),
        [*baseline_methods(), Method("fussy", fussy, seeded=False)],
        on_pair=lambda pair, *_: seen.append(pair.name),
        on_progress=lambda: seen.append("+"),
    )
    assert report.problems == ["2: too wide"]
    assert {row["picture"] for row in report.rows} == {"1", "3"}
    assert seen == ["1", "+", "+", "3", "+"]


def test_command(data, weights, tmp_path):
    out = tmp_path / "out"
    files = ["--csv", out / "s.csv", "--json", out / "s.json", "--sheet", out / "s.png"]
    code, stdout, stderr = run(
        data, "--model", weights, "--seed", 0, "--seed", 1, "--seed", 2, "--device", "cpu", *files
    )
    assert (code, stderr) == (0, "")
    for name in BASELINES:
        assert name in stdout
    assert metrics.RECIPE[:40] in stdout
    assert "standard deviation of the mean over seeds 0, 1, 2" in stdout
    content = json.loads((out / "s.json").read_text())
    entry = content["summary"][-1]
    assert f"{entry['psnr']['mean']:.2f} ± {entry['psnr']['std']:.2f}" in stdout
    assert f"{entry['ssim_grey_gt_mean']['mean']:.3f} ± {entry['ssim_grey_gt_mean']['std']:.3f}" in stdout
    assert content["recipe"] == metrics.RECIPE
    with (out / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(content["rows"]) == 3 * (len(BASELINES) + 3)
    assert float(rows[0]["psnr"]) == content["rows"][0]["psnr"]
    # three columns (dark, the model, truth); baselines are in the table alone
    with Image.open(out / "s.png") as sheet:
        assert sheet.width == 8 + 3 * (320 + 8)
        assert sheet.height > 24 + 17 + 30
    assert sorted(os.listdir(out)) == ["s.csv", "s.json", "s.png"]


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


def test_steps_and_limit(data, weights, system, tmp_path):
    run(data, "--model", weights, "--no-baselines", "--limit", 1, "--steps", 3, "--json", tmp_path / "s.json")
    (row,) = json.loads((tmp_path / "s.json").read_text())["rows"]
    low, truth = read(data / "low/1.png"), read(data / "high/1.bmp")
    for steps, same in ((3, True), (2, False)):
        score = metrics.psnr(system.enhance_tensor(low, steps=steps), truth).item()
        assert (row["psnr"] == pytest.approx(score, rel=1e-5)) is same


def test_broken_and_unpaired_pictures_are_listed_and_the_rest_scored(data):
    (data / "low/2.png").write_bytes((data / "low/2.png").read_bytes()[:100])
    (data / "high/3.bmp").unlink()
    for number, sizes in ((4, [(20, 20), (20, 21)]), (5, [(10, 10), (10, 10)])):
        for side, size in zip(("low", "high"), sizes, strict=True):
            Image.new("RGB", size).save(data / side / f"{number}.png")
    code, stdout, stderr = run(data, "--model", "none")
    assert code == 1
    assert "1 pictures" in stdout
    lines = stderr.splitlines()
    assert len(lines) == 4
    assert "3.png: no picture of that name in" in lines[0]
    assert lines[1].startswith("not scored: 2: ")
    assert lines[2] == "not scored: 4: the dark picture has 20 x 20 pixels, the bright one 20 x 21"
    assert "at least 11 x 11" in lines[3]


def test_nothing_to_score(data, tmp_path):
    for path in (data / "low").iterdir():
        path.write_bytes(b"")
    code, _, stderr = run(data, "--model", "none", "--csv", tmp_path / "s.csv")
    assert code == 1
    assert "No picture could be scored." in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nosuch"], "neither a shipped model nor a file"),
        (["--split", "tests"], "split must be one of"),
        (["--model", "none", "--no-baselines"], "nothing to score"),
        (["--model", "none", "--sheet", "s.gif"], ".gif"),
        (["--device", "toaster"], "toaster"),
    ],
)
def test_usage_errors(data, arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, _, stderr = run(data, *arguments)
    assert code == 2
    assert message in " ".join(stderr.replace("│", " ").split())


def test_missing_folder(tmp_path):
    code, _, stderr = run(tmp_path / "nowhere", "--model", "none")
    assert code == 2
    assert "no folder" in stderr


def test_ctrl_c_ends_quietly(data, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(BASELINES, "untouched", interrupted)
    code, _, stderr = run(data, "--model", "none")
    assert (code, stderr) == (130, "Interrupted; nothing was written.\n")


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
    assert entry["psnr"]["mean"] > 18.5
    assert entry["psnr_gt_mean"]["mean"] > 22
    assert entry["ssim_rgb"]["mean"] > 0.75
