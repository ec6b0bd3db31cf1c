"""Hundreds of damaged files of every kind (thousands with --slow): a result or the library's own error, soon and small.

A kind is a row of KINDS: the whole files, what reads one, and the errors that may leave it.
"""

import contextlib
import dataclasses
import json
import resource
import shutil
import struct
import zlib

import numpy as np
import pytest
import tifffile
import torch
import yaml
from damage import damaged, foreign
from PIL import Image, features
from raw_pictures import BAYER, raw_picture, scene
from test_damaged_checkpoints import CONFIG, SMALL

from lowlight.cameras.calibration import CalibrationError, measure
from lowlight.cameras.calibration_frames import read_frame, sort_frames
from lowlight.cameras.cameras import CameraError, load_camera, shipped_cameras
from lowlight.checkpoints import CheckpointError, load, save_weights
from lowlight.data.batches.picture_cache import _header_size
from lowlight.data.sets.list_files import is_list_file, read_list
from lowlight.files.colour import ADOBE, D65
from lowlight.files.eight_bit import decode_rgb
from lowlight.files.formats import missing_reader
from lowlight.files.pictures import Picture, PictureError, encode, read_picture, srgb_of, write_picture
from lowlight.files.profiles import made_profile
from lowlight.study.config import CONFIGS as STUDIES
from lowlight.study.config import load_study
from lowlight.systems.diffll.system import DiffLL
from lowlight.training.config_files import CONFIGS, load_config
from lowlight_ext import testing

MEGABYTES = 2000  # that one kind may take


def picture_files(folder):
    """Small pictures with all that pictures carry."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 255, (24, 20, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[271], exif[274] = "Lantern", 6
    exif[0x8769], exif[0x8825] = {33434: 0.125, 37500: bytes(40)}, {1: "N", 2: (1.0, 2.0, 3.0)}
    carried = {"exif": exif.tobytes(), "icc_profile": made_profile(ADOBE, D65, gamma=2.2)}
    kinds = [
        (colour, "PNG", carried), (colour.convert("P"), "PNG", {"transparency": 3}), (colour.convert("1"), "PNG", {}),
        (Image.fromarray(rng.integers(0, 65535, (9, 7)).astype(np.uint16)), "PNG", {}),
        (colour, "JPEG", carried), (colour, "JPEG", {"progressive": True}), (colour.convert("CMYK"), "JPEG", {}),
        (colour, "WEBP", carried), (colour.convert("RGBA"), "WEBP", {"lossless": True}),
        (colour, "TIFF", carried), (colour, "TIFF", {"compression": "tiff_lzw"}), (colour.convert("LAB"), "TIFF", {}),
        (colour.convert("YCbCr"), "TIFF", {"compression": "jpeg"}), (colour, "BMP", {}),
        (colour.convert("P"), "GIF", {}),
        *([(colour, "AVIF", carried)] if features.check("avif") else []),
        *([(colour, "HEIF", carried)] if missing_reader("HEIF") is None else []),
    ]  # fmt: skip
    for number, (image, format, options) in enumerate(kinds):
        image.save(folder / f"{number}.{format.lower()}", format, **options)
    for suffix in (".png", ".tif"):
        deep = Picture(rng.random((9, 7, 3), np.float32), bits=16, exif=exif.tobytes())
        write_picture(folder / f"deep{suffix}", deep)
    planes = rng.integers(0, 65535, (3, 9, 7), dtype=np.uint16)
    tifffile.imwrite(folder / "planes.tif", planes, photometric="rgb", planarconfig="separate", compression="zlib")
    if missing_reader("HEIF") is None:
        from pillow_heif import from_bytes

        from_bytes("RGB;16", (64, 64), bytes(64 * 64 * 6)).save(folder / "deep.heic")


def read_and_write_picture(path):
    """Every way to read one; what is read can be written in any format."""
    for reader in (_header_size, decode_rgb):
        with contextlib.suppress(PictureError):
            reader(path)
    picture = read_picture(path)
    if picture.rgb.size < 1e6:
        srgb_of(picture)
        for format in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
            encode(picture, format)


def raw_files(folder):
    pytest.importorskip("rawpy", reason="no rawpy: pip install 'lowlight-ext[raw]'")
    from lowlight.raw.dng import write_dng

    write_dng(folder / "bayer.dng", raw_picture(BAYER[0], scene(40, 40)))
    write_dng(folder / "xtrans.dng", raw_picture((0, 0), scene(36, 36)))


def read_raw_file(path):
    from lowlight.raw.develop import read_developed

    read_developed(path)


def lists(folder):
    Image.new("RGB", (2, 2)).save(folder / "low00690.png")
    (folder / "list.txt").write_text("low/low00690.png\tNormal/normal00690.png\n" * 5)


def read_list_file(path):
    if path.suffix == ".txt":
        is_list_file(path)
        read_list(path)


def cameras(folder):
    camera = next(iter(shipped_cameras().values()))
    (folder / "camera.json").write_text(json.dumps({"mine": camera.to_dict()}))


def frames(folder):
    np.save(folder / "iso100_0.1s.npy", scene(20, 30))
    Image.fromarray(scene(20, 30)).save(folder / "iso100_0.1s.png")
    Image.fromarray(scene(20, 30)).save(folder / "iso100_0.1s.tif")


def read_frames(path):
    """The file as each of a folder's frames."""
    named = {"bias": "iso100/bias", "flat": "iso100/flat_0.1s"}
    frames = [(kind, path, read_frame(path, named[kind])) for kind in ("bias", "bias", "flat", "flat")]
    # what is wrong with all frames together names none
    with contextlib.suppress(CalibrationError):
        for gain in sort_frames(frames, 16383.0):
            measure(gain.bias, gain.flats, gain.white, gain.iso)


def checkpoints(folder):
    """Half precision, int8, and a training's."""
    torch.manual_seed(0)
    state = DiffLL(SMALL).state_dict()
    for dtype in (torch.float16, torch.int8):
        save_weights(folder / f"{dtype}.safetensors", state, {"system": "diffll", "config": SMALL}, dtype)
    torch.save({"model": state, "config": {"system": "diffll", "network": CONFIG}}, folder / "last.pt")


def configs(folder):
    config = load_config("wavelet_anchored_small")
    (folder / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config)))
    shutil.copy(CONFIGS / "diffll_small.yaml", folder / "shipped.yaml")


def studies(folder):
    for name in ("ddpm_on_dim", "ddpm_on_dim_small"):
        shutil.copy(STUDIES / f"{name}.yaml", folder / f"{name}.yaml")


# a configuration may name another one as its base, which then is not there
KINDS = {
    "pictures": (picture_files, read_and_write_picture, (PictureError,), 25),
    "raw": (raw_files, read_raw_file, (PictureError,), 150),
    "lists": (lists, read_list_file, (ValueError,), 300),
    "cameras": (cameras, load_camera, (CameraError,), 300),
    "calibration": (frames, read_frames, (CameraError,), 100),
    "checkpoints": (checkpoints, lambda path: load(path, device="cpu"), (CheckpointError,), 40),
    "configs": (configs, lambda path: load_config(str(path)), (ValueError, FileNotFoundError), 100),
    "studies": (studies, lambda path: load_study(str(path)), (ValueError, FileNotFoundError), 100),
}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_the_librarys_own_error(tmp_path, kind):
    make, reader, allowed, count = KINDS[kind]
    whole = tmp_path / "whole"
    whole.mkdir()
    make(whole)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wrong = {}
    for original in sorted(whole.iterdir()):
        assert foreign(lambda: reader(original), allowed) is None  # noqa: B023
        path = tmp_path / original.name
        for seed, data in enumerate(damaged(original.read_bytes(), count * (8 if testing.thorough else 1))):
            path.write_bytes(data)
            says = "" if FileNotFoundError in allowed else path.name
            if fault := foreign(lambda: reader(path), allowed, says):  # noqa: B023
                wrong[f"{original.name} {seed}"] = fault
    assert not wrong
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(("side", "kind", "words"), [(4, 3, "cannot be decoded"), (30000, 2, "too large")])
def test_a_palette_that_is_not_there_and_a_bomb(tmp_path, side, kind, words):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, kind, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(20))) + chunk(b"IEND", b"")
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + data)
    for reader in (read_picture, decode_rgb, *([_header_size] if side > 4 else [])):
        with pytest.raises(PictureError, match=rf"p\.png: {words}"):
            reader(tmp_path / "p.png")


@pytest.mark.parametrize("text", ['{"a":' * 100000, '{"mine": {"Kmin": 1' + "0" * 400 + "}}", '{"mine": []}'])
def test_cameras_that_are_none(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(CameraError, match=r"c\.json: (mine|not a JSON)"):
        load_camera(tmp_path / "c.json")
