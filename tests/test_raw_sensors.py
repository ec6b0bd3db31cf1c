"""Raw files without a filter array: monochrome sensors, linear DNG, and what only LibRaw develops."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from raw_pictures import BAYER, raw_picture, scene, write_linear

from lowlight.cameras.calibration_frames import read_frame
from lowlight.expose import enhance_raw, gain_of
from lowlight.files.pictures import PictureError, read_picture
from lowlight.raw.develop import develop, read_developed
from lowlight.raw.dng import write_dng
from lowlight.raw.files import normalise, read_raw
from lowlight.raw.packing import unpack
from lowlight.raw.sensors import KINDS, OtherSensorError, sensor_of

exifread = pytest.importorskip("exifread", reason="no exifread: pip install 'lowlight-ext[raw]'")
pytest.importorskip("rawpy", reason="no rawpy: pip install 'lowlight-ext[raw]'")


def monochrome(path, mosaic=None, **fields):
    write_dng(path, raw_picture(BAYER[0], mosaic, **{"kind": "grey"} | fields))


def waves(height=40, width=48):
    """[H, W, 3] uint16: three planes that are nowhere alike."""
    return np.stack([scene(height, width, black=black, noise=0) for black in (800, 1200, 2000)], axis=2)


class Counting:
    """In the place of the raw model: what it is given, twice as bright; the arguments are kept."""

    def __init__(self):
        import torch

        from lowlight.systems.exposurediffusion.network import published
        from lowlight.systems.exposurediffusion.system import ExposureDiffusion

        torch.manual_seed(0)
        self.system = ExposureDiffusion(published("unet", width=2))

    def __call__(self, monkeypatch):
        def enhance_tensor(low, **told):
            self.low, self.told = low, told
            return low

        monkeypatch.setattr(self.system, "enhance_tensor", enhance_tensor)
        return self.system


@pytest.mark.parametrize("size", [(60, 80), (61, 83)])
def test_a_monochrome_dng_is_read_as_it_was_written(tmp_path, size):
    black = np.float32([800, 800.25, 799.5, 801])
    monochrome(tmp_path / "p.dng", scene(*size), black=black, orientation=8)
    with pytest.raises(OtherSensorError, match=r"p\.dng: no mosaic of red, green and blue \(of a monochrome sensor\)"):
        read_raw(tmp_path / "p.dng")
    picture = read_raw(tmp_path / "p.dng", KINDS)
    assert picture.kind == "grey"
    assert np.array_equal(picture.mosaic, scene(*size))
    np.testing.assert_allclose(picture.black, black, atol=1e-3)
    assert (picture.white, picture.iso, picture.orientation) == (16383, 1600, 8)
    with open(tmp_path / "p.dng", "rb") as file:
        tags = exifread.process_file(file)
    # LinearRaw, and no filter array
    assert tags["Image PhotometricInterpretation"].values == [34892]
    assert not any("CFA" in name for name in tags)
    # gains and a matrix that the file may hold are of no use
    assert picture.white_balance is picture.camera_to_xyz is None


def test_a_monochrome_picture_stays_grey_and_sharp(tmp_path):
    """Nothing is interpolated: every pixel is its own number's."""
    monochrome(tmp_path / "p.dng", orientation=6)
    picture = read_developed(tmp_path / "p.dng")
    want = np.rot90(((scene(60, 80) - 800.0) / (16383 - 800)).clip(0, 1) ** (1 / 2.2), -1)
    assert (picture.grey, picture.bits, picture.notes) == (True, 16, ("of a monochrome sensor",))
    for channel in range(3):
        np.testing.assert_allclose(picture.rgb[..., channel], want, atol=1e-6)


@pytest.mark.parametrize("renderer", ["own", "libraw"])
def test_a_monochrome_sensor_by_the_raw_model(tmp_path, monkeypatch, renderer):
    model = Counting()
    monochrome(tmp_path / "p.dng", (800 + (scene(60, 80) - 800.0) / 20).astype(np.uint16))
    result = enhance_raw(tmp_path / "p.dng", model(monkeypatch), ratio=20, camera="SonyA7S2")
    raw = read_raw(tmp_path / "p.dng", KINDS)
    np.testing.assert_allclose(model.low[0].numpy(), (normalise(raw) * 20).clip(0, 1), atol=1e-6)
    assert str(result).endswith("blind protocol; of a monochrome sensor")
    result.save(tmp_path / "bright.png", renderer)
    bright = read_picture(tmp_path / "bright.png")
    assert (bright.grey, bright.bits, bright.rgb.shape) == (True, 16, (60, 80, 3))
    if renderer == "own":
        want = unpack(result.packed, raw.pattern) ** (1 / 2.2)
        np.testing.assert_allclose(bright.rgb[..., 0], want, atol=1e-4)
    result.save(tmp_path / "bright.dng")
    again = read_raw(tmp_path / "bright.dng", KINDS)
    assert (again.kind, again.white) == ("grey", 65535)
    np.testing.assert_allclose(normalise(again), result.packed, atol=1e-5)


def test_a_monochrome_sensor_can_be_calibrated(tmp_path):
    monochrome(tmp_path / "p.dng")
    assert read_frame(tmp_path / "p.dng", "iso800/p.dng").mosaic.shape == (60, 80)
    write_linear(tmp_path / "linear.dng", pytest.MonkeyPatch(), waves())
    with pytest.raises(OtherSensorError, match="already demosaiced"):
        read_frame(tmp_path / "linear.dng", "iso800/linear.dng")


def test_a_linear_dng_becomes_a_mosaic_where_that_is_asked_for(tmp_path, monkeypatch):
    values, black = waves(), (100.25, 200.5, 400)
    write_linear(tmp_path / "p.dng", monkeypatch, values, black)
    with pytest.raises(OtherSensorError, match=r"p\.dng: no mosaic of red, green and blue \(already demosaiced\)"):
        read_raw(tmp_path / "p.dng")
    picture = read_raw(tmp_path / "p.dng", KINDS)
    assert (picture.kind, picture.pattern.tolist()) == ("linear", BAYER[0])
    for channel, (y, x, colour) in enumerate(((0, 0, 0), (0, 1, 1), (1, 1, 2), (1, 0, 1))):
        level = (values[y::2, x::2, colour] - black[colour]) / (65535 - black[colour])
        np.testing.assert_allclose(normalise(picture)[channel], level.clip(0, 1), atol=1e-6)


def test_a_linear_dng_of_floating_point(tmp_path, monkeypatch):
    """As what merges exposures writes it: LibRaw makes whole numbers of it."""
    values = np.random.default_rng(0).random((40, 48, 3), np.float32) / 4
    write_linear(tmp_path / "p.dng", monkeypatch, values, white=1.0)
    packed = normalise(read_raw(tmp_path / "p.dng", KINDS))
    assert packed.shape == (4, 20, 24)
    np.testing.assert_allclose(packed[2], values[1::2, 1::2, 2], atol=1e-4)
    # a mean of 1 / 8 in linear light
    assert 0.2 < read_developed(tmp_path / "p.dng").rgb.mean() < 0.5


def test_a_linear_dng_by_the_raw_model(tmp_path, monkeypatch):
    model = Counting()
    write_linear(tmp_path / "p.dng", monkeypatch, waves(), model="ILCE-7SM2")
    result = enhance_raw(tmp_path / "p.dng", model(monkeypatch), ratio=2)
    assert model.low.shape == (1, 4, 20, 24)
    assert "(SonyA7S2)" in str(result)
    assert str(result).endswith("demosaiced before, made a mosaic again: its noise may not be the sensor's")
    assert result.picture().rgb.shape == (40, 48, 3)
    with pytest.raises(PictureError, match=r"p\.dng: was demosaiced before, and LibRaw renders mosaics"):
        result.picture("libraw")
    result.save(tmp_path / "bright.dng")
    assert read_raw(tmp_path / "bright.dng").pattern.tolist() == BAYER[0]


def test_a_linear_dng_s_own_noise_comes_before_the_calibration_of_its_camera():
    said = {"model": "ILCE-7SM2", "noise": np.array([[2e-5, 0.0]])}
    assert gain_of(raw_picture(BAYER[0], **said)).source == "SonyA7S2"
    linear = raw_picture(BAYER[0], kind="linear", **said)
    assert gain_of(linear).source == "the file's noise profile"
    assert gain_of(linear, "SonyA7S2").source == "SonyA7S2"
    assert gain_of(replace(linear, noise=None)).source == "SonyA7S2"


def test_a_linear_dng_is_developed_whole_and_as_bright_as_its_mosaic(tmp_path, monkeypatch):
    red, green, blue = colour = (4000, 6000, 3000)
    write_linear(tmp_path / "linear.dng", monkeypatch, np.tile(np.uint16(colour), (40, 48, 1)))
    mosaic = np.tile(np.uint16([[red, green], [green, blue]]), (20, 24))
    write_dng(tmp_path / "bayer.dng", raw_picture(BAYER[0], mosaic, white=65535.0, black=np.zeros(4, np.float32)))
    linear, bayer = (read_developed(tmp_path / f"{name}.dng") for name in ("linear", "bayer"))
    assert (linear.bits, linear.grey, linear.notes) == (
        16, False, ("developed by LibRaw: no mosaic of red, green and blue (already demosaiced)",)
    )  # fmt: skip
    # the power of 1 / 2.2 is not quite sRGB's curve
    np.testing.assert_allclose(linear.rgb[20, 20], bayer.rgb[20, 20], atol=0.012)


@pytest.mark.parametrize(
    ("kind", "colours", "is_dng"), [("Stack", 3, False), ("Stack", 4, True), ("Flat", 4, True), ("Unknown", 3, True)]
)
def test_small_raw_and_foveon_are_left_to_libraw(kind, colours, is_dng):
    """Of which no file can be written here: as rawpy shows Canon's sRAW and Nikon's small NEF (Stack), Sigma's X3F."""
    planes = np.zeros((4, 6, 4), np.uint16)
    raw = SimpleNamespace(
        raw_type=SimpleNamespace(name=kind), num_colors=colours, raw_pattern=None, raw_image_visible=planes
    )
    with pytest.raises(OtherSensorError, match="small raw, Foveon or other colours"):
        sensor_of(raw, is_dng, KINDS)


def test_what_is_rendered_of_a_mosaic_stays_colour():
    picture = develop(normalise(raw_picture(BAYER[0])), raw_picture(BAYER[0]))
    assert (picture.grey, picture.notes) == (False, ())
