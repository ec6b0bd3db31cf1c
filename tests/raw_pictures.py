"""Raw pictures for the tests: every order of the filter arrays, an odd camera matrix, and the real files at hand."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import TiffTags

from lowlight.raw import dng
from lowlight.raw.files import RawPicture
from lowlight.raw.packing import XTRANS

BAYER = [[[0, 1], [3, 2]], [[1, 0], [2, 3]], [[3, 2], [0, 1]], [[2, 3], [1, 0]]]
# XYZ to camera, as DNG files hold it
TO_CAMERA = np.array([[0.86, -0.25, -0.09], [-0.82, 1.54, 0.29], [-0.26, 0.30, 0.91]])


def pattern_of(order):
    """A Bayer order as it stands, or X-Trans from (row, column) on."""
    return np.array(order, np.uint8) if isinstance(order, list) else np.roll(XTRANS, (-order[0], -order[1]), (0, 1))


def scene(height, width, black=800, noise=300):
    """[H, W] uint16: waves from dark to nearly saturated, with noise."""
    y, x = np.mgrid[:height, :width]
    values = black + 7000 * (1 + 0.9 * np.sin(x / 7 + y / 5)) + np.random.default_rng(0).normal(0, noise, x.shape)
    return values.clip(black, 16383).astype(np.uint16)


def raw_picture(order, mosaic=None, **fields):
    mosaic = scene(60, 80) if mosaic is None else mosaic
    standard = {
        "black": np.full(4, 800, np.float32), "white": 16383.0, "iso": 1600.0, "exposure": 0.04,
        "white_balance": np.array([2.1, 1.0, 1.5]), "camera_to_xyz": np.linalg.inv(TO_CAMERA),
        "make": "Lantern", "model": "Lantern L1",
    }  # fmt: skip
    return RawPicture(mosaic, pattern_of(order), **standard | fields)


def real_raw(name):
    """A photograph's path, which is not part of this project."""
    folder = Path(os.environ.get("LOWLIGHT_RAW", Path(__file__).parents[2] / "shared/data/raw"))
    if not (folder / name).is_file():
        pytest.skip("no raw photographs: set LOWLIGHT_RAW to their folder")
    return folder / name


def write_linear(path, monkeypatch, values, black=(0, 0, 0), **fields):
    """A DNG of three linear colours a place, [H, W, 3] uint16 or float32, as cameras and converters write it."""
    frame, filters = dng._frame, dng._filters
    height, width, _ = values.shape
    changed = {256: width, 262: 34892, 277: 3, 258: (8 * values.itemsize,) * 3, 279: values.nbytes}
    formats = [(339, TiffTags.SHORT, (3, 3, 3))] if values.dtype.kind == "f" else []
    levels = [(50714, TiffTags.RATIONAL, tuple(dng._ratio(Fraction(level).limit_denominator(100)) for level in black))]
    with monkeypatch.context() as patch:
        patch.setattr(
            dng, "_frame", lambda *_: [(t, k, changed.get(t, v)) for t, k, v in frame(values[..., 0])] + formats
        )
        patch.setattr(dng, "_filters", lambda p: [e for e in filters(p) if e[0] == 50717] + levels)
        mosaic = np.ascontiguousarray(values).view(np.uint16).reshape(height, -1)
        dng.write_dng(path, raw_picture(BAYER[0], mosaic, **{"white": 65535.0, "black": np.zeros(4)} | fields))
