"""Colours that a file declares otherwise than by a profile: gAMA, cHRM and cICP of PNG, the option of EXIF's DCF."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import ExifTags, Image

from . import colour, heif
from .colour import ADOBE, BT2020, D65, P3, SRGB, Primaries, to_xyz
from .formats import Source, opened

# cICP counts as H.273 does: primaries; light of the value, both in [0, 1]
_PRIMARIES: dict[int, Primaries] = {1: SRGB, 9: BT2020, 12: P3}
_BT709 = (1, 6, 14, 15)
_CURVES: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys(_BT709, lambda v: np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45))),
    4: lambda v: v**2.2,
    5: lambda v: v**2.8,
    8: lambda v: v,
    13: colour.linear,
}
_PQ, _HLG = heif.PQ, heif.HLG
_PAPER = 203.0  # cd/m2 of diffuse white in HDR (ITU-R BT.2408), sRGB's white
_PEAK = 1000.0  # of the display that HLG is meant for


def declared_profile(image: Image.Image, source: Source | None) -> tuple[bytes | None, tuple[int, int] | None]:
    """(profile, cICP of a HDR picture) of an opened image, each None where the file declares no such thing.

    In PNG's order: cICP, a profile, sRGB, gAMA with cHRM; then the Adobe RGB that cameras declare in EXIF alone.
    Raises ValueError for a cICP of kinds that are not known.
    """
    grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
    cicp = _cicp(source) if image.format == "PNG" and source is not None else None
    if cicp is not None:
        if cicp[0] not in _PRIMARIES or cicp[1] not in (*_CURVES, _PQ, _HLG):
            raise ValueError(f"cICP declares primaries {cicp[0]} and transfer {cicp[1]}, which are not known")
        if cicp[1] in (_PQ, _HLG):
            return None, cicp
        return made_profile(_PRIMARIES[cicp[0]], D65, transfer=cicp[1], grey=grey), None
    info = image.info
    if (cicp := heif.hdr_of(image)) is not None and cicp[0] in _PRIMARIES:
        return None, cicp
    if "icc_profile" in info or "srgb" in info:
        return info.get("icc_profile"), None
    if "gamma" in info or "chromaticity" in info:
        return _by_gamma(info.get("gamma"), info.get("chromaticity"), grey), None
    return (made_profile(ADOBE, D65, gamma=colour.ADOBE_GAMMA) if _is_adobe(image) else None), None


def hdr_to_srgb(rgb: np.ndarray, cicp: tuple[int, int]) -> np.ndarray:
    """sRGB [H, W, 3] float32 of values in [0, 1] in PQ or HLG; light above 203 cd/m2 is clipped."""
    to_srgb = np.linalg.solve(to_xyz(SRGB), to_xyz(_PRIMARIES[cicp[0]]))
    light = _pq(rgb) if cicp[1] == _PQ else _hlg(rgb)
    return colour.curved(light / _PAPER @ to_srgb.T).astype(np.float32)


@lru_cache(maxsize=8)
def made_profile(
    primaries: Primaries,
    white: tuple[float, float],
    *,
    gamma: float | None = None,
    transfer: int = 13,
    grey: bool = False,
) -> bytes:
    """An ICC profile (4.3) of primaries, left out for grey, and a curve: a power, or one that cICP counts."""
    if gamma is not None:
        curve = b"para\0\0\0\0\0\0\0\0" + struct.pack(">i", round(gamma * 65536))
    else:
        table = np.rint(_CURVES[transfer](np.linspace(0, 1, 4096)) * 65535).astype(">u2")
        curve = b"curv\0\0\0\0" + struct.pack(">I", len(table)) + table.tobytes()
    name = "made of what the file declares".encode("utf-16-be")
    text = b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(name), 28) + name
    matrix = to_xyz(primaries, white)
    tags = [(b"desc", text), (b"cprt", text), (b"wtpt", _xyz(to_xyz(SRGB).sum(axis=1)))]
    if grey:
        tags.append((b"kTRC", curve))
    else:
        tags += [(b"rgb"[i : i + 1] + b"XYZ", _xyz(matrix[:, i])) for i in range(3)]
        tags += [(b"rgb"[i : i + 1] + b"TRC", curve) for i in range(3)]
    table_, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags:
        table_ += struct.pack(">4sII", tag, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", start + len(body), bytes(4), 0x04300000, b"mntr", b"GRAY" if grey else b"RGB ", b"XYZ "
    )
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += _xyz(to_xyz(SRGB).sum(axis=1))[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table_ + body


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(v) * 65536) for v in values))


def _by_gamma(gamma: float | None, chromaticity: tuple[float, ...] | None, grey: bool) -> bytes | None:
    """gAMA (of encoding) and cHRM (white, red, green, blue) of a PNG; sRGB's own mean sRGB."""
    gamma = 1 / 2.2 if gamma is None else gamma
    if not 0.1 <= gamma <= 10:
        raise ValueError(f"its gamma is {gamma:g}")
    points = tuple(zip(*[iter(chromaticity or (*D65, *(v for xy in SRGB for v in xy)))] * 2, strict=True))
    white, *rest = points
    usual = np.allclose(points, (D65, *SRGB), atol=2e-3)
    if usual and abs(gamma - 1 / 2.2) < 2e-3:
        return None
    if min(y for _, y in points) <= 0:
        raise ValueError(f"its primaries are {chromaticity}")
    return made_profile((rest[0], rest[1], rest[2]), white, gamma=1 / gamma, grey=grey)


def _cicp(source: Source) -> tuple[int, int] | None:
    """Primaries and transfer of a PNG's cICP chunk, before its samples."""
    with opened(source) as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            size, name = struct.unpack(">I4s", head)
            if name == b"IDAT":
                break
            if name == b"cICP":
                data = file.read(4)
                return (data[0], data[1]) if len(data) == 4 else None
            file.seek(size + 4, os.SEEK_CUR)
    return None


def _is_adobe(image: Image.Image) -> bool:
    """The optional colour space of cameras' JPEG (DCF): Adobe RGB, said by the index R03 alone."""
    try:
        found = image.getexif().get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    # damaged EXIF makes the reader raise nearly anything
    except Exception:
        return False
    return isinstance(found, str) and found.strip("\0 ") == "R03"


def _pq(values: np.ndarray) -> np.ndarray:
    """cd/m2 (SMPTE ST 2084)."""
    power = np.asarray(values, np.float64) ** (32 / 2523)
    above = np.maximum(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power)
    return 10000 * above ** (8192 / 1305)


def _hlg(values: np.ndarray) -> np.ndarray:
    """cd/m2 on a display of 1000 (ITU-R BT.2100): scene light, then the system's power of 1.2."""
    v = np.asarray(values, np.float64)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(v <= 0.5, v * v / 3, (np.exp((v - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return _PEAK * luminance[..., None] ** 0.2 * scene
