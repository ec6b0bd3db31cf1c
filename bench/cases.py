"""What is timed: Haar wavelets, diffusion steps, noise; other families in files of their own."""

import numpy as np
import rivals
import torch
from case import Case, Setting
from cases_norm import norms
from cases_raw import raw
from cases_tone import tones
from torch import Tensor

import lowlight_ext as e
from lowlight.diffusion.schedules import ddim_rows
from lowlight.systems.anlightendiff.schedules import drds_rows

TIMESTEPS = 200
TIME = 100
ALPHA_BAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, TIMESTEPS, dtype=torch.float64), 0)


def _haar(on: Setting) -> list[Case]:
    batch, channels, height, width = on.shape

    def bands():
        return (on.rand(4, batch, channels, height // 2, width // 2),)

    copy = {"copy": (torch.clone, lambda x: (x,))}
    one, inverse, two = (rivals.wavelet_libraries(*k, on) for k in ((1, False), (1, True), (2, False)))
    return [
        Case("haar_dwt2d", "haar_dwt2d", "test_haar.py", 2, 3, on.pictures(1), e.haar_dwt2d, rivals.dwt, copy | one,
             ("copy", 1.2)),
        Case("haar_idwt2d", "haar_idwt2d", "test_haar.py", 2, 3, bands, e.haar_idwt2d, rivals.idwt, copy | inverse,
             ("copy", 1.2)),
        Case("haar_wavedec2d, 2 levels", "haar_dwt2d", "test_haar.py", 2, 3.75, on.pictures(1),
             lambda x: e.haar_wavedec2d(x, 2), rivals.wavedec2, copy | two),
    ]  # fmt: skip


def rows(device: torch.device) -> tuple[Tensor, Tensor]:
    """float32 rows of the anchored posterior (DRDS) and of DDIM, at one time."""
    times = [TIME, TIME - 1]
    return tuple(make(ALPHA_BAR, times)[0].to(device, torch.float32) for make in (drds_rows, ddim_rows))


def _steps(on: Setting) -> list[Case]:
    posterior, ddim = rows(on.device)
    plain_posterior, plain_ddim = posterior.to(on.dtype), ddim.to(on.dtype)
    alpha_bar = ALPHA_BAR.to(on.device)
    t = torch.full(on.shape[:1], TIME, device=on.device)

    def library(kind):
        step = rivals.diffusers_step(kind, TIMESTEPS, TIME)
        return (
            {f"diffusers {kind.upper()}": (lambda x_t, eps: step(eps, x_t), lambda x_t, eps, *_: (x_t, eps))}
            if step
            else {}
        )

    step, sample = e.diffusion_step, e.anchored_q_sample
    return [
        Case("posterior step, anchored, noise", "diffusion_step", "test_step.py", 4, 68, on.pictures(3),
             lambda x, e, c: step(x, e, posterior, center=c, seed=1, stream=TIME, clip=(-1, 1)),
             lambda x, e, c: rivals.posterior(x, e, c, plain_posterior), library("ddpm"), ("PyTorch", 1 / 12)),
        Case("DDIM step, no noise", "diffusion_step", "test_step.py", 3, 6, on.pictures(2),
             lambda x, e: step(x, e, ddim), lambda x, e: rivals.ddim(x, e, plain_ddim), library("ddim")),
        Case("anchored_q_sample, noise", "anchored_q_sample", "test_step.py", 3, 62, on.pictures(2),
             lambda x, c: sample(x, t, alpha_bar, center=c, seed=1),
             lambda x, c: rivals.q_sample(x, t, alpha_bar.to(on.dtype), c)),
    ]  # fmt: skip


def _noise(on: Setting) -> list[Case]:
    generator = np.random.Generator(np.random.Philox(1))
    like = {"device": on.device, "dtype": on.dtype}

    def with_numpy(call):
        wanted = on.device.type == "cpu" and on.dtype == torch.float32
        return {"NumPy": (lambda: call(on.shape, dtype=np.float32), tuple)} if wanted else {}

    return [
        Case("normal", "normal", "test_noise.py", 1, 55, tuple, lambda: e.normal(on.shape, 1, **like), None,
             {"torch.randn": (lambda: torch.randn(on.shape, **like), tuple),
              **with_numpy(generator.standard_normal)}, ("torch.randn", 1 / 4)),
        Case("uniform", "uniform", "test_noise.py", 1, 28, tuple, lambda: e.uniform(on.shape, 1, **like), None,
             {"torch.rand": (lambda: torch.rand(on.shape, **like), tuple), **with_numpy(generator.random)}),
    ]  # fmt: skip


def cases(on: Setting) -> list[Case]:
    """All cases."""
    return _haar(on) + _steps(on) + _noise(on) + raw(on) + norms(on) + tones(on)
