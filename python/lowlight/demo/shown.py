"""What the page shows of pictures: a file for the browser, a histogram, a line of facts."""

from __future__ import annotations

from dataclasses import replace
from html import escape

import numpy as np

from ..files.pictures import LUMA, Picture, write_picture
from .desk import SHOWN, Desk, shrunk

_BINS, _HEIGHT = 64, 96


def browser_file(desk: Desk, picture: Picture, name: str) -> str:
    """The picture as an 8-bit PNG without metadata, as large as a screen; its path."""
    path = desk.place(f"{name}.png")
    write_picture(path, replace(shrunk(picture, SHOWN), bits=8, exif=None))
    return str(path)


def histogram(pictures: dict[str, Picture]) -> str:
    """Luma of pictures as lines over 64 bins, as an SVG; each line as high as its fullest bin."""
    colours = ("#7a8794", "#e0912f")
    lines = []
    for (name, picture), colour in zip(pictures.items(), colours, strict=False):
        counts, _ = np.histogram(picture.rgb @ LUMA, _BINS, (0, 1))
        heights = _HEIGHT * (1 - counts / max(counts.max(), 1))
        points = " ".join(f"{i * 4},{height:.1f}" for i, height in enumerate(heights))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines.append(f'<text x="{len(lines) * 32 - 60}" y="12" font-size="11" fill="{colour}">{escape(name)}</text>')
    box = f'viewBox="0 -2 {(_BINS - 1) * 4} {_HEIGHT + 4}" style="width:100%;height:auto"'
    return f'<svg role="img" aria-label="Histogram of luma" {box}>{"".join(lines)}</svg>'


def size_of(picture: Picture) -> str:
    """Width, height and depth in words."""
    height, width = picture.rgb.shape[:2]
    return f"{width} x {height}, {picture.bits} bit"


def facts(*parts: str, notes: tuple[str, ...] = ()) -> str:
    """One line: parts between dots, notes after them."""
    return " · ".join(part for part in (*parts, *notes) if part)
