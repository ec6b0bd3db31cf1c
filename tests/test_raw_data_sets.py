"""SID and ELD: the published lists and folders, their ratios, and what is said of files that are not there."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from raw_pictures import raw_picture

from lowlight.data.sets.eld import find_eld, ground_truth, scan_eld
from lowlight.data.sets.raw_pairs import by_ratio, exposure_ratio, long_exposures
from lowlight.data.sets.sid import exposure_of, find_sid, scan_sid

PAIRS = [
    ("10003_00_0.04s.ARW", "10003_00_10s.ARW", 250),
    ("10003_00_0.1s.ARW", "10003_00_10s.ARW", 100),
    ("10006_00_0.033s.ARW", "10006_00_10s.ARW", 300),
    ("10011_00_0.1s.ARW", "10011_00_30s.ARW", 300),
]


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


@pytest.fixture(params=["Sony", ""], ids=["root", "inside"])
def sid(request, tmp_path):
    for short, long, _ in PAIRS:
        touch(tmp_path / request.param / "short" / short)
        touch(tmp_path / request.param / "long" / long)
    return tmp_path


def as_list(form):
    return "\n".join(form.format(short=short, long=long, ratio=ratio) for short, long, ratio in PAIRS) + "\n\n"


@pytest.mark.parametrize(
    ("name", "form"),
    [("Sony_test.txt", "{short} {long}"), ("Sony_test.txt", "{short} {long} {ratio}"),
     ("Sony_test_list.txt", "./Sony/short/{short} ./Sony/long/{long} ISO200 F8")],
)  # fmt: skip
def test_published_lists(sid, name, form):
    (sid / name).write_text(as_list(form))
    pairs = find_sid(sid)
    assert [(pair.short.name, pair.long.name, pair.ratio) for pair in pairs] == PAIRS
    assert all(pair.short.parent.name == "short" and pair.long.parent.name == "long" for pair in pairs)
    assert pairs[0].name == "10003_00_0.04s"
    assert {ratio: len(found) for ratio, found in by_ratio(pairs).items()} == {100: 1, 250: 1, 300: 2}
    assert list(by_ratio(pairs)) == [100, 250, 300]
    assert [path.name for path in long_exposures(pairs)] == ["10003_00_10s.ARW", "10006_00_10s.ARW", "10011_00_30s.ARW"]
    elsewhere = sid / "lists" / "mine.txt"
    touch(elsewhere)
    elsewhere.write_text(as_list(form))
    assert find_sid(sid, elsewhere) == pairs
    assert scan_sid(elsewhere, sid) == (pairs, [])


def test_a_stated_ratio_comes_first(sid):
    (sid / "mine.txt").write_text(f"{PAIRS[0][0]} {PAIRS[0][1]} 200")
    assert find_sid(sid, sid / "mine.txt")[0].ratio == 200


def test_files_that_are_not_there(sid):
    (sid / "Sony_val.txt").write_text(as_list("{short} {long}") + "00001_00_0.1s.ARW 00001_00_10s.ARW\n")
    pairs, problems = scan_sid(sid / "Sony_val.txt")
    assert len(pairs) == 4
    assert len(problems) == 1
    assert "line 6: no file 00001_00_0.1s.ARW and no 00001_00_10s.ARW" in problems[0]
    with pytest.raises(FileNotFoundError, match=r"find_sid: .*line 6: no file 00001"):
        find_sid(sid, "val")
    with pytest.raises(FileNotFoundError, match=r"no list Sony_train.txt or Sony_train_list.txt"):
        find_sid(sid, "train")
    with pytest.raises(FileNotFoundError, match="scan_sid: no list"):
        scan_sid(sid / "none.txt")


@pytest.mark.parametrize(
    ("line", "message"),
    [("one.ARW", "line 1: expected a short and a long"), ("a_1.ARW b_2s.ARW", "ends in its exposure"),
     ("a_0s.ARW b_2s.ARW", "ends in its exposure"), ("a_1s.ARW b_2s.ARW -3", "a ratio must be above 0"),
     ("a_1s.ARW b_2s.ARW many", "could not convert"), ("\n", "holds no pair")],
)  # fmt: skip
def test_lines_that_are_no_pair(tmp_path, line, message):
    (tmp_path / "list.txt").write_text(line)
    with pytest.raises(ValueError, match=message):
        scan_sid(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not text"):
        scan_sid(tmp_path / "list.txt")


def test_exposures():
    assert exposure_of("Sony/short/10003_00_0.04s.ARW") == 0.04
    long, short = (
        raw_picture([[0, 1], [3, 2]], np.zeros((4, 4), np.uint16), iso=i, exposure=t)
        for i, t in ((100, 1), (800, 0.01))
    )
    assert exposure_ratio(long, short) == pytest.approx(12.5)
    long.iso = None
    with pytest.raises(ValueError, match="the long exposure must say its ISO and time, got None, 1"):
        exposure_ratio(long, short)


def test_eld(tmp_path):
    for scene in (1, 2):
        for number in range(1, 17):
            touch(tmp_path / "CanonEOS70D" / f"scene-{scene}" / f"IMG_{number:04d}.CR2")
            touch(tmp_path / "CanonEOS70D" / f"scene-{scene}" / f"IMG_{number:04d}.CR2.xmp")
            touch(tmp_path / "CanonEOS70D" / f"scene-{scene}" / f"IMG_{number:04d}.JPG")
    numbers = {100: [(4, 6), (9, 11), (14, 16)], 200: [(5, 6), (10, 11), (15, 16)]}
    for ratio, expected in numbers.items():
        pairs = find_eld(tmp_path, "CanonEOS70D", ratio, (1, 2))
        found = [(int(pair.short.stem[4:]), int(pair.long.stem[4:])) for pair in pairs]
        assert found == expected * 2
        assert {pair.ratio for pair in pairs} == {ratio}
        assert all(path.suffix == ".CR2" for pair in pairs for path in (pair.short, pair.long))
        assert pairs[3].name == f"CanonEOS70D_scene-2_IMG_{expected[0][0]:04d}"
    (tmp_path / "CanonEOS70D" / "scene-2" / "IMG_0011.CR2").unlink()
    pairs, problems = scan_eld(tmp_path, "CanonEOS70D", 100, (1, 2))
    assert len(pairs) == 5
    assert len(problems) == 1
    assert "scene-2: no raw file IMG_0011" in problems[0]
    # the published ten scenes: eight are not here
    with pytest.raises(FileNotFoundError, match=r"IMG_0011 \(and 24 more\)"):
        find_eld(tmp_path, "CanonEOS70D", 100)
    with pytest.raises(FileNotFoundError, match="no folder NikonD850, only CanonEOS70D"):
        scan_eld(tmp_path, "NikonD850", 100)
    with pytest.raises(ValueError, match="ratio must be one of 100, 200, got 300"):
        scan_eld(tmp_path, "CanonEOS70D", 300)
    assert [ground_truth(n) for n in (1, 2, 6, 16)] == [1, 1, 6, 16]


@pytest.mark.parametrize(
    ("name", "counts"),
    [("SID_Sony_15_paired.txt", {100: 15, 250: 15, 300: 15}), ("SID_Sony_paired.txt", {100: 40, 250: 40, 300: 49}),
     ("Sony_test.txt", {}), ("Sony_val.txt", {}), ("Sony_train.txt", {})],
)  # fmt: skip
def test_the_lists_themselves(tmp_path, name, counts):
    """Every line is read; the ratios that some state are those of the names."""
    lists = Path(os.environ.get("LOWLIGHT_SID_LISTS", Path(__file__).parents[2] / "shared/data/sid"))
    if not (lists / name).is_file():
        pytest.skip("no lists of SID: set LOWLIGHT_SID_LISTS to their folder")
    lines = [line.split() for line in (lists / name).read_text().splitlines()]
    for words in lines:
        touch(tmp_path / "Sony" / "short" / words[0])
        touch(tmp_path / "Sony" / "long" / words[1])
    pairs = find_sid(tmp_path, lists / name)
    assert len(pairs) == len(lines)
    if counts:
        assert Counter(pair.ratio for pair in pairs) == counts
        (tmp_path / "bare.txt").write_text("\n".join(" ".join(words[:2]) for words in lines))
        assert find_sid(tmp_path, tmp_path / "bare.txt") == pairs
