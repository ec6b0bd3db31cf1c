"""`lowlight enhance` of a photographer's folder: raw files, pictures and anything else, each to its own model."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features
from raw_pictures import BAYER, raw_picture, scene, write_linear
from typer.testing import CliRunner

from lowlight import checkpoints
from lowlight.cli import app
from lowlight.commands import listing
from lowlight.files.pictures import read_picture, write_picture
from lowlight.raw.dng import write_dng
from lowlight.systems.base import RawSystem
from lowlight.systems.exposurediffusion.network import published
from lowlight.systems.exposurediffusion.system import ExposureDiffusion

pytest.importorskip("rawpy", reason="no rawpy: pip install 'lowlight-ext[raw]'")


class Gamma:
    """A system of pictures with an answer one can compute."""

    device, dtype = torch.device("cpu"), torch.float32

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0):
        return low.sqrt()


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs `lowlight enhance ARGUMENTS` in an empty folder; the models that were loaded are in run.loaded."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    raw = ExposureDiffusion(published("unet", width=2))
    assert isinstance(raw, RawSystem)

    def load_system(model, **_):
        run.loaded.append(model)
        return raw if "exposure" in model else Gamma()

    monkeypatch.setattr(checkpoints, "load_system", load_system)

    def run(*arguments):
        run.loaded = []
        result = CliRunner().invoke(app, ["enhance", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def photo(path, value=40, **options):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (value, value, value)).save(path, **options)


def photograph(path, order=BAYER[0], **fields):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    mosaic = (800 + (scene(60, 72) - 800.0) / 50).astype(np.uint16)
    write_dng(path, raw_picture(order, mosaic, **{"model": "ILCE-7SM2"} | fields))


def files(folder="."):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("options", [[], ["--auto"], ["--ratio", "20"]])
def test_every_file_by_the_model_of_its_kind(run, options):
    photograph("in/a.dng")
    photo("in/b.jpg", quality=100, subsampling=0)
    photo("in/c.png")
    result = run("in", "-o", "out", *options)
    assert result.exit_code == 0
    assert "3 pictures enhanced." in result.output
    assert files("out") == ["a.png", "b.jpg", "c.png"]
    assert sorted(run.loaded) == ["default", "exposurediffusion-small"]
    assert "in/a.dng: ratio" in result.output
    assert read_picture("out/c.png").rgb.max() == pytest.approx((40 / 255) ** 0.5, abs=1 / 255)


def test_options_for_raw_without_raw_files_are_said(run):
    photo("in/b.png")
    result = run("in", "-o", "out", "--auto")
    assert (result.exit_code, run.loaded) == (0, ["default"])
    assert "no raw file here: --auto made no difference" in result.output


def test_a_named_model_for_raw_leaves_pictures_to_the_default(run):
    photograph("in/a.dng")
    photo("in/b.png")
    result = run("in", "-o", "out", "--model", "my-exposure", "--brightness", 1)
    assert run.loaded == ["my-exposure", "default"]
    assert "pictures: by the default model, my-exposure is one for raw files" in result.output
    assert "raw files: without --brightness" in result.output


def test_what_the_raw_model_does_not_take_is_developed(run):
    """X-Trans: by the model of pictures, unless a ratio is asked for, which that has not."""
    photograph("in/x.dng", order=(0, 0))
    result = run("in", "-o", "out")
    assert result.exit_code == 0
    assert "in/x.dng: developed and brightened as a picture: the model takes four channels" in result.output
    assert read_picture("out/x.png").bits == 16
    result = run("in", "-o", "again", "--ratio", 20)
    assert result.exit_code == 1
    assert "this is X-Trans" in result.output


@pytest.mark.parametrize("options", [[], ["--ratio", 20], ["--model", "of-pictures"]])
def test_linear_and_monochrome_dng(run, monkeypatch, options):
    """By the raw model, with a ratio or without; by one of pictures where that is named. Each says what the file is."""
    photograph("in/mono.dng", kind="grey")
    values = np.stack([(800 + scene(60, 72) / 20).astype(np.uint16)] * 3, axis=2)
    write_linear(Path("in/linear.dng"), monkeypatch, values)
    result = run("in", "-o", "out", *options)
    assert result.exit_code == 0, result.output
    assert [read_picture(f"out/{name}.png").grey for name in ("mono", "linear")] == [True, False]
    assert [read_picture(f"out/{name}.png").rgb.shape for name in ("mono", "linear")] == [(60, 72, 3)] * 2
    of_pictures = "--model" in options
    assert run.loaded == (["of-pictures"] if of_pictures else ["exposurediffusion-small"])
    linear, mono = (line for line in result.output.splitlines() if line.startswith("in/"))
    assert mono.endswith("of a monochrome sensor")
    made = "developed by LibRaw: no mosaic of red, green and blue (already demosaiced)"
    assert linear.endswith(made if of_pictures else "made a mosaic again: its noise may not be the sensor's")


@pytest.mark.parametrize(
    ("pairs", "left", "passed"),
    [
        (None, ["IMG_1.png", "b.jpg"], 1),
        ("picture", ["IMG_1.JPG", "b.jpg"], 1),
        ("both", ["IMG_1.JPG", "IMG_1.png", "b.jpg"], 0),
    ],
)
def test_raw_and_jpeg_pairs(run, pairs, left, passed):
    photograph("in/IMG_1.DNG")
    photo("in/IMG_1.JPG")
    photo("in/b.jpg")
    result = run("in", "-o", "out", *([] if pairs is None else ["--pairs", pairs]))
    assert files("out") == left
    assert ("1 file passed over: 1 of RAW+JPEG pairs (--pairs)." in result.output) == bool(passed)
    # what is named is done
    assert run("in/IMG_1.JPG", "in/IMG_1.DNG", "-o", "named").exit_code == 0
    assert files("named") == ["IMG_1.JPG", "IMG_1.png"]


def test_beside_the_source_and_not_twice(run):
    photo("in/b.jpg")
    photo("in/b.gif")
    photograph("in/a.dng")
    for count in (3, 0):
        result = run("in")
        assert f"{count} pictures enhanced" in result.output
        assert files("in") == ["a.dng", "a_bright.png", "b.gif", "b.jpg", "b_bright.jpg", "b_bright.png"]
    assert "3 files passed over: 3 *_bright of an earlier run." in result.output
    assert run("in/b.jpg", "--suffix", "_light").exit_code == 0
    assert "b_light.jpg" in files("in")


def test_what_is_passed_over_is_counted_and_named(run, monkeypatch):
    monkeypatch.setattr(
        listing, "missing_reader", lambda name: "pip install 'lowlight-ext[heif]'" if name == "HEIF" else None
    )
    for name in ("a.heic", "b.HEIF", "notes.txt", "film.mp4"):
        Path("in").mkdir(exist_ok=True)
        (Path("in") / name).write_bytes(b"something")
    Path("in/gone.png").symlink_to("nowhere.png")
    words = "5 files passed over: 2 HEIC (pip install 'lowlight-ext[heif]'), 1 linked to nothing, 1 .mp4, 1 .txt"
    result = run("in", "-o", "out")
    assert result.exit_code == 1
    assert f"no pictures in this folder; --recursive looks into the folders in it; {words}" in result.output
    photo("in/c.png")
    result = run("in", "-o", "out")
    assert result.exit_code == 0
    assert f"{words}." in result.output


def test_raw_files_without_the_extra(run, monkeypatch):
    """The JPEG of a pair is taken where nothing reads the raw file."""
    monkeypatch.setattr(listing, "find_spec", lambda name: None)
    photograph("in/a.dng")
    photo("in/a.jpg")
    result = run("in", "-o", "out")
    assert files("out") == ["a.jpg"]
    assert "1 file passed over: 1 raw (pip install 'lowlight-ext[raw]')." in result.output


def test_names_that_meet_are_kept_apart(run):
    photograph("in/a.dng")
    photo("in/a.png", 10)
    photo("in/a.gif", 20)
    assert run("in", "-o", "out").exit_code == 0
    assert files("out") == ["a.png", "a_dng.png", "a_gif.png"]
    assert read_picture("out/a.png").rgb.max() == pytest.approx((10 / 255) ** 0.5, abs=1 / 255)


def test_format_and_quality(run):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 60, (64, 64, 3), dtype=np.uint8))
    Path("in").mkdir()
    for name in ("a.png", "b.jpg", "c.webp"):
        image.save(f"in/{name}")
    photograph("in/d.dng")
    assert run("in", "-o", "out", "--format", "JPG", "--quality", 30).exit_code == 0
    assert files("out") == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    run("in", "-o", "fine", "--format", "jpg")
    for name in files("out"):
        assert Path("out", name).stat().st_size < 0.7 * Path("fine", name).stat().st_size
    # a format without loss takes no quality, and is written all the same
    assert run("in/a.png", "-o", "p.png", "--quality", 30).exit_code == 0


def test_lossless_webp_stays_lossless(run):
    array = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(array).save("a.webp", lossless=True)
    Image.fromarray(array).save("b.webp", quality=80)
    for name, lossless in (("a.webp", True), ("b.webp", False)):
        assert read_picture(name).lossless == lossless
        write_picture(f"again_{name}", read_picture(name))
    assert np.array_equal(np.asarray(Image.open("again_a.webp")), array)
    assert run("a.webp", "-o", "out/").exit_code == 0
    assert read_picture("out/a.webp").lossless
    run("a.webp", "-o", "out/", "--quality", 80, "--overwrite")
    assert not read_picture("out/a.webp").lossless


@pytest.mark.parametrize("suffix", [".avif", ".heic", ".jxl"])
def test_formats_of_plugins(run, suffix):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    for module in {".heic": ["pillow_heif"], ".jxl": ["pillow_jxl"]}.get(suffix, []):
        pytest.importorskip(module, reason=f"no {module}")
    exif = Image.Exif()
    exif[271], exif[274] = "Lantern", 6
    from lowlight.files.formats import FORMATS, missing_reader

    assert missing_reader(FORMATS[suffix]) is None
    array = np.zeros((32, 48, 3), np.uint8)
    array[:, :24] = 90
    Image.fromarray(array).save(f"a{suffix}", exif=exif.tobytes())
    assert run(f"a{suffix}", "-o", "out/").exit_code == 0
    bright = read_picture(f"out/a{suffix}")
    # turned once, and only once
    assert bright.rgb.shape == (48, 32, 3)
    assert bright.rgb[10, 10, 0] == pytest.approx((90 / 255) ** 0.5, abs=0.03)
    assert bright.rgb[40, 10, 0] == pytest.approx(0, abs=0.03)


def test_an_unreadable_format_says_what_to_install(tmp_path, monkeypatch):
    from lowlight.files import formats

    monkeypatch.setattr(formats, "missing_reader", lambda name: "pip install it" if name == "HEIF" else None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(formats.PictureError, match=re.escape("a.heic: a HEIC picture: pip install it")):
        read_picture(tmp_path / "a.heic")
