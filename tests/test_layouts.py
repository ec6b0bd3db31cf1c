"""The published data sets' folders and list files, each as a small copy of its layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowlight.data.sets.pairs import find_pairs, scan_pairs


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def lol_v2(tmp_path) -> Path:
    for part, numbers in (("Train", ("00001", "00689")), ("Test", ("00690", "00789"))):
        for number in numbers:
            folder = f"Real_captured/{part}"
            touch(tmp_path, f"{folder}/Low/low{number}.png", f"{folder}/Normal/normal{number}.png")
    for part, name in (("Train", "r0a1b2c3dt"), ("Test", "r00816405t")):
        touch(tmp_path, f"Synthetic/{part}/Low/{name}.png", f"Synthetic/{part}/Normal/{name}.png")
    return tmp_path


@pytest.fixture
def ve_lol(tmp_path) -> Path:
    for part, number in (("train", "00001"), ("test", "00690")):
        touch(
            tmp_path,
            f"VE-LOL-L-Cap-Full/VE-LOL-L-Cap-Low_{part}/low{number}.png",
            f"VE-LOL-L-Cap-Full/VE-LOL-L-Cap-Normal_{part}/normal{number}.png",
            f"VE-LOL-L-Syn/VE-LOL-L-Syn-Low_{part}/{number}.png",
            f"VE-LOL-L-Syn/VE-LOL-L-Syn-Normal_{part}/{number}.png",
        )
    touch(tmp_path, "VE-LOL-H/train_images/1.png", "VE-LOL-H/train_labels/1.txt")
    return tmp_path


@pytest.fixture
def lsrw(tmp_path) -> Path:
    root = tmp_path / "data" / "LSRW"
    for part, number in (("Training data", 1), ("Eval", 2001)):
        for camera in ("Huawei", "Nikon"):
            touch(root, *(f"{part}/{camera}/{side}/{number}.jpg" for side in ("low", "high")))
    return root


def names(root: Path, split: str | None = None) -> list[str]:
    pairs, problems = scan_pairs(root, split)
    assert problems == []
    for pair in pairs:
        assert pair.low.is_file()
        assert pair.high.is_file()
        assert pair.low != pair.high
    return [pair.name for pair in pairs]


def test_lol_v2(lol_v2):
    assert names(lol_v2 / "Real_captured", "test") == ["00690", "00789"]
    # the numbers of our485's split mean nothing here: Train is Train
    assert names(lol_v2 / "Real_captured", "train") == ["00001", "00689"]
    assert names(lol_v2 / "Real_captured" / "Test") == ["00690", "00789"]
    assert names(lol_v2 / "Synthetic", "train") == ["r0a1b2c3dt"]
    assert names(lol_v2, "test") == ["00690", "00789", "r00816405t"]
    (pair, *_) = find_pairs(lol_v2 / "Real_captured", "test")
    assert pair.high == lol_v2 / "Real_captured/Test/Normal/normal00690.png"


def test_ve_lol(ve_lol):
    assert names(ve_lol / "VE-LOL-L-Cap-Full", "train") == ["00001"]
    assert names(ve_lol / "VE-LOL-L-Syn", "test") == ["00690"]
    assert names(ve_lol, "test") == ["VE-LOL-L-Cap-Full_00690", "VE-LOL-L-Syn_00690"]
    for pair in find_pairs(ve_lol, "all"):
        low, high = pair.low.parent.name, pair.high.parent.name
        assert low.replace("Low", "Normal") == high


def test_lsrw(lsrw):
    assert names(lsrw, "train") == ["Training data_Huawei_1", "Training data_Nikon_1"]
    assert names(lsrw / "Eval", None) == ["Huawei_2001", "Nikon_2001"]
    assert names(lsrw / "Eval" / "Nikon") == ["2001"]
    assert len(names(lsrw.parent, "all")) == 4


def test_one_folder_with_both_parts_and_one_name(tmp_path):
    touch(tmp_path, *(f"{side}_{part}/1.png" for side in ("low", "high") for part in ("train", "test")))
    assert names(tmp_path, "all") == ["test_1", "train_1"]
    assert names(tmp_path, "train") == ["1"]


def test_several_parts_want_a_split(lol_v2, lsrw):
    with pytest.raises(ValueError, match=r"has the parts test, train; name a split, or 'all'"):
        find_pairs(lol_v2 / "Real_captured")
    with pytest.raises(FileNotFoundError, match="has no part 'val', only test, train"):
        find_pairs(lsrw, "val")
    with pytest.raises(FileNotFoundError, match="has no part 'heldout'"):
        find_pairs(lol_v2 / "Real_captured", "heldout")


def test_links_in_a_circle(lsrw):
    (lsrw / "Eval" / "again").symlink_to(lsrw, target_is_directory=True)
    assert len(names(lsrw, "all")) == 4


def test_two_folders(tmp_path):
    touch(tmp_path, "a/1.png", "a/x_low.png", "a/low_tide.png", "a/dark-7.png")
    touch(tmp_path, "b/1.jpg", "b/x_high.png", "b/low_tide.png", "b/normal7.png", "b/9.png")
    pairs, problems = scan_pairs(tmp_path / "a", high=tmp_path / "b")
    assert [pair.name for pair in pairs] == ["1", "7", "low_tide", "x"]
    assert problems == [f"{tmp_path / 'b/9.png'}: no picture of that name in {tmp_path / 'a'}"]
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        find_pairs(tmp_path / "a", high=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="have no split 'train'"):
        find_pairs(tmp_path / "a", "train", high=tmp_path / "b")


def test_a_stem_that_becomes_anothers(tmp_path):
    touch(tmp_path, "low/1.png", "low/low1.png", "high/1.png")
    pairs, problems = scan_pairs(tmp_path)
    assert pairs == []
    assert problems[0].startswith("1: more than one picture of that name: ")


@pytest.fixture
def published(tmp_path) -> Path:
    """The published reader's folder, below one whose own name holds `low`."""
    root = tmp_path / "lowlight" / "LOLv1"
    for part, numbers in (("train", (2, 10)), ("val", (1,))):
        touch(root, *(f"{part}/{side}/{number}.png" for side in ("low", "high") for number in numbers))
    return root


@pytest.mark.parametrize(
    "prefix", ["{root}/train/", "./", "", "data/LOLv1/train/", "/elsewhere/lowlight/LOLv1/train/", "train\\"]
)
def test_list_files(published, prefix):
    path = published / "train" / "LOLv1_train.txt"
    prefix = prefix.format(root=published)
    path.write_text(f"{prefix}low/10.png\n\n{prefix}low/2.png\n")
    pairs, problems = scan_pairs(path)
    assert problems == []
    assert [pair.low for pair in pairs] == [published / "train" / "low" / f"{n}.png" for n in (10, 2)]
    assert [pair.high for pair in pairs] == [published / "train" / "high" / f"{n}.png" for n in (10, 2)]


def test_the_published_rule_comes_first(tmp_path):
    touch(tmp_path, "low/lowtide.png", "high/hightide.png", "high/lowtide.png")
    (tmp_path / "a.txt").write_text("low/lowtide.png\n")
    assert find_pairs(tmp_path / "a.txt")[0].high.name == "hightide.png"
    (tmp_path / "high/hightide.png").unlink()
    assert find_pairs(tmp_path / "a.txt")[0].high.name == "lowtide.png"


def test_lists_of_other_names_and_two_columns(tmp_path):
    touch(tmp_path, "Train/Low/low00001.png", "Train/Normal/normal00001.png", "a b/1.png", "c/1.jpg", "c/2.jpg")
    touch(tmp_path, "a/2.png")
    (tmp_path / "x_train.txt").write_text("Train/Low/low00001.png\r\na b/1.png\tc/1.jpg\na/2.png c/2.jpg\n")
    pairs, problems = scan_pairs(tmp_path / "x_train.txt")
    assert problems == []
    assert [str(pair.high.relative_to(tmp_path)) for pair in pairs] == ["Train/Normal/normal00001.png", "c/1.jpg",
                                                                         "c/2.jpg"]  # fmt: skip


def test_a_folder_with_lists_only(tmp_path):
    touch(tmp_path, "all/x/low1.png", "all/x/high1.png", "all/x/low2.png", "all/x/high2.png")
    for part, number in (("train", 1), ("val", 2)):
        (tmp_path / f"x_{part}.txt").write_text(f"all/x/low{number}.png\n")
    (tmp_path / "README.txt").write_text("not a list\n")
    assert names(tmp_path, "train") == ["low1"]
    assert names(tmp_path, "val") == ["low2"]


def test_lines_without_pictures_are_named(published, tmp_path):
    path = published / "train" / "LOLv1_train.txt"
    touch(published, "train/low/3.png")
    path.write_text("low/2.png\nlow/99.png\nlow/3.png\nlow/2.png\n")
    pairs, problems = scan_pairs(path)
    assert [pair.name for pair in pairs] == ["2"]
    assert problems[0] == f"{path}, line 2: no file low/99.png"
    assert problems[1].startswith(f"{published / 'train/low/3.png'}: no bright picture high/3.png")
    assert problems[2].endswith("twice, in lines 1 and 4")
    with pytest.raises(ValueError, match="have no split 'train'"):
        scan_pairs(path, "train")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a list of paths"):
        scan_pairs(tmp_path / "binary.txt")
