"""Scores in raw space: the measures, the published samples and padding, protocols named, folders of SID and ELD."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from raw_pictures import BAYER, raw_picture, scene
from typer.testing import CliRunner

from lowlight import load
from lowlight.cameras.cameras import load_camera
from lowlight.checkpoints import save_weights
from lowlight.cli import app
from lowlight.data.batches.raw_cache import RawCache
from lowlight.data.sets.eld import find_eld
from lowlight.data.sets.sid import find_sid
from lowlight.metrics import scores
from lowlight.raw.dng import write_dng
from lowlight.raw.files import normalise
from lowlight.raw.render import render
from lowlight.scoring.raw import padded_as_published, raw_report, system_methods
from lowlight.scoring.raw_baselines import classical_methods
from lowlight.scoring.raw_samples import pair_samples, synthetic_samples
from lowlight.scoring.report import evaluate
from lowlight.systems.exposurediffusion.network import ExposureDiffusionConfig
from lowlight.systems.exposurediffusion.process import illuminance_gain
from lowlight.systems.exposurediffusion.system import ExposureDiffusion

SONY = load_camera("SonyA7S2")
CLEAN = scene(120, 136, noise=0)


def write_pair(folder, short_name, long_name, ratio, iso=1600.0):
    """Two DNG files under the names of a data set, the short one with some noise."""
    noise = np.random.default_rng(0).normal(0, 2, CLEAN.shape)
    dark = (800 + (CLEAN.astype(float) - 800) / ratio + noise).clip(0, 16383).astype(np.uint16)
    for name, mosaic, exposure in ((short_name, dark, 10 / ratio), (long_name, CLEAN, 10.0)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_dng(path, raw_picture(BAYER[0], mosaic, iso=iso, exposure=exposure))


@pytest.fixture(scope="module")
def sid(tmp_path_factory):
    root = tmp_path_factory.mktemp("sid")
    lines = []
    for scene_number, exposure, ratio in ((20001, "0.1s", 100), (20001, "0.04s", 250), (20002, "0.1s", 100)):
        short, long = f"{scene_number}_00_{exposure}.ARW", f"{scene_number}_00_10s.ARW"
        write_pair(root / "Sony", f"short/{short}", f"long/{long}", ratio)
        lines.append(f"{short} {long}\n")
    (root / "Sony_test.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def eld(tmp_path_factory):
    """One scene of ten, whose ratio 100 is 80 by its files."""
    root = tmp_path_factory.mktemp("eld")
    for short, long in ((4, 6), (9, 11), (14, 16), (5, 6), (10, 11), (15, 16)):
        write_pair(root / "SonyA7S2" / "scene-1", f"IMG_{short:04d}.ARW", f"IMG_{long:04d}.ARW", 80)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    config = ExposureDiffusionConfig(width=4, camera="SonyA7S2")
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_weights(path, ExposureDiffusion(config).state_dict(), {"system": "exposurediffusion", "config": config})
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate-raw", *(str(argument) for argument in arguments)])


def raw_score(score, result, truth, **settings):
    """Of [C, h, w] as the published evaluations take it: not rounded."""
    return score(result[None], truth[None], rounded=False, **settings).item()


def test_measures_are_scikit_images():
    metrics = pytest.importorskip("skimage.metrics", reason="needs the extra [test]")
    generator = np.random.default_rng(0)
    x = generator.random((4, 31, 40))
    y = (x + generator.normal(0, 0.1, x.shape)).clip(0, 1)
    ours = [torch.from_numpy(z) for z in (x, y)]
    x, y = (255 * z.transpose(1, 2, 0) for z in (x, y))
    expected = metrics.peak_signal_noise_ratio(x, y, data_range=255)
    assert raw_score(scores.psnr, *ours) == pytest.approx(expected, abs=1e-9)
    expected = metrics.structural_similarity(x, y, data_range=255, channel_axis=2)
    assert raw_score(scores.ssim, *ours, window="uniform") == pytest.approx(expected, abs=1e-9)
    assert raw_score(scores.psnr, ours[0], ours[0]) == math.inf
    assert raw_score(scores.psnr, ours[0] + 1, torch.ones_like(ours[0])) == math.inf
    with pytest.raises(ValueError, match="share a shape"):
        raw_score(scores.psnr, ours[0], ours[1][:3])
    with pytest.raises(ValueError, match="at least 7 x 7"):
        raw_score(scores.ssim, ours[0][:, :6], ours[1][:, :6], window="uniform")
    with pytest.raises(ValueError, match="truth holds NaN"):
        raw_score(scores.ssim, ours[0], ours[1] * math.nan)
    with pytest.raises(ValueError, match="window must be one of gaussian, uniform, got 'square'"):
        raw_score(scores.ssim, *ours, window="square")


@pytest.mark.parametrize(("size", "sides"), [((32, 50), (8, 8, 7, 7)), ((27, 64), (2, 3, 8, 8))])
def test_published_padding(size, sides):
    x = torch.rand(4, *size)
    expected = np.pad(x.numpy(), [(0, 0), sides[:2], sides[2:]], mode="reflect")
    assert np.array_equal(padded_as_published(x).numpy(), expected)


def test_samples_of_sid(sid, cache):
    samples = pair_samples(find_sid(sid), RawCache(cache), SONY, crop=32)
    assert [(sample.name, sample.about["ratio"]) for sample in samples][:2] == [
        ("20001_00_0.1s", 100),
        ("20001_00_0.04s", 250),
    ]
    loaded = samples[0].load()
    clean = normalise(raw_picture(BAYER[0], CLEAN))[:, 14:46, 18:50]
    assert np.array_equal(loaded.clean.numpy(), clean)
    assert abs(loaded.K - 16 * SONY.Kmin) < 1e-3
    assert loaded.ratio == 100
    assert loaded.short.max() <= 1
    assert abs((loaded.short - loaded.clean).mean().item()) < 0.02
    whole = pair_samples(find_sid(sid), RawCache(cache), SONY)[0].load()
    assert whole.clean.shape == (4, 60, 68)


def test_samples_of_eld_have_the_ratio_of_their_files(eld, cache):
    pairs = find_eld(eld, "SonyA7S2", 100, [1])
    sample = pair_samples(pairs, RawCache(cache), SONY, exif_ratio=True)[0]
    assert sample.about == {"ratio": 100}
    assert sample.load().ratio == pytest.approx(80, rel=1e-5)


def test_synthetic_samples_differ_in_their_ratio_alone(tmp_path):
    for number in range(2):
        Image.effect_noise((80, 80), 60).convert("RGB").save(tmp_path / f"{number}.png")
    paths = sorted(tmp_path.glob("*.png"))
    samples = synthetic_samples(paths, RawCache(tmp_path / "cache"), SONY, [100, 300], crop=16, shrink=2)
    assert [(sample.name, sample.about["ratio"]) for sample in samples] == [
        ("0", 100),
        ("1", 100),
        ("0", 300),
        ("1", 300),
    ]
    near, _, far, _ = (sample.load() for sample in samples)
    assert torch.equal(near.clean, far.clean)
    assert near.K == far.K
    assert (far.short - far.clean).abs().mean() > (near.short - near.clean).abs().mean()
    assert torch.equal(samples[0].load().short, near.short)


def test_what_the_methods_do(sid, cache, model):
    """Input and system under both protocols, by hand, and the scores of what comes out."""
    system = load(model, device="cpu")
    (sample,) = pair_samples(find_sid(sid)[1:2], RawCache(cache), SONY, crop=32)
    exposures = sample.load()
    methods = [
        *classical_methods(["untouched"], ["blind", "paper"])[0],
        *system_methods("tiny", system, ["blind", "paper"], [1, 2]),
    ]
    assert [method.name for method in methods[2:]] == ["tiny, 1 call"] * 2 + ["tiny, 2 calls"] * 2
    low, truth = (torch.nn.functional.pad(x[None], (8, 8, 8, 8), mode="reflect") for x in exposures[:2])
    gained = exposures.short * illuminance_gain(exposures.short[None], exposures.clean[None])[0]
    settings = {"ratio": 250.0, "K": exposures.K, "steps": 2}
    blind = system.enhance_tensor(low, **settings)[0, :, 8:-8, 8:-8]
    paper = system.enhance_tensor(low, protocol="paper", target=truth, **settings)[0, :, 8:-8, 8:-8]
    for method, expected in zip((*methods[:2], *methods[4:]), (exposures.short, gained, blind, paper), strict=True):
        torch.testing.assert_close(method.run(exposures, 0), expected)
    seen = {}
    report = evaluate([sample], methods, (0,), lambda sample, pictures: seen.update(pictures), report=raw_report())
    row = report.rows[4]
    assert (row["method"], row["protocol"], row["ratio"]) == ("tiny, 2 calls", "blind", 250)
    assert row["raw_psnr"] == pytest.approx(raw_score(scores.psnr, blind, exposures.clean))
    shown, true = (
        torch.from_numpy(render(x.numpy(), exposures.picture, demosaic=False)) for x in (blind, exposures.clean)
    )
    assert row["srgb_ssim"] == pytest.approx(raw_score(scores.ssim, shown, true, window="uniform"), abs=1e-6)
    runs = [f"tiny, {calls}, {protocol}" for calls in ("1 call", "2 calls") for protocol in ("blind", "paper")]
    assert list(seen) == ["input", "untouched, blind", "untouched, paper", *runs, "truth"]


def test_command_on_sid(sid, cache, model, tmp_path):
    outputs = [tmp_path / f"scores.{suffix}" for suffix in ("csv", "json", "md", "png")]
    flags = zip(("--csv", "--json", "--markdown", "--sheet"), outputs, strict=True)
    result = run(
        sid,
        "-m",
        model,
        "--method",
        "untouched",
        "--crop",
        32,
        "--cache",
        cache,
        *(word for pair in flags for word in pair),
    )
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(outputs[0].open()))
    assert len(rows) == 3 * 4
    assert {row["protocol"] for row in rows} == {"blind", "paper"}
    summary = json.loads(outputs[1].read_text())
    assert [(e["ratio"], e["pictures"]) for e in summary["summary"]] == [(100, 2)] * 4 + [(250, 1)] * 4
    keys = ("method", "protocol", "ratio")
    own = [float(row["raw_psnr"]) for row in rows if [row[key] for key in keys] == ["untouched", "blind", "100.0"]]
    assert summary["summary"][0]["raw_psnr"] == pytest.approx(np.mean(own))
    for text in (outputs[1].read_text(), outputs[2].read_text(), " ".join(result.output.split())):
        assert "the centre 32 x 32" in text
        assert "Protocol paper:" in text
        assert "window 7 x 7" in text
    assert outputs[3].is_file()
    assert run(sid, "--split", sid / "Sony_test.txt", "--crop", 32, "--cache", cache, "--limit", 1).exit_code == 0
    only = run(sid, "--crop", 32, "--cache", cache, "--protocol", "blind", "--ratio", 250)
    assert only.exit_code == 0
    assert "Protocol paper" not in only.output
    assert "│ 100" not in only.output
    left = run(sid, "--crop", 32, "--cache", cache, "--exclude", "20002", "--csv", outputs[0])
    assert left.exit_code == 0
    assert "Without 20002." in " ".join(left.output.split())
    assert not any("20002" in row["picture"] for row in csv.DictReader(outputs[0].open()))


def test_command_on_eld(eld, cache):
    """Nine scenes are not there: what is there is scored, the rest said, the exit code 1."""
    result = run(eld, "--camera", "SonyA7S2", "--cache", cache, "--limit", 1)
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "ELD SonyA7S2, scenes 1 to 10, whole pictures" in said
    assert "scene-10: no raw file IMG_0004 and no IMG_0006" in said
    assert "│ 200" in result.output
    assert run(eld, "--cache", cache).exit_code == 2


def test_a_damaged_file_does_not_stop_the_rest(sid, cache, tmp_path):
    root = tmp_path / "sid"
    for path in sid.rglob("*.*"):
        if path.is_file():
            (root / path.relative_to(sid)).parent.mkdir(parents=True, exist_ok=True)
            (root / path.relative_to(sid)).write_bytes(path.read_bytes())
    (root / "Sony" / "short" / "20002_00_0.1s.ARW").write_bytes(b"no raw file")
    result = run(root, "--crop", 32, "--cache", cache, "--method", "untouched", "--csv", tmp_path / "scores.csv")
    assert result.exit_code == 1
    assert "not scored: 20002_00_0.1s:" in result.output
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "best"], "--protocol must be one of blind, paper, got best"),
        (["--set", "lol"], "--set must be one of sid, eld, synthetic"),
        (["--camera", "Lantern"], "no such camera or file"),
        (["--split", "val"], "no list Sony_val.txt"),
        (["-m", "diffll-small"], "takes sRGB pictures"),
        (["--set", "eld"], "ELD needs --camera"),
        (["--exclude", "nowhere"], "--exclude nowhere: no picture's name holds it"),
    ],
)
def test_errors(sid, cache, arguments, message):
    result = run(sid, "--cache", cache, *arguments)
    assert result.exit_code == 2
    said = " ".join("".join(c for c in result.output if c not in "│╭╮╰╯─").split())
    assert message in said
