"""What is timed: for each operator its inputs, the bytes it must move, our backends, and the rivals."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import rivals
import rivals_raw
import torch
from torch import Tensor

import lowlight_ext
from lowlight_ext import backends, use_backend

TIMESTEPS = 200
TIME = 100
ALPHA_BAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, TIMESTEPS, dtype=torch.float64), 0)


@dataclass
class Case:
    """One line of the table: contenders that all compute `name` on the same inputs."""

    name: str
    tests: str
    # tensors read and written once, in units of one picture
    pictures_moved: float
    make: Callable[[], tuple]
    ours: Callable
    operator: str
    plain: Callable | None = None
    # name -> (call, preparation of its inputs from those that `make` gives)
    others: dict[str, tuple[Callable, Callable]] = field(default_factory=dict)
    # what to reach, as (contender, factor): our median at most `factor` times the contender's
    goal: tuple[str, float] | None = None


def forced(backend: str, function: Callable) -> Callable:
    def call(*arguments):
        with use_backend(backend):
            return function(*arguments)

    return call


def available(operator: str, device: torch.device) -> dict[str, str | None]:
    """Our backends for this device -> None or the reason why one is not there."""
    names = ("cpp",) if device.type == "cpu" else ("cuda", "triton")
    return {name: backends(operator)[name] for name in names}


def _haar(shape, device) -> list[Case]:
    def picture():
        return (torch.rand(shape, device=device),)

    def bands():
        batch, channels, height, width = shape
        return (torch.rand(4, batch, channels, height // 2, width // 2, device=device),)

    copy = {"copy": (torch.clone, lambda x: (x,))}
    one, inverse, two = (rivals.wavelet_libraries(*k, device) for k in ((1, False), (1, True), (2, False)))
    e = lowlight_ext
    return [
        Case("haar_dwt2d", "test_haar.py", 2, picture, e.haar_dwt2d, "haar_dwt2d", rivals.dwt, copy | one,
             ("copy", 1.2)),
        Case("haar_idwt2d", "test_haar.py", 2, bands, e.haar_idwt2d, "haar_idwt2d", rivals.idwt, copy | inverse,
             ("copy", 1.2)),
        Case("haar_wavedec2d, 2 levels", "test_haar.py", 2, picture, lambda x: e.haar_wavedec2d(x, 2), "haar_dwt2d",
             rivals.wavedec2, copy | two),
    ]  # fmt: skip


def rows(device: torch.device) -> tuple[Tensor, Tensor]:
    """float32 rows of the anchored posterior (DRDS) and of DDIM, at one time."""
    ab, ab_next = ALPHA_BAR[TIME], ALPHA_BAR[TIME - 1]
    al, sg, al_next, sg_next = ab.sqrt(), (1 - ab).sqrt(), ab_next.sqrt(), (1 - ab_next).sqrt()
    beta = 1 - ab / ab_next
    a, b = al_next * beta / sg**2, al / al_next * sg_next**2 / sg**2
    posterior = [1 / al, -sg / al, a, b, 1 - a - b, 0, 0, sg_next / sg * beta.sqrt()]
    ddim = [1 / al, -sg / al, al_next, 0, 0, sg_next, 0, 0]
    return torch.tensor(posterior, device=device), torch.tensor(ddim, device=device)


def _steps(shape, device) -> list[Case]:
    posterior, ddim = rows(device)
    alpha_bar = ALPHA_BAR.to(device)
    t = torch.full((shape[0],), TIME, device=device)

    def pictures(count):
        return lambda: tuple(torch.rand(shape, device=device) for _ in range(count))

    def library(kind):
        step = rivals.diffusers_step(kind, TIMESTEPS, TIME)
        return (
            {f"diffusers {kind.upper()}": (lambda x_t, eps: step(eps, x_t), lambda x_t, eps, *_: (x_t, eps))}
            if step
            else {}
        )

    step, sample = lowlight_ext.diffusion_step, lowlight_ext.anchored_q_sample
    return [
        Case("posterior step, anchored, noise", "test_step.py", 4, pictures(3),
             lambda x, e, c: step(x, e, posterior, center=c, seed=1, stream=TIME, clip=(-1, 1)), "diffusion_step",
             lambda x, e, c: rivals.posterior(x, e, c, posterior), library("ddpm"), ("PyTorch", 1 / 12)),
        Case("DDIM step, no noise", "test_step.py", 3, pictures(2),
             lambda x, e: step(x, e, ddim), "diffusion_step", lambda x, e: rivals.ddim(x, e, ddim), library("ddim")),
        Case("anchored_q_sample, noise", "test_step.py", 3, pictures(2),
             lambda x, c: sample(x, t, alpha_bar, center=c, seed=1), "anchored_q_sample",
             lambda x, c: rivals.q_sample(x, t, alpha_bar.float(), c)),
    ]  # fmt: skip


def _noise(shape, device) -> list[Case]:
    generator = np.random.Generator(np.random.Philox(1))

    def with_numpy(call):
        return {"NumPy": (lambda: call(shape, dtype=np.float32), tuple)} if device.type == "cpu" else {}

    return [
        Case("normal", "test_noise.py", 1, tuple, lambda: lowlight_ext.normal(shape, 1, device=device), "normal", None,
             {"torch.randn": (lambda: torch.randn(shape, device=device), tuple),
              **with_numpy(generator.standard_normal)}, ("torch.randn", 1 / 4)),
        Case("uniform", "test_noise.py", 1, tuple, lambda: lowlight_ext.uniform(shape, 1, device=device), "uniform",
             None, {"torch.rand": (lambda: torch.rand(shape, device=device), tuple), **with_numpy(generator.random)}),
    ]  # fmt: skip


def _raw(shape, device) -> list[Case]:
    batch, _, height, width = shape
    packed = (batch, 4, height, width)
    # a picture of the table has three channels, a packed raw four
    unit = 4 / 3
    e, gain, ratio = lowlight_ext, 0.8, 150.0
    scales = {"g_scale": 3.0, "G_scale": 2.0, "G_shape": 0.12, "R_scale": 0.7}

    def dark(count):
        # most of a picture is dark
        return lambda: tuple(torch.rand(packed, device=device).pow(3) for _ in range(count))

    def noise(model, goal=None):
        parameters = e.RawNoiseParameters(gain, ratio, model, **scales)
        return Case(f"raw_noise {model}", "test_exposure.py", 2 * unit, dark(1),
                    lambda x: e.raw_noise(x, parameters, 1), "raw_noise",
                    lambda x: rivals_raw.raw_noise(x, gain, ratio, model, scales), {}, goal)  # fmt: skip

    def counts(mean):
        return Case(f"poisson, mean {mean:g}", "test_poisson.py", 2 * unit,
                    lambda: (torch.full(packed, float(mean), device=device),), lambda x: e.poisson(x, 1), "poisson",
                    None, {"torch.poisson": (torch.poisson, lambda x: (x,))})  # fmt: skip

    return [
        *(counts(mean) for mean in (1, 20, 1000)),
        Case("tukey_lambda", "test_poisson.py", unit, tuple,
             lambda: e.tukey_lambda(packed, 1, 0.12, device=device), "tukey_lambda",
             lambda: rivals_raw.tukey(torch.rand(packed, device=device), 0.12)),
        noise("P+g"),
        noise("P+G+r+u", ("PyTorch", 1 / 8)),
        Case("exposure_step", "test_exposure.py", 3 * unit, dark(2),
             lambda x, y: e.exposure_step(x, y, 100.0, 34.0, gain, 1), "exposure_step",
             lambda x, y: rivals_raw.exposure_step(x, y, 100.0, 34.0, gain), {}, ("PyTorch", 1 / 8)),
    ]  # fmt: skip


def cases(shape: tuple[int, int, int, int], device: torch.device) -> list[Case]:
    """All cases on pictures of this shape, float32."""
    return _haar(shape, device) + _steps(shape, device) + _noise(shape, device) + _raw(shape, device)
