"""Videos: what stands still is averaged, what moves is not; exposure settles; folders go on where they stopped."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import lowlight
from lowlight.cli import app
from lowlight.files.pictures import Picture, read_picture, write_picture
from lowlight.scenes.synthetic import darken, still_life
from lowlight.video import work
from lowlight.video.averaging import StillAverage, motion, noise_level
from lowlight.video.exposure import Settling, of_mean
from lowlight.video.steady import Steady

SIZE = (64, 48)
TIMES = [0, 3003, 6006, 9009, 15015, 18018, 21021, 24024, 27027, 30030]  # one frame was lost
BASE = Fraction(1, 90000)


class Gamma:
    """A system with the real interface and an answer one can compute."""

    device, dtype, samplers = torch.device("cpu"), torch.float32, ()

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0):
        return low.sqrt()


def stills(count, size=SIZE, **options):
    scene = still_life(*size, seed=3)
    return scene, [torch.from_numpy(darken(scene, seed=i, **options)).permute(2, 0, 1) for i in range(count)]


def flicker(frames):
    """Standard deviation over time, mean over pixels."""
    return torch.stack(list(frames)).std(dim=0).mean().item()


# averaging


def test_noise_is_measured_where_there_is_texture_too():
    noise = 0.02 * torch.randn(3, 100, 150, generator=torch.Generator().manual_seed(0))
    texture = torch.from_numpy(still_life(150, 100)).permute(2, 0, 1)
    assert noise_level(noise).tolist() == pytest.approx([0.02] * 3, rel=0.05)
    assert noise_level(texture / 4 + noise).tolist() == pytest.approx([0.02] * 3, rel=0.15)


def test_what_stands_still_is_averaged():
    _, frames = stills(16)
    average = StillAverage(8)
    means = [average(frame) for frame in frames]
    # the recursive mean of 8 leaves the 15th part of the variance
    assert flicker(means[8:]) < 0.45 * flicker(frames[8:])
    assert average.count.mean() > 6
    passed = StillAverage(1)
    assert all(passed(frame) is frame for frame in frames)


def test_what_moves_leaves_no_trail():
    _, frames = stills(6)
    average = StillAverage(8)
    for frame in frames[:5]:
        average(frame)
    changed = frames[5].clone()
    changed[:, 10:30, 20:40] += 0.1
    moving = motion(changed, average.mean, average.count)[0]
    assert moving[10:30, 20:40].min() == 1
    assert moving[36:, 50:].mean() < 0.1
    assert torch.allclose(average(changed)[:, 10:30, 20:40], changed[:, 10:30, 20:40], atol=1e-6)


def test_a_frame_of_another_size_begins_anew():
    average = StillAverage(8)
    average(torch.zeros(3, 8, 8))
    assert average(torch.ones(3, 6, 9)).shape == (3, 6, 9)
    assert average(torch.ones(3, 1, 1)).shape == (3, 1, 1)
    with pytest.raises(ValueError, match="at least 1 frame"):
        StillAverage(0)


# exposure


def test_the_lift_settles_and_a_cut_begins_anew():
    settling = Settling(1.0)
    assert settling(0.4, 0.05, 0.0) == pytest.approx(0.4)
    # a bright thing enters: the model would dim all else, which the lift does not
    assert settling(0.4, 0.06, 0.04) > 0.46
    for _ in range(200):
        mean = settling(0.4, 0.06, 0.04)
    assert mean == pytest.approx(0.4, abs=1e-3)
    # the light goes on
    assert settling(0.4, 0.2, 0.04) == pytest.approx(0.4)
    each = Settling(0)
    assert each(0.4, 0.05, 0.0) == pytest.approx(0.4)
    assert each(0.4, 0.06, 0.04) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="0 seconds or more"):
        Settling(-1)


def test_a_fade_from_black_is_not_white():
    """No frame of it is a cut, and in the end it is many times as bright as in the beginning."""
    settling = Settling(1.0)
    means = [settling(0.4, 0.004 * 1.2**i, 0.04) for i in range(18)]
    assert max(means) < 1.5 * 0.4 + 0.01
    # and to black the other way round
    assert min(settling(0.4, 0.09 / 1.2**i, 0.04) for i in range(18)) > 0.4 / 1.5 - 0.01


def test_a_gain_gives_the_mean():
    picture = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0)) * 0.4
    for mean in (0.05, 0.2, 0.5):
        assert of_mean(picture, mean).mean().item() == pytest.approx(mean, rel=1e-3)


@pytest.mark.parametrize("model", ["default", "diffll-small"])
def test_a_still_scene_flickers_less_than_it_came(model):
    """In absolute values, though the frames are several times as bright; and a system without `mean` follows too."""
    _, frames = stills(10)
    # one frame is exposed otherwise, as by a lamp that flickers
    frames[6] = frames[6] * 1.3
    steady = Steady(lowlight.load(model, device="cpu"))
    bright = [steady(frame, i / 25) for i, frame in enumerate(frames)]
    still = [0, 1, 2, 3, 4, 5]
    assert flicker(bright[i] for i in still[2:]) < flicker(frames[i] for i in still[2:])
    assert bright[5].mean() > 3 * frames[5].mean()
    lift = [np.log(b.mean().item() / f.mean().item()) for b, f in zip(bright, frames, strict=True)]
    assert abs(lift[6] - lift[5]) < 0.1 < abs(np.log(1.3))


def test_a_state_goes_on_as_it_was():
    _, frames = stills(6)
    whole, first, second = (Steady(Gamma()) for _ in range(3))
    expected = [whole(frame, i / 25) for i, frame in enumerate(frames)]
    for i in range(3):
        first(frames[i], i / 25)
    second.restore(first.state())
    for i in range(3, 6):
        assert torch.equal(second(frames[i], i / 25), expected[i])


# folders of pictures


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs `lowlight ARGUMENTS` in an empty folder, with a gamma curve in the place of a network."""
    from lowlight.video import door

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(door, "chosen_system", lambda *_: Gamma())

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def pictures(folder, count, bits=16):
    Path(folder).mkdir()
    _, frames = stills(count, (20, 12))
    for i, frame in enumerate(frames, 1):
        write_picture(Path(folder) / f"{i}.png", Picture(frame.permute(1, 2, 0).numpy(), bits=bits))


def test_a_folder_in_order_of_its_numbers(run):
    pictures("in", 11)
    shown = run("video", "in", "-o", "out", "--settle", "0")
    assert shown.output == "out: 11 frames.\n"
    again = run("video", "in", "-o", "out", "--settle", "0")
    assert "skipped" in again.output
    told = json.loads(run("video", "in", "-o", "out", "--json", "-q").stdout)
    facts = {"source": "in", "target": "out", "notes": [], "failed": []}
    assert told == facts | {"status": "skipped", "frames": 0}
    assert run("video", "in", "-o", "again", "-q").output == ""
    assert sorted(p.name for p in Path("out").iterdir()) == sorted(p.name for p in Path("in").iterdir())
    steady = Steady(Gamma(), settle=0)
    for i in range(1, 12):
        dark = torch.from_numpy(read_picture(Path("in") / f"{i}.png").rgb).permute(2, 0, 1)
        written = read_picture(Path("out") / f"{i}.png")
        assert written.bits == 16
        assert np.abs(written.rgb - steady(dark, i / 25).permute(1, 2, 0).numpy()).max() < 1e-4
    assert not Path("out.parts").exists()
    assert "exists and was skipped" in run("video", "in", "-o", "out").output
    Path("out/3.png").unlink()
    assert "holds 10 of the pictures" in run("video", "in", "-o", "out").output
    assert run("video", "in", "-o", "out", "--overwrite").exit_code == 0


def test_frames_are_not_written_over(run):
    pictures("in", 2)
    before = {path: path.read_bytes() for path in Path("in").iterdir()}
    result = run("video", "in", "-o", "in", "--overwrite")
    assert result.exit_code == 2
    assert "cannot be both the dark and the bright video" in " ".join(result.output.split())
    assert {path: path.read_bytes() for path in Path("in").iterdir()} == before


def test_a_bad_picture_does_not_stop_the_rest(run):
    pictures("in", 4)
    Path("in/2.png").write_bytes(b"nothing")
    write_picture("in/3.png", Picture(np.zeros((5, 5, 3), np.float32)))
    shown = run("video", "in", "-o", "out")
    assert shown.exit_code == 1
    assert "in/2.png: " in shown.output
    assert "in/3.png: has 5 x 5 pixels" in shown.output
    assert "out: 2 frames, 2 failed." in shown.output
    assert sorted(p.name for p in Path("out").iterdir()) == ["1.png", "4.png"]


@pytest.mark.parametrize("segments", [0, 1, 2])
def test_what_is_interrupted_goes_on_to_the_same(run, monkeypatch, segments):
    monkeypatch.setattr(work, "SEGMENT", 3)
    pictures("in", 9)
    Path("in/2.png").write_bytes(b"nothing")
    run("video", "in", "-o", "whole")
    steps, enhance = [], Gamma.enhance_tensor

    def interrupted(self, low, **options):
        steps.append(low)
        if len(steps) == 3 * segments + 2:
            raise KeyboardInterrupt
        return enhance(self, low, **options)

    monkeypatch.setattr(Gamma, "enhance_tensor", interrupted)
    shown = run("video", "in", "-o", "out")
    assert shown.exit_code == 130
    assert "the same command goes on, with at most 3 of them to do again" in shown.output
    assert Path("out.parts").exists() == (segments > 0)
    steps.clear()
    monkeypatch.setattr(Gamma, "enhance_tensor", lambda self, low, **o: steps.append(low) or enhance(self, low, **o))
    shown = run("video", "in", "-o", "out", *([] if segments else ["--overwrite"]))
    # what failed before is said again
    assert shown.exit_code == 1
    assert "out: 8 frames, 1 failed." in shown.output
    assert len(steps) == 8 - 3 * segments
    for name in (f"{i}.png" for i in range(1, 10) if i != 2):
        assert Path("out", name).read_bytes() == Path("whole", name).read_bytes()


def test_other_settings_begin_anew(run, tmp_path):
    told = {"average": 8}
    with work.WorkFolder(tmp_path / "w.parts", told) as folder:
        folder.save(work.Begun(2, 6, 6, (), {"numbers": torch.zeros(3)}))
        with pytest.raises(ValueError, match="belongs to another process"):
            work.WorkFolder(tmp_path / "w.parts", told)
    with work.WorkFolder(tmp_path / "w.parts", told) as folder:
        assert folder.begun()[:3] == (2, 6, 6)
    with work.WorkFolder(tmp_path / "w.parts", {"average": 4}) as folder:
        assert folder.begun() == work.Begun()


def test_without_pyav_it_says_what_to_install(run, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    Path("clip.mp4").write_bytes(b"")
    shown = run("video", "clip.mp4")
    assert shown.exit_code == 1
    assert "pip install 'lowlight-ext[video]'" in shown.output
