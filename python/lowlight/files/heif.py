"""HEIC and AVIF of more than 8 bits, which Pillow's plugins make 8 of."""

from __future__ import annotations

from importlib import import_module
from io import BytesIO

import numpy as np
from PIL import Image

from .formats import Source

PQ, HLG = 16, 18  # transfers, as H.273 counts them
_HEAD = 1 << 16  # bytes in which an AVIF file says what it holds


def depth_of(image: Image.Image, source: Source | None) -> int:
    """Bits a sample of an opened HEIC or AVIF file; 8 for any other picture."""
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    if image.format != "AVIF" or source is None:
        return 8
    if isinstance(source, BytesIO):
        head = source.getvalue()[:_HEAD]
    else:
        with open(source, "rb") as file:
            head = file.read(_HEAD)
    # AV1-ISOBMFF 2.3.3: marker, profile and level, then tier, high_bitdepth, twelve_bit ...
    at = head.find(b"av1C\x81")
    flags = head[at + 6] if 0 <= at < len(head) - 6 else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def read_deep(image: Image.Image, source: Source | None, depth: int) -> np.ndarray | None:
    """Samples [H, W, 1, 3 or 4] uint16 of full range, upright; None where no reader here gives more than 8 bits.

    pillow-heif's own door leaves the bits above the lowest of 16, upright as its plugin does.
    """
    if image.format != "HEIF" or source is None:
        return None
    deep = import_module("pillow_heif").open_heif(source, convert_hdr_to_8bit=False)
    if deep.size != image.size or not deep.mode.endswith(";16") or "a" in deep.mode:
        return None
    samples = np.asarray(deep).reshape(image.height, image.width, -1) >> (16 - depth)
    return np.rint(samples * (65535 / (2**depth - 1))).astype(np.uint16)


def hdr_of(image: Image.Image) -> tuple[int, int] | None:
    """(primaries, transfer) of a HEIC in PQ or HLG, by its nclx, which goes before a profile; None for any other."""
    nclx = image.info.get("nclx_profile") if image.format == "HEIF" else None
    if not nclx or nclx.get("transfer_characteristics") not in (PQ, HLG):
        return None
    return int(nclx["color_primaries"]), int(nclx["transfer_characteristics"])
