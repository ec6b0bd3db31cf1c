"""A contact sheet: pictures side by side with their labels, one row a scene."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .pictures import decode, write_picture

_MARGIN, _TEXT, _SIZE = 8, 18, 13
_PAPER, _INK = (24, 24, 24), (224, 224, 224)


class ContactSheet:
    """Collects rows of pictures as thumbnails (so that memory stays small) and writes them as one picture."""

    def __init__(self, width: int = 320, most_rows: int = 60):
        """width: of a thumbnail in pixels. Rows beyond most_rows are counted, not kept."""
        self.width, self.most_rows, self.left_out = width, most_rows, 0
        self.rows: list[tuple[str, dict[str, Image.Image]]] = []

    def add(self, name: str, pictures: Mapping[str, Tensor]) -> None:
        """pictures: label -> [3, H, W] in [0, 1]; every row has the same labels."""
        if len(self.rows) >= self.most_rows:
            self.left_out += 1
            return
        self.rows.append((name, {label: self._thumbnail(picture) for label, picture in pictures.items()}))

    def image(self) -> Image.Image:
        """The sheet; raises ValueError while it has no row."""
        if not self.rows:
            raise ValueError("contact sheet: no picture was added")
        labels = list(self.rows[0][1])
        heights = [max(picture.height for picture in row.values()) + _TEXT + _MARGIN for _, row in self.rows]
        size = (_MARGIN + len(labels) * (self.width + _MARGIN), _MARGIN + sum(heights))
        sheet = Image.new("RGB", size, _PAPER)
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_SIZE)
        y = _MARGIN
        for (name, row), height in zip(self.rows, heights, strict=True):
            for column, label in enumerate(labels):
                x = _MARGIN + column * (self.width + _MARGIN)
                draw.text((x, y), f"{name}  {label}" if column == 0 else label, _INK, font)
                sheet.paste(row[label], (x, y + _TEXT))
            y += height
        return sheet

    def write(self, path: Path) -> None:
        """The sheet in the format of the path's suffix; complete, or not at all. Folders on the way are made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, decode(self.image()))

    def _thumbnail(self, picture: Tensor) -> Image.Image:
        pixels = (picture.clamp(0, 1) * 255).round().byte().movedim(0, -1).contiguous().numpy()
        width = min(self.width, picture.shape[2])
        height = max(1, round(picture.shape[1] * width / picture.shape[2]))
        return Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
