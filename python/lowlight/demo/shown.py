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
    lines, names = [], []
    for (name, picture), colour in zip(pictures.items(), ("#7a8794", "#e0912f"), strict=False):
        counts, _ = np.histogram(picture.rgb @ LUMA, _BINS, (0, 1))
        heights = _HEIGHT * (1 - counts / counts.max())
        points = " ".join(f"{i},{height:.1f}" for i, height in enumerate(heights))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" vector-effect="non-scaling-stroke"/>')
        names.append(f'<b style="color:{colour}">{escape(name)}</b>')
    box = f'viewBox="0 -1 {_BINS - 1} {_HEIGHT + 2}" preserveAspectRatio="none" style="width:100%;height:120px"'
    return f'{" ".join(names)}<svg role="img" aria-label="Histogram of luma" {box}>{"".join(lines)}</svg>'


def size_of(picture: Picture) -> str:
    """Width, height and depth in words."""
    height, width = picture.rgb.shape[:2]
    return f"{width} x {height}, {picture.bits} bit"


def facts(*parts: str, notes: tuple[str, ...] = ()) -> str:
    """One line: parts between dots, notes after them."""
    return " · ".join(part for part in (*parts, *notes) if part)
