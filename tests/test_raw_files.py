"""Raw files: what is written as DNG is read by LibRaw as it was, real cameras' files, what EXIF says, clear errors."""

import io
import os
import struct
import sys

import numpy as np
import pytest
from PIL import Image, TiffTags
from raw_pictures import BAYER, TO_CAMERA, raw_picture, real_raw, scene

from lowlight.files.pictures import PictureError
from lowlight.raw import dng
from lowlight.raw.dng import write_dng
from lowlight.raw.exif import Shot, read_exif
from lowlight.raw.files import denormalise, normalise, read_raw

exifread = pytest.importorskip("exifread", reason="no exifread: pip install 'lowlight-ext[raw]'")
rawpy = pytest.importorskip("rawpy", reason="no rawpy: pip install 'lowlight-ext[raw]'")


@pytest.mark.parametrize("size", [(60, 80), (61, 83)])
@pytest.mark.parametrize("order", [*BAYER, (0, 0), (2, 5), (4, 1)], ids=str)
def test_a_dng_is_read_as_it_was_written(tmp_path, order, size):
    written = raw_picture(order, scene(*size), orientation=6)
    if len(written.pattern) == 2:
        written.black[:] = 800, 801, 802, 803
    write_dng(tmp_path / "p.dng", written)
    picture = read_raw(tmp_path / "p.dng")
    assert np.array_equal(picture.mosaic, written.mosaic)
    assert picture.pattern.tolist() == written.pattern.tolist()
    assert picture.black.tolist() == written.black.tolist()
    assert (picture.white, picture.iso, picture.exposure) == (16383, 1600, 0.04)
    assert (picture.make, picture.model, picture.orientation) == ("Lantern", "Lantern L1", 6)
    np.testing.assert_allclose(picture.white_balance, written.white_balance, rtol=1e-6)
    np.testing.assert_allclose(picture.camera_to_xyz, written.camera_to_xyz, rtol=1e-5, atol=1e-6)
    assert os.listdir(tmp_path) == ["p.dng"]


def test_the_tags_are_those_of_the_standard(tmp_path):
    """Seen by a reader that knows nothing of mosaics: both greens are 1, black goes by place, neutral is 1 / gains."""
    write_dng(tmp_path / "p.dng", raw_picture(BAYER[3], black=np.array([800, 801, 802, 803], np.float32)))
    with open(tmp_path / "p.dng", "rb") as file:
        tags = {name.removeprefix("Image "): tag.values for name, tag in exifread.process_file(file).items()}
    assert tags["CFAPattern"] == [2, 1, 1, 0]
    assert tags["Tag 0xC612"][:2] == [1, 4]
    assert tags["BlackLevel"] == [802, 803, 801, 800]
    np.testing.assert_allclose([float(v) for v in tags["Tag 0xC628"]], [1 / 2.1, 1, 1 / 1.5], rtol=1e-6)
    np.testing.assert_allclose([float(v) for v in tags["Tag 0xC621"]], TO_CAMERA.ravel(), atol=1e-7)


def test_black_levels_go_with_colours_not_places(tmp_path):
    """The trap of LibRaw's list: the oracle is its own subtraction, seen through a picture of black alone."""
    written = raw_picture(BAYER[2], np.zeros((32, 32), np.uint16), black=np.array([100, 200, 300, 400], np.float32))
    written.mosaic[0::2, 0::2], written.mosaic[0::2, 1::2] = 400, 300
    written.mosaic[1::2, 0::2], written.mosaic[1::2, 1::2] = 100, 200
    write_dng(tmp_path / "p.dng", written)
    picture = read_raw(tmp_path / "p.dng")
    assert not normalise(picture).any()
    with rawpy.imread(os.fspath(tmp_path / "p.dng")) as raw:
        assert not raw.postprocess(no_auto_bright=True, output_bps=16).any()


@pytest.mark.parametrize("margins", [(2, 4), (1, 0), (3, 5)])
def test_the_pattern_begins_at_the_visible_part(tmp_path, monkeypatch, margins):
    """Masked rows and columns are cut off; LibRaw rounds odd ones up."""
    frame, mosaic = dng._frame, scene(42, 64)
    area = (50829, TiffTags.LONG, (*margins, 42, 64))
    monkeypatch.setattr(dng, "_frame", lambda *of: [*frame(*of), area])
    write_dng(tmp_path / "p.dng", raw_picture(BAYER[0], mosaic))
    picture = read_raw(tmp_path / "p.dng")
    top, left = (margin + margin % 2 for margin in margins)
    assert np.array_equal(picture.mosaic, mosaic[top:, left:])
    assert picture.pattern.tolist() == np.roll(BAYER[0], (margins[0] % 2, margins[1] % 2), (0, 1)).tolist()


def test_what_is_not_known_is_none(tmp_path):
    nothing = dict.fromkeys(("iso", "exposure", "white_balance", "camera_to_xyz", "make", "model"))
    write_dng(tmp_path / "p.dng", raw_picture(BAYER[0], **nothing))
    picture = read_raw(tmp_path / "p.dng")
    assert {name: getattr(picture, name) for name in nothing} == nothing


@pytest.mark.parametrize("iso", [1.0, 50.0, 65534.0, 102400.0, 409600.0])
def test_iso_beyond_16_bits(tmp_path, iso):
    write_dng(tmp_path / "p.dng", raw_picture(BAYER[0], iso=iso))
    assert read_raw(tmp_path / "p.dng").iso == iso


def jpeg(iso_in_main):
    exif = Image.Exif()
    exif[271], exif[272] = "Lantern", "L1"
    exif.get_ifd(0x8769)[33434] = 0.125
    (exif if iso_in_main else exif.get_ifd(0x8769))[34855] = 800
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("iso_in_main", [False, True])
def test_exif_in_either_directory_and_within_raf(tmp_path, iso_in_main):
    plain = jpeg(iso_in_main)
    raf = b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">II", 160, len(plain)) + bytes(68) + plain + bytes(99)
    for name, data in (("p.jpg", plain), ("p.raf", raf)):
        (tmp_path / name).write_bytes(data)
        assert read_exif(tmp_path / name) == Shot(800, 0.125, "Lantern", "L1")


def test_damaged_exif_says_nothing(tmp_path):
    (tmp_path / "p.jpg").write_bytes(jpeg(False)[:60])
    (tmp_path / "p.raf").write_bytes(b"FUJIFILMCCD-RAW 0201")
    for name in ("p.jpg", "p.raf", "not there"):
        assert read_exif(tmp_path / name) == Shot()


@pytest.mark.parametrize("order", [*BAYER, (1, 4)], ids=str)
def test_normalised_to_one_and_back(order):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    picture = raw_picture(order, every, white=64000.0)
    packed = normalise(picture)
    assert packed.dtype == np.float32
    assert (packed.min(), packed.max()) == (0, 1)
    if len(packed) == 4:
        # red at its place of the first cell, the published formula
        y, x = np.argwhere(picture.pattern == 0)[0]
        expected = (every[y::2, x::2].astype(float) - 800) / (64000 - 800)
        np.testing.assert_allclose(packed[0], expected.clip(0, 1), atol=1e-7)
    back = denormalise(packed, picture)
    assert back.dtype == np.uint16
    if len(packed) == 4:
        assert np.array_equal(back[10:240], every[10:240])
        assert (back[0].min(), back[255].max()) == (800, 64000)
    else:
        # what fills no cell repeats its neighbours
        assert np.array_equal(back[10:240, 6:240], every[10:240, 6:240])


def test_denormalise_refuses_nan_and_another_size():
    picture = raw_picture(BAYER[0])
    packed = normalise(picture)
    with pytest.raises(ValueError, match="does not come of"):
        denormalise(packed[:, 1:], picture)
    packed[0, 0, 0] = np.nan
    with pytest.raises(PictureError, match="NaN"):
        denormalise(packed, picture)


@pytest.mark.parametrize(
    ("name", "facts"),
    [("CRW_0101.CRW", ((1720, 2312), [[0, 1], [3, 2]], 32, 1023, 50)),
     ("DC0008L.KDC", ((512, 768), [[1, 0], [2, 3]], 0, 16383, 84))],
)  # fmt: skip
def test_real_cameras(tmp_path, name, facts):
    picture = read_raw(real_raw(name))
    found = picture.mosaic.shape, picture.pattern.tolist(), picture.black.tolist(), picture.white, picture.iso
    assert found == (*facts[:2], [facts[2]] * 4, *facts[3:])
    assert (picture.camera_to_xyz is None) == name.endswith("KDC")
    write_dng(tmp_path / "p.dng", picture)
    again = read_raw(tmp_path / "p.dng")
    assert np.array_equal(again.mosaic, picture.mosaic)
    assert again.exposure == pytest.approx(picture.exposure, abs=1e-6)
    np.testing.assert_allclose(again.white_balance, picture.white_balance, rtol=1e-6)


@pytest.mark.parametrize("part", [0, 100, 0.2, 0.99])
def test_truncated(tmp_path, part):
    path = tmp_path / "p.dng"
    write_dng(path, raw_picture(BAYER[0]))
    data = path.read_bytes()
    path.write_bytes(data[: part if isinstance(part, int) else int(part * len(data))])
    with pytest.raises(PictureError, match=r"p\.dng: damaged or truncated raw file \("):
        read_raw(path)


@pytest.mark.parametrize("part", [0.5, None])
def test_a_damaged_file_of_a_camera(tmp_path, part):
    data = bytearray(real_raw("CRW_0117.CRW").read_bytes())
    places = np.random.default_rng(1).integers(20000, len(data), 300)
    for place in places if part is None else ():
        data[place] ^= 0xA5
    (tmp_path / "p.crw").write_bytes(data[: len(data) if part is None else int(part * len(data))])
    with pytest.raises(PictureError, match=r"damaged|no raw file"):
        read_raw(tmp_path / "p.crw")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", None])
def test_no_raw_file(tmp_path, format):
    if format:
        Image.new("RGB", (30, 30)).save(tmp_path / "p.dng", format)
    else:
        (tmp_path / "p.dng").write_text("not a picture" * 100)
    with pytest.raises(PictureError, match=r"p\.dng: no raw file"):
        read_raw(tmp_path / "p.dng")


def test_missing_file_folder_and_extra(tmp_path, monkeypatch):
    with pytest.raises(PictureError, match="no such file"):
        read_raw(tmp_path / "p.dng")
    with pytest.raises(PictureError, match="folder"):
        read_raw(tmp_path)
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(PictureError, match=r"lowlight-ext\[raw\]"):
        read_raw(tmp_path / "p.dng")


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"mosaic": np.zeros((4, 4), np.float32)}, "uint16"), ({"mosaic": np.zeros((1, 4, 4), np.uint16)}, "uint16"),
     ({"white": 800.0}, "levels"), ({"white": 70000.0}, "levels"), ({"black": np.full(4, -1.0)}, "levels")],
)  # fmt: skip
def test_what_a_dng_cannot_hold(tmp_path, fields, words):
    with pytest.raises(PictureError, match=words):
        write_dng(tmp_path / "p.dng", raw_picture(BAYER[0], **fields))
    assert not os.listdir(tmp_path)
