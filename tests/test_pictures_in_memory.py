"""A file read from memory is the file read from a disk, and its faults are the same."""

from dataclasses import fields

import numpy as np
import pytest
from damage import damaged
from PIL import Image
from test_damage import chunk, picture_files

from lowlight.files.formats import OtherFormatError, TooLargeError
from lowlight.files.pictures import PictureError, read_picture


def outcome(*told):
    """The picture's fields, or the error's class and words."""
    try:
        picture = read_picture(*told)
    except PictureError as error:
        return type(error), str(error)
    return tuple(getattr(picture, field.name) for field in fields(picture))


def equal(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in zip(one, other, strict=True)
    )


def hdr_png(path):
    """A PNG whose cICP chunk says BT.2020 and PQ."""
    Image.new("RGB", (4, 3), (90, 80, 70)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:33] + chunk(b"cICP", bytes([9, 16, 0, 1])) + whole[33:])


def test_every_kind_of_file(tmp_path):
    picture_files(tmp_path)
    hdr_png(tmp_path / "hdr.png")
    lengths, notes = set(), ()
    for path in sorted(tmp_path.iterdir()):
        for data in (path.read_bytes(), *damaged(path.read_bytes(), 10)):
            path.write_bytes(data)
            expected = outcome(path)
            assert equal(outcome(path, data), expected), path.name
            lengths.add(len(expected))
            notes += expected[6] if len(expected) > 2 else ()
    # pictures and faults were seen, and the chunk was
    assert len(lengths) == 2
    assert any("HDR" in note for note in notes)


@pytest.mark.parametrize(
    ("data", "error"), [(b"notes", OtherFormatError), (b"", OtherFormatError), (b"\0\0\0\x18ftypavif", PictureError)]
)
def test_what_is_none(data, error):
    with pytest.raises(error, match=r"^mine: (not a PNG|a|cannot)") as caught:
        read_picture("mine", data)
    assert type(caught.value) is error


def test_a_bomb(tmp_path):
    header = chunk(b"IHDR", bytes([0, 0, 200, 0, 0, 0, 200, 0, 8, 2, 0, 0, 0]))
    with pytest.raises(TooLargeError, match="mine: too large"):
        read_picture("mine", b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
