"""Metadata never costs a picture: turned before tags are looked at, what can be kept is kept, the rest is named."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from lowlight.files.codecs import encode_tiff
from lowlight.files.eight_bit import decode_rgb
from lowlight.files.pictures import Picture, quantise, read_picture, write_picture

TURNS = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}  # fmt: skip


def exif_block(entries, order="<"):
    """An EXIF block of one directory of inline values: (tag, TIFF type, count, four bytes); long ones follow it."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    end, rest, table = 8 + 2 + 12 * len(entries) + 4, b"", b""
    for tag, kind, count, value in entries:
        if len(value) > 4:
            value, rest = struct.pack(order + "I", end + len(rest)), rest + value
        table += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0" + head + table + bytes(4) + rest


def jpeg(path, exif, size=(30, 20)):
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.save(path, exif=exif, quality=95, subsampling=0)
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [("H", 6), ("I", 6), ("b", 6), ("B", 6), ("h", 6), ("i", 6), ("s", b"6")],
    ids=["SHORT", "LONG", "SBYTE", "BYTE", "SSHORT", "SLONG", "ASCII"],
)
def test_orientation_of_every_type(tmp_path, kind, value, order):
    number = {"B": 1, "s": 2, "H": 3, "I": 4, "b": 6, "h": 8, "i": 9}[kind]
    array = jpeg(tmp_path / "p.jpg", exif_block([(274, number, 1, struct.pack(order + kind, value))], order))
    picture = read_picture(tmp_path / "p.jpg")
    assert picture.rgb.shape == (30, 20, 3)
    assert np.array_equal(decode_rgb(tmp_path / "p.jpg"), np.rot90(array, -1))
    write_picture(tmp_path / "q.jpg", picture)
    with Image.open(tmp_path / "q.jpg") as image:
        assert image.getexif()[274] == 1


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ((296, 4, 1, struct.pack("<I", 70000)), "ResolutionUnit"),
        ((282, 10, 1, struct.pack("<ii", -3, 2)), "XResolution"),
    ],
)
def test_a_tag_that_cannot_be_written_costs_itself(tmp_path, tag, name):
    block = exif_block([(271, 2, 8, b"Lantern\0"), (274, 3, 1, struct.pack("<H", 6)), tag])
    jpeg(tmp_path / "p.jpg", block)
    picture = read_picture(tmp_path / "p.jpg")
    assert picture.rgb.shape == (30, 20, 3)
    assert any(name in note for note in picture.notes)
    write_picture(tmp_path / "q.png", picture)
    with Image.open(tmp_path / "q.png") as image:
        assert image.size == (20, 30)
        assert dict(image.getexif()) == {271: "Lantern", 274: 1}


def test_a_signed_gps_rational(tmp_path):
    gps = struct.pack("<H", 2) + struct.pack("<HHI4s", 1, 2, 2, b"N\0") + struct.pack("<HHII", 6, 10, 1, 80) + bytes(4)
    head = exif_block([(274, 3, 1, struct.pack("<H", 6)), (34853, 4, 1, struct.pack("<I", 38))])
    block = head + gps
    block = block.ljust(6 + 80, b"\0") + struct.pack("<ii", -25, 10)
    jpeg(tmp_path / "p.jpg", block)
    picture = read_picture(tmp_path / "p.jpg")
    assert picture.rgb.shape == (30, 20, 3)
    assert any("GPSAltitude" in note for note in picture.notes)
    kept = Image.Exif()
    kept.load(picture.exif)
    assert kept.get_ifd(ExifTags.IFD.GPSInfo) == {1: "N"}


def test_no_empty_directories_are_added(tmp_path):
    jpeg(tmp_path / "p.jpg", exif_block([(271, 2, 8, b"Lantern\0")]))
    kept = Image.Exif()
    kept.load(read_picture(tmp_path / "p.jpg").exif)
    assert dict(kept) == {271: "Lantern"}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_larger_than_a_jpegs_segment(tmp_path, suffix):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Lantern"
    exif.get_ifd(ExifTags.IFD.Exif).update({37500: bytes(60000), 37510: bytes(9000), 33434: IFDRational(1, 8)})
    Image.new("RGB", (8, 6)).save(tmp_path / "p.png", exif=exif.tobytes())
    notes = write_picture(tmp_path / f"q{suffix}", read_picture(tmp_path / "p.png"))
    with Image.open(tmp_path / f"q{suffix}") as image:
        image.load()
        kept = image.getexif()
        inner = kept.get_ifd(ExifTags.IFD.Exif)
        assert kept[ExifTags.Base.Make] == "Lantern"
        assert (inner[33434], len(inner[37510])) == (0.125, 9000)
        assert (37500 in inner) == (suffix != ".jpg")
    assert ["MakerNote" in note for note in notes] == [True] * (suffix == ".jpg")


@pytest.mark.parametrize("name", ["光" * 80, "é" * 120, "a" * 240])
def test_long_names(tmp_path, name):
    write_picture(tmp_path / f"{name}.png", Picture(np.zeros((2, 2, 3), np.float32)))
    assert [p.name for p in tmp_path.iterdir()] == [f"{name}.png"]


def values(mode, depth, height=13, width=17):
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode]
    array = np.random.default_rng(channels).integers(0, 2**depth, (height, width, channels))
    return array.astype(f"u{depth // 8}")


def tiff_of(array, compression, order, orientation):
    """By tifffile, which shares nothing with the reader; deflated and differenced by the library's own writer."""
    if compression == "own":
        data = bytearray(encode_tiff(array, exif_block([(274, 3, 1, struct.pack("<H", orientation))])))
        return bytes(data)
    buffer = io.BytesIO()
    extra = [(274, "H", 1, orientation, True)]
    shown = array[..., 0] if array.shape[2] == 1 else array
    kinds = {"photometric": "rgb" if array.shape[2] > 2 else "minisblack"}
    if array.shape[2] in (2, 4):
        kinds["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(buffer, shown, byteorder=order, extratags=extra, compression=compression, metadata=None, **kinds)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(
    ("compression", "order"), [(None, "<"), (None, ">"), ("zlib", "<"), ("zlib", ">"), ("own", "<")]
)
@pytest.mark.parametrize(
    ("mode", "depth"), [("L", 8), ("LA", 8), ("RGB", 8), ("RGBA", 8), ("L", 16), ("RGB", 16), ("RGBA", 16)]
)
def test_tiff_turned_as_numpy_turns_it(tmp_path, mode, depth, compression, order, orientation):
    array = values(mode, depth)
    (tmp_path / "p.tif").write_bytes(tiff_of(array, compression, order, orientation))
    picture = read_picture(tmp_path / "p.tif")
    assert picture.bits == depth
    assert np.array_equal(quantise(picture.rgb, picture.alpha, picture.grey, depth), TURNS[orientation](array))
    assert np.array_equal(decode_rgb(tmp_path / "p.tif"), np.rint(picture.rgb * 255).astype(np.uint8))
    write_picture(tmp_path / "q.tif", picture)
    assert np.array_equal(read_picture(tmp_path / "q.tif").rgb, picture.rgb)
