"""Video files in: what a clip is, and its frames as tensors; by PyAV, the `[video]` extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files.formats import PictureError

_HD = 720  # rows from which a clip that does not name its matrix has BT.709's
_BT601, _BT709 = 5, 1
_HDR = {16: "PQ", 18: "HLG"}  # transfers
FULL, LIMITED = 2, 1  # ranges of luma
_KNOWN_MATRICES = (1, 4, 5, 7, 9)


class VideoError(PictureError):
    """A video that cannot be read or written; the message is one sentence meant for the user."""


def pyav() -> Any:
    """The library; raises VideoError where it is missing."""
    try:
        import av
    except ImportError:
        raise VideoError("videos need PyAV: pip install 'lowlight-ext[video]'") from None
    return av


def converted(frame: Any, **to: Any) -> Any:
    """The frame in another pixel format, matrix and range, rounded and not cut off, which would darken it."""
    from av.video.reformatter import Interpolation, VideoReformatter

    exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    return VideoReformatter().reformat(frame, interpolation=exact, **to)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file as a container with a video in it. Raises VideoError with the path in it."""
    av = pyav()
    try:
        container = av.open(str(path))
    except FileNotFoundError:
        raise VideoError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise VideoError(f"{path}: is a folder, not a video") from None
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: cannot be opened as a video ({_reason(error)}); is it complete?") from None
    with container:
        if _video(container) is None:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise VideoError(f"{path}: holds no video, only {kinds}")
        yield container


@dataclass
class Clip:
    """A video file and what is kept of it beside its frames. matrix, range: of the conversion to RGB."""

    path: Path
    width: int
    height: int
    bits: int
    rate: Fraction
    time_base: Fraction
    announced: int  # frames, 0 where the file does not say
    rotation: int
    aspect: Fraction | None
    matrix: int
    range: int
    tags: dict[str, int]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path) -> Clip:
        """Raises VideoError where the file cannot be read, holds no video, or no frame that decodes."""
        with opened(path) as container:
            stream = _video(container)
            frame = next((frame for frame, _ in _decoded(container)), None)
            if frame is None:
                raise VideoError(f"{path}: no frame of it can be decoded")
            context = stream.codec_context
            names = ("colorspace", "color_range", "color_trc", "color_primaries")
            full = frame.color_range == FULL or frame.format.name.startswith("yuvj")
            guess = _BT709 if frame.height >= _HD else _BT601
            clip = cls(
                path,
                frame.width,
                frame.height,
                max(component.bits for component in frame.format.components),
                stream.average_rate or stream.guessed_rate or Fraction(25),
                stream.time_base,
                stream.frames,
                frame.rotation,
                context.sample_aspect_ratio or None,
                int(frame.colorspace) if frame.colorspace in _KNOWN_MATRICES else guess,
                FULL if full else LIMITED,
                {name: int(getattr(frame, name)) for name in names},
            )
            if frame.interlaced_frame:
                clip.notes.append("interlaced: its frames are brightened whole, and written as progressive")
            if clip.tags["color_trc"] in _HDR:
                clip.notes.append(f"{_HDR[clip.tags['color_trc']]}: brightened as if its numbers were sRGB's")
            return clip

    def frames(self, skip: int = 0) -> Iterator[tuple[Tensor, int]]:
        """(picture [3, H, W] float32 in [0, 1], time in units of time_base) of each frame from number `skip` on.

        Times rise. What does not decode is left out and, at the end, said in the notes.
        Raises VideoError where the frames' size changes.
        """
        damaged, count, last = 0, 0, None
        with opened(self.path) as container:
            for frame, broken in _decoded(container):
                damaged = broken
                if frame.pts is not None:
                    pts = frame.pts
                else:
                    pts = round(count / self.rate / self.time_base)
                pts = pts if last is None else max(pts, last + 1)
                last, count = pts, count + 1
                if (frame.width, frame.height) != (self.width, self.height):
                    sizes = f"{self.width} x {self.height} to {frame.width} x {frame.height}"
                    raise VideoError(f"{self.path}: its frames change from {sizes} at number {count}")
                if count > skip:
                    yield self._tensor(frame), pts
        if damaged:
            self.notes.append(f"{damaged} damaged {'part' if damaged == 1 else 'parts'} of it left out")
        if count < self.announced:
            self.notes.append(f"ends early: {count} of the {self.announced} frames that it announces")

    def _tensor(self, frame: Any) -> Tensor:
        kind, most = ("rgb24", 255) if self.bits == 8 else ("rgb48le", 65535)
        rgb = converted(
            frame, format=kind, src_colorspace=self.matrix, src_color_range=self.range, dst_color_range=FULL
        )
        samples = rgb.to_ndarray().astype(np.float32) / np.float32(most)
        return torch.from_numpy(samples).permute(2, 0, 1).contiguous()


def _video(container: Any) -> Any:
    """The first video stream that is no cover picture."""
    av = pyav()
    cover = av.stream.Disposition.attached_pic
    return next((stream for stream in container.streams.video if not stream.disposition & cover), None)


def packets(container: Any, streams: Any) -> Iterator[Any]:
    """Those of a stream or of several, until the end or where the file was cut off."""
    av = pyav()
    found = container.demux(streams)
    while True:
        try:
            packet = next(found, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        yield packet


def _decoded(container: Any) -> Iterator[tuple[Any, int]]:
    """(frame, damaged packets so far) until the end, or the last packet that can be read."""
    av = pyav()
    stream, damaged = _video(container), 0
    stream.thread_type = "AUTO"
    for packet in packets(container, stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            damaged += 1
            continue
        for frame in frames:
            yield frame, damaged


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
