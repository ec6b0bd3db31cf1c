"""Levels as a DNG's own tags say them: fractions, larger arrays, rows and columns."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import TiffTags
from raw_pictures import BAYER, raw_picture, scene

from lowlight.data.batches.raw_cache import RawCache
from lowlight.expose import Exposed
from lowlight.files.pictures import PictureError
from lowlight.raw import dng
from lowlight.raw.automatic import automatic_ratio
from lowlight.raw.dng import write_dng
from lowlight.raw.files import denormalise, normalise, read_raw
from lowlight.raw.packing import pack

pytest.importorskip("rawpy", reason="no rawpy: pip install 'lowlight-ext[raw]'")


def rationals(values):
    return tuple(dng._ratio(Fraction(float(v)).limit_denominator(10**4)) for v in np.ravel(values))


def with_tags(monkeypatch, *tags):
    """What write_dng writes of levels, replaced by these (tag, type, value)."""
    replaced, filters = {tag for tag, _, _ in tags}, dng._filters
    monkeypatch.setattr(dng, "_filters", lambda p: [e for e in filters(p) if e[0] not in replaced] + list(tags))


@pytest.mark.parametrize("order", [*BAYER, (0, 0)], ids=str)
def test_fractions_of_black(tmp_path, order):
    black = np.float32([63.97, 64.25, 63.5, 64.03])
    if order == (0, 0):
        black[3] = black[1]
    write_dng(tmp_path / "p.dng", raw_picture(order, scene(48, 48, black=64), black=black))
    picture = read_raw(tmp_path / "p.dng")
    np.testing.assert_allclose(picture.black, black, atol=1e-3)
    assert picture.offsets is None


def test_no_veil_at_a_large_ratio(tmp_path):
    """A picture of black alone, its mean 63.97: exposed a hundred times it stays black, to the noise of its mean."""
    dark = np.floor(63.97 + np.random.default_rng(0).random((200, 200))).astype(np.uint16)
    write_dng(tmp_path / "p.dng", raw_picture(BAYER[0], dark, black=np.full(4, 63.97), white=4095.0))
    picture = read_raw(tmp_path / "p.dng")
    level = (pack(picture.mosaic, picture.pattern) - picture.black[:, None, None]).mean()
    assert abs(level / (picture.white - 64) * 100) < 5e-4


SHAPE = (40, 48)
RAMP_H, RAMP_V = np.linspace(-3, 5, SHAPE[1]), np.linspace(2, -1, SHAPE[0])
TILE = 60 + np.arange(16).reshape(4, 4) / 4


def black_map(kind):
    tile = np.tile(TILE if kind == "4x4" else np.full((4, 4), 64.0), (10, 12))
    return tile + (0 if kind == "4x4" else RAMP_H[None] + RAMP_V[:, None])


def write_levels(path, kind, monkeypatch, mosaic):
    if kind == "4x4":
        tags = [(50713, TiffTags.SHORT, (4, 4)), (50714, TiffTags.RATIONAL, rationals(TILE))]
    else:
        signed = [(tag, TiffTags.SIGNED_RATIONAL, rationals(v)) for tag, v in ((50715, RAMP_H), (50716, RAMP_V))]
        tags = [(50713, TiffTags.SHORT, (1, 1)), (50714, TiffTags.RATIONAL, rationals([64])), *signed]
    with_tags(monkeypatch, *tags)
    write_dng(path, raw_picture(BAYER[1], mosaic, white=4000.0))
    monkeypatch.undo()


@pytest.mark.parametrize("kind", ["4x4", "rows and columns"])
def test_black_by_pixel(tmp_path, monkeypatch, kind):
    black = black_map(kind)
    light = np.random.default_rng(1).random(SHAPE) * 900
    write_levels(tmp_path / "p.dng", kind, monkeypatch, np.rint(black + light).astype(np.uint16))
    picture = read_raw(tmp_path / "p.dng")
    packed = normalise(picture)
    span = 4000 - pack(picture.black[picture.pattern][np.ix_(*[np.arange(n) % 2 for n in SHAPE])], picture.pattern)
    want = (pack(np.rint(black + light) - black, picture.pattern) / span).clip(0, 1)
    np.testing.assert_allclose(packed, want, atol=2e-7 * 4000)
    # what lies below black comes back as black
    back = denormalise(packed, picture)
    assert np.array_equal(back[picture.mosaic >= black], picture.mosaic[picture.mosaic >= black])
    # all that takes one level a colour gets it to half a number
    write_dng(tmp_path / "again.dng", picture)
    assert np.abs(normalise(read_raw(tmp_path / "again.dng")) - packed).max() < 0.6 / 3900
    assert np.abs(RawCache(tmp_path / "cache")[tmp_path / "p.dng"].whole() - packed).max() < 0.6 / 3900
    plain = automatic_ratio(read_raw(tmp_path / "again.dng"))
    assert automatic_ratio(picture) == pytest.approx(plain, rel=1e-6)
    out = Exposed(packed, picture, None, 1.0, 1.0, "any", 1).dng()
    assert np.abs(normalise(out) - packed).max() < 1e-5


def test_damaged_tags_leave_librarys_levels(tmp_path, monkeypatch):
    """An array of black that does not fit its own dimensions."""
    with_tags(monkeypatch, (50713, TiffTags.SHORT, (3, 3)), (50714, TiffTags.RATIONAL, rationals([64, 64])))
    write_dng(tmp_path / "p.dng", raw_picture(BAYER[0]))
    try:
        picture = read_raw(tmp_path / "p.dng")
    except PictureError:
        return
    assert picture.offsets is None
