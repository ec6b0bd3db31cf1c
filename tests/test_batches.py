"""Training batches: against the plain way to make them, with and without memory and threads, and odd pictures."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lowlight.data.batches import batches as module
from lowlight.data.batches.batches import PairBatches
from lowlight.data.batches.picture_cache import PairCache
from lowlight.data.batches.prefetch import Prefetch, Request
from lowlight.data.sets.pairs import find_pairs
from lowlight.files.eight_bit import decode_rgb
from lowlight.files.pictures import PictureError, read_picture
from lowlight.systems.diffll.system import log_quantiles


def write_pairs(root, sizes, suffix=".png", seed=0):
    generator = np.random.default_rng(seed)
    for number, (height, width) in enumerate(sizes):
        bright = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for side, picture in (("high", bright), ("low", bright // 12)):
            (root / side).mkdir(exist_ok=True, parents=True)
            Image.fromarray(picture).save(root / side / f"{number}{suffix}")
    return find_pairs(root)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), [(70, 83)] * 5)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("large"), [(300, 512)] * 3)


def plain_batch(pairs, seed, first, count, shrink, crop):
    """Whole pictures as float32, shrunk by torch, then cropped and flipped: what batches are defined by."""
    samples = []
    for n in range(first, first + count):
        epoch, position = divmod(n, len(pairs))
        order = np.random.default_rng(np.random.SeedSequence((seed, 1, epoch))).permutation(len(pairs))
        pair = pairs[order[position]]
        rng = np.random.default_rng(np.random.SeedSequence((seed, 2, n)))
        both = torch.stack(
            [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in (pair.low, pair.high)]
        )
        both = F.avg_pool2d(both.float() / 255, shrink)
        whole = both[0]
        if crop is not None:
            y, x = (int(rng.integers(0, max(1, size - crop + 1))) for size in both.shape[-2:])
            both = both[..., y : y + crop, x : x + crop]
        flips = [dim for dim in (-1, -2) if rng.random() < (0.5 if dim == -1 else 0.25)]
        samples.append((*both.flip(flips), whole))
    return [torch.stack(tensors) for tensors in zip(*samples, strict=True)]


@pytest.mark.parametrize(("shrink", "crop"), [(1, 32), (1, None), (2, 24), (2, None), (3, 7), (1, 70)])
def test_equal_to_the_plain_way(pairs, shrink, crop):
    low, high, whole = plain_batch(pairs, 3, 4, 6, shrink, crop)
    batch = PairBatches(pairs, 3).batch(4, 6, shrink=shrink, crop=crop)
    assert torch.equal(batch.low, low)
    assert torch.equal(batch.high, high)
    assert torch.equal(batch.whole, whole)
    assert batch.low.is_contiguous()
    assert batch.high.dtype == torch.float32


@pytest.mark.parametrize("shrink", [1, 2, 3])
def test_statistics_of_the_grid_are_those_of_the_whole(large, shrink):
    whole = plain_batch(large, 0, 0, 3, shrink, 64)[2]
    expected = log_quantiles(whole)
    batch = PairBatches(large).batch(0, 3, shrink=shrink, crop=64)
    assert torch.equal(log_quantiles(batch.whole), expected)
    assert max(batch.whole.shape[-2:]) <= 256
    assert batch.statistics is None
    batches = PairBatches(large, statistics=log_quantiles)
    for _ in range(2):
        assert torch.equal(batches.batch(0, 3, shrink=shrink, crop=64).statistics, expected)
    with pytest.raises(ValueError, match="were not kept; PairBatches with `statistics`"):
        batches.batch(0, 3, shrink=shrink, crop=64).whole  # noqa: B018


def test_statistics_are_taken_once_a_picture(pairs):
    calls = []
    batches = PairBatches(pairs, ahead=0, statistics=lambda grid: calls.append(1) or log_quantiles(grid))
    for first in range(0, 40, 4):
        batches.batch(first, 4, crop=8)
    assert len(calls) == len(pairs)


@pytest.mark.parametrize("memory", [0, 60_000, 1 << 30])
@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_memory_and_threads_do_not_show(pairs, memory, ahead):
    expected = PairBatches(pairs, 7, ahead=0)
    batches = PairBatches(pairs, 7, memory=memory, ahead=ahead, statistics=log_quantiles)
    for first, crop in [(0, 16), (3, 16), (6, 16), (7, 8), (10, 8), (2, 8), (9, 8), (16, 8), (0, 16)]:
        ours, theirs = batches.batch(first, 3, crop=crop), expected.batch(first, 3, crop=crop)
        assert torch.equal(ours.low, theirs.low)
        assert torch.equal(ours.high, theirs.high)
        assert torch.equal(ours.statistics, log_quantiles(theirs.whole))
    batches.close()
    assert torch.equal(batches.batch(1, 3, crop=16).low, expected.batch(1, 3, crop=16).low)


def test_decoding_is_lazy_and_within_the_budget(pairs, monkeypatch):
    decoded = []

    def count(path):
        decoded.append(path)
        return decode_rgb(path)

    monkeypatch.setattr("lowlight.data.batches.picture_cache.decode_rgb", count)
    one = 2 * 3 * 70 * 83
    cache = PairCache(pairs, memory=2 * one + one // 2)
    assert decoded == []
    for _ in range(3):
        for index in range(5):
            assert cache[index].shape == (2, 3, 70, 83)
    # two stay; three are decoded each time
    assert len(decoded) == 2 * (2 + 3 * 3)


def test_only_the_crop_becomes_float(large, monkeypatch):
    sizes = []
    divide = np.divide
    monkeypatch.setattr(
        module.np, "divide", lambda region, *a, **k: sizes.append(region.size) or divide(region, *a, **k)
    )
    PairBatches(large, ahead=0).batch(0, 3, crop=64)
    assert sizes == [2 * 3 * 64 * 64] * 3


def test_turns(pairs):
    turned, plain = PairBatches(pairs, 5, turn=True), PairBatches(pairs, 5)
    turns = []
    for n in range(24):
        ours, theirs = turned.batch(n, 1, crop=16), plain.batch(n, 1, crop=16)
        found = [k for k in range(4) if torch.equal(ours.low, torch.rot90(theirs.low, k, (-2, -1)))]
        assert torch.equal(ours.high, torch.rot90(theirs.high, found[0], (-2, -1)))
        turns += found
    assert set(turns) == {0, 1, 2, 3}
    assert len(turns) == 24
    # whole pictures that are not square stay upright
    assert torch.equal(turned.batch(0, 4).low, plain.batch(0, 4).low)


def test_small_pictures_are_continued_by_reflection(tmp_path):
    pairs = write_pairs(tmp_path, [(20, 40)])
    whole = torch.tensor(decode_rgb(pairs[0].high)).permute(2, 0, 1).float() / 255
    unflipped = 0
    for n in range(20):
        batch = PairBatches(pairs, n, ahead=0).batch(0, 1, crop=32)
        assert batch.high.shape == (1, 3, 32, 32)
        assert torch.equal((batch.high * 255).round().floor_divide(12), (batch.low * 255).round())
        for x in range(40 - 32 + 1):
            expected = F.pad(whole[None, ..., x : x + 32], (0, 0, 0, 12), mode="reflect")
            unflipped += int(torch.equal(batch.high, expected))
    assert unflipped > 0
    assert PairBatches(pairs).batch(0, 1, shrink=3, crop=64).low.shape == (1, 3, 64, 64)


def test_pictures_of_several_sizes(tmp_path):
    pairs = write_pairs(tmp_path, [(30, 40), (40, 30)])
    batch = PairBatches(pairs).batch(0, 2, crop=16)
    assert batch.low.shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match=r"differ in size \(grids of \(30, 40\) and \(40, 30\)\)"):
        batch.whole  # noqa: B018
    assert PairBatches(pairs, statistics=log_quantiles).batch(0, 2, crop=16).statistics.shape == (2, 21)
    assert PairBatches(pairs).batch(0, 2).low.shape[:2] == (2, 3)


def test_what_cannot_be_batched(tmp_path, pairs):
    with pytest.raises(ValueError, match="no pairs"):
        PairBatches([])
    with pytest.raises(ValueError, match="smaller than shrink = 71: 83 x 70"):
        PairBatches(pairs).batch(0, 1, shrink=71)
    with pytest.raises(ValueError, match="got 0, 2, 1, 0"):
        PairBatches(pairs).batch(0, 2, crop=0)
    differing = write_pairs(tmp_path / "differing", [(30, 40)])
    Image.new("RGB", (41, 30)).save(differing[0].low)
    with pytest.raises(ValueError, match=r"differ in size: 41 x 30, 40 x 30"):
        PairBatches(differing)
    differing[0].low.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"low/0\.png: not a PNG"):
        PairBatches(differing)


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_truncated_picture_is_skipped_and_named(tmp_path, ahead):
    """Another one takes its place, the same for any process and any prefetching; the others stay as they are."""
    pairs = write_pairs(tmp_path, [(64, 64)] * 5)
    whole = PairBatches(pairs, ahead=0).batch(0, 5, crop=8)
    data = pairs[2].high.read_bytes()
    pairs[2].high.write_bytes(data[: len(data) // 2])
    batches = PairBatches(pairs, ahead=ahead)
    bad = batches.indices(0, 5).index(2)
    for first in (0, 5):
        batch = batches.batch(first, 5, crop=8)
        assert torch.equal(batch.low, PairBatches(pairs, ahead=0).batch(first, 5, crop=8).low)
        assert batches.skipped.keys() == {2}
        assert "high/2.png: cannot be decoded" in batches.skipped[2]
        same = [torch.equal(batch.low[n], whole.low[n]) for n in range(5)]
        assert first or same == [n != bad for n in range(5)]
    for pair in pairs:
        pair.high.write_bytes(data[: len(data) // 2])
    with pytest.raises(PictureError, match=r"no picture of 5 can be read: .*cannot be decoded"):
        PairBatches(pairs).batch(0, 1, crop=8)


def test_a_batch_of_whole_pictures_has_one_size(tmp_path):
    """The first one's; every sample of that size stays what it is, others make room for more of it."""
    sizes = [(30, 40), (40, 30)] * 3 + [(20, 20)]
    pairs = write_pairs(tmp_path, sizes)
    batches = PairBatches(pairs, seed=3, ahead=0)
    for first in range(0, 21, 3):
        numbers, pictures = batches._read(first, 3, lambda index, _: index, lambda index: sizes[index])
        chosen = batches.indices(first, 3)
        assert numbers == pictures
        assert {sizes[n] for n in numbers} == {sizes[chosen[0]]}
        assert all(n == c for n, c in zip(numbers, chosen, strict=True) if sizes[c] == sizes[chosen[0]])
        # of the lonely size there is but one
        assert len(set(numbers)) == (1 if numbers[0] == 6 else 3) or first % 7 > 4
        assert batches.batch(first, 3).low.shape == (3, 3, *sizes[chosen[0]])
    assert batches.batch(0, 2, shrink=2).low.shape[-1] in (10, 15, 20)


@pytest.mark.parametrize("format", ["JPEG", "TIFF", "PNG"])
def test_a_side_that_is_turned(tmp_path, format):
    """An EXIF orientation on one side of a pair: sizes are those of the upright pictures, as `check` sees them."""
    from lowlight.data.sets.checks import check_pairs

    for side, orientation, size in (("low", 6, (40, 24)), ("high", 1, (24, 40))):
        (tmp_path / side).mkdir()
        exif = Image.Exif()
        exif[274] = orientation
        noise = np.random.default_rng(orientation).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(noise // (4 if side == "low" else 1)).save(tmp_path / side / "0.x", format, exif=exif)
        (tmp_path / side / "0.x").rename(tmp_path / side / f"0.{'jpg' if format == 'JPEG' else format.lower()}")
    pairs = find_pairs(tmp_path)
    assert PairBatches(pairs).batch(0, 1).low.shape == (1, 3, 40, 24)
    assert "size" not in check_pairs(pairs, shift=None).counts()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "I;16", "turned"])
def test_pictures_of_every_mode_decode_as_for_scoring(tmp_path, mode):
    colours = np.random.default_rng(1).integers(0, 256, (9, 14, 4), dtype=np.uint8)
    path = tmp_path / "a.png"
    if mode == "I;16":
        Image.fromarray(colours[..., 0].astype(np.uint16) * 257).save(path)
    elif mode == "turned":
        path = tmp_path / "a.jpg"
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray(colours[..., :3]).save(path, exif=exif)
    else:
        Image.fromarray(colours).convert(mode).save(path)
    assert np.array_equal(decode_rgb(path), np.rint(read_picture(path).rgb * 255))
    assert decode_rgb(path).shape == ((14, 9, 3) if mode == "turned" else (9, 14, 3))


def test_the_next_requests_are_made_ahead():
    made, threads, done = [], set(), threading.Semaphore(0)

    def make(request):
        made.append(request.first)
        threads.add(threading.current_thread())
        done.release()
        return request.first

    prefetch = Prefetch(make, depth=2)
    assert prefetch.get(Request(0, 4, 1, None)) == 0
    for _ in range(3):
        assert done.acquire(timeout=10)
    assert sorted(made) == [0, 4, 8]
    # a second process's samples lie between: the step is 8, and what was guessed before is used
    assert prefetch.get(Request(8, 4, 1, None)) == 8
    for _ in range(2):
        assert done.acquire(timeout=10)
    assert sorted(made) == [0, 4, 8, 16, 24]
    assert len(threads) > 1
    prefetch.close()
