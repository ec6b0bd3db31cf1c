"""Rendering to sRGB: LibRaw's own linear demosaicing and half-size pictures are the oracle."""

from types import SimpleNamespace

import numpy as np
import pytest
from raw_pictures import BAYER, TO_CAMERA, raw_picture, real_raw, scene

from lowlight.files.pictures import PictureError
from lowlight.raw.colour import SRGB_TO_XYZ, camera_to_srgb, camera_to_xyz_of, daylight_gains
from lowlight.raw.dng import write_dng
from lowlight.raw.files import _camera_to_xyz, denormalise, normalise, open_raw, read_raw
from lowlight.raw.render import interpolate, postprocess, render

rawpy = pytest.importorskip("rawpy", reason="no rawpy: pip install 'lowlight-ext[raw]'")
# LibRaw computes in 16-bit integers, several times rounded
ROUNDED = 1.2e-4
LINEAR = {"gamma": (1, 1)}


def written(path, picture):
    write_dng(path, picture)
    return read_raw(path)


def difference(ours, theirs):
    """Largest of linear values; theirs are linear already."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.float32
    return np.abs(ours**2.2 - theirs).max()


@pytest.mark.parametrize("orientation", [1, 2, 3, 5, 6, 8])
@pytest.mark.parametrize("order", BAYER)
def test_bilinear_as_libraw(tmp_path, order, orientation):
    picture = written(tmp_path / "p.dng", raw_picture(order, scene(41, 63), orientation=orientation))
    theirs = postprocess(tmp_path / "p.dng", demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR, **LINEAR)
    ours = render(normalise(picture), picture)
    assert ours.flags.c_contiguous
    assert theirs.flags.c_contiguous
    # the last row and column fill no cell: they repeat others here
    ours, theirs = (turned_back(x, orientation)[:, :38, :60] for x in (ours, theirs))
    assert ours.std() > 0.1
    assert difference(ours, theirs) < ROUNDED


def turned_back(picture, orientation):
    back = {1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 5: lambda x: x.transpose(1, 0, 2),
            6: lambda x: np.rot90(x), 8: lambda x: np.rot90(x, -1)}[orientation]  # fmt: skip
    return back(picture.transpose(1, 2, 0)).transpose(2, 0, 1)


@pytest.mark.parametrize("balance", [(2.1, 1, 1.5), (0.7, 1, 3), None])
@pytest.mark.parametrize("order", BAYER)
def test_half_size_as_libraw(tmp_path, order, balance):
    balance = balance and np.array(balance, float)
    picture = written(tmp_path / "p.dng", raw_picture(order, white_balance=balance))
    assert (picture.white_balance is None) == (balance is None)
    # without it LibRaw takes daylight's too
    theirs = postprocess(tmp_path / "p.dng", half_size=True, use_camera_wb=balance is not None, **LINEAR)
    assert difference(render(normalise(picture), picture, demosaic=False), theirs) < ROUNDED


@pytest.mark.parametrize("phase", [(0, 0), (1, 4)])
def test_xtrans(tmp_path, phase):
    picture = written(tmp_path / "p.dng", raw_picture(phase, scene(60, 90, noise=0)))
    packed = normalise(picture)
    theirs = postprocess(tmp_path / "p.dng", demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR, **LINEAR)
    ours = render(packed, picture)
    # other neighbours than LibRaw's: close where the picture is smooth
    assert np.abs(ours**2.2 - theirs)[:, 6:-6, 6:-6].mean() < 0.02
    third = render(packed, picture, demosaic=False)
    assert third.shape == (3, packed.shape[1], packed.shape[2])
    grey = render(np.full_like(packed, 0.25), picture)
    np.testing.assert_allclose(grey, grey[:, :1, :1] * np.ones((1, 60, 90)), rtol=1e-5)


@pytest.mark.parametrize("order", [*BAYER, (2, 3)], ids=str)
def test_interpolation_keeps_what_was_measured(order):
    picture = raw_picture(order)
    mosaic = np.random.default_rng(0).random((60, 80), np.float32)
    planes = interpolate(mosaic, picture.pattern, np.ones(3, np.float32))
    colours = np.tile(picture.pattern, (60, 80))[:60, :80]
    for colour in range(4):
        assert np.array_equal(planes[colour % 3 + colour // 3][colours == colour], mosaic[colours == colour])
    assert 0 < planes.min() < planes.max() < 1


def test_saturated_stays_white_and_black_black():
    for balance in ((2.1, 1, 1.5), (0.5, 1, 0.8)):
        picture = raw_picture(BAYER[0], white_balance=np.array(balance))
        assert render(np.ones((4, 30, 40), np.float32), picture).min() > 0.9999
        assert not render(np.zeros((4, 30, 40), np.float32), picture).any()


def test_colours_of_a_known_light():
    """sRGB's red, seen by a camera of known matrix, comes out as sRGB's red."""
    camera_to_xyz = np.linalg.inv(TO_CAMERA)
    linear = np.array([0.4, 0.2, 0.1])
    balanced = TO_CAMERA @ SRGB_TO_XYZ @ linear * daylight_gains(camera_to_xyz)
    white = (TO_CAMERA @ SRGB_TO_XYZ @ np.ones(3) * daylight_gains(camera_to_xyz))[1]
    np.testing.assert_allclose(camera_to_srgb(camera_to_xyz) @ balanced / white, linear, rtol=1e-9)
    np.testing.assert_allclose(camera_to_srgb(camera_to_xyz).sum(axis=1), 1)
    again = camera_to_xyz_of(camera_to_srgb(camera_to_xyz), daylight_gains(camera_to_xyz))
    np.testing.assert_allclose(again / again[1, 1], camera_to_xyz / camera_to_xyz[1, 1])


def test_matrix_of_a_known_camera():
    """LibRaw's matrix of a PowerShot S40 goes from XYZ to camera; the daylight gains that it makes of it."""
    matrix = [[0.8606, -0.2573, -0.0949], [-0.8237, 1.5489, 0.2974], [-0.2649, 0.3076, 0.91], [0, 0, 0]]
    raw = SimpleNamespace(rgb_xyz_matrix=np.array(matrix), color_matrix=np.zeros((3, 4)))
    daylight = np.array([2.186535596847534, 0.9175860285758972, 0.955423891544342])
    np.testing.assert_allclose(daylight_gains(_camera_to_xyz(raw)), daylight / daylight[1], rtol=1e-6)


def test_real_camera_as_libraw():
    path = real_raw("CRW_0117.CRW")
    picture = read_raw(path)
    theirs = postprocess(path, half_size=True, **LINEAR)
    assert difference(render(normalise(picture), picture, demosaic=False), theirs) < ROUNDED
    with open_raw(path) as raw:
        daylight = np.array(raw.daylight_whitebalance[:3])
    np.testing.assert_allclose(daylight_gains(picture.camera_to_xyz), daylight / daylight[1], rtol=1e-6)


def test_libraw_renders_another_mosaic(tmp_path):
    path = tmp_path / "p.dng"
    dark = raw_picture(BAYER[1], (scene(60, 80) - 800) // 16 + 800)
    picture = written(path, dark)
    bright = denormalise(np.clip(normalise(picture) * 16, 0, 1), picture)
    options = {"demosaic_algorithm": rawpy.DemosaicAlgorithm.LINEAR, **LINEAR}
    before, after = postprocess(path, **options), postprocess(path, bright, **options)
    assert after.mean() > 10 * before.mean()
    # a dark picture's white is the file's, not its own brightest number
    picture.mosaic = bright
    assert difference(render(normalise(picture), picture), after) < ROUNDED
    assert np.array_equal(read_raw(path).mosaic, dark.mosaic)
    assert np.array_equal(postprocess(path, **options), before)


def test_errors(tmp_path):
    picture = written(tmp_path / "p.dng", raw_picture(BAYER[0]))
    packed = normalise(picture)
    with pytest.raises(ValueError, match="does not come of"):
        render(packed[:, :-1], picture)
    with pytest.raises(ValueError, match=r"\[4, h, w\]"):
        render(packed[:3], picture, demosaic=False)
    with pytest.raises(PictureError, match=r"p\.dng: its mosaic is uint16 \(60, 80\)"):
        postprocess(tmp_path / "p.dng", picture.mosaic[1:])
    with pytest.raises(PictureError, match="no such file"):
        postprocess(tmp_path / "q.dng")
    packed[1, 2, 3] = np.inf
    for demosaic in (False, True):
        with pytest.raises(PictureError, match="NaN"):
            render(packed, picture, demosaic=demosaic)
