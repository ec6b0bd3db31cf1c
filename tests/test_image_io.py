"""Pictures in and out: exact samples for every format and depth, metadata, orientation, atomic writes, clear errors."""

import errno
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from lowlight.files import pictures as image_io
from lowlight.files.pictures import Picture, PictureError, decode, quantise, read_picture, write_picture

LOSSLESS = [".png", ".tif", ".tiff", ".bmp"]


def samples(channels, bits, height=13, width=17):
    values = np.random.default_rng(channels).integers(0, 2**bits, (height, width, channels))
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def stored(picture):
    return quantise(picture.rgb, picture.alpha, picture.grey, picture.bits)


def picture_of(array, **extras):
    values = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    grey = array.shape[2] <= 2
    alpha = values[..., -1] if array.shape[2] in (2, 4) else None
    rgb = np.repeat(values[..., :1], 3, axis=2) if grey else values[..., :3]
    return Picture(rgb, alpha, grey, 8 * array.itemsize, **extras)


def plain_png(array, extra=b""):
    """An independent writer: no filter, one chunk of data."""
    height, width, channels = array.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    lines = array.astype(array.dtype.newbyteorder(">")).reshape(height, -1)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8 * array.itemsize, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def plain_tiff(array, order):
    """An independent writer: uncompressed 16-bit RGB in either byte order."""
    height, width, channels = array.shape
    pixels = array.astype(array.dtype.newbyteorder(order)).tobytes()
    entries = [(256, 4, width), (257, 4, height), (259, 3, 1), (262, 3, 2), (277, 3, channels), (278, 4, height)]
    entries += [(279, 4, len(pixels)), (284, 3, 1)]
    start = 8 + 2 + 12 * (len(entries) + 2) + 4
    table = []
    for tag, kind, value in entries:
        table.append((tag, struct.pack(order + "HHI", tag, kind, 1) + struct.pack(order + "HI"[kind == 4], value)))
    table.append((258, struct.pack(order + "HHII", 258, 3, channels, start)))
    table.append((273, struct.pack(order + "HHII", 273, 4, 1, start + 2 * channels)))
    body = b"".join(entry.ljust(12, b"\0") for _, entry in sorted(table))
    magic = b"II" if order == "<" else b"MM"
    head = magic + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", len(table)) + body + b"\0\0\0\0"
    return head + struct.pack(order + "H", 16) * channels + pixels


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_round_trip(tmp_path, suffix, channels, bits):
    array = samples(channels, bits)
    path = tmp_path / f"picture{suffix}"
    notes = write_picture(path, picture_of(array))
    back = read_picture(path)
    if suffix == ".bmp":
        # 8-bit RGB or grey is all a BMP holds: what is lost is said
        assert len(notes) == (bits == 16) + (channels in (2, 4))
        assert (back.bits, back.alpha) == (8, None)
        if channels in (1, 3) and bits == 8:
            assert np.array_equal(stored(back), array)
        return
    assert notes == ()
    assert back.bits == bits
    if channels == 2 and bits == 16 and suffix != ".png":
        # written as RGB with alpha, because hardly any reader opens grey with alpha of 16 bits
        array = array[..., [0, 0, 0, 1]]
    assert np.array_equal(stored(back), array)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 3)])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg", ".webp"])
def test_smallest_sizes(tmp_path, suffix, size):
    for bits in (8, 16):
        write_picture(tmp_path / f"p{suffix}", picture_of(samples(3, bits, *size)))
        assert read_picture(tmp_path / f"p{suffix}").rgb.shape == (*size, 3)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_of_another_writer(tmp_path, channels):
    array = samples(channels, 16)
    (tmp_path / "p.png").write_bytes(plain_png(array))
    picture = read_picture(tmp_path / "p.png")
    assert picture.bits == 16
    assert picture.grey == (channels <= 2)
    assert np.array_equal(stored(picture), array)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_tiff_of_another_writer(tmp_path, order, channels):
    array = samples(channels, 16)
    (tmp_path / "p.tif").write_bytes(plain_tiff(array, order))
    assert np.array_equal(stored(read_picture(tmp_path / "p.tif")), array)


def test_16_bit_png_colour_key_becomes_alpha(tmp_path):
    array = samples(3, 16)
    key = struct.pack(">I", 6) + b"tRNS" + array[4, 5].astype(">u2").tobytes()
    (tmp_path / "p.png").write_bytes(plain_png(array, key + struct.pack(">I", zlib.crc32(key[4:]))))
    alpha = read_picture(tmp_path / "p.png").alpha
    assert alpha[4, 5] == 0
    assert alpha.sum() == alpha.size - 1


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_are_close(tmp_path, suffix):
    y, x = np.mgrid[0:40, 0:60] / 60
    picture = Picture(np.stack([x, y, (x + y) / 2], axis=2).astype(np.float32))
    write_picture(tmp_path / f"p{suffix}", picture)
    assert np.abs(read_picture(tmp_path / f"p{suffix}").rgb - picture.rgb).mean() < 0.01


def test_pure_noise_fits_into_a_jpeg(tmp_path):
    # compresses to more than two bytes a pixel, where Pillow's optimizing encoder runs out of room
    write_picture(tmp_path / "p.jpg", picture_of(samples(3, 8, 400, 400)))
    assert read_picture(tmp_path / "p.jpg").rgb.shape == (400, 400, 3)


def test_grey_stays_grey_in_jpeg(tmp_path):
    write_picture(tmp_path / "p.jpg", picture_of(samples(1, 8)))
    with Image.open(tmp_path / "p.jpg") as image:
        assert image.mode == "L"
    assert read_picture(tmp_path / "p.jpg").grey


def test_webp_keeps_alpha_and_the_colours_under_it(tmp_path):
    array = samples(4, 8)
    array[:, :, 3] = np.where(array[:, :, 3] > 127, 255, 0)
    write_picture(tmp_path / "p.webp", picture_of(array))
    assert np.array_equal(stored(read_picture(tmp_path / "p.webp"))[..., 3], array[..., 3])


def test_alpha_is_laid_over_white_where_a_format_has_none(tmp_path):
    picture = Picture(np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.float32))
    assert "white" in write_picture(tmp_path / "p.bmp", picture)[0]
    assert read_picture(tmp_path / "p.bmp").rgb.min() == 1


@pytest.mark.parametrize(
    ("mode", "expected"), [("1", "grey"), ("L", "grey"), ("LA", "grey alpha"), ("P", "rgb"), ("RGBA", "rgb alpha"),
                           ("CMYK", "rgb"), ("I;16", "grey"), ("I", "grey"), ("PA", "rgb alpha"), ("YCbCr", "rgb")],
)  # fmt: skip
def test_modes(mode, expected):
    image = Image.linear_gradient("L").resize((9, 7))
    image = (image if mode in ("I;16", "PA") else image.convert("RGB")).convert(mode)
    picture = decode(image)
    kind = ("grey" if picture.grey else "rgb") + (" alpha" if picture.alpha is not None else "")
    assert kind == expected
    assert picture.rgb.shape == (7, 9, 3)
    assert picture.rgb.dtype == np.float32


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "p.png", transparency=0)
    picture = read_picture(tmp_path / "p.png")
    assert picture.alpha[0, 0] == 0
    assert picture.alpha.sum() == 15
    assert picture.rgb[3, 3].tolist() == [0, 0, 1]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_modes_without_a_range_are_refused(mode):
    with pytest.raises(PictureError, match="16 bit"):
        decode(Image.new(mode, (3, 3), 70000))


def with_exif(path, orientation, **save):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Lantern"
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = 0.125
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    array = samples(3, 8)
    Image.fromarray(array).save(path, exif=exif.tobytes(), **save)
    return array


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_reset(tmp_path, orientation):
    array = with_exif(tmp_path / "in.png", orientation)
    picture = read_picture(tmp_path / "in.png")
    upright = {
        1: array, 2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1], 5: array.transpose(1, 0, 2),
        6: np.rot90(array, -1), 7: np.rot90(array, 2).transpose(1, 0, 2), 8: np.rot90(array),
    }[orientation]  # fmt: skip
    assert np.array_equal(stored(picture), upright)
    write_picture(tmp_path / "out.png", picture)
    with Image.open(tmp_path / "out.png") as image:
        assert image.getexif()[ExifTags.Base.Orientation] == 1
        assert image.size == upright.shape[1::-1]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("source", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".webp", ".tif"])
def test_exif_and_icc_survive(tmp_path, source, target, bits):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with_exif(tmp_path / f"in{source}", 1, icc_profile=icc)
    picture = read_picture(tmp_path / f"in{source}")
    picture.bits = bits
    write_picture(tmp_path / f"out{target}", picture)
    with Image.open(tmp_path / f"out{target}") as image:
        exif = image.getexif()
        assert exif[ExifTags.Base.Make] == "Lantern"
        assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] == 0.125
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
        assert image.info["icc_profile"] == icc
        image.load()
        assert image.size == (17, 13)
    # and once more, from a TIFF's compressed or uncompressed strips, a PNG's trailing chunk
    again = Image.Exif()
    again.load(read_picture(tmp_path / f"out{target}").exif)
    assert again[ExifTags.Base.Make] == "Lantern"
    assert again.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] == 0.125


def test_damaged_exif_costs_the_exif_not_the_picture(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05")
    (tmp_path / "p.jpg").write_bytes(buffer.getvalue())
    picture = read_picture(tmp_path / "p.jpg")
    assert picture.rgb.shape == (8, 8, 3)


def test_only_the_first_page_is_taken_and_said(tmp_path):
    pages = [Image.new("L", (4, 4), value) for value in (10, 20, 30)]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    picture = read_picture(tmp_path / "p.tif")
    assert stored(picture)[0, 0, 0] == 10
    assert "first of 3 pages" in picture.notes[0]


def test_content_decides_not_the_extension(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "p.png", "JPEG")
    assert read_picture(tmp_path / "p.png").rgb.shape == (4, 4, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_truncated_file(tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    write_picture(path, picture_of(samples(3, 8, 60, 60)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=f"p{suffix}"):
        read_picture(path)


def test_unreadable_inputs(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.jpg").touch()
    for name, said in (("text.png", "not a PNG, JPEG, WebP"), ("empty.jpg", "an empty file")):
        with pytest.raises(PictureError, match=said):
            read_picture(tmp_path / name)
    with pytest.raises(PictureError, match="no such file"):
        read_picture(tmp_path / "missing.png")
    with pytest.raises(PictureError, match="folder"):
        read_picture(tmp_path)


def test_decompression_bomb(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "p.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PictureError, match="too large"):
        read_picture(tmp_path / "p.png")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_a_number_is_refused_and_nothing_written(tmp_path, value):
    picture = picture_of(samples(3, 8))
    picture.rgb[0, 0, 0] = value
    with pytest.raises(PictureError, match="NaN"):
        write_picture(tmp_path / "p.png", picture)
    assert os.listdir(tmp_path) == []


def test_values_outside_the_range_are_clipped():
    rgb = np.array([[[-0.5, 0.5, 1.5]]], np.float32)
    assert quantise(rgb, None, False, 8).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize("name", ["p.gif", "p", "p.svg"])
def test_unsupported_extension(tmp_path, name):
    with pytest.raises(PictureError, match=r"use one of \.png"):
        write_picture(tmp_path / name, picture_of(samples(3, 8)))


def test_too_large_for_the_format(tmp_path):
    with pytest.raises(PictureError, match="16383"):
        write_picture(tmp_path / "p.webp", Picture(np.zeros((1, 16384, 3), np.float32)))


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failure):
    path = tmp_path / "p.png"
    path.write_bytes(b"old")

    def refuse(*_):
        raise failure

    monkeypatch.setattr(image_io.os, "replace", refuse)
    with pytest.raises(type(failure)):
        write_picture(path, picture_of(samples(3, 8)))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["p.png"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full to write to")
def test_full_disk(tmp_path, monkeypatch):
    opened = open
    monkeypatch.setattr("builtins.open", lambda path, mode: opened("/dev/full", "wb") if mode == "xb" else opened(path))
    with pytest.raises(OSError, match="space"):
        write_picture(tmp_path / "p.png", picture_of(samples(3, 8, 300, 300)))
    assert os.listdir(tmp_path) == []


def test_written_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "real" / "p.png")
    write_picture(tmp_path / "link.png", picture_of(samples(3, 8)))
    assert (tmp_path / "link.png").is_symlink()
    assert read_picture(tmp_path / "real" / "p.png").rgb.shape == (13, 17, 3)
