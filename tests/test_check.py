"""What `lowlight check` finds: pairs broken on purpose, each in one way, among pairs that are in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from typer.testing import CliRunner

from lowlight.cli import app
from lowlight.data.sets.alignment import MATCHES, estimate_alignment
from lowlight.data.sets.checks import check_pairs
from lowlight.data.sets.pairs import scan_pairs

SIZE = (120, 160)


def scene(seed, size=SIZE, margin=0):
    """[H, W, 3] uint8: blocks and blobs with edges in every direction; `margin` more on every side."""
    generator = torch.Generator().manual_seed(seed)
    shape = [side + 2 * margin for side in size]
    coarse = torch.rand((1, 3, shape[0] // 12 + 2, shape[1] // 12 + 2), generator=generator)
    blobs = F.interpolate(coarse, scale_factor=12, mode="bilinear")[..., : shape[0], : shape[1]]
    return ((blobs > 0.5) * 90 + blobs * 100 + 30)[0].permute(1, 2, 0).round().to(torch.uint8).numpy()


def darken(picture, seed=0, noise=1.0, gain=1 / 12):
    rng = np.random.default_rng(seed)
    return np.rint(np.clip(picture * gain + rng.normal(0, noise, picture.shape), 0, 255)).astype(np.uint8)


def save(path, picture, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        save(tmp_path / "low" / f"{number}.png", darken(scene(number), number))
        save(tmp_path / "high" / f"{number}.png", scene(number))
    return tmp_path


def findings(folder, **options):
    report = check_pairs(*scan_pairs(folder, "all"), **options)
    return [(finding.kind, finding.name) for finding in report.findings], report


def test_nothing_wrong(folder):
    found, report = findings(folder)
    assert found == []
    assert (report.pairs, report.coarse) == (3, [])


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (3, -5), (-7, 2), (0, 16), (1, 1)])
def test_shifts_are_measured(dy, dx):
    wide = scene(5, margin=16)
    low = darken(wide[16:-16, 16:-16])
    high = wide[16 - dy : 16 - dy + SIZE[0], 16 - dx : 16 - dx + SIZE[1]]
    found = estimate_alignment(low, high)
    assert found.dy == pytest.approx(dy, abs=0.3)
    assert found.dx == pytest.approx(dx, abs=0.3)
    assert found.match > MATCHES
    assert found.is_suspect(1.0) == ((dy, dx) != (0, 0))
    assert not found.is_suspect(20.0)


def test_shifts_between_pixels():
    wide = scene(6, (4 * SIZE[0], 4 * SIZE[1]), margin=8).astype(np.float32)
    quarter = lambda y, x: F.avg_pool2d(  # noqa: E731
        torch.from_numpy(wide[8 + y : 8 + y + 480, 8 + x : 8 + x + 640]).permute(2, 0, 1), 4
    ).permute(1, 2, 0).round().to(torch.uint8).numpy()  # fmt: skip
    found = estimate_alignment(quarter(6, 0), quarter(0, 0))
    assert found.dy == pytest.approx(1.5, abs=0.2)
    assert found.dx == pytest.approx(0.0, abs=0.2)


def test_brightness_and_contrast_do_not_matter():
    bright = scene(7)
    curved = np.rint((bright / 255.0) ** 3 * 40).astype(np.uint8)
    found = estimate_alignment(curved, bright)
    assert found.distance < 0.3
    assert found.match > 0.8


def test_noise_coarsens_the_comparison():
    bright = scene(8, (240, 320))
    found = estimate_alignment(darken(bright, noise=25.0, gain=1 / 6), bright)
    assert found.coarsened
    assert found.scale > 1
    assert found.match >= MATCHES
    assert not found.is_suspect(2.5)


def test_large_pictures_are_compared_smaller():
    wide = scene(9, (200, 1400), margin=16)
    found = estimate_alignment(darken(wide[16:-16, 16:-16]), wide[12:-20, 24:-8])
    assert (found.scale, found.coarsened) == (2, False)
    assert found.dy == pytest.approx(4, abs=0.6)
    assert found.dx == pytest.approx(-8, abs=0.6)


def test_what_has_nothing_to_align():
    tiny = np.zeros((20, 200, 3), np.uint8)
    assert estimate_alignment(tiny, tiny) is None
    flat = np.full((*SIZE, 3), 9, np.uint8)
    assert estimate_alignment(flat, scene(1)).match < MATCHES
    assert estimate_alignment(flat, flat).is_suspect(1.5)


def test_a_shifted_pair_and_another_view(folder):
    wide = scene(1, margin=16)
    save(folder / "high" / "1.png", wide[13:-19, 16:-16])
    save(folder / "high" / "2.png", scene(40))
    # another picture of scene 1's size is not what 1.png was, so that 1's truth is new here
    save(folder / "low" / "1.png", darken(wide[16:-16, 16:-16]))
    found, report = findings(folder)
    assert found == [("alignment", "1"), ("alignment", "2")]
    assert report.findings[0].text.startswith("bright 3.0 pixels down (match 0.")
    assert report.findings[1].text.startswith("no common edges within ")
    assert findings(folder, shift=4.0)[0] == [("alignment", "2")]
    assert findings(folder, shift=None)[0] == []


def test_damaged_files(folder):
    whole = (folder / "low" / "0.png").read_bytes()
    (folder / "low" / "0.png").write_bytes(whole[: len(whole) // 2])
    save(folder / "high" / "1.jpg", scene(1), quality=95)
    (folder / "high" / "1.png").unlink()
    data = (folder / "high" / "1.jpg").read_bytes()
    (folder / "high" / "1.jpg").write_bytes(data[: len(data) * 3 // 4])
    (folder / "high" / "2.png").write_bytes(b"")
    found, report = findings(folder)
    assert found == [("unreadable", "0"), ("unreadable", "1"), ("unreadable", "2")]
    assert "truncated" in report.findings[0].text
    assert report.counts() == {"unreadable": 3}


def test_sizes_identical_and_swapped(folder):
    save(folder / "low" / "0.png", darken(scene(0, (120, 161))))
    save(folder / "low" / "1.png", scene(1))
    save(folder / "low" / "2.png", scene(2))
    save(folder / "high" / "2.png", darken(scene(2)))
    found, report = findings(folder)
    assert found == [("size", "0"), ("identical", "1"), ("swapped", "2")]
    assert report.findings[0].text == "161 x 120 and 160 x 120"


def test_duplicates(folder):
    dark, bright = (Image.open(folder / side / "0.png").copy() for side in ("low", "high"))
    # the same pixels in another format, and a bright one under another dark one: the latter is in order
    dark.save(folder / "low" / "3.webp", lossless=True)
    bright.save(folder / "high" / "3.png")
    save(folder / "low" / "4.png", darken(scene(0), seed=9))
    bright.save(folder / "high" / "4.png")
    found, report = findings(folder)
    assert found == [("duplicate", "3")]
    assert report.findings[0].text == "the dark picture is also the dark one of 0"


def run(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_command(folder):
    result = run(folder)
    assert result.exit_code == 0, result.output
    assert result.stdout == "3 pairs; nothing wrong\n"
    (folder / "low" / "1.png").rename(folder / "low" / "[red]9.png")
    (folder / "high" / "2.png").write_bytes(b"no picture")
    result = run(folder)
    assert result.exit_code == 1
    assert "no partner, or several" in result.stdout
    assert "[red]9.png: no picture of that name" in result.stdout.replace("\n", "")
    assert "2 pairs; no partner, or several: 2, unreadable or truncated: 1\n" in result.stdout
    result = run(folder / "low", "--high", folder / "high", "--no-alignment")
    assert result.exit_code == 1


def test_command_checks_every_part(folder):
    for part in ("Train", "Test"):
        (folder / "set" / part).mkdir(parents=True)
        for side in ("low", "high"):
            (folder / "set" / part / side).mkdir()
            number = {"Train": 0, "Test": 1}[part]
            (folder / side / f"{number}.png").rename(folder / "set" / part / side / f"{number}.png")
    assert "2 pairs; nothing wrong" in run(folder / "set").stdout
    assert "1 pair; nothing wrong" in run(folder / "set", "--split", "test").stdout


def test_command_errors(tmp_path):
    for arguments in ((tmp_path / "nowhere",), (tmp_path,), (tmp_path, "--split", "half")):
        assert run(*arguments).exit_code == 2


def test_ctrl_c(folder, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("lowlight.data.sets.checks.estimate_alignment", interrupt)
    result = run(folder)
    assert result.exit_code == 130
    assert "Interrupted" in result.output
    assert "Traceback" not in result.output
