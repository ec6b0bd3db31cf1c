"""The door: every kind of picture comes back as its kind, size and depth, grey or not, alpha untouched."""

import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import lowlight
from lowlight.checkpoints import load, parse_device, parse_dtype
from lowlight.enhance import enhance
from lowlight.files.pictures import Picture, PictureError, read_picture, write_picture
from lowlight.systems import brighten
from lowlight.systems.brighten import enhance_picture, options_of


class Gamma:
    """A system with the real interface and an answer one can compute: x ** 0.5, plus noise if asked for."""

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, noise=0.0):
        self.noise = noise
        self.calls = []

    def enhance_tensor(self, low, *, steps=None, noise=None, seed=0):
        assert low.dim() == 4
        assert low.shape[1] == 3
        assert low.dtype == torch.float32
        self.calls.append({"shape": tuple(low.shape), "steps": steps, "seed": seed})
        bright = low.sqrt()
        if self.noise:
            seeds = torch.as_tensor(seed).expand(low.shape[0])
            draws = [torch.randn(low.shape[1:], generator=torch.Generator().manual_seed(int(s))) for s in seeds]
            bright = bright + self.noise * torch.stack(draws)
        return bright


def dark(*shape, seed=0):
    return np.random.default_rng(seed).random(shape) * 0.3


def expected(array, scale):
    return np.rint(np.sqrt(array.astype(np.float64) / scale) * scale)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (7, 5, 3), (8, 6), (6, 4, 1), (5, 1, 3), (1, 9, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64, ">u2"])
def test_numpy(shape, dtype):
    dtype = np.dtype(dtype)
    scale = np.iinfo(dtype).max if dtype.kind == "u" else 1
    array = (dark(*shape) * scale).astype(dtype)
    before = array.copy()
    bright = enhance_picture(Gamma(), array)
    assert bright.shape == array.shape
    assert bright.dtype == dtype
    assert np.array_equal(array, before)
    assert bright.mean() > array.mean()
    if scale > 1 and len(shape) == 3 and shape[2] == 3:
        assert np.array_equal(bright, expected(array, scale))
    else:
        # grey goes by way of luma, whose weights sum to one only within rounding
        step = 1 / scale if scale > 1 else max(np.finfo(dtype).eps, 1e-6)
        np.testing.assert_allclose(bright / scale, np.sqrt(array.astype(np.float64) / scale), atol=step)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_alpha_passes_unchanged(channels, dtype):
    scale = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    array = (np.random.default_rng(1).random((6, 5, channels)) * scale).astype(dtype)
    system = Gamma()
    bright = enhance_picture(system, array)
    assert np.array_equal(bright[..., -1], array[..., -1])
    assert not np.array_equal(bright[..., 0], array[..., 0])
    assert system.calls[0]["shape"] == (1, 3, 6, 5)


def test_numpy_views_of_any_layout():
    array = dark(12, 10, 3).astype(np.float32)
    want = enhance_picture(Gamma(), array[::2, ::-1].copy())
    assert np.array_equal(enhance_picture(Gamma(), array[::2, ::-1]), want)
    assert np.array_equal(enhance_picture(Gamma(), np.asfortranarray(array[::2, ::-1])), want)
    read_only = array.copy()
    read_only.flags.writeable = False
    enhance_picture(Gamma(), read_only)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
@pytest.mark.parametrize("shape", [(3, 6, 5), (2, 3, 6, 5), (1, 1, 1), (4, 6, 5), (2, 1, 4, 4)])
def test_torch(shape, dtype):
    scale = {torch.uint8: 255, torch.uint16: 65535}.get(dtype, 1)
    tensor = (torch.from_numpy(dark(*shape)) * scale).to(torch.int32 if scale > 1 else dtype).to(dtype)
    bright = enhance_picture(Gamma(), tensor)
    assert bright.shape == tensor.shape
    assert bright.dtype == dtype
    if shape[-3] == 3:
        want = (tensor.double() / scale).sqrt() * scale
        tolerance = 0.5 if scale > 1 else max(torch.finfo(dtype).eps, 1e-6)
        assert (bright.double() - want).abs().max() <= tolerance + 1e-3 * (scale == 65535)


def test_results_carry_no_gradients_but_take_part_in_autograd_afterwards():
    weight = torch.ones(1, requires_grad=True)

    class Weighted(Gamma):
        def enhance_tensor(self, low, **_):
            return low.sqrt() * weight

    bright = enhance_picture(Weighted(), torch.rand(3, 4, 4, requires_grad=True))
    assert not bright.requires_grad
    (bright * weight).sum().backward()
    assert weight.grad is not None


def test_a_picture_is_the_same_alone_and_in_a_batch():
    batch = torch.rand(3, 3, 4, 6)
    system = Gamma(noise=0.1)
    together = enhance_picture(system, batch, seed=5)
    for i in range(3):
        assert torch.equal(together[i], enhance_picture(system, batch[i], seed=5))
    assert not torch.equal(together, enhance_picture(system, batch, seed=6))
    seeds = torch.tensor([5, 6, 7])
    assert torch.equal(enhance_picture(system, batch, seed=seeds)[1], enhance_picture(system, batch[1], seed=6))


@pytest.mark.parametrize(
    ("mode", "back"),
    [("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("1", "L"), ("P", "RGB"), ("CMYK", "RGB"),
     ("I;16", "I;16"), ("I", "I")],
)  # fmt: skip
def test_pil_modes(mode, back):
    image = Image.fromarray((dark(7, 5, 3) * 255).astype(np.uint8)).convert("L" if mode in ("I", "I;16") else "RGB")
    image = image.convert(mode)
    bright = enhance_picture(Gamma(), image)
    assert bright.mode == back
    assert bright.size == image.size


def test_pil_pixels_and_metadata():
    array = (dark(7, 5, 3) * 255).astype(np.uint8)
    image = Image.fromarray(array)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.info = {"icc_profile": profile, "exif": b"Exif\0\0...", "dpi": (300, 300)}
    bright = enhance_picture(Gamma(), image)
    assert np.array_equal(np.asarray(bright), expected(array, 255))
    assert bright.info == image.info
    assert np.array_equal(np.asarray(image), array)


def test_path_gives_an_upright_pil_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    array = (dark(7, 5, 3) * 255).astype(np.uint8)
    Image.fromarray(array).save(tmp_path / "p.png", exif=exif.tobytes())
    for path in (tmp_path / "p.png", str(tmp_path / "p.png")):
        bright = enhance_picture(Gamma(), path)
        assert bright.size == (7, 5)
        assert np.array_equal(np.asarray(bright), expected(np.rot90(array, -1), 255))
        assert bright.getexif()[0x0112] == 1


def test_read_picture_keeps_16_bits_all_the_way(tmp_path):
    array = (dark(6, 4, 3) * 65535).astype(np.uint16)
    write_picture(tmp_path / "in.png", Picture(array.astype(np.float32) / 65535, bits=16))
    bright = enhance_picture(Gamma(), read_picture(tmp_path / "in.png"))
    write_picture(tmp_path / "out.tif", bright)
    assert np.abs(read_picture(tmp_path / "out.tif").rgb * 65535 - expected(array, 65535)).max() <= 1
    assert len(np.unique(np.rint(read_picture(tmp_path / "out.tif").rgb * 65535) % 257)) > 10


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (np.full((4, 4, 3), np.nan), ValueError, "NaN"),
        (np.full((4, 4, 3), np.inf), ValueError, r"\[0, 1\]"),
        (np.full((4, 4, 3), 200.0), ValueError, r"\[0, 1\]"),
        (torch.full((3, 4, 4), -0.2), ValueError, r"\[0, 1\]"),
        (torch.tensor([0.1, float("nan"), 0.2]).view(3, 1, 1), ValueError, "NaN"),
        (np.zeros((3, 40, 60)), ValueError, "torch tensors"),
        (np.zeros((2, 4, 4, 3)), ValueError, r"\[H, W, C\]"),
        (np.zeros((0, 4, 3)), ValueError, r"got \[3, 0, 4\]"),
        (torch.zeros(40, 60, 3), ValueError, r"\[C, H, W\]"),
        (torch.zeros(40, 60), ValueError, r"\[C, H, W\]"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), TypeError, "int64"),
        (np.zeros((4, 4, 3), bool), TypeError, "bool"),
        ([[0.1]], TypeError, "list"),
    ],
)
def test_bad_pictures(picture, error, message):
    with pytest.raises(error, match=message):
        enhance_picture(Gamma(), picture)


@pytest.mark.parametrize("model", [model.name for model in lowlight.shipped_models() if "exposure" not in model.name])
def test_without_any_light_it_stays_black(model):
    black = np.zeros((40, 70, 4), np.uint8)
    black[..., 3] = 200
    assert np.array_equal(enhance(black, model, brightness=1.0), black)
    # one pixel is light
    black[39, 69, 1] = 9
    assert enhance(black, model)[..., :3].any()


def test_the_black_one_of_a_batch_stays_black(monkeypatch):
    """Of pictures that are computed at once too, as on a GPU."""

    class Purple(Gamma):
        def enhance_tensor(self, low, *, steps=None, noise=None, seed=0):
            return super().enhance_tensor(low, steps=steps, noise=noise, seed=seed).clamp(min=0.3)

    monkeypatch.setattr(brighten, "_parts", lambda batch, told, one_by_one: [(batch, told)])
    pictures = torch.stack([torch.zeros(3, 4, 6), torch.full((3, 4, 6), 0.25)])
    system = Purple()
    assert [picture.unique().tolist() for picture in enhance_picture(system, pictures)] == [[0], [0.5]]
    assert [call["shape"][0] for call in system.calls] == [2]


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        enhance_picture(Gamma(), dark(4, 4, 3), steps=0)
    with pytest.raises(PictureError, match="no such file"):
        enhance_picture(Gamma(), tmp_path / "missing.png")
    with pytest.raises(ValueError, match="already loaded"):
        enhance(dark(4, 4, 3), Gamma(), device="cpu")
    with pytest.raises(ValueError, match="float32, bfloat16"):
        parse_dtype("int8")
    with pytest.raises(ValueError, match="no such device"):
        parse_device("toaster")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 1.5}, "enhance: steps must be an integer, got float"),
        ({"steps": "2"}, "enhance: steps must be an integer, got str"),
        ({"brightness": "x"}, "enhance: brightness must be a number, or one a picture, got str"),
        ({"brightness": None}, "enhance: brightness must be a number, or one a picture, got NoneType"),
        ({"strength": "1"}, "enhance: strength must be a number, got str"),
        ({"saturation": None}, "enhance: saturation must be a number, got NoneType"),
        ({"model": 5}, "model must be a shipped name, .* got int"),
    ],
)
def test_arguments_of_another_kind(wrong, message):
    with pytest.raises(TypeError, match=message):
        enhance(dark(4, 4, 3), **{"model": Gamma(), **wrong})


def test_load_takes_names_and_refuses_what_is_none():
    assert lowlight.load("default", device="cpu", dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(TypeError, match="load: expected a name or a path, got NoneType"):
        lowlight.load(None)
    for wrong in ("half", torch.int8):
        with pytest.raises(ValueError, match="dtype: expected one of float32, bfloat16"):
            lowlight.load("default", dtype=wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_said():
    with pytest.raises(ValueError, match="sees no GPU"):
        parse_device("cuda:0")


def test_names_and_objects_of_device_and_dtype():
    assert parse_device("cpu") == parse_device(torch.device("cpu")) == torch.device("cpu")
    assert parse_dtype("bfloat16") is parse_dtype(torch.bfloat16) is torch.bfloat16
    assert parse_device(None) is parse_dtype(None) is None


def test_a_network_that_overflows_is_said():
    class Overflows(Gamma):
        dtype = torch.float16

        def enhance_tensor(self, low, **_):
            return low * float("nan")

    with pytest.raises(RuntimeError, match="float16; try float32"):
        enhance_picture(Overflows(), dark(4, 4, 3))


def test_a_loop_of_calls_loads_once_and_sees_a_new_file(tmp_path, monkeypatch):
    from lowlight import checkpoints

    loaded = []

    def load(name, *, device=None, dtype=None, engine="torch", precision=None):
        loaded.append((name, device, dtype))
        return Gamma()

    monkeypatch.setattr(checkpoints, "load", load)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    picture = dark(4, 4, 3)
    for _ in range(3):
        enhance(picture, path, device="cpu", dtype="bfloat16")
    assert loaded == [(str(path), torch.device("cpu"), torch.bfloat16)]
    os.utime(path, ns=(1, 1))
    enhance(picture, path, device="cpu", dtype="bfloat16")
    assert len(loaded) == 2


def test_steps_and_seed_arrive():
    system = Gamma()
    enhance(dark(4, 4, 3), system, steps=3, seed=9)
    assert system.calls == [{"shape": (1, 3, 4, 4), "steps": 3, "seed": 9}]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["wavelet-anchored-small", "diffll-small", "anlightendiff-small"])
def test_networks_give_the_same_picture_alone_and_in_a_batch(name, dtype):
    """To the bit on a CPU, with what each picture is told of its own."""
    system = load(name, device="cpu", dtype=parse_dtype(dtype))
    batch = torch.rand((3, 3, 41, 70), generator=torch.Generator().manual_seed(0)) * 0.3
    told = {"brightness": torch.tensor([0.0, 1.0, -1.0]), "seed": torch.tensor([3, 4, 5])}
    if "mean" in options_of(system):
        told["mean"] = torch.tensor([0.3, 0.4, 0.5])
    together = enhance_picture(system, batch, steps=2, **told)
    for i, picture in enumerate(batch):
        alone = enhance_picture(system, picture, steps=2, **{key: value[i : i + 1] for key, value in told.items()})
        assert torch.equal(alone, together[i])
    with pytest.raises(ValueError, match=r"one number or 3|one for each of 3"):
        enhance_picture(system, batch, brightness=torch.zeros(2))
