"""More than 8 bits a sample where Pillow gives 8 or refuses: planes of TIFF, HEIC, AVIF."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from lowlight.files import colour
from lowlight.files.eight_bit import decode_rgb
from lowlight.files.heif import depth_of
from lowlight.files.pictures import PictureError, decode, quantise, read_picture


def planar(path, array, compression, order, **options):
    """By tifffile, which shares nothing with the reader."""
    if array.shape[2] == 4:
        options.setdefault("extrasamples", ["unassalpha"])
    if compression:
        options.setdefault("predictor", True)
    tifffile.imwrite(path, np.ascontiguousarray(array.transpose(2, 0, 1)), photometric="rgb", planarconfig="separate",
                     byteorder=order, compression=compression, **options)  # fmt: skip


@pytest.mark.parametrize("places", [{"rowsperstrip": 10}, {"tile": (16, 32)}, {"rowsperstrip": 37}])
@pytest.mark.parametrize(("compression", "order"), [(None, "<"), (None, ">"), ("zlib", "<"), ("zlib", ">")])
@pytest.mark.parametrize(("channels", "depth"), [(3, 16), (4, 16), (3, 8)])
def test_planes_of_tiff(tmp_path, channels, depth, compression, order, places):
    array = np.random.default_rng(channels).integers(0, 2**depth, (37, 50, channels)).astype(f"u{depth // 8}")
    planar(tmp_path / "p.tif", array, compression, order, **places)
    picture = read_picture(tmp_path / "p.tif")
    assert picture.bits == depth
    assert np.array_equal(quantise(picture.rgb, picture.alpha, picture.grey, depth), array)
    assert np.array_equal(decode_rgb(tmp_path / "p.tif"), np.rint(picture.rgb * 255))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_that_are_not_understood_are_refused_not_misread(tmp_path, compression):
    array = np.full((8, 9, 4), 700, np.uint16)
    planar(tmp_path / "p.tif", array, compression, "<", extrasamples=["assocalpha"])
    with pytest.raises(PictureError, match=r"p\.tif: 16-bit colour with premultiplied alpha"):
        read_picture(tmp_path / "p.tif")
    planar(tmp_path / "q.tif", array[..., :3], compression, "<", extratags=[(274, "H", 1, 6, True)])
    assert read_picture(tmp_path / "q.tif").rgb.shape == (9, 8, 3)


def heic(path, array, **options):
    pillow_heif = pytest.importorskip("pillow_heif", reason="no pillow-heif: pip install 'lowlight-ext[heif]'")
    mode = "RGB;16" if array.shape[2] == 3 else "RGBA;16"
    file = pillow_heif.from_bytes(mode, array.shape[1::-1], array.tobytes())
    file.save(path, quality=-1, chroma=444, **options)


def ramp(channels=3):
    """[32, 48, C] uint16 that rises by less than an 8-bit step from row to row."""
    return np.repeat(np.linspace(9000, 12000, 32)[:, None, None], 48, 1).repeat(channels, 2).astype(np.uint16)


@pytest.mark.parametrize("channels", [3, 4])
def test_heic_of_10_bits(tmp_path, channels):
    heic(tmp_path / "p.heic", ramp(channels))
    picture = read_picture(tmp_path / "p.heic")
    assert (picture.bits, picture.notes) == (16, ())
    assert np.abs(picture.rgb - ramp() / 65535).max() < 1.5 / 1023
    assert len(np.unique(picture.rgb[..., 1])) > 2 * len(np.unique(ramp() // 257))
    assert (picture.alpha is None) == (channels == 3)
    assert np.abs(decode_rgb(tmp_path / "p.heic") - picture.rgb * 255).max() < 1.01


def test_white_of_a_heic_is_white(tmp_path):
    heic(tmp_path / "p.heic", np.full((16, 16, 3), 65535, np.uint16))
    assert read_picture(tmp_path / "p.heic").rgb.max() == 1


def test_heic_in_pq_becomes_srgb(tmp_path):
    """58.1 % of PQ is diffuse white."""
    heic(tmp_path / "p.heic", np.full((16, 16, 3), round(0.5081 * 65535), np.uint16), color_primaries=9,
         transfer_characteristics=16, matrix_coefficients=9, full_range_flag=1)  # fmt: skip
    picture = read_picture(tmp_path / "p.heic")
    assert colour.linear(picture.rgb).mean() == pytest.approx(100 / 203, abs=0.02)
    assert "HDR written as sRGB" in picture.notes[0]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_avif_of_more_bits_says_that_they_are_lost():
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (9, 20, 30)).save(buffer, "AVIF")
    for flag, depth in ((0, 8), (0x40, 10), (0x60, 12)):
        data = bytearray(buffer.getvalue())
        data[data.index(b"av1C") + 6] |= flag
        with Image.open(buffer) as image:
            assert depth_of(image, io.BytesIO(data)) == depth
            notes = decode(image, io.BytesIO(data)).notes
        assert notes == (() if depth == 8 else (f"{depth} bits became 8, with which AVIF is read here",))
