"""`lowlight evaluate`: its table, its files and its exit code."""

# ruff: noqa: F811 (fixtures of scored.py are imported, and arguments here)

from __future__ import annotations

import csv
import json
import os

import pytest
import torch
from PIL import Image
from scored import data, no_perceptual_weights, read, run, system, weights  # noqa: F401

from lowlight import checkpoints
from lowlight.data.sets.pairs import find_pairs
from lowlight.metrics import scores as metrics
from lowlight.scoring.baselines import BASELINES
from lowlight.scoring.report import evaluate
from lowlight.scoring.srgb import model_method, picture_samples


def test_command(data, weights, tmp_path):
    out = tmp_path / "out"
    files = ["--csv", out / "s.csv", "--json", out / "s.json", "--sheet", out / "s.png", "--markdown", out / "s.md"]
    code, stdout, stderr = run(
        data, "--model", weights, "--seed", 0, "--seed", 1, "--seed", 2, "--device", "cpu", *files
    )
    assert (code, stderr) == (0, "")
    for name in BASELINES:
        assert name in stdout
    content = json.loads((out / "s.json").read_text())
    assert " ".join(content["recipe"].split()) in " ".join(stdout.split())
    assert "standard deviation of the mean over seeds 0, 1, 2" in stdout
    entry = content["summary"][-1]
    assert f"{entry['psnr']['mean']:.2f} ± {entry['psnr']['std']:.2f}" in stdout
    markdown = (out / "s.md").read_text()
    for variant in ("", "_gt_mean", "_ls_gain"):
        for name in ("ssim_rgb", "ssim_grey"):
            value = entry[name + variant]
            assert f" {value['mean']:.3f} ± {value['std']:.3f} " in stdout
            assert f" {value['mean']:.3f} ± {value['std']:.3f} |" in markdown
    assert content["recipe"] in markdown
    # no method takes an exposure: nothing is said of it
    assert "told" not in stdout + markdown
    assert (
        "## data (3 pictures, seeds 0, 1, 2)\n\n| scored | method | PSNR | SSIM | SSIM grey | saturation | seconds |\n"
        in markdown
    )
    for picture in (p for p in content["pictures"] if p["method"] == weights):
        assert f"| GT-mean | {picture['picture']} | {picture['psnr_gt_mean']['mean']:.2f} ±" in markdown
    assert content["conditions"]["torch"] == torch.__version__
    for part in ("PSNR: 8-bit RGB", "SSIM: 8-bit, Gaussian", "SSIM grey: ", "Saturation: ", "GT-mean: ", "LS gain: "):
        assert part in content["recipe"]
    assert content["measures"]["saturation"] == {"title": "saturation", "better": "one"}
    with (out / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(content["rows"]) == 3 * (len(BASELINES) + 3)
    assert float(rows[0]["psnr"]) == content["rows"][0]["psnr"]
    # three columns (dark, the model, truth); baselines are in the table alone
    with Image.open(out / "s.png") as sheet:
        assert sheet.width == 8 + 3 * (320 + 8)
        assert sheet.height > 24 + 17 + 30
    assert sorted(os.listdir(out)) == ["s.csv", "s.json", "s.md", "s.png"]


def test_a_table_of_every_picture(data, weights):
    _, plain, _ = run(data, "--model", weights, "--no-baselines")
    _, stdout, _ = run(data, "--model", weights, "--no-baselines", "--per-picture")
    assert plain.count("scored") == 1
    assert stdout.count("scored") == 2
    methods = [model_method("small", checkpoints.load(weights, device="cpu"))]
    report = evaluate(picture_samples(find_pairs(data)), methods)
    for row in report.rows:
        assert f"{row['picture']}       │ {row['psnr_ls_gain']:.2f} │ {row['ssim_rgb_ls_gain']:.3f}" in stdout


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


def test_results_of_others(data, weights, system, tmp_path):
    """Pictures that another method left, beside ours, which are written as they were scored."""
    arguments = (data, "-m", weights, "--no-baselines", "--csv", tmp_path / "s.csv")
    code, stdout, _ = run(*arguments, "--save", tmp_path / "ours", "--published")
    assert code == 0
    for word in ("Retinexformer", "27.18", "not measured here"):
        assert word in stdout
    folder = next((tmp_path / "ours").iterdir())
    assert folder.name.endswith("small.safetensors")
    expected = system.enhance_tensor(read(data / "low/2.png"), seed=0).mul(255).round()
    assert torch.equal(read(folder / "2.png") * 255, expected)
    before = {row["picture"]: row for row in csv.DictReader((tmp_path / "s.csv").open())}

    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for number in (1, 2, 3):
        (folder / f"{number}.png").rename(theirs / f"{number}.png")
    code, stdout, _ = run(*arguments, "--results", f"rival={theirs}", "--results", data / "high", "--model", "none")
    assert code == 0
    assert "rival: pictures made elsewhere." in stdout
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert [row["seconds"] for row in rows if row["method"] == "rival"] == [""] * 3
    for row in (row for row in rows if row["method"] == "rival"):
        same = before[row["picture"]]
        assert all(row[name] == same[name] for name in ("psnr", "psnr_gt_mean", "ssim_rgb", "saturation"))
    assert {row["psnr"] for row in rows if row["method"] == "high"} == {"inf"}

    (theirs / "3.png").unlink()
    Image.new("RGB", (9, 9)).save(theirs / "2.png")
    code, _, stderr = run(*arguments, "--results", f"rival={theirs}")
    assert code == 1
    assert f"not scored: 2: {theirs / '2.png'} has 9 x 9 pixels, the pair 40 x 17" in stderr
    assert f"not scored: 3: rival has no picture 3 in {theirs}" in stderr


def test_folders_of_any_name(data, tmp_path):
    for side in ("low", "high"):
        (data / side).rename(tmp_path / f"my {side}")
    sides = ("--low", tmp_path / "my low", "--high", tmp_path / "my high")
    code, stdout, _ = run(*sides, "--model", "none")
    assert code == 0
    assert "3 pictures" in stdout
    for wrong in (sides[:2], (data, *sides), ()):
        code, _, stderr = run(*wrong, "--model", "none")
        assert code == 2
        assert "name the pairs once" in stderr


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
        (["--model", "none", "--results", "nowhere"], "no folder nowhere"),
        (["--model", "none", "--results", "untouched=."], "there are two methods called untouched"),
        (["--device", "toaster"], "toaster"),
        (["--model", "none", "--lpips-weights", "nothing.pth"], "no file nothing.pth"),
        (["--model", "none", "--no-lpips", "--lpips-weights", "x.pth"], "contradict"),
        (["--model", "none", "--markdown", "."], "is a folder"),
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
