"""The list of measures: one more entry is in every table and file; saturation; what is told the exposure."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from lowlight import checkpoints
from lowlight.cli import app
from lowlight.data.sets.pairs import find_pairs
from lowlight.metrics import measures
from lowlight.metrics.measures import MEASURES, Measure, View, recipe_of, score
from lowlight.metrics.scores import saturation
from lowlight.scoring import tables
from lowlight.scoring.baselines import BASELINES
from lowlight.scoring.raw import raw_report
from lowlight.scoring.report import Method, Sample, evaluate
from lowlight.scoring.srgb import baseline_methods, model_method, picture_samples
from lowlight.systems.base import PictureSystem


class Exposing(PictureSystem):
    """Brings the mean to the wanted one, 0.3 where it is not told, and remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.asked: list[tuple[float | None, int]] = []

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0, sampler=None, mean=None):
        self.asked.append((mean, seed))
        return low * ((0.3 if mean is None else mean) / low.mean())


class Fixed(PictureSystem):
    """Takes no exposure."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0, sampler=None):
        return low


@pytest.fixture
def data(tmp_path) -> Path:
    """Two pairs, the bright side twice as red as blue, the dark one a tenth of it."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for name, level in (("1", 150), ("2", 90)):
        bright = rng.integers(level - 40, level + 40, (16, 20, 1)) * np.array([1.2, 0.9, 0.6])
        for side, pixels in (("low", bright / 10), ("high", bright)):
            (root / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.round().astype(np.uint8)).save(root / side / f"{name}.png")
    return root


@pytest.fixture(autouse=True)
def no_perceptual_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def run(*arguments) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def truth_mean(data: Path, name: str) -> float:
    return (np.asarray(Image.open(data / "high" / f"{name}.png")) / 255).mean()


def red_mean(result: Tensor) -> Tensor:
    return result[:, 0].double().mean(dim=(1, 2))


def test_one_more_entry_is_in_table_csv_json_and_recipe(data, tmp_path, monkeypatch):
    entry = Measure("redness", "red", 4, "one", red_mean, "Red: the mean of R.", needs_truth=False)
    monkeypatch.setattr(measures, "MEASURES", (*MEASURES, entry))
    files = [tmp_path / f"s.{suffix}" for suffix in ("csv", "json", "md")]
    stdout = run(data, "-m", "none", "--csv", files[0], "--json", files[1], "--markdown", files[2])
    content, markdown = json.loads(files[1].read_text()), files[2].read_text()
    dark = np.asarray(Image.open(data / "low/1.png"))[..., 0].mean() / 255
    with files[0].open() as file:
        row = next(csv.DictReader(file))
    assert (row["method"], row["picture"]) == ("untouched", "1")
    assert float(row["redness"]) == content["rows"][0]["redness"] == pytest.approx(dark)
    # a version of the result has a value of its own
    assert float(row["redness_gt_mean"]) > 5 * dark
    mean = content["summary"][0]["redness"]["mean"]
    assert content["measures"]["redness"] == {"title": "red", "better": "one"}
    for text in (stdout, markdown):
        assert f" {mean:.4f} " in text
        assert "Red: the mean of R." in text
    assert "| SSIM grey | saturation | red | seconds |" in markdown
    assert f"| as it comes | 1 | {content['rows'][0]['psnr']:.2f} |" in markdown


def test_the_same_list_serves_raw():
    """An entry for packed raw is in the rows, the table and the file of a scoring in raw space, not in another's."""

    class Scene:
        source, about = torch.full((4, 16, 16), 0.25), {"exact_ratio": 99.0, "K": 2.0}

        def views(self, result):
            truth = torch.full((1, 4, 16, 16), 0.5)
            return [View("raw", "", result[None], truth), View("rendered", "", result[None, :3], truth[:, :3])]

        def pictures(self, results):
            return results

    entry = Measure("raw_red", "raw red", 3, "one", red_mean, "Raw red.", needs_truth=False, space="raw")
    method = Method("double", lambda low, seed: low * 1.5 + seed / 100, True, protocol="blind", about={"calls": 2})
    samples = [Sample("a", Scene, {"ratio": 100.0})]
    report = evaluate(samples, [method], (0, 1), measures=[*MEASURES, entry], about={"set": "S"}, report=raw_report())
    assert list(report.scores) == ["raw_psnr", "raw_ssim", "raw_red", "srgb_psnr", "srgb_ssim"]
    assert [row["raw_red"] for row in report.rows] == pytest.approx([0.375, 0.385])
    # means and deviations over seeds as for pictures
    (line,) = tables.ratio_rows(report)
    assert (line["ratio"], line["protocol"], line["raw red"]) == ("100", "blind", "0.380 ± 0.007")
    header, first, _ = tables.report_csv(report).splitlines()
    assert header == (
        "set,ratio,method,protocol,calls,picture,exact_ratio,K,raw_psnr,raw_ssim,raw_red,srgb_psnr,srgb_ssim,seconds"
    )
    assert first.startswith("S,100.0,double,blind,2,a,99.0,2.0,18.06")
    assert recipe_of(report.scores).endswith("gamma 2.2. Raw red.")


def test_saturation_of_pictures_worked_out_by_hand():
    def picture(*pixels):
        return torch.tensor(pixels).T.view(1, 3, 1, -1) / 255

    # 0.5, none, none, 1: of the darkest red too
    result = picture((200.0, 100, 150), (10, 10, 10), (0, 0, 0), (1, 0, 0))
    truth = picture((200.0, 150, 160), (80, 100, 100), (100, 90, 80), (50, 25, 25))
    assert saturation(result, truth).item() == pytest.approx((0.5 + 1) / (0.25 + 0.2 + 0.2 + 0.5))
    assert saturation(truth, truth).item() == 1
    grey = picture((90.0, 90, 90), (0, 0, 0), (255, 255, 255), (7, 7, 7))
    assert saturation(grey, grey).item() == 1
    assert saturation(grey, truth).item() == pytest.approx(4 / 255 / 1.15)
    assert saturation(truth, grey).item() == pytest.approx(1.15 / 4 * 255)
    # what an 8-bit file does not hold does not count
    assert saturation(grey + torch.tensor([0.4, 0, 0]).view(1, 3, 1, 1) / 255, grey).item() == 1
    both = saturation(torch.cat([result, truth]), torch.cat([truth, truth]))
    assert both.tolist() == pytest.approx([1.5 / 1.15, 1])


def test_a_gain_keeps_the_saturation():
    truth = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    pale = truth.mean(dim=1, keepdim=True) + 0.5 * (truth - truth.mean(dim=1, keepdim=True))
    assert saturation(truth * 0.5, truth).item() == pytest.approx(1, abs=0.02)
    assert saturation(pale, truth).item() < 0.7


def test_told_the_mean_of_the_truth(data):
    """Asked a second time, with the mean over R, G and B and the same seed; scored as the other versions are."""
    system = Exposing()
    samples = picture_samples(find_pairs(data))
    report = evaluate(samples, [*baseline_methods(), model_method("exposing", system)], (3,))
    asked = [(None, 3), (pytest.approx(truth_mean(data, "1")), 3), (None, 3), (pytest.approx(truth_mean(data, "2")), 3)]
    assert system.asked == asked
    (row,) = (row for row in report.rows if (row["method"], row["picture"]) == ("exposing", "1"))
    low, truth = (torch.from_numpy(np.asarray(Image.open(data / side / "1.png")) / 255) for side in ("low", "high"))
    told = (low * truth.mean() / low.mean()).movedim(-1, 0)[None]
    expected = score([View("srgb", "_told", told, truth.movedim(-1, 0)[None])])
    for name in ("psnr_told", "ssim_rgb_told", "ssim_grey_told", "saturation_told"):
        assert row[name] == pytest.approx(expected[name][1].item(), rel=1e-4)
    assert row["psnr_told"] > row["psnr"] + 3
    assert not any("psnr_told" in row for row in report.rows if row["method"] in BASELINES)
    assert report.summary()[0]["psnr_told"] == {"mean": None, "std": None}


def test_a_system_without_exposure_is_not_told(data):
    report = evaluate(picture_samples(find_pairs(data)), [model_method("fixed", Fixed())])
    assert not any("told" in name for name in report.scores)


def test_command_with_told(data, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "load", lambda name, device: {"exposing": Exposing, "fixed": Fixed}[name]())
    files = [tmp_path / f"s.{suffix}" for suffix in ("csv", "json", "md")]
    names = ["-m", "exposing", "-m", "fixed", "--seed", 0, "--seed", 1]
    stdout = run(data, *names, "--csv", files[0], "--json", files[1], "--markdown", files[2])
    content, markdown = json.loads(files[1].read_text()), files[2].read_text()
    fixed, exposing = (
        next(e for e in content["summary"] if e["method"] == name) for name in ("fixed", "exposing")
    )  # fmt: skip
    assert fixed["psnr_told"]["mean"] is None
    cells = " | ".join(
        f"{exposing[name + '_told']['mean']:.{digits}f} ± {0:.{digits}f}"
        for name, digits in (("psnr", 2), ("ssim_rgb", 3), ("ssim_grey", 3), ("saturation", 2))
    )
    assert f"| told | exposing | {cells} |" in markdown
    assert "| told | fixed | - | - | - | - |" in markdown
    assert "| told | CLAHE | - | - | - | - |" in markdown
    # the line with the block's title, and those below it
    block = stdout[stdout.index("│ told") :]
    assert f"exposing      │ {cells.replace('|', '│')} │" in block
    assert " ".join(content["recipe"].split()) in " ".join(stdout.split())
    assert "Told: the model is told the mean of the truth" in content["recipe"]
    with files[0].open() as file:
        rows = list(csv.DictReader(file))
    assert {row["psnr_told"] for row in rows if row["method"] != "exposing"} == {""}
    assert all(float(row["psnr_told"]) > 20 for row in rows if row["method"] == "exposing")
