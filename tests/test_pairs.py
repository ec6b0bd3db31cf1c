"""Pairs found in folders of every usual shape, and what is said of pictures without a partner."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowlight.data.sets.pairs import find_pairs, scan_pairs


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("low", "high"),
    [("low", "high"), ("input", "target"), ("dark", "bright"), ("Low", "Normal"), ("LQ", "GT"), ("short", "long")],
)
def test_names_of_the_two_folders(tmp_path, low, high):
    touch(tmp_path, f"{low}/a.png", f"{high}/a.png", "other/a.png")
    (pair,) = find_pairs(tmp_path)
    assert (pair.low, pair.high, pair.name) == (tmp_path / low / "a.png", tmp_path / high / "a.png", "a")


def test_pairs_by_stem_in_natural_order(tmp_path):
    for stem, low, high in (
        ("10", ".webp", ".jpg"),
        ("2", ".PNG", ".tif"),
        ("a1", ".png", ".png"),
        ("x.y", ".bmp", ".png"),
    ):
        touch(tmp_path, f"low/{stem}{low}", f"high/{stem}{high}")
    touch(tmp_path, "low/.hidden.png", "low/notes.txt", "high/Thumbs.db")
    pairs, problems = scan_pairs(tmp_path)
    assert [pair.name for pair in pairs] == ["2", "10", "a1", "x.y"]
    assert all(pair.low.stem == pair.high.stem == pair.name for pair in pairs)
    assert problems == []


def test_stems_that_begin_with_their_folder(tmp_path):
    touch(tmp_path, "Low/low00690.png", "Normal/normal00690.png", "Low/lowland.png", "Normal/lowland.png")
    assert [pair.name for pair in find_pairs(tmp_path)] == ["00690", "lowland"]


def test_pictures_without_partner_are_named(tmp_path):
    touch(tmp_path, "low/1.png", "low/2.png", "high/2.png", "high/3.png", "low/4.png", "high/4.png", "high/4.jpg")
    pairs, problems = scan_pairs(tmp_path)
    assert [pair.name for pair in pairs] == ["2"]
    assert problems[0] == f"{tmp_path / 'low' / '1.png'}: no picture of that name in {tmp_path / 'high'}"
    assert problems[1] == f"{tmp_path / 'high' / '3.png'}: no picture of that name in {tmp_path / 'low'}"
    assert problems[2].startswith("4: more than one picture of that name: ")
    assert len(problems) == 3


@pytest.fixture
def lol(tmp_path) -> Path:
    for number in (1, 689, 690, 700):
        touch(tmp_path, f"our485/low/{number}.webp", f"our485/high/{number}.jpg")
    touch(tmp_path, "our485/low/5.webp", "eval15/low/22.png", "eval15/high/22.png")
    return tmp_path


@pytest.mark.parametrize(
    ("split", "names", "unpaired"),
    [
        (None, ["22"], 0),
        ("eval15", ["22"], 0),
        ("our485", ["1", "689", "690", "700"], 1),
        ("train", ["1", "689"], 1),
        ("heldout", ["690", "700"], 0),
        ("all", ["1", "22", "689", "690", "700"], 1),
    ],
)
def test_splits_of_lol(lol, split, names, unpaired):
    pairs, problems = scan_pairs(lol, split)
    assert [pair.name for pair in pairs] == names
    assert len(problems) == unpaired


def test_split_of_a_part(lol):
    assert [pair.name for pair in find_pairs(lol / "our485", "heldout")] == ["690", "700"]
    assert [pair.name for pair in find_pairs(lol / "eval15", "eval15")] == ["22"]
    with pytest.raises(FileNotFoundError, match="needs the root of LOL-v1"):
        find_pairs(lol / "our485", "eval15")


def test_a_split_without_pairs_is_not_an_empty_folder(tmp_path):
    touch(tmp_path, "low/1.png", "high/1.png")
    with pytest.raises(ValueError, match="split heldout has none"):
        find_pairs(tmp_path, "heldout")


def test_what_cannot_be_found(tmp_path, lol):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"split must be one of eval15, .* got 'tests'"):
        find_pairs(lol, "tests")
    touch(tmp_path, "half/low/1.png")
    with pytest.raises(FileNotFoundError, match=r"one of bright ones \(high, target, .*\), found low"):
        find_pairs(tmp_path / "half")
    (tmp_path / "half/high").mkdir()
    with pytest.raises(ValueError, match=r"no pair of pictures in .*: .*1\.png: no picture of that name"):
        find_pairs(tmp_path / "half")
