"""Video files, by PyAV: frames, times, sound, rotation and colours as they came; what is damaged is said."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

av = pytest.importorskip("av", reason="videos need PyAV: pip install 'lowlight-ext[video]'")

from test_video import BASE, SIZE, TIMES, Gamma, run, stills  # noqa: E402, F401

from lowlight.video import work  # noqa: E402
from lowlight.video.clips import Clip, VideoError  # noqa: E402


def write_clip(path, *, size=SIZE, codec="libx264", pixels="yuv420p", sound="aac", rotation=90, frames=None, range=1):
    """A clip of a still scene with one lost frame, half a second of a tone, and a name."""
    frames = stills(len(TIMES), size)[1] if frames is None else frames
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=Fraction(30000, 1001), options={"crf": "8"} if "26" in codec else {})
        video.width, video.height, video.pix_fmt = *size, pixels
        video.codec_context.time_base = BASE
        video.codec_context.color_range = range
        if rotation:
            video.set_display_rotation(rotation)
        if sound:
            tone = container.add_stream(sound, rate=48000)
        for time, frame in zip(TIMES, frames, strict=False):
            rgb = np.ascontiguousarray((frame.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            picture.pts, picture.time_base = time, BASE
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if sound:
            samples = (np.sin(np.arange(24000) / 20) * 8000).astype(np.int16)[None]
            audio = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            audio.sample_rate, audio.pts = 48000, 0
            container.mux(tone.encode(audio))
            container.mux(tone.encode(None))
        container.metadata["title"] = "night"


def facts(path):
    """Times in seconds, rotation, sound packets and depth."""
    clip = Clip.of(Path(path))
    times = [float(time * clip.time_base) for _, time in clip.frames()]
    with av.open(str(path)) as container:
        sound = [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in (container.demux(container.streams.audio) if container.streams.audio else ())
            if packet.dts is not None
        ]
    return times, clip.rotation, sound, clip.bits


def pictures_of(path):
    return torch.stack([frame for frame, _ in Clip.of(Path(path)).frames()])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_clip_comes_back_whole(run, monkeypatch, suffix):  # noqa: F811
    monkeypatch.setattr(work, "SEGMENT", 4)
    write_clip("in.mp4")
    shown = run("video", "in.mp4", "-o", f"out{suffix}", "--settle", "0", "--average", "1")
    assert shown.output == f"out{suffix}: 10 frames.\n"
    times, rotation, sound, *more = facts("in.mp4")
    found = facts(f"out{suffix}")
    # Matroska counts milliseconds, and none before zero, where an encoder's first samples lie: all is later by as much
    later = found[2][0][0] - sound[0][0] if suffix == ".mkv" else 0
    assert found[0] == pytest.approx([time + later for time in times], abs=1e-3 if later else 1e-9)
    assert found[1] == rotation == 90
    assert [data for _, data in found[2]] == [data for _, data in sound]
    assert list(found[3:]) == more
    assert [start for start, _ in found[2]] == pytest.approx([start + later for start, _ in sound], abs=1e-3)
    difference = pictures_of(f"out{suffix}") - pictures_of("in.mp4").sqrt()
    assert difference.abs().mean() < 0.02
    assert abs(difference.mean()) < 0.002
    with av.open(f"out{suffix}") as container:
        assert {k.lower(): v for k, v in container.metadata.items()}.get("title", "night") == "night"
    assert sorted(p.name for p in Path().iterdir()) == ["in.mp4", f"out{suffix}"]


@pytest.mark.parametrize(
    ("pixels", "codec", "range"),
    [("yuv420p", "libx264", 2), ("yuv444p", "libx264", 1), ("yuv420p10le", "libx265", 1), ("bgr0", "ffv1", 2)],
)
def test_colours_and_depth_pass_through(run, pixels, codec, range):  # noqa: F811
    write_clip("in.mkv", pixels=pixels, codec=codec, range=range, rotation=0)
    run("video", "in.mkv", "-o", "out.mkv", "--strength", "0", "--average", "1", "--crf", "1")
    dark, bright = pictures_of("in.mkv"), pictures_of("out.mkv")
    assert (bright - dark).mean(dim=(0, 2, 3)).abs().max() < 0.4 / 255
    assert Clip.of(Path("out.mkv")).bits == (10 if pixels.endswith("10le") else 8)


def test_odd_sides_are_written_and_said(run):  # noqa: F811
    write_clip("in.mkv", size=(33, 21), codec="ffv1", pixels="bgr0", sound=None)
    shown = run("video", "in.mkv", "-o", "out.mp4")
    assert "33 x 21 is odd" in shown.output
    assert pictures_of("out.mp4").shape == (10, 3, 21, 33)


def test_what_is_interrupted_goes_on_to_the_same(run, monkeypatch):  # noqa: F811
    monkeypatch.setattr(work, "SEGMENT", 4)
    write_clip("in.mp4")
    run("video", "in.mp4", "-o", "whole.mp4")
    calls, enhance = [], Gamma.enhance_tensor

    def interrupted(self, low, **options):
        calls.append(low)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return enhance(self, low, **options)

    monkeypatch.setattr(Gamma, "enhance_tensor", interrupted)
    shown = run("video", "in.mp4", "-o", "out.mp4")
    assert shown.exit_code == 130
    assert "Interrupted after 6 of 10 frames" in shown.output
    assert not Path("out.mp4").exists()
    shown = run("video", "in.mp4", "-o", "out.mp4")
    assert shown.output == "out.mp4: 10 frames.\n"
    assert len(calls) == 7 + 6
    assert torch.equal(pictures_of("out.mp4"), pictures_of("whole.mp4"))
    assert facts("out.mp4") == facts("whole.mp4")
    assert not Path("out.mp4.parts").exists()


def test_a_clip_that_was_cut_off_is_done_as_far_as_it_goes(run):  # noqa: F811
    write_clip("whole.mkv", sound=None)
    data = Path("whole.mkv").read_bytes()
    Path("in.mkv").write_bytes(data[: len(data) * 2 // 3])
    shown = run("video", "in.mkv", "-o", "out.mkv")
    assert shown.exit_code == 0
    assert 0 < len(pictures_of("out.mkv")) < 10


def test_what_is_no_video_is_said_in_a_sentence(run):  # noqa: F811
    write_clip("whole.mp4")
    Path("cut.mp4").write_bytes(Path("whole.mp4").read_bytes()[:2000])
    Path("text.mp4").write_text("no video")
    with av.open("sound.m4a", "w", format="mp4") as container:
        tone = container.add_stream("aac", rate=48000)
        audio = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        audio.sample_rate, audio.pts = 48000, 0
        container.mux([*tone.encode(audio), *tone.encode(None)])
    for name, words in {
        "cut.mp4": "cannot be opened as a video",
        "text.mp4": "cannot be opened as a video",
        "sound.m4a": "holds no video, only audio",
        "none.mp4": "no such file",
    }.items():
        shown = run("video", name, "-o", "out.mp4")
        assert shown.exit_code == 1
        assert shown.output.startswith(f"{name}: ")
        assert words in shown.output
        assert len(shown.output.splitlines()) == 1
    assert "cannot write '.webm'" in run("video", "whole.mp4", "-o", "out.webm").output
    assert not any(p.name.startswith("out") for p in Path().iterdir())


def test_sound_that_a_container_does_not_hold_is_said_before_any_work(run):  # noqa: F811
    write_clip("in.mkv", sound="pcm_u8")
    shown = run("video", "in.mkv", "-o", "out.mp4")
    assert shown.exit_code == 1
    assert "does not hold the sound" in shown.output


def test_enhance_hands_a_video_over(run):  # noqa: F811
    write_clip("in.mp4", sound=None)
    shown = run("enhance", "in.mp4", "-o", "out.mp4", "--seed", "3")
    assert shown.output == "out.mp4: 10 frames.\n"
    assert "--format: not for a video" in run("enhance", "in.mp4", "--format", "png").output.replace("\n", " ")
    assert "one at a time" in run("enhance", "in.mp4", "a.png").output


def test_a_size_that_changes_is_an_error(tmp_path):
    write_clip(tmp_path / "a.mkv", sound=None)
    clip = Clip.of(tmp_path / "a.mkv")
    clip.width = 32
    with pytest.raises(VideoError, match="change from 32 x 48 to 64 x 48 at number 1"):
        next(clip.frames())
