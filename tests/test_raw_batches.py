"""Samples of training in raw space: pictures made raw again, crops that keep the filter array, draws by number."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from raw_pictures import BAYER, raw_picture

from lowlight.cameras.cameras import load_camera
from lowlight.data.batches.cutting import cut_out, draw_cut, generator
from lowlight.data.batches.raw_batches import NoiseDraws, RawBatches
from lowlight.data.batches.raw_cache import RawCache
from lowlight.data.batches.raw_sources import CleanPictures, RealPairs, find_clean
from lowlight.data.sets.raw_pairs import RawPair
from lowlight.raw.colour import camera_to_srgb
from lowlight.raw.packing import unpack
from lowlight.raw.render import render
from lowlight.raw.sensors import RGGB
from lowlight.raw.unprocess import Development, draw_development, recoloured, unprocess, untone
from lowlight_ext import raw_noise

SONY = load_camera("SonyA7S2")
NOISE = NoiseDraws(SONY)


def pictures(folder, count=3, size=(40, 56)):
    folder.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)
    for number, picture in enumerate(samples):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return sorted(folder.glob("*.png"))


def raw_source(tmp_path, pictures_by_name):
    """Paths of raw files that the cache reads from memory."""
    paths = []
    for name in pictures_by_name:
        path = tmp_path / f"{name}.dng"
        path.write_bytes(name.encode())
        paths.append(path)
    by_path = dict(zip(paths, pictures_by_name.values(), strict=True))
    return paths, RawCache(tmp_path / "cache", read=by_path.__getitem__)


def test_untone():
    y = np.linspace(0, 1, 101)
    x = untone(y)
    np.testing.assert_allclose(3 * x**2 - 2 * x**3, y, atol=1e-12)


@pytest.mark.parametrize("colour", [(0.2, 0.3, 0.1), (0.5, 0.5, 0.5), (0.05, 0.02, 0.03)])
def test_developing_an_unprocessed_colour_gives_it_back(colour):
    """Gains, camera's colours, gamma and tone curve, forwards, of a picture of one colour."""
    development = draw_development(generator(3))
    srgb = np.broadcast_to(np.float32(colour)[:, None, None], (3, 8, 8))
    packed = unprocess(srgb, development)
    assert np.ptp(packed, axis=(1, 2)).max() < 1e-6
    red, green, blue, other = packed[:, 0, 0]
    assert green == other
    linear = camera_to_srgb(development.camera_to_xyz) @ (
        np.array([red, green, blue]) * development.gains / development.exposure
    )
    toned = linear ** (1 / 2.2)
    np.testing.assert_allclose(3 * toned**2 - 2 * toned**3, colour, atol=1e-5)
    # the rendering of raw pictures agrees, but for the tone curve and the exposure
    shown = render(packed, development.raw_picture(4, 4), demosaic=False)[:, 0, 0]
    np.testing.assert_allclose(shown, (linear * development.exposure) ** (1 / 2.2), atol=1e-5)


def test_white_stays_saturated_and_each_pixel_keeps_its_colour():
    development = Development(np.linalg.inv(np.eye(3)), np.array([2.0, 1.0, 1.5]), 0.8)
    assert (unprocess(np.ones((3, 4, 4), np.float32), development) == 1).all()
    coloured = np.full((3, 4, 4), 0.3, np.float32)
    plain = unprocess(coloured, development)
    coloured[:, 0, 1] = 0.8
    changed = np.argwhere(unprocess(coloured, development) != plain)
    assert changed.tolist() == [[1, 0, 0]]
    with pytest.raises(ValueError, match=r"unprocess: srgb must be \[3, H, W\] of even sides, got \(3, 5, 4\)"):
        unprocess(np.ones((3, 5, 4)), development)


def test_developments_differ_within_their_ranges():
    draws = [draw_development(generator(0, n)) for n in range(200)]
    gains = np.array([d.gains for d in draws])
    assert gains.min(axis=0) == pytest.approx([1.9, 1, 1.5], abs=0.02)
    assert gains.max(axis=0) == pytest.approx([2.4, 1, 1.9], abs=0.02)
    assert np.mean([d.exposure for d in draws]) == pytest.approx(0.8, abs=0.03)
    assert np.ptp([d.camera_to_xyz for d in draws], axis=0).max() > 0.01


def test_recoloured_pictures():
    """Channels in every order, saturation around the grey that stays, within [0, 1]."""
    colour = np.array([0.5, 0.4, 0.45], np.float32)
    flat, orders = np.broadcast_to(colour[:, None, None], (3, 2, 2)), set()
    for n in range(100):
        drawn = recoloured(flat, generator(1, n))[:, 0, 0]
        factor = np.ptp(drawn) / np.ptp(colour)
        assert math.exp(-0.5) * 0.999 <= factor <= math.exp(0.9) * 1.001
        assert drawn.mean() == pytest.approx(0.45, abs=1e-6)
        order = np.argsort(drawn)
        np.testing.assert_allclose(drawn[order], 0.45 + factor * (np.sort(colour) - 0.45), atol=1e-6)
        orders.add(tuple(order))
    assert len(orders) == 6
    extreme = recoloured(np.eye(3, dtype=np.float32)[:, :, None], generator(0))
    assert extreme.min() >= 0
    assert extreme.max() <= 1


def test_a_share_is_recoloured(tmp_path):
    paths, cache = pictures(tmp_path / "pictures", 1), RawCache(tmp_path / "cache")
    half = CleanPictures(paths, cache, recolour=0.5)
    coloured = []
    for n in range(60):
        cut, rng = half.cut(0, generator(n), 8, 1, True), generator(n)
        draw_cut(rng, (40, 56), 16, True)
        coloured.append(rng.random() < 0.5)
        if not coloured[-1]:
            np.testing.assert_array_equal(cut.picture.white_balance, draw_development(rng).gains)
    assert 15 < sum(coloured) < 45
    whole, rng = CleanPictures(paths, cache, recolour=1.0).cut(0, generator(3), 8, 1, False), generator(3)
    draw = draw_cut(rng, (40, 56), 16, False)
    srgb = np.empty((3, 16, 16), np.float32)
    cut_out(half._pictures[0], draw, 1, srgb)
    rng.random()
    srgb = recoloured(srgb, rng)
    np.testing.assert_array_equal(whole.clean, unprocess(srgb, draw_development(rng)))


@pytest.mark.parametrize("order", BAYER, ids=["rggb", "grbg", "bggr", "gbrg"])
@pytest.mark.parametrize("height", [24, 10])
def test_turned_crops_are_pieces_of_the_mosaic(tmp_path, order, height):
    """Every pixel of the cut says where it was: neighbours stay neighbours, red stays red, in an RGGB array."""
    width = 32
    mosaic = (1000 + np.arange(height * width)).reshape(height, width).astype(np.uint16)
    picture = raw_picture(order, mosaic, black=np.zeros(4, np.float32), white=65535.0)
    paths, cache = raw_source(tmp_path, {"ramp": picture})
    source, seen = CleanPictures(paths, cache), set()
    for n in range(40):
        cut = source.cut(0, generator(n), 4, 1, True)
        numbers = np.rint(unpack(cut.clean, RGGB) * 65535).astype(int) - 1000
        steps = {int(np.diff(numbers, axis=axis).flat[0]) for axis in (0, 1)}
        assert len(np.unique(np.diff(numbers, axis=0))) == len(np.unique(np.diff(numbers, axis=1))) == 1
        assert sorted(map(abs, steps)) == [1, width]
        y, x = np.divmod(numbers, width)
        colours = picture.pattern[y % 2, x % 2]
        assert (colours[::2, ::2] == 0).all()
        assert (colours[1::2, 1::2] == 2).all()
        seen.add((*sorted(steps), int(numbers[0, 0])))
    assert len(seen) > (20 if height == 24 else 12)


def test_a_picture_smaller_than_the_crop(tmp_path):
    paths, cache = raw_source(tmp_path, {"small": raw_picture(BAYER[0], np.full((12, 40), 9000, np.uint16))})
    cut = CleanPictures(paths, cache).cut(0, generator(0), 8, 1, True)
    assert cut.clean.shape == (4, 8, 8)
    assert np.ptp(cut.clean) == 0
    small = CleanPictures(pictures(tmp_path / "pictures", 1, (12, 40)), cache)
    assert small.cut(0, generator(0), 8, 1, True).clean.shape == (4, 8, 8)
    with pytest.raises(ValueError, match="too small to be shrunk by 8"):
        small.cut(0, generator(0), 8, 8, True)


def test_samples_are_functions_of_their_number(tmp_path):
    paths, cache = raw_source(tmp_path, {"one": raw_picture(BAYER[2])})
    source = CleanPictures([*pictures(tmp_path / "pictures"), *paths], cache, memory=10_000)
    batches = RawBatches(source, 5, noise=NOISE, turn=True)
    alone = RawBatches(CleanPictures(source.paths, cache), 5, noise=NOISE, turn=True, ahead=0)
    seeds = torch.arange(4)
    whole = alone.batch(8, 4, crop=6, shrink=2)
    for n in range(4):
        one = batches.batch(8 + n, 1, crop=6, shrink=2)
        assert torch.equal(one.clean[0], whole.clean[n])
        assert one.ratio.item() == whole.ratio[n]
        assert torch.equal(one.measured(seeds[n : n + 1])[0], whole.measured(seeds)[n])
    assert sorted(alone.indices(8, 4)) == [0, 1, 2, 3]
    batches.close()
    other = RawBatches(source, 6, noise=NOISE, ahead=0).batch(8, 4, crop=6, shrink=2)
    assert not torch.equal(other.K, whole.K)
    assert ((whole.ratio >= 100) & (whole.ratio <= 300)).all()


def test_noise_is_that_of_the_parameters(tmp_path):
    source = CleanPictures(pictures(tmp_path / "pictures", 1), RawCache(tmp_path / "cache"))
    batch = RawBatches(source, noise=NoiseDraws(SONY, "P+g", 150.0, 4.0), ahead=0).batch(0, 2, crop=10)
    assert batch.ratio.tolist() == [150, 150]
    assert batch.K.tolist() == pytest.approx([4, 4])
    assert batch.noise.model == "P+g"
    seeds = torch.tensor([3, 4])
    expected = raw_noise(batch.clean, batch.noise, seeds, stream=1 << 15)
    assert torch.equal(batch.measured(seeds), expected)
    assert not torch.equal(batch.measured(seeds), batch.measured(seeds + 1))


def test_real_pairs(tmp_path):
    long = raw_picture(BAYER[0])
    dark = (800 + (long.mosaic.astype(int) - 800) // 100).astype(np.uint16)
    short = raw_picture(BAYER[0], dark, iso=2000.0)
    paths, cache = raw_source(tmp_path, {"short": short, "long": long})
    pair = RawPair(*paths, 100.0, "short")
    batch = RawBatches(RealPairs([pair], cache, SONY), turn=True, ahead=0).batch(0, 3, crop=8)
    assert batch.ratio.tolist() == [100] * 3
    assert batch.K.tolist() == pytest.approx([SONY.K(2000)] * 3)
    short, clean = batch.measured(torch.arange(3)), batch.clean
    # whole numbers times 100: less than 100 digital numbers below the long exposure, never above
    assert (clean - short).max() < 100 / 15583 + 1e-4
    assert (clean - short).min() > -1e-4
    other = raw_picture(BAYER[1])
    paths, cache = raw_source(tmp_path / "..", {f"{tmp_path.name}a": other, f"{tmp_path.name}b": long})
    with pytest.raises(ValueError, match="do not fit: packed"):
        RealPairs([RawPair(*paths, 100.0, "x")], cache, SONY).cut(0, generator(0), 8, 1, False)
    with pytest.raises(ValueError, match="real pairs take none"):
        RawBatches(RealPairs([pair], cache, SONY), noise=NOISE)


def test_what_cannot_be_cut(tmp_path):
    paths, cache = raw_source(tmp_path, {"fuji": raw_picture((0, 0))})
    batches = RawBatches(CleanPictures(paths, cache), noise=NOISE, ahead=0)
    with pytest.raises(ValueError, match=r"fuji\.dng: its filter array is X-Trans"):
        batches.batch(0, 1, crop=8)
    with pytest.raises(ValueError, match="count, shrink and crop 1 or more, got 0, 1, 1, None"):
        batches.batch(0, 1)
    for source in (CleanPictures, lambda paths, cache: RealPairs(paths, cache, SONY)):
        with pytest.raises(ValueError, match="were given"):
            source([], cache)


def test_finding_clean_exposures(tmp_path):
    names = {path.name for path in pictures(tmp_path / "all" / "inner", 2)}
    (tmp_path / "all" / "b.ARW").write_bytes(b"")
    (tmp_path / "all" / "notes.txt").write_text("")
    assert {path.name for path in find_clean(tmp_path / "all")} == names | {"b.ARW"}
    for side in ("low", "high"):
        pictures(tmp_path / "lol" / side, 2)
    assert [path.parent.name for path in find_clean(tmp_path / "lol")] == ["high", "high"]
    sid = tmp_path / "sid"
    for name in ("short/1_00_0.1s.ARW", "short/1_01_0.1s.ARW", "long/1_00_10s.ARW"):
        (sid / name).parent.mkdir(parents=True, exist_ok=True)
        (sid / name).write_bytes(b"")
    (sid / "Sony_train.txt").write_text("1_00_0.1s.ARW 1_00_10s.ARW\n1_01_0.1s.ARW 1_00_10s.ARW\n")
    assert [path.name for path in find_clean(sid)] == ["1_00_10s.ARW"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no picture and no raw file"):
        find_clean(tmp_path / "empty")
    for split, folder in ((None, "nowhere"), ("train", "all"), ("test", "sid")):
        with pytest.raises(FileNotFoundError):
            find_clean(tmp_path / folder, split)
