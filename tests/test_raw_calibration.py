"""Calibration of a camera: synthetic frames of known gain, read noise, rows and shape must give these back."""

import json

import numpy as np
import pytest
from PIL import Image
from raw_pictures import raw_picture
from scipy import stats
from typer.testing import CliRunner

from lowlight.cameras.calibration import Measurement, fit_camera, measure
from lowlight.cameras.calibration_frames import SIDE, Frame, find_frames, read_frame, sort_frames
from lowlight.cameras.cameras import load_camera
from lowlight.cameras.photon_transfer import CalibrationError, photon_transfer
from lowlight.cameras.read_noise import fit_tukey_lambda, read_noise, tukey_quantile
from lowlight.cli import app
from lowlight.raw.dng import write_dng

BLACK, WHITE = 512, 16383
RUN = CliRunner()


def frames(count, K, light, scale, shape, rows, *, seed, size=(256, 320), pattern=None):
    """[count, H, W] float32 whole numbers: a vignetted light in digital numbers, a flickering lamp, noise by scipy."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : 1j * size[0], 0 : 1 : 1j * size[1]]
    lamp = 1 + 0.01 * rng.standard_normal((count, 1, 1))
    counted = rng.poisson(lamp * light * (1 - 0.8 * ((y - 0.5) ** 2 + (x - 0.5) ** 2)) / K)
    read = stats.tukeylambda.rvs(shape, scale=scale, size=(count, *size), random_state=rng)
    sensor = BLACK + K * counted + read + rows * rng.standard_normal((count, size[0], 1))
    return np.rint(sensor + (0 if pattern is None else pattern)).clip(0, WHITE).astype(np.float32)


def camera_frames(K, scale, shape, rows, *, bias=8, pattern=None, size=(256, 320), seed=0):
    noise = (scale, shape, rows)
    dark = frames(bias, K, 0.0, *noise, seed=seed, pattern=pattern, size=size)
    lights = enumerate((400.0, 3000.0, 9000.0), 1)
    return dark, [frames(2, K, light, *noise, seed=seed + n, pattern=pattern, size=size) for n, light in lights]


def deviation(scale, shape):
    # whole numbers add the variance of rounding
    return (scale**2 * stats.tukeylambda.var(shape) + 1 / 12) ** 0.5


@pytest.mark.parametrize(
    ("K", "scale", "shape", "rows"), [(0.1, 0.8, 0.14, 0.2), (0.8, 2.5, 0.05, 0.7), (6, 8, -0.1, 3)]
)
def test_known_parameters_come_back(K, scale, shape, rows):
    found = measure(*camera_frames(K, scale, shape, rows), WHITE, 800)
    assert pytest.approx(K, rel=0.015) == found.K
    assert found.g_scale == pytest.approx(deviation(scale, shape), rel=0.01)
    assert found.R_scale == pytest.approx(rows, rel=0.06)
    assert found.G_scale == pytest.approx(deviation(scale, shape) / stats.tukeylambda.std(shape), rel=0.03)
    assert np.mean(found.shapes) == pytest.approx(shape, abs=0.012)
    assert len(found.shapes) == 8
    assert not found.notes


def test_fixed_pattern_and_hot_pixels_are_no_noise():
    rng = np.random.default_rng(9)
    pattern = rng.normal(0, 5, (256, 320)) + 20 * (np.arange(320) % 2)
    pattern[rng.random(pattern.shape) < 1e-3] += 2000
    found = measure(*camera_frames(0.8, 2.5, 0.1, 0.7, pattern=pattern), WHITE, 800)
    assert pytest.approx(0.8, rel=0.015) == found.K
    assert found.g_scale == pytest.approx(deviation(2.5, 0.1), rel=0.01)
    assert found.R_scale == pytest.approx(0.7, rel=0.06)
    assert np.mean(found.shapes) == pytest.approx(0.1, abs=0.03)


def test_flicking_blocks_are_dropped():
    """Pixels that jump between frames, in a tenth of the blocks, do not move the gain."""
    dark, flats = camera_frames(0.8, 2.5, 0.1, 0.0)
    for frame in (frame for pair in flats for frame in pair[1:]):
        frame[::32, ::96] += 2000
    assert pytest.approx(0.8, rel=0.02) == measure(dark, flats, WHITE).K


def test_clipped_light_is_left_out():
    dark, flats = camera_frames(0.8, 2.5, 0.1, 0.7)
    flats.append(frames(2, 0.8, 20000.0, 2.5, 0.1, 0.7, seed=50))
    assert (flats[-1] == WHITE).mean() > 0.3
    assert pytest.approx(0.8, rel=0.015) == measure(dark, flats, WHITE).K
    # what clipping does to photon transfer: the test above is not empty
    clipped = photon_transfer(flats[-1], np.full((2, 2), float(BLACK)))
    bright = clipped.mean > 0.995 * (WHITE - BLACK)
    assert bright.any()
    assert (clipped.variance[bright] < 0.5 * 0.8 * clipped.mean[bright]).all()


def test_one_bias_frame_and_no_rows():
    dark, flats = camera_frames(0.8, 2.5, 0.1, 0.0, bias=1)
    found = measure(dark, flats, WHITE)
    assert found.g_scale == pytest.approx(deviation(2.5, 0.1), rel=0.01)
    assert 0 < found.R_scale < 0.2
    assert [note.split()[0] for note in found.notes] == ["no", "one"]
    assert not read_noise(frames(1, 0.8, 0.0, 2.5, 0.1, 0.0, seed=3))[2]


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.14, 0.5])
def test_shape_and_scale_agree_with_scipy(shape):
    values = stats.tukeylambda.rvs(shape, scale=3.0, size=4000, random_state=7)
    found, scale = fit_tukey_lambda(values)
    assert found == pytest.approx(stats.ppcc_max(values, brack=(-0.4, 0.8)), abs=3e-4)
    (_, _), (slope, _, _) = stats.probplot(values, sparams=(found,), dist="tukeylambda")
    assert scale == pytest.approx(slope, rel=1e-3)
    u = np.linspace(0.001, 0.999, 50)
    np.testing.assert_allclose(tukey_quantile(u, shape), stats.tukeylambda.ppf(u, shape), rtol=1e-9, atol=1e-12)


def measurement(K, iso):
    """On the lines log scale = 0.6 log K + 1."""
    scale = np.exp(0.6 * np.log(K) + 1)
    return Measurement(iso, K, scale, scale / 1.5, scale / 5, (0.1, 0.12))


def test_lines_through_the_gains():
    camera = fit_camera("mine", [measurement(0.2 * 2**n, 100 * 2**n) for n in range(5)])
    for line, bias in ((camera.g_scale, 1), (camera.G_scale, 1 - np.log(1.5)), (camera.R_scale, 1 - np.log(5))):
        assert (line.slope, line.bias, line.sigma) == pytest.approx((0.6, bias, 0), abs=1e-9)
    assert (camera.Kmin, camera.Kmax, *camera.K_range) == pytest.approx((0.2, 12.8, 0.2, 3.2))
    assert camera.K(1600) == pytest.approx(3.2)
    assert len(camera.G_shape) == 10
    alone = fit_camera("one", [measurement(0.8, 400)])
    assert (alone.g_scale.slope, alone.K_range) == (0.0, (0.8, 0.8))
    assert np.exp(alone.g_scale.mean(0.8)) == pytest.approx(measurement(0.8, 400).g_scale)
    with pytest.raises(CalibrationError, match="ISO of some frames is not known"):
        fit_camera("none", [measurement(0.8, None)])


def test_scatter_about_the_lines_is_their_sigma():
    rng = np.random.default_rng(4)
    gains = np.exp(rng.uniform(-2, 3, 400))
    scales = np.exp(0.6 * np.log(gains) + 1 + 0.25 * rng.standard_normal(400))
    points = [Measurement(100.0, K, s, s, s, (0.1,)) for K, s in zip(gains, scales, strict=True)]
    line = fit_camera("mine", points).g_scale
    assert (line.slope, line.bias, line.sigma) == pytest.approx((0.6, 1, 0.25), abs=0.03)


def test_frames_without_what_is_needed():
    dark, flats = camera_frames(0.8, 2.5, 0.1, 0.7)
    with pytest.raises(CalibrationError, match="has lost what was below black"):
        measure(np.maximum(dark - BLACK, 0), flats, WHITE)
    with pytest.raises(CalibrationError, match="does not grow with the light"):
        measure(dark, [dark[:2], dark[2:4]], WHITE)
    with pytest.raises(CalibrationError, match="1 frame of an exposure, photon transfer needs 2"):
        measure(dark, [flats[0][:1]], WHITE)
    with pytest.raises(CalibrationError, match="brighter than 90% of white"):
        measure(dark[:1], [flats[2] + 12000], WHITE)
    with pytest.raises(CalibrationError, match="hold one value only"):
        measure(np.full_like(dark, BLACK), flats, WHITE)
    with pytest.raises(CalibrationError, match="32 x 32 pixels or more"):
        measure(dark[:, :30], [flats[0][:, :30]], WHITE)


def save(path, mosaic):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, mosaic.astype(np.uint16))
    else:
        Image.fromarray(mosaic.astype(np.uint16)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two gains, one as arrays in folders, one as pictures with all in their names."""
    root = tmp_path_factory.mktemp("frames")
    for iso, K, name in ((400, 0.4, "iso400/{kind}/{time}_{n}.npy"), (1600, 1.6, "{kind}-ISO1600_{time}-{n}.png")):
        dark, flats = camera_frames(K, 3 * K**0.5, 0.1, 0.6 * K**0.5, bias=4, size=(160, 192), seed=iso)
        for n, frame in enumerate(dark):
            save(root / name.format(kind="bias", time="0.0001s", n=n), frame)
        for time, pair in zip((0.01, 0.1, 0.5), flats, strict=True):
            for n, frame in enumerate(pair):
                save(root / name.format(kind="flat", time=f"{time}s", n=n), frame)
    (root / "notes about flat fields.txt").write_text("not a frame")
    return root


def test_the_command(folder, tmp_path):
    out = tmp_path / "made" / "mine.json"
    result = RUN.invoke(app, ["calibrate", str(folder), "-o", str(out), "--white", str(WHITE)])
    assert result.exit_code == 0, result.output
    assert "K = 0.1" in result.output
    camera = load_camera(out)
    assert camera.name == "mine"
    assert camera.K(400) == pytest.approx(0.4, rel=0.03)
    assert (camera.g_scale.slope, camera.R_scale.slope) == pytest.approx((0.5, 0.5), abs=0.1)
    assert np.exp(camera.g_scale.mean(1.6)) == pytest.approx(deviation(3 * 1.6**0.5, 0.1), rel=0.02)
    assert len(camera.G_shape) == 8
    assert np.mean(camera.G_shape) == pytest.approx(0.1, abs=0.04)
    assert list(json.loads(out.read_text())) == ["mine"]
    again = RUN.invoke(app, ["calibrate", str(folder), "-o", str(out), "--white", str(WHITE)])
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    assert list(out.parent.iterdir()) == [out]
    same = ["calibrate", "--data", str(folder), "-o", str(out), "--white", str(WHITE), "--overwrite"]
    told = json.loads(RUN.invoke(app, [*same, "--json"]).stdout)
    assert (told["camera"], told["file"], told["calibration"]) == ("mine", str(out), camera.to_dict())
    assert RUN.invoke(app, [*same, "-q"]).output == ""
    said = RUN.invoke(app, [*same, "-v"]).stderr
    assert said.count(": bias, ") == len([path for path in folder.rglob("*") if path.is_file() and "bias" in str(path)])
    assert ": flat, 192 x 160 of its centre, ISO 400, seconds " in said
    twice = RUN.invoke(app, [*same, str(folder)])
    assert twice.exit_code == 2
    assert "name the folder once" in twice.output


def test_the_command_on_raw_files(tmp_path):
    """ISO, exposure, white and the camera's name come from the files."""
    pytest.importorskip("rawpy")
    pytest.importorskip("exifread")
    dark, flats = camera_frames(0.8, 2.5, 0.1, 0.7, bias=3, size=(160, 192))
    (tmp_path / "in" / "bias").mkdir(parents=True)
    (tmp_path / "in" / "flat").mkdir()
    for exposure, kind, group in ((0.001, "bias", dark), (0.02, "flat", flats[0]), (0.4, "flat", flats[2])):
        for n, frame in enumerate(group):
            picture = raw_picture([[0, 1], [3, 2]], frame.astype(np.uint16), iso=800.0, exposure=exposure,
                                  black=np.full(4, BLACK, np.float32))  # fmt: skip
            # the name must not say it
            write_dng(tmp_path / "in" / kind / f"{len(group)}-{exposure:.0e}-{n}.dng", picture)
    out = tmp_path / "lantern.json"
    result = RUN.invoke(app, ["calibrate", str(tmp_path / "in"), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "One ISO only" in result.output
    camera = load_camera(out)
    assert (camera.name, camera.models) == ("Lantern L1", ("Lantern L1",))
    assert pytest.approx(0.8, rel=0.03) == camera.K(800)
    (tmp_path / "in" / "flat" / "cut.dng").write_bytes(b"II*\0")
    result = RUN.invoke(app, ["calibrate", str(tmp_path / "in"), "-o", str(out), "--overwrite"])
    assert result.exit_code == 1
    assert "cut.dng" in result.output
    assert load_camera(out) == camera


def test_the_command_says_what_is_missing(folder, tmp_path):
    def says(folder, *arguments):
        result = RUN.invoke(app, ["calibrate", str(folder), "-o", str(tmp_path / "x.json"), *arguments])
        assert result.exit_code == 1
        assert not (tmp_path / "x.json").exists()
        return " ".join(result.output.split())

    assert "give --white" in says(folder)
    assert "no folder" in says(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no bias frames" in says(tmp_path / "empty")
    dark = np.load(folder / "iso400" / "bias" / "0.0001s_0.npy")
    save(tmp_path / "a" / "bias_0.npy", dark)
    save(tmp_path / "a" / "flat_iso100_0.1s.npy", dark)
    assert "its ISO is not known" in says(tmp_path / "a", "--white", "16383")
    save(tmp_path / "b" / "iso100" / "bias_0.npy", dark)
    save(tmp_path / "b" / "iso100" / "flat_0.npy", dark)
    assert "its exposure is not known" in says(tmp_path / "b", "--white", "16383")
    save(tmp_path / "c" / "bias_iso100_0.npy", dark)
    save(tmp_path / "c" / "flat_iso100_1s.npy", dark)
    assert "ISO 100 has no two flat fields of one exposure" in says(tmp_path / "c", "--white", "16383")
    save(tmp_path / "c" / "flat_iso100_1s_1.npy", dark[:100])
    assert "differ in size: 192 x 100 and 192 x 160" in says(tmp_path / "c", "--white", "16383")
    save(tmp_path / "c" / "flat_iso100_1s_1.npy", dark)
    assert "ISO 100: the noise does not grow" in says(tmp_path / "c", "--white", "16383")


def test_damaged_frames(tmp_path):
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    np.save(tmp_path / "cube.npy", np.zeros((4, 4, 3)))
    np.save(tmp_path / "nan.npy", np.full((4, 4), np.nan))
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    Image.new("RGB", (40, 40)).save(tmp_path / "colour.png")
    messages = {"cut.npy": "cannot be read", "cut.png": "not a PNG", "cube.npy": r"must be \[H, W\]",
                "nan.npy": "NaN", "words.npy": "real numbers", "colour.png": "16 bits deep"}  # fmt: skip
    for name, message in messages.items():
        with pytest.raises(CalibrationError, match=f"{name}.*{message}"):
            read_frame(tmp_path / name, name)


def test_large_frames_are_read_at_their_centre(tmp_path):
    whole = np.arange(1500 * 1400, dtype=np.uint32).reshape(1500, 1400)
    np.save(tmp_path / "x.npy", whole)
    centre = read_frame(tmp_path / "x.npy", "iso50/bias_0.5s.npy")
    assert (centre.iso, centre.exposure) == (50.0, 0.5)
    assert centre.mosaic.shape == (SIDE, SIDE)
    top, left = divmod(int(centre.mosaic[0, 0]), 1400)
    assert (top % 12, left % 12) == (0, 0)
    np.testing.assert_array_equal(centre.mosaic, whole[top : top + SIDE, left : left + SIDE])


def test_the_innermost_name_says_the_kind(tmp_path):
    for name in ("flats/bias_1.npy", "bias/flat/x.npy", ".hidden/bias/y.npy", "other/z.npy"):
        save(tmp_path / name, np.zeros((4, 4)))
    found = {path.name: kind for kind, path in find_frames(tmp_path)}
    assert found == {"bias_1.npy": "bias", "x.npy": "flat"}
    with pytest.raises(CalibrationError, match="no flat fields"):
        find_frames(tmp_path / "flats")
    both = [("bias", tmp_path, Frame(np.zeros((4, 4)), 100.0, 1.0, 9.0, model)) for model in "AB"]
    with pytest.raises(CalibrationError, match="several cameras: A, B"):
        sort_frames(both)
