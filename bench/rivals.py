"""The same formulas as anybody would write them in PyTorch, and what other libraries offer."""

import functools
from collections.abc import Callable
from importlib import import_module

import torch
from case import Setting
from torch import Tensor


def dwt(x: Tensor) -> Tensor:
    """One Haar level by slices; bands stacked on the batch axis."""
    upper, lower = x[:, :, 0::2] / 2, x[:, :, 1::2] / 2
    x1, x2, x3, x4 = upper[..., 0::2], lower[..., 0::2], upper[..., 1::2], lower[..., 1::2]
    return torch.cat((x1 + x2 + x3 + x4, -x1 - x2 + x3 + x4, -x1 + x2 - x3 + x4, x1 - x2 - x3 + x4))


def idwt(bands: Tensor) -> Tensor:
    """The inverse by slices of a new picture."""
    ll, hl, lh, hh = bands / 2
    batch, channels, height, width = ll.shape
    x = torch.zeros(batch, channels, 2 * height, 2 * width, dtype=bands.dtype, device=bands.device)
    x[:, :, 0::2, 0::2] = ll - hl - lh + hh
    x[:, :, 1::2, 0::2] = ll - hl + lh - hh
    x[:, :, 0::2, 1::2] = ll + hl - lh - hh
    x[:, :, 1::2, 1::2] = ll + hl + lh + hh
    return x


def wavedec2(x: Tensor) -> list[Tensor]:
    first = dwt(x)
    batch = x.shape[0]
    second = dwt(first[:batch])
    return [second[:batch], second[batch:], first[batch:]]


def posterior(x_t: Tensor, eps: Tensor, center: Tensor, row: Tensor) -> Tensor:
    """The anchored DDPM posterior with its noise."""
    p, q, a, b, c, _, _, s = row
    x0 = (p * x_t + q * eps).clamp(-1, 1)
    return a * x0 + b * x_t + c * (2 * center - 1) + s * torch.randn_like(x_t)


def ddim(x_t: Tensor, eps: Tensor, row: Tensor) -> Tensor:
    """The deterministic DDIM step."""
    p, q, a, _, _, d, _, _ = row
    return a * (p * x_t + q * eps) + d * eps


def q_sample(x0: Tensor, t: Tensor, alpha_bar: Tensor, center: Tensor) -> Tensor:
    """The anchored forward process with its noise."""
    al = alpha_bar[t].sqrt().reshape(-1, 1, 1, 1)
    sg = (1 - alpha_bar[t]).sqrt().reshape(-1, 1, 1, 1)
    return al * x0 + sg * (torch.randn_like(x0) + (1 - al) / sg * (2 * center - 1))


def compiled(function: Callable) -> Callable:
    """torch.compile at its best: its own random numbers are several times slower on a CPU than eager's."""
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, dynamic=False, options={"fallback_random": True})


@functools.cache
def missing() -> dict[str, str]:
    """Libraries that can not be timed -> why."""
    reasons = {}
    for name in ("ptwt", "pytorch_wavelets", "pywt", "diffusers"):
        try:
            import_module(name)
        except ImportError as error:
            reasons[name] = str(error)
    return reasons


def wavelet_libraries(levels: int, inverse: bool, on: Setting) -> dict[str, tuple[Callable, Callable]]:
    """Name -> (call, preparation of its input) of every installed library; the input is a picture or our bands."""
    found = {}
    if "ptwt" not in missing():
        import ptwt

        if inverse:
            found["ptwt"] = (lambda *c: ptwt.waverec2(c, "haar"), lambda b: pywt_order(b))
        else:
            found["ptwt"] = (lambda x: ptwt.wavedec2(x, "haar", level=levels, mode="zero"), lambda x: (x,))
    if "pytorch_wavelets" not in missing():
        from pytorch_wavelets import DWTForward, DWTInverse

        if inverse:
            module = DWTInverse(wave="haar", mode="zero").to(on.device, on.dtype)
            found["pytorch_wavelets"] = (lambda ll, high: module((ll, [high])), lambda b: (b[0], b[1:].movedim(0, 2)))
        else:
            found["pytorch_wavelets"] = (
                DWTForward(J=levels, wave="haar", mode="zero").to(on.device, on.dtype),
                lambda x: (x,),
            )
    if "pywt" not in missing() and on.device.type == "cpu" and on.dtype == torch.float32:
        import pywt

        if inverse:
            found["PyWavelets"] = (lambda *c: pywt.waverec2(c, "haar"), lambda b: pywt_order(b.numpy()))
        else:
            found["PyWavelets"] = (lambda x: pywt.wavedec2(x, "haar", level=levels), lambda x: (x.numpy(),))
    return found


def pywt_order(bands):
    """[4, ...] -> cA, (cH, cV, cD); signs do not change the time."""
    ll, hl, lh, hh = bands
    return ll, (lh, hl, hh)


def diffusers_step(kind: str, timesteps: int, time: int) -> Callable | None:
    """step(eps, x_t) of a scheduler of diffusers, or None where it is not installed."""
    if "diffusers" in missing():
        return None
    import diffusers

    if kind == "ddpm":
        scheduler = diffusers.DDPMScheduler(timesteps, variance_type="fixed_small", clip_sample=True)
    else:
        scheduler = diffusers.DDIMScheduler(timesteps, clip_sample=False)
        scheduler.set_timesteps(10)
    return lambda eps, x_t: scheduler.step(eps, time, x_t).prev_sample
