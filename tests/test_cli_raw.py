"""`lowlight enhance` of raw files: what is written, what is said, what stops before any work and what does not."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_pictures import BAYER, raw_picture, scene
from typer.testing import CliRunner

from lowlight import checkpoints
from lowlight.cameras.cameras import camera_by_exif
from lowlight.cameras.noise_models import read_deviation, typical_parameters
from lowlight.checkpoints import save_weights
from lowlight.cli import app
from lowlight.expose import enhance_raw
from lowlight.files.pictures import read_picture
from lowlight.raw.dng import write_dng
from lowlight.raw.files import normalise, read_raw
from lowlight.raw.packing import pack
from lowlight.raw.render import render
from lowlight.scenes.synthetic import still_life
from lowlight.scenes.synthetic_raw import short_exposure
from lowlight.systems.brighten import read_any
from lowlight.systems.exposurediffusion.network import published
from lowlight.systems.exposurediffusion.system import ExposureDiffusion

pytest.importorskip("exifread", reason="no exifread: pip install 'lowlight-ext[raw]'")
pytest.importorskip("rawpy", reason="no rawpy: pip install 'lowlight-ext[raw]'")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small ExposureDiffusion that has learnt nothing, as a file."""
    torch.manual_seed(0)
    system = ExposureDiffusion(published("unet", width=2))
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(path, system.state_dict(), {"system": system.name, "config": system.config}, torch.float32)
    return path


@pytest.fixture
def run(monkeypatch, tmp_path, weights):
    """Runs `lowlight enhance ARGUMENTS` in an empty folder, with those weights where no others are named."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        model = () if "--model" in arguments else ("--model", weights)
        result = CliRunner().invoke(app, ["enhance", *map(str, arguments), *map(str, model)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def photograph(path, **fields):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mosaic = (800 + (scene(60, 80) - 800.0) / 50).astype(np.uint16)
    write_dng(path, raw_picture(BAYER[0], mosaic, **{"model": "ILCE-7SM2", "orientation": 6} | fields))
    return path


def files():
    return sorted(path.as_posix() for path in Path().rglob("*") if path.is_file())


def words(result):
    """All that was printed, without the frame around it."""
    return re.sub(r"[\s│]+", " ", result.output)


@pytest.mark.parametrize("output", ["out.png", "out.jpg", "out.tif"])
def test_one_photograph(run, output):
    photograph("dark.dng")
    result = run("dark.dng", "-o", output, "--ratio", 50)
    assert result.exit_code == 0
    assert "dark.dng: ratio 50, K 1.503 (SonyA7S2), 3 network calls, blind protocol" in result.output
    assert "1 picture enhanced." in result.output
    assert files() == ["dark.dng", output]
    bright = read_picture(output)
    # turned, as the file asks
    assert bright.rgb.shape == (80, 60, 3)
    assert bright.bits == (8 if output == "out.jpg" else 16)


def test_the_command_gives_what_the_function_gives(run, weights):
    from lowlight import enhance_raw

    photograph("dark.dng")
    assert run("dark.dng", "-o", "a.png", "--ratio", 50, "--steps", 2, "--seed", 3).exit_code == 0
    enhance_raw("dark.dng", weights, ratio=50, steps=2, seed=3).save("b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    # the old name of --steps
    run("dark.dng", "-o", "c.png", "--ratio", 50, "--iterations", 2, "--seed", 3)
    assert Path("c.png").read_bytes() == Path("a.png").read_bytes()
    run("dark.dng", "-o", "d.png", "--ratio", 50, "--steps", 2, "--seed", 3, "--render", "libraw")
    assert Path("d.png").read_bytes() != Path("a.png").read_bytes()


def test_the_ratio_by_exif_and_by_brightness(run):
    photograph("dark.dng")
    photograph("long.dng", exposure=2.0)
    assert "ratio 50, K" in run("dark.dng", "-o", "a.png", "--ratio-from", "long.dng").output
    found = re.search(r"ratio ([\d.]+), K", run("dark.dng", "-o", "b.png", "--auto").output)
    packed = normalise(read_raw("dark.dng"))
    assert np.clip(packed * float(found[1]), 0, 1).mean() == pytest.approx(0.127, abs=2e-3)


def test_dng_files_again(run, weights):
    from lowlight import enhance_raw

    photograph("dark.dng")
    assert run("dark.dng", "-o", "one.dng", "--ratio", 50).exit_code == 0
    assert run("dark.dng", "-o", "out", "--ratio", 50, "--output-raw", "dng").exit_code == 0
    assert files() == ["dark.dng", "one.dng", "out/dark.dng"]
    wanted = enhance_raw("dark.dng", weights, ratio=50).packed
    for name in ("one.dng", "out/dark.dng"):
        assert np.abs(normalise(read_raw(name)) - wanted).max() < 1e-5


def test_a_folder_goes_on_after_broken_files(run):
    photograph("in/a.dng")
    photograph("in/deep/z.DNG")
    photograph("in/nobody.dng", model="Lantern L1")
    Path("in/broken.dng").write_bytes(Path("in/a.dng").read_bytes()[:3000])
    Path("in/notes.txt").write_text("not a picture")
    result = run("in", "-r", "-o", "out", "--ratio", 50)
    assert result.exit_code == 1
    assert [name for name in files() if name.startswith("out")] == ["out/a.png", "out/deep/z.png", "out/nobody.png"]
    assert "3 pictures enhanced, 1 failed." in result.output
    for line in (
        "in/broken.dng: damaged or truncated raw file",
        "in/nobody.dng: ratio 50, K ",
        "1 file passed over: 1 .txt.",
    ):
        assert line in result.output
    Path("out/a.png").unlink()
    assert "1 picture enhanced, 2 skipped" in run("in", "-r", "-o", "out", "--ratio", 50).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.png", "--ratio", "3", "--auto"], "--ratio NUMBER, --ratio-from REFERENCE (its ISO and time) and"),
        (["-o", "x.png", "--ratio", "3", "--auto"], "more than one was given"),
        (["-o", "x.png", "--ratio", "0.5"], "Invalid value for '--ratio'"),
        (["-o", "x.png", "--auto", "--iterations", "11"], "makes 1 to 10 network calls"),
        (["-o", "x.png", "--auto", "--steps", "3", "--iterations", "4"], "--iterations is the old name of --steps"),
        (["-o", "x.png", "--auto", "--steps", "11"], "a model for raw makes 1 to 10 network calls, got 11"),
        (["-o", "x.png", "--auto", "--render", "gimp"], "--render must be one of own, libraw"),
        (["-o", "x.png", "--auto", "--output-raw", "cr2"], "--output-raw must be dng"),
        (["-o", "x.png", "--auto", "--output-raw", "dng"], "--output-raw dng writes .dng files"),
        (["-o", "x.dng", "--auto", "--render", "own"], "a DNG leaves the rendering"),
        (["-o", "x.png", "--auto", "--camera", "Lantern"], "no such camera or file; known are CanonEOS5D4"),
        (["-o", "x.png", "--ratio-from", "none.jpg"], "none.jpg: no such file"),
        (["-o", "x.png", "--auto", "--model", "diffll-small"], "--auto is for models of raw, and DiffLL works on sRGB"),
        (["-o", "x.png", "--resid", "--model", "wavelet-anchored-small"], "are none; got resid"),
        (["-o", "x.png", "--pairs", "jpeg"], "--pairs must be one of raw, picture, both, got 'jpeg'"),
        (["-o", "out", "--format", "svg"], "cannot write '.svg' files"),
        (["-o", "x.png", "--format", "jpg"], "--format is for an output folder; x.png is a file name"),
        (["-o", "x.png", "--auto", "--resid"], "it has resid=False, not the resid=True given"),
        (["-o", "x.arw", "--auto"], "cannot write '.arw' files"),
    ],
)
def test_what_stops_before_any_work(run, arguments, message):
    photograph("dark.dng")
    result = run("dark.dng", *arguments)
    assert result.exit_code == 2
    assert message in words(result)
    assert files() == ["dark.dng"]


def test_raw_files_with_a_model_of_srgb_pictures(run, monkeypatch):
    """Developed first, and enhanced in 16 bits; no DNG comes out of it."""

    class Gamma:
        def enhance_tensor(self, low, *, steps=None, noise=None, seed=0):
            return low.sqrt()

        device, dtype = torch.device("cpu"), torch.float32

    monkeypatch.setattr(checkpoints, "load_system", lambda *_, **__: Gamma())
    photograph("dark.dng")
    assert run("dark.dng", "-o", "out", "--model", "of pictures").exit_code == 0
    bright = read_picture("out/dark.png")
    assert bright.bits == 16
    assert np.abs(bright.rgb - read_any("dark.dng").rgb ** 0.5).max() < 1e-4
    result = run("dark.dng", "-o", "x.dng", "--model", "of pictures")
    assert result.exit_code == 1
    assert "dark.dng: x.dng: cannot write '.dng' files" in result.output


def test_sample(monkeypatch, tmp_path):
    """The raw sample's noise about its long exposure is the camera's; a hundred times its light is as bright."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(app, ["sample", *map(str, arguments)])

    result = run("dark.dng", "--bright", "bright.png", "--size", "120x80", "--seed", 3)
    assert result.exit_code == 0
    assert "full light takes --ratio 100" in " ".join(result.output.split())
    raw = read_raw("dark.dng")
    assert (raw.iso, raw.exposure, raw.mosaic.shape) == (3200, 0.01, (80, 120))
    camera = camera_by_exif(raw.model)
    assert camera.name == "SonyA7S2"
    same, clean = short_exposure(still_life(120, 80, seed=3), seed=3)
    np.testing.assert_array_equal(same.mosaic, raw.mosaic)
    bright = read_picture("bright.png").rgb.transpose(2, 0, 1)
    np.testing.assert_allclose(bright, render(clean, raw), atol=1 / 65535)
    numbers, K = clean * 15583 / 100, camera.K(3200)
    error = pack(raw.mosaic, raw.pattern).astype(float) - 800 - numbers
    # far enough from black that nothing was clipped
    seen = numbers > 60
    read = read_deviation(typical_parameters(camera, "P+G+r+u", K=K, ratio=100))
    assert (error[seen] ** 2).mean() == pytest.approx(K * numbers[seen].mean() + read**2, rel=0.1)
    assert abs(error[seen].mean()) < 1
    assert run("other.dng", "--size", "90x61").exit_code == 2
    assert files() == ["bright.png", "dark.dng"]
    with pytest.raises(ValueError, match=r"ratio must be 1 or more, got 0\.5"):
        short_exposure(np.ones((2, 2, 3), np.float32), ratio=0.5)


def test_the_model_where_none_is_named(monkeypatch, tmp_path, weights):
    """The one for raw, with options for raw or without."""
    monkeypatch.chdir(tmp_path)
    photograph("dark.dng")
    asked, load_system = [], checkpoints.load_system

    def load(model, **options):
        asked.append(model)
        return load_system(weights, **options)

    monkeypatch.setattr(checkpoints, "load_system", load)
    assert CliRunner().invoke(app, ["enhance", "dark.dng", "-o", "a.png", "--auto"]).exit_code == 0
    CliRunner().invoke(app, ["enhance", "dark.dng", "-o", "b.png"])
    enhance_raw("dark.dng", ratio=2)
    assert asked == ["exposurediffusion-small"] * 3
