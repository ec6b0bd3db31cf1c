"""A raw photograph exposed longer: ratio and gain by hand, what comes out as picture and as DNG, clear errors."""

import importlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from raw_pictures import BAYER, raw_picture, real_raw, scene

import lowlight
from lowlight import enhance_raw
from lowlight.cameras.cameras import CameraError, shipped_cameras
from lowlight.expose import reference_ratio
from lowlight.files.pictures import PictureError, read_picture
from lowlight.raw.automatic import AUTO_LEVEL, automatic_ratio
from lowlight.raw.dng import write_dng
from lowlight.raw.exif import Shot
from lowlight.raw.files import denormalise, normalise, read_raw
from lowlight.raw.render import postprocess, render
from lowlight.systems.base import RawSystem
from lowlight.systems.exposurediffusion import unet as exposure_unet
from lowlight.systems.exposurediffusion.network import published
from lowlight.systems.exposurediffusion.system import ExposureDiffusion

pytest.importorskip("exifread", reason="no exifread: pip install 'lowlight-ext[raw]'")
rawpy = pytest.importorskip("rawpy", reason="no rawpy: pip install 'lowlight-ext[raw]'")

A7S2 = {"make": "SONY", "model": "ILCE-7SM2"}


class Wire(RawSystem):
    """A system for raw whose answer is what it was given."""

    device = torch.device("cpu")
    dtype = torch.float32
    config = SimpleNamespace(steps=3)

    def enhance_tensor(self, packed, **told):
        self.told = told
        return packed


class Gamma:
    """A system for sRGB with an answer one can compute."""

    device = torch.device("cpu")
    dtype = torch.float32

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0):
        return low.sqrt()


def dark(ratio=50.0, **fields):
    """A photograph `ratio` times too dark."""
    mosaic = (800 + (scene(60, 80) - 800.0) / ratio).astype(np.uint16)
    return raw_picture(BAYER[1], mosaic, **A7S2 | fields)


@pytest.fixture
def photograph(tmp_path):
    write_dng(tmp_path / "dark.dng", dark())
    return tmp_path / "dark.dng"


def test_a_photograph_is_exposed_as_the_system_alone_would(photograph):
    torch.manual_seed(0)
    system = ExposureDiffusion(published("unet", width=2)).eval()
    result = enhance_raw(photograph, system, ratio=90, steps=4, seed=7)
    # a line through Kmin at ISO 100 and Kmax at 6400
    camera = shipped_cameras()["SonyA7S2"]
    K = camera.Kmin + (1600 - 100) / 6300 * (camera.Kmax - camera.Kmin)
    np.testing.assert_allclose(result.K, K, rtol=1e-12)
    short = torch.from_numpy(np.clip(normalise(dark()) * np.float32(90), 0, 1))[None]
    # some of it is white then
    assert short.max() == 1
    wanted = system.enhance_tensor(short, ratio=90, K=K, steps=4, seed=7)[0].numpy()
    assert np.array_equal(result.packed, wanted)
    assert (result.camera, result.steps, result.protocol) == ("SonyA7S2", 4, "blind")
    assert "blind protocol" in str(result)
    assert "4 network calls" in str(result)
    again = enhance_raw(read_raw(photograph), system, ratio=90, steps=4, seed=8)
    assert not np.array_equal(again.packed, wanted)


def test_the_own_number_of_network_calls(photograph):
    system = Wire()
    assert enhance_raw(photograph, system, ratio=2).steps == 3
    assert system.told["steps"] is None
    assert enhance_raw(photograph, system, ratio=2, steps=1).steps == 1
    assert system.told["steps"] == 1


@pytest.mark.parametrize("suffix", [".dng", ".jpg"])
def test_the_ratio_of_a_reference(tmp_path, photograph, suffix):
    """ISO 3200 for 2 s against ISO 1600 for 0.04 s."""
    path = tmp_path / f"reference{suffix}"
    if suffix == ".dng":
        write_dng(path, dark(iso=3200.0, exposure=2.0))
    else:
        exif = Image.Exif()
        exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 2.0, ExifTags.Base.ISOSpeedRatings: 3200}
        Image.new("RGB", (8, 8)).save(path, exif=exif)
    assert enhance_raw(photograph, Wire(), reference=path).ratio == pytest.approx(100, rel=1e-6)


def test_references_that_give_no_ratio(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.jpg")
    for name, message in (("plain.jpg", "does not say ISO and exposure time"), ("none.jpg", "no such file")):
        with pytest.raises(PictureError, match=message):
            reference_ratio(tmp_path / name, dark())
    with pytest.raises(PictureError, match="exposed less than the photograph"):
        reference_ratio(Shot(100, 0.04), dark())
    with pytest.raises(PictureError, match="photograph does not say"):
        reference_ratio(Shot(100, 0.04), dark(exposure=None))


@pytest.mark.parametrize("lamps", [0, 3])
def test_the_automatic_ratio_brings_the_mean_to_its_level(lamps):
    picture = dark(40.0)
    picture.mosaic[: 2 * lamps] = 16383
    ratio = automatic_ratio(picture)
    assert np.clip(normalise(picture).astype(np.float64) * ratio, 0, 1).mean() == pytest.approx(AUTO_LEVEL, rel=1e-5)
    assert 1 < ratio < 300
    assert enhance_raw(picture, Wire()).ratio == ratio


def test_the_ends_of_the_automatic_ratio():
    assert automatic_ratio(dark(1.0)) == 1
    assert automatic_ratio(dark(1e4)) == 300
    assert automatic_ratio(dark(1e4), limit=20) == 20
    assert automatic_ratio(dark(40.0), level=0.3) > automatic_ratio(dark(40.0), level=0.2)
    with pytest.raises(PictureError, match="brighter than black"):
        automatic_ratio(raw_picture(BAYER[0], np.full((8, 8), 800, np.uint16)))
    for wrong in ({"level": 1.0}, {"level": float("nan")}, {"limit": 0.5}):
        with pytest.raises(ValueError, match="level must lie in"):
            automatic_ratio(dark(), **wrong)


def test_the_gain_of_a_published_camera_by_name(photograph):
    camera = shipped_cameras()["NikonD850"]
    result = enhance_raw(photograph, Wire(), ratio=9, camera="nikond850", iso=100)
    assert (result.K, result.camera) == (pytest.approx(camera.Kmin), "NikonD850")


def test_the_gain_of_ones_own_camera_is_in_numbers_of_its_files():
    """12 bits less black: a number holds 15583 / 3839 as many electrons as one of the published cameras."""
    own = replace(shipped_cameras()["SonyA7S2"], name="own", Kmin=0.25, Kmax=16.0)
    mosaic = np.full((8, 8), 300, np.uint16)
    picture = raw_picture(BAYER[0], mosaic, black=np.full(4, 256, np.float32), white=4095.0, iso=100.0)
    result = enhance_raw(picture, Wire(), ratio=2, camera=own)
    np.testing.assert_allclose(result.K, 0.25 * 15583 / 3839, rtol=1e-9)


def test_cameras_and_gains_that_are_not_known():
    for model in ("Lantern L1", None):
        assert enhance_raw(dark(model=model), Wire(), ratio=2).camera == "mean of 5 cameras at ISO 1600"
        with pytest.raises(CameraError, match=r"neither its camera nor its ISO is known.*NikonD850.*--iso"):
            enhance_raw(dark(model=model, iso=None), Wire(), ratio=2)
    with pytest.raises(CameraError, match="does not say its ISO"):
        enhance_raw(dark(iso=None), Wire(), ratio=2)
    with pytest.raises(CameraError, match="must be above 0"):
        enhance_raw(dark(), Wire(), ratio=2, iso=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ratio": 0.5}, "ratio must be 1 or more, got 0.5"),
        ({"ratio": float("nan")}, "ratio must be 1 or more, got nan"),
        ({"ratio": 2, "reference": Shot(1, 1)}, "not both"),
        ({"steps": 0}, "steps must be 1 to 10, got 0"),
        ({"steps": 11}, "steps must be 1 to 10, got 11"),
        ({"device": "cpu"}, "this one is already loaded"),
        ({"model": Gamma()}, "Gamma works on sRGB pictures"),
        ({"photograph": raw_picture((0, 0), **A7S2)}, "X-Trans"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        enhance_raw(**{"photograph": dark(), "model": Wire(), "ratio": 2} | wrong)


def test_files_that_are_no_raw(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    (tmp_path / "p.arw").write_bytes(b"not a raw file")
    for name, message in (("p.png", "an sRGB picture"), ("none.png", "no such file"), ("p.arw", "raw file")):
        with pytest.raises(PictureError, match=message):
            enhance_raw(tmp_path / name, Wire(), ratio=2)


def test_a_network_that_overflows_is_named():
    class Overflows(Wire):
        def enhance_tensor(self, packed, **told):
            return packed / 0

    with pytest.raises(RuntimeError, match=r"NaN or infinity.*float32"):
        enhance_raw(dark(), Overflows(), ratio=2)


def exposed(path, size=(61, 83)):
    """A photograph of odd size that was exposed, and the file it lies in."""
    picture = raw_picture(BAYER[2], scene(*size), orientation=6, **A7S2)
    write_dng(path, picture)
    return enhance_raw(path, Wire(), ratio=1), picture


def test_the_dng_holds_what_the_network_gave(tmp_path):
    """In 16 bits, whatever the camera's; upright, colours and exposure as taken."""
    result, taken = exposed(tmp_path / "in.dng")
    result.packed += np.float32(1e-5) * (result.packed < 0.9)
    result.save(tmp_path / "out.dng")
    written = read_raw(tmp_path / "out.dng")
    assert np.abs(normalise(written) - result.packed).max() <= 0.5 / 65535 + 1e-7
    assert written.mosaic.shape == taken.mosaic.shape
    assert (written.orientation, written.iso, written.model) == (6, 1600, "ILCE-7SM2")
    np.testing.assert_allclose(written.white_balance, taken.white_balance, rtol=1e-6)
    with rawpy.imread(str(tmp_path / "out.dng")) as raw:
        assert raw.postprocess(use_camera_wb=True).shape == (83, 61, 3)


def test_the_picture_is_rendered_by_either(tmp_path):
    result, taken = exposed(tmp_path / "in.dng")
    assert result.save(tmp_path / "own.png") == ()
    own = read_picture(tmp_path / "own.png")
    assert own.bits == 16
    # LibRaw knows this camera, and takes its own matrix instead of the file's
    wanted = render(result.packed, read_raw(tmp_path / "in.dng")).transpose(1, 2, 0)
    assert np.abs(own.rgb - wanted).max() <= 0.5 / 65535 + 1e-6
    result.save(tmp_path / "libraw.tif", "libraw")
    by_libraw = postprocess(tmp_path / "in.dng", denormalise(result.packed, taken)).transpose(1, 2, 0)
    assert np.abs(read_picture(tmp_path / "libraw.tif").rgb - by_libraw).max() <= 0.5 / 65535 + 1e-6
    with pytest.raises(ValueError, match="renderer must be one of own, libraw"):
        result.save(tmp_path / "x.png", "gimp")
    with pytest.raises(ValueError, match="not read from one"):
        replace(result, path=None).picture("libraw")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_pictures_say_how_they_were_taken(tmp_path, suffix):
    result, _ = exposed(tmp_path / "in.dng")
    assert result.save(tmp_path / f"out{suffix}") == ()
    exif = Image.Exif()
    exif.load(read_picture(tmp_path / f"out{suffix}").exif)
    shot = exif.get_ifd(ExifTags.IFD.Exif)
    assert (exif[ExifTags.Base.Make], exif[ExifTags.Base.Model]) == ("SONY", "ILCE-7SM2")
    assert (shot[ExifTags.Base.ISOSpeedRatings], float(shot[ExifTags.Base.ExposureTime])) == (1600, 0.04)
    nothing = dict.fromkeys(("iso", "exposure", "make", "model"))
    assert replace(result, raw=replace(result.raw, **nothing)).picture().exif is None


def test_a_real_photograph(tmp_path):
    """10 bits of another structure than TIFF, no matrix, no EXIF's model: camera by name."""
    result = enhance_raw(real_raw("CRW_0101.CRW"), Wire(), ratio=4, camera="CanonEOS70D")
    result.save(tmp_path / "out.dng")
    assert np.abs(normalise(read_raw(tmp_path / "out.dng")) - result.packed).max() < 1e-5


def test_systems_for_srgb_get_raw_files_developed(photograph):
    bright = lowlight.enhance(photograph, Gamma())
    wanted = render(normalise(dark()), read_raw(photograph)).transpose(1, 2, 0) ** 0.5
    assert np.abs(np.asarray(bright) / 255 - wanted).max() < 0.6 / 255
    assert bright.size == (80, 60)


def test_the_door_for_raw_is_public():
    assert lowlight.enhance_raw is importlib.import_module("lowlight.expose").enhance_raw
    assert "enhance_raw" in lowlight.__all__


@pytest.mark.parametrize("height", [1008, 1024])
def test_large_pictures_are_done_in_strips_alike(monkeypatch, height):
    """Weights of such a size that an input row 94 rows away shows in the output."""
    torch.manual_seed(0)
    network = exposure_unet.ExposureUNet(8, 9, 2).eval().to(torch.float64).requires_grad_(False)
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5)
    x = torch.rand(1, 8, height, 32, dtype=torch.float64)
    heights = []
    whole = network._whole
    monkeypatch.setattr(exposure_unet, "_STRIP", 1)
    monkeypatch.setattr(network, "_whole", lambda strip: heights.append(strip.shape[-2]) or whole(strip))
    with torch.no_grad():
        assert (network(x) - whole(x)).abs().max() < 1e-12
    assert len(heights) > 3
    assert max(heights) < 400
    heights.clear()
    # gradients keep all features anyway
    network(x)
    assert heights == [height]
