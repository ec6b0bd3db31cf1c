"""Video files out: segments of frames, each a file of its own, and one video of them all with the source's sound."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .clips import FULL, LIMITED, Clip, VideoError, converted, opened, packets, pyav

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
CRF = 18  # of x264: hardly a difference to be seen
_CODEC = "libx264"


class ClipFilm:
    """A clip on its way to a file: a `Film` (work.py)."""

    suffix = ".nut"  # holds any time base

    def __init__(self, clip: Clip, target: Path, crf: int = CRF):
        """Raises VideoError where the target's kind is not known or does not hold the clip's sound."""
        self._format = _container(target)
        self._clip, self._target, self._crf = clip, target, crf
        self.total, self.notes, self.position = clip.announced, clip.notes, 0
        self.failed: list[str] = []
        self.settings = {"crf": crf, "format": self._format}
        # 4:2:0 has even sides
        odd, deep = clip.width % 2 or clip.height % 2, clip.bits > 8
        self._pixels = ("yuv444p" if odd else "yuv420p") + ("10le" if deep else "")
        if odd:
            clip.notes.append(
                f"{clip.width} x {clip.height} is odd: written as H.264 4:4:4, which not all players show"
            )
        self._check_sound()

    def _check_sound(self) -> None:
        av = pyav()
        with opened(self._clip.path) as source, av.open(os.devnull, "w", format=self._format) as target:
            for stream in source.streams.audio:
                try:
                    target.add_stream_from_template(stream)
                except (ValueError, av.FFmpegError):
                    what = f"the sound of {self._clip.path} ({stream.codec_context.name})"
                    others = ", ".join(CONTAINERS)
                    raise VideoError(
                        f"{self._target}: {self._format} does not hold {what}; one of {others} may"
                    ) from None

    def frames(self, skip: int) -> Iterator[tuple[Tensor, float, int]]:
        """(picture, seconds, ticket of `segment`'s write) from frame number `skip` on."""
        self.position = skip
        for picture, time in self._clip.frames(skip):
            self.position += 1
            yield picture, float(time * self._clip.time_base), time

    @contextmanager
    def segment(self, path: Path) -> Iterator[Any]:
        """A function write(picture [3, H, W] in [0, 1], time) for a segment that is there when the context ends."""
        av, clip = pyav(), self._clip
        part = path.with_suffix(".part")
        with av.open(str(part), "w", format="nut") as container:
            stream = container.add_stream(
                _CODEC, rate=clip.rate, options={"crf": str(self._crf), "preset": "medium", "threads": "4"}
            )
            context = stream.codec_context
            context.width, context.height, context.pix_fmt = clip.width, clip.height, self._pixels
            context.time_base = stream.time_base = clip.time_base
            # in the order in which they are shown, segments follow each other as they are
            context.max_b_frames = 0
            for name, value in clip.tags.items():
                setattr(context, name, value)
            # full range comes out of the conversion with chroma half a step off
            context.color_range = LIMITED
            if clip.aspect:
                context.sample_aspect_ratio = clip.aspect

            def write(picture: Tensor, time: int) -> None:
                container.mux(stream.encode(self._frame(picture, time)))

            yield write
            container.mux(stream.encode(None))
        os.replace(part, path)

    def _frame(self, picture: Tensor, time: int) -> Any:
        av, clip = pyav(), self._clip
        deep = clip.bits > 8
        samples = picture.permute(1, 2, 0).cpu().numpy() * (65535 if deep else 255)
        rgb = np.ascontiguousarray(np.rint(samples).astype(np.uint16 if deep else np.uint8))
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb48le" if deep else "rgb24")
        frame = converted(
            frame, format=self._pixels, dst_colorspace=clip.matrix, src_color_range=FULL, dst_color_range=LIMITED
        )
        frame.pts, frame.time_base = time, clip.time_base
        return frame

    def join(self, segments: list[Path], scratch: Path) -> None:
        """Writes the target, whole or not at all: the segments' frames, the source's sound and names as they are."""
        av, clip = pyav(), self._clip
        options = {"movflags": "faststart"} if self._format != "matroska" else {}
        with opened(clip.path) as source, av.open(str(scratch), "w", format=self._format, options=options) as target:
            target.metadata.update(source.metadata)
            with av.open(str(segments[0])) as first:
                video = target.add_stream_from_template(first.streams.video[0])
            video.time_base = clip.time_base
            if clip.rotation:
                video.set_display_rotation(clip.rotation)
            sound = {stream.index: target.add_stream_from_template(stream) for stream in source.streams.audio}
            tracks = [_pictures(segments, video)]
            if sound:
                tracks.append(_sound(source, sound))
            for packet in heapq.merge(*tracks, key=_seconds):
                target.mux(packet)
        os.replace(scratch, self._target)


def _container(target: Path) -> str:
    if target.suffix.lower() not in CONTAINERS:
        raise VideoError(f"cannot write '{target.suffix}' videos; use one of {', '.join(CONTAINERS)}")
    return CONTAINERS[target.suffix.lower()]


def _pictures(segments: Iterable[Path], stream: Any) -> Iterator[Any]:
    av = pyav()
    for path in segments:
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    yield packet


def _sound(source: Any, streams: dict[int, Any]) -> Iterator[Any]:
    for packet in packets(source, list(source.streams.audio)):
        if packet.dts is not None:
            packet.stream = streams[packet.stream.index]
            yield packet


def _seconds(packet: Any) -> float:
    return float(packet.dts * packet.time_base)
