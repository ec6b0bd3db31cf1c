"""The cache of packed raws: same numbers as the raw file, one decoding, shared folders, damaged entries."""

import multiprocessing
import os
import tempfile
from dataclasses import fields, replace

import numpy as np
import pytest
from raw_pictures import raw_picture, real_raw, scene

from lowlight.data.batches.raw_cache import CacheError, RawCache
from lowlight.data.batches.raw_sources import default_cache
from lowlight.raw.dng import write_dng
from lowlight.raw.files import denormalise, normalise, read_raw
from lowlight.raw.packing import pack
from lowlight.raw.render import render

RGGB = [[0, 1], [3, 2]]
# black of each colour differs, and the greens' too
BLACK = np.array([800, 810, 820, 830], np.float32)


class Decoder:
    """Stands for read_raw; counts."""

    def __init__(self, picture):
        self.picture, self.calls = picture, 0

    def __call__(self, path):
        self.calls += 1
        return self.picture


@pytest.fixture(params=[RGGB, [[1, 0], [2, 3]], (0, 0), (2, 5)], ids=str)
def picture(request):
    return raw_picture(request.param, scene(67, 83), black=BLACK)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "photo.raw"
    path.write_bytes(b"as a camera wrote it")
    return path


def test_the_numbers_and_all_else(picture, source, tmp_path):
    cached = RawCache(tmp_path / "cache", read=Decoder(picture))[source]
    assert isinstance(cached.packed, np.memmap)
    assert not cached.packed.flags.writeable
    np.testing.assert_array_equal(cached.packed, pack(picture.mosaic, picture.pattern))
    np.testing.assert_array_equal(cached.whole(), normalise(picture))
    for field in fields(picture):
        if field.name != "mosaic":
            np.testing.assert_array_equal(getattr(cached.picture, field.name), getattr(picture, field.name))
    # what needs a picture but not its numbers takes the one of the cache
    np.testing.assert_array_equal(render(cached.whole(), cached.picture), render(normalise(picture), picture))
    assert denormalise(cached.whole(), cached.picture).shape == picture.mosaic.shape


def test_crops(picture, source, tmp_path):
    cached = RawCache(tmp_path / "cache", read=Decoder(picture))[source]
    whole = normalise(picture)
    height, width = whole.shape[1:]
    for top, left, h, w in ((0, 0, height, width), (3, 5, 4, 7), (height - 1, width - 1, 1, 1)):
        crop = cached.crop(top, left, h, w)
        assert crop.dtype == np.float32
        np.testing.assert_array_equal(crop, whole[:, top : top + h, left : left + w])
    for wrong in ((-1, 0, 2, 2), (0, 0, 0, 2), (0, 0, height + 1, 2), (0, width - 1, 2, 2)):
        with pytest.raises(ValueError, match=r"CachedRaw.crop: .* is not inside"):
            cached.crop(*wrong)


def test_what_the_file_does_not_say(source, tmp_path):
    bare = raw_picture(RGGB, iso=None, exposure=None, white_balance=None, camera_to_xyz=None, make=None, model=None)
    found = RawCache(tmp_path / "cache", read=Decoder(bare))[source].picture
    assert [getattr(found, n) for n in ("iso", "exposure", "white_balance", "camera_to_xyz", "make", "model")] == [
        None
    ] * 6


def test_decoded_once_and_again_when_changed(source, tmp_path):
    read = Decoder(raw_picture(RGGB))
    cache = RawCache(tmp_path / "cache", read=read)
    old = cache[source]
    RawCache(tmp_path / "cache", read=read)[source]
    (tmp_path / "link.raw").symlink_to(source)
    cache[tmp_path / "link.raw"]
    assert read.calls == 1
    before = np.array(old.packed)
    read.picture = replace(read.picture, mosaic=read.picture.mosaic // 2)
    os.utime(source, ns=(1, 1))
    assert not np.array_equal(cache[source].packed, before)
    # of the same time, but another size
    source.write_bytes(b"shorter")
    os.utime(source, ns=(1, 1))
    cache[source]
    assert read.calls == 3
    # what was mapped before is still what it was
    np.testing.assert_array_equal(old.packed, before)
    assert list((tmp_path / "cache").iterdir()) == [cache.entry(source)]


def test_files_of_one_name_in_two_folders(tmp_path):
    cache = RawCache(tmp_path / "cache", read=lambda path: raw_picture(RGGB, scene(60, 80) // int(path.parent.name)))
    for folder in ("1", "2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "photo.raw").write_bytes(b"x")
    one, two = (cache[tmp_path / folder / "photo.raw"].packed for folder in ("1", "2"))
    np.testing.assert_array_equal(two, one // 2)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_fill(source, tmp_path):
    read, seen = Decoder(raw_picture(RGGB)), []
    cache = RawCache(tmp_path / "cache", read=read)
    cache.fill([source, source], lambda: seen.append(1))
    assert (read.calls, len(seen)) == (1, 2)
    with pytest.raises(FileNotFoundError):
        cache.fill([tmp_path / "none.raw"])


def damages(entry):
    """The entry's bytes, damaged in several ways."""
    whole = entry.read_bytes()
    yield b"", "it is cut off"
    yield whole[:10], "it is cut off"
    yield whole[:40], "its header is not whole"
    yield b"XX" + whole[2:], "its header is not whole"
    yield whole[:8] + b"\xff\xff\xff\xff" + whole[12:], "its header is not whole"
    yield whole[:60] + b"~" + whole[61:], "its header is not whole"
    yield whole[:-2], "bytes instead of"
    yield whole + b"\0", "bytes instead of"


def test_damaged_entries(source, tmp_path):
    cache = RawCache(tmp_path / "cache", read=Decoder(raw_picture(RGGB)))
    cache[source]
    entry = cache.entry(source)
    whole = entry.read_bytes()
    for data, why in damages(entry):
        entry.write_bytes(data)
        with pytest.raises(CacheError, match=rf"RawCache: .*{entry.name} is damaged \(.*{why}.*delete it"):
            cache[source]
    entry.write_bytes(whole)
    cache.verify(source)
    entry.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    cache[source]
    with pytest.raises(CacheError, match="numbers are not those written"):
        cache.verify(source)
    entry.unlink()
    cache.verify(source)


def test_a_failed_decoding_leaves_nothing(source, tmp_path):
    def fail(path):
        raise ValueError("not a raw file")

    cache = RawCache(tmp_path / "cache", read=fail)
    with pytest.raises(ValueError, match="not a raw file"):
        cache[source]
    assert not list((tmp_path / "cache").iterdir())


def _look_up(folder, source, start, results):
    cache = RawCache(folder, read=lambda path: raw_picture(RGGB))
    start.wait()
    results.put(int(cache[source].packed.sum(dtype=np.int64)))


def test_several_processes(source, tmp_path):
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(3), context.Queue()
    arguments = (tmp_path / "cache", source, start, results)
    processes = [context.Process(target=_look_up, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    sums = {results.get(timeout=30) for _ in processes}
    for process in processes:
        process.join()
    assert sums == {int(pack(scene(60, 80), np.array(RGGB)).sum(dtype=np.int64))}
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_raw_file(tmp_path):
    pytest.importorskip("rawpy")
    pytest.importorskip("exifread")
    write_dng(tmp_path / "photo.dng", raw_picture(RGGB))
    cached = RawCache(tmp_path / "cache")[tmp_path / "photo.dng"]
    np.testing.assert_array_equal(cached.whole(), normalise(read_raw(tmp_path / "photo.dng")))
    assert cached.picture.iso == 1600


def test_a_photograph(tmp_path):
    pytest.importorskip("rawpy")
    path = real_raw("CRW_0101.CRW")
    np.testing.assert_array_equal(RawCache(tmp_path)[path].whole(), normalise(read_raw(path)))


def test_the_folder_where_none_is_named(tmp_path, monkeypatch):
    """The environment's, the user's, or a temporary one where the user's cannot be written."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert default_cache().is_relative_to(tmp_path / "home")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written: packed raws go to .*LOWLIGHT_CACHE names another"):
        assert RawCache(default_cache()).folder.parent == tmp_path
    monkeypatch.setenv("LOWLIGHT_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
