"""Colour spaces: what the network sees is sRGB, what is written is the file's own space; oracle: littleCMS."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, features
from test_enhance import Gamma

from lowlight.data.sets.pairs import find_pairs
from lowlight.files import colour
from lowlight.files.eight_bit import decode_rgb
from lowlight.files.pictures import Picture, encode, read_picture, srgb_of, write_picture
from lowlight.files.profiles import hdr_to_srgb, made_profile
from lowlight.scoring.baselines import BASELINES
from lowlight.scoring.report import evaluate
from lowlight.scoring.srgb import baseline_methods, picture_samples
from lowlight.systems.brighten import enhance_picture
from lowlight.training.validation import Validator

ADOBE = made_profile(colour.ADOBE, colour.D65, gamma=colour.ADOBE_GAMMA)
P3 = made_profile(colour.P3, colour.D65, transfer=13)
WIDE = {"adobe": ADOBE, "p3": P3, "linear": made_profile(colour.SRGB, colour.D65, gamma=1.0),
        "709": made_profile(colour.BT2020, colour.D65, transfer=1)}  # fmt: skip
GREY = made_profile(colour.SRGB, colour.D65, gamma=1.8, grey=True)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def patches():
    """[72, 64, 3] uint8: colours of all the cube."""
    axis = np.linspace(0, 255, 16).astype(np.uint8)
    return np.stack(np.meshgrid(axis, axis, axis), -1).reshape(64, 64, 3)


def by_littlecms(array, source, target):
    profiles = [ImageCms.ImageCmsProfile(io.BytesIO(icc)) for icc in (source, target)]
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(array), *profiles, outputMode="RGB"))


@pytest.mark.parametrize("name", WIDE)
def test_to_srgb_as_littlecms(name):
    space = colour.space_of(WIDE[name])
    found = space.to_srgb(patches().astype(np.float32) / 255) * 255
    # half a step of rounding, and littleCMS's own arithmetic in 8 bits
    assert np.abs(found - by_littlecms(patches(), WIDE[name], SRGB)).max() < 1.6
    back = space.from_srgb(patches().astype(np.float32) / 255) * 255
    assert np.abs(back - by_littlecms(patches(), SRGB, WIDE[name])).max() < 1.6


@pytest.mark.parametrize("name", WIDE)
def test_back_and_forth_keeps_16_bits(name):
    space = colour.space_of(WIDE[name])
    srgb = np.random.default_rng(0).random((40, 30, 3)).astype(np.float32)
    inside = space.from_srgb(srgb)
    kept = ((inside > 0) & (inside < 1)).all(axis=2)
    assert kept.mean() > 0.5
    assert np.abs(space.to_srgb(inside) - srgb)[kept].max() < 0.5 / 65535 * 16
    assert np.abs(space.from_srgb(space.to_srgb(inside)) - inside)[kept].max() < 1 / 65535


def test_srgb_is_left_alone():
    assert colour.space_of(SRGB) is None
    assert colour.space_of(made_profile(colour.SRGB, colour.D65, transfer=13)) is None
    assert colour.space_of(None) is None


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_a_wide_gamut_picture_is_enhanced_in_srgb(tmp_path, suffix, bits):
    """A known curve on sRGB's values: the same picture in Display P3 gives the same colours, in P3 again."""
    srgb = np.full((8, 8, 3), (0.2, 0.1, 0.05), np.float32)
    stored = Picture(colour.space_of(P3).from_srgb(srgb), bits=bits, icc=P3)
    write_picture(tmp_path / f"p{suffix}", stored)
    bright = enhance_picture(Gamma(), read_picture(tmp_path / f"p{suffix}"))
    write_picture(tmp_path / f"q{suffix}", bright)
    back = read_picture(tmp_path / f"q{suffix}")
    assert back.icc == P3
    step = 1 / (65535 if bits == 16 and suffix in (".png", ".tif") else 255)
    lossy = 4 if suffix in (".jpg", ".webp") else 1
    np.testing.assert_allclose(srgb_of(back)[0], np.sqrt(srgb), atol=8 * step * lossy)


def test_strength_0_is_the_dark_picture_itself():
    stored = Picture(patches().astype(np.float32) / 255, icc=ADOBE)
    assert np.array_equal(enhance_picture(Gamma(), stored, strength=0.0).rgb, stored.rgb)


def test_colours_outside_of_srgb_are_said():
    green = Picture(np.tile(np.float32([0, 0.8, 0]), (4, 4, 1)), icc=P3)
    assert "100% of its pixels lie outside of sRGB" in enhance_picture(Gamma(), green).notes[0]
    assert enhance_picture(Gamma(), Picture(np.full((4, 4, 3), 0.2, np.float32), icc=P3)).notes == ()


def test_grey_profiles(tmp_path):
    dark = Picture(np.full((4, 4, 3), 0.3, np.float32), grey=True, icc=GREY)
    write_picture(tmp_path / "p.png", dark)
    read = read_picture(tmp_path / "p.png")
    light = (77 / 255) ** 1.8
    assert srgb_of(read)[0][0, 0, 0] == pytest.approx(1.055 * light ** (1 / 2.4) - 0.055, abs=1e-4)
    bright = enhance_picture(Gamma(), read)
    assert (bright.grey, bright.icc) == (True, GREY)


def test_a_profile_that_the_samples_cannot_have(tmp_path):
    """16-bit grey with alpha becomes RGBA in a TIFF: the picture looks the same without its profile."""
    alpha = np.ones((4, 4), np.float32)
    grey = Picture(np.full((4, 4, 3), 0.3, np.float32), alpha, True, 16, icc=GREY)
    for suffix in (".tif", ".bmp"):
        notes = write_picture(tmp_path / f"p{suffix}", grey)
        assert any("profile applied, not kept" in note for note in notes)
        back = read_picture(tmp_path / f"p{suffix}")
        assert back.icc is None
        assert back.rgb[0, 0, 0] == pytest.approx(colour.space_of(GREY).to_srgb(grey.rgb)[0, 0, 0], abs=2 / 255)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def declaring_png(path, array, name, data):
    """A PNG that declares its colours in a chunk, 16 bits a sample."""
    lines = array.astype(">u2").reshape(len(array), -1)
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(name, data) + body + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("name", "data", "light"),
    [(b"gAMA", struct.pack(">I", 100000), lambda v: v), (b"gAMA", struct.pack(">I", 45455), colour.linear),
     (b"gAMA", struct.pack(">I", 55556), lambda v: v**1.8), (b"cICP", bytes((1, 8, 0, 1)), lambda v: v),
     (b"cICP", bytes((1, 4, 0, 1)), lambda v: v**2.2), (b"sRGB", b"\0", colour.linear)],
)  # fmt: skip
def test_gamma_and_cicp_of_png(tmp_path, name, data, light):
    array = np.full((2, 2, 3), 13107, np.uint16)
    declaring_png(tmp_path / "p.png", array, name, data)
    picture = read_picture(tmp_path / "p.png")
    np.testing.assert_allclose(colour.linear(srgb_of(picture)[0]), light(np.float64(0.2)), atol=2e-5)
    write_picture(tmp_path / "q.png", picture)
    np.testing.assert_allclose(srgb_of(read_picture(tmp_path / "q.png"))[0], srgb_of(picture)[0], atol=1e-4)


def test_hdr_becomes_srgb_and_says_so(tmp_path):
    """PQ counts light: 58.1 % is diffuse white, 203 cd/m2 (ITU-R BT.2408), 50.8 % is 100 cd/m2."""
    for value, light in ((0.5807, 1.0), (0.5081, 100 / 203), (0.9, 1.0)):
        declaring_png(
            tmp_path / "p.png", np.full((2, 2, 3), round(value * 65535), np.uint16), b"cICP", bytes((9, 16, 0, 1))
        )
        picture = read_picture(tmp_path / "p.png")
        assert colour.linear(picture.rgb).mean() == pytest.approx(light, abs=3e-3)
        assert "HDR written as sRGB" in picture.notes[0]
    # HLG: 75 % is diffuse white
    assert colour.linear(hdr_to_srgb(np.full((1, 1, 3), 0.75), (9, 18))).mean() == pytest.approx(1.0, abs=0.01)


def test_the_cameras_adobe_rgb(tmp_path):
    exif = Image.Exif()
    exif[0x8769] = {40961: 65535, 40965: {1: "R03"}}
    Image.new("RGB", (8, 8), (60, 120, 60)).save(tmp_path / "p.jpg", exif=exif.tobytes(), quality=100)
    picture = read_picture(tmp_path / "p.jpg")
    assert picture.icc == ADOBE
    assert srgb_of(picture)[0][0, 0, 0] < 30 / 255


def test_tables_and_cmyk_go_through_littlecms(tmp_path):
    lab = Image.new("LAB", (4, 4), (128, 128, 128))
    lab.save(tmp_path / "p.tif")
    assert read_picture(tmp_path / "p.tif").rgb == pytest.approx(0.466, abs=0.02)
    space = colour.TableSpace(ADOBE)
    rgb = patches().astype(np.float32) / 255
    assert np.abs(space.to_srgb(rgb) - colour.space_of(ADOBE).to_srgb(rgb)).max() < 1.6 / 255
    assert np.abs(space.from_srgb(rgb) - colour.space_of(ADOBE).from_srgb(rgb)).max() < 1.6 / 255


@pytest.mark.parametrize("icc", [b"profile", ADOBE[:300], ADOBE.replace(b"para", b"nope"), SRGB[:140]])
def test_a_damaged_profile_costs_the_profile(tmp_path, icc):
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "p.png", icc_profile=icc)
    picture = read_picture(tmp_path / "p.png")
    assert picture.icc is None
    assert "colour profile dropped, taken as sRGB" in picture.notes[0]


def test_second_pictures_and_gain_maps_are_named(tmp_path):
    first, second = Image.new("RGB", (8, 8), 9), Image.new("RGB", (8, 8), 99)
    first.save(tmp_path / "p.jpg", "MPO", save_all=True, append_images=[second])
    assert any("MPO" in note for note in read_picture(tmp_path / "p.jpg").notes)
    xmp = b'<x:xmpmeta xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    first.save(tmp_path / "q.jpg", xmp=xmp)
    assert any("gain map" in note for note in read_picture(tmp_path / "q.jpg").notes)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_metadata_that_an_encoder_refuses_leaves_the_picture():
    data, notes = encode(Picture(np.zeros((4, 4, 3), np.float32), exif=b"Exif\0\0none", icc=P3), "AVIF")
    assert any("EXIF dropped" in note for note in notes)
    assert Image.open(io.BytesIO(data)).size == (4, 4)


def twins(tmp_path):
    """Two folders of the same pair of pictures, 16 bits: one in sRGB, one that declares each file another way."""
    rng = np.random.default_rng(3)
    bright = 0.3 + 0.4 * rng.random((40, 48, 3), np.float32)
    bright = bright.repeat(2, 0)[:40]
    for side, rgb in (("low", bright / 4), ("high", bright)):
        for folder in ("srgb", "wide"):
            (tmp_path / folder / side).mkdir(parents=True)
        stored = {"p3.png": P3, "adobe.tif": ADOBE}
        for name in (*stored, "gama.png"):
            write_picture(tmp_path / "srgb" / side / name, Picture(rgb, bits=16))
        for name, icc in stored.items():
            own = Picture(colour.space_of(icc).from_srgb(rgb), bits=16, icc=icc)
            write_picture(tmp_path / "wide" / side / name, own)
        light = np.rint(colour.linear(rgb) * 65535).astype(np.uint16)
        declaring_png(tmp_path / "wide" / side / "gama.png", light, b"gAMA", struct.pack(">I", 100000))
    return [find_pairs(tmp_path / folder) for folder in ("srgb", "wide")]


def test_every_reader_of_pairs_sees_srgb(tmp_path):
    """What is scored, trained on and checked is what the network is shown, whatever space a file has."""
    srgb, wide = twins(tmp_path)
    rows = [evaluate(picture_samples(pairs), baseline_methods()).rows for pairs in (srgb, wide)]
    assert len(rows[0]) == len(rows[1]) == 3 * len(BASELINES)
    for first, second in zip(*rows, strict=True):
        # equalisation has steps, where rounding shows
        for name, tolerance in (("psnr", 0.05), ("ssim_rgb", 1e-3)):
            assert first[name] == pytest.approx(second[name], abs=tolerance), (first["picture"], first["method"])
    for first, second in zip(srgb, wide, strict=True):
        for one, other in ((first.low, second.low), (first.high, second.high)):
            assert np.abs(decode_rgb(one).astype(int) - decode_rgb(other)).max() <= 1
    scores = [Validator(pairs, 3)(Gamma(), tmp_path / "sheet.png") for pairs in (srgb, wide)]
    assert scores[0] == pytest.approx(scores[1], abs=0.005)


@pytest.mark.parametrize("icc", [P3, ADOBE, GREY])
def test_the_short_way_of_training_sees_srgb_too(tmp_path, icc):
    """8 bits: most pictures that are trained on."""
    image = Image.fromarray(patches()).convert("L" if icc == GREY else "RGB")
    image.save(tmp_path / "p.png", icc_profile=icc)
    expected = np.rint(srgb_of(read_picture(tmp_path / "p.png"))[0] * 255)
    assert np.array_equal(decode_rgb(tmp_path / "p.png"), expected)
    assert np.abs(expected - np.asarray(image.convert("RGB"))).max() > 10
