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

from lowlight import checkpoints
from lowlight.checkpoints import save_weights
from lowlight.cli import app
from lowlight.data.sets.pairs import find_pairs
from lowlight.metrics import scores as metrics
from lowlight.metrics.measures import MEASURES, picture_views, score
from lowlight.scoring.baselines import BASELINES
from lowlight.scoring.report import Method, evaluate
from lowlight.scoring.srgb import baseline_methods, model_method, picture_samples, seen_in_training
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
