"""What a call costs before a kernel starts: operators on tensors of 256 numbers, beside `x + x`. One screen.

python bench/calls.py [--launches none] [--parts]
--launches none: the CUDA half on the CPU, with nothing in place of launches; --parts: what of a call costs how much.
Each number is the least of many short runs, so that a busy machine shows in none. Rows "grad" require gradients.
"""

import argparse
import importlib
import timeit
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

import lowlight_ext as ext
from lowlight_ext import checks, exposure, registry, step
from lowlight_ext import kernels_compiled as compiled
from lowlight_ext import pictures as pictures_of
from lowlight_ext.common import Source
from lowlight_ext.kernels_compiled import call

CALLS, RUNS = 20, 200


def operators() -> dict[str, Callable[[], Any]]:
    x = torch.rand(1, 4, 8, 8)
    grad, bands, weight = x.clone().requires_grad_(), torch.rand(4, 1, 4, 8, 8), torch.ones(4)
    rows, t, table = torch.rand(10, 8), torch.tensor([3]), torch.rand(10, dtype=torch.float64)
    single, seeded = table.float(), {"t": t, "center": x, "seed": 7, "stream": 3, "clip": (-1.0, 1.0)}
    return {
        "diffusion_step": lambda: ext.diffusion_step(x, x, rows, **seeded),
        "diffusion_step, noise given": lambda: ext.diffusion_step(x, x, rows, t=t, noise=x),
        "anchored_q_sample": lambda: ext.anchored_q_sample(x, t, table, seed=7),
        "anchored_q_sample, float32 table": lambda: ext.anchored_q_sample(x, t, single, seed=7),
        "group_norm_silu": lambda: ext.group_norm_silu(x, 2, weight, weight),
        "layer_norm2d": lambda: ext.layer_norm2d(x, weight, weight),
        "simple_gate": lambda: ext.simple_gate(x),
        "haar_dwt2d": lambda: ext.haar_dwt2d(x),
        "haar_idwt2d": lambda: ext.haar_idwt2d(bands),
        "normal": lambda: ext.normal((1, 4, 8, 8), 7),
        "exposure_step": lambda: ext.exposure_step(x, x, 100.0, 34.0, 0.8, 7),
        "grad diffusion_step": lambda: ext.diffusion_step(grad, grad, rows, **seeded),
        "grad group_norm_silu": lambda: ext.group_norm_silu(grad, 2, weight, weight),
        "grad layer_norm2d": lambda: ext.layer_norm2d(grad, weight, weight),
        "grad simple_gate": lambda: ext.simple_gate(grad),
    }


class _Nothing(torch.autograd.Function):
    """What torch takes for a gradient of its own, of as many arguments and results as diffusion_step's."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        ctx.save_for_backward(*arguments[:4])
        return arguments[0].detach(), None

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return (None,) * 11


def parts() -> dict[str, Callable[[], Any]]:
    """Of "diffusion_step", of "grad diffusion_step" and of "exposure_step", named by what they are for."""
    x, rows, t = torch.rand(1, 4, 8, 8), torch.rand(10, 8), torch.tensor([3])
    grad, source = x.clone().requires_grad_(), Source(7, 3)
    rest = (rows, t, x, None, None, source, -1.0, 1.0, False)
    plain, differentiable = (x, x, *rest), (grad, grad, *rest)
    pictures = {"x_t": x, "eps": x, "center": x, "x0_previous": None, "noise": None}
    seen = registry.way(plain)[1]
    known, exposed = {seen}, {"ratio": 100.0, "ratio_next": 34.0, "K": 0.8}
    return {
        "pictures brought into shape": lambda: pictures_of.arranged("", pictures, source),
        "modes of the thread": lambda: registry.way(()),
        "and keys of five tensors": lambda: registry.way(plain),
        "shapes seen before": lambda: seen in known,
        "place of the noise": lambda: checks.place("", x.shape, source),
        "values of rows and t": lambda: step._prepared(*plain),
        "the result's memory": lambda: torch.empty_like(x),
        "which, and the kernel's Python": lambda: compiled.diffusion_step(*plain),
        "gradients: torch's Function": lambda: _Nothing.apply(*differentiable),
        "exposure_step: its row": lambda: exposure._exposure_rows("", 1, exposed, 15583.0),
    }


def microseconds(run: Callable[[], Any]) -> float:
    run()
    return min(timeit.repeat(run, number=CALLS, repeat=RUNS)) / CALLS * 1e6


def without_launches() -> None:
    """The CUDA half on CPU tensors, up to the launch."""
    backends = importlib.import_module("lowlight_ext.backends")
    # attributes of its own: a stand-in that looks each one up would cost more than what it stands for
    module = SimpleNamespace(**vars(call._C))
    for name in vars(call._C):
        setattr(module, f"cuda_{name}", lambda *arguments: None)
    for name in ("norm", "norm_backward", "layer_norm_backward"):
        setattr(module, f"cuda_{name}_workspace", lambda *arguments: 0)
    backends.select = lambda op, device_type: "cuda"
    call._C, call.on_gpu, call.launch = module, lambda x: True, lambda kernel, device, arguments: None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", choices=("real", "none"), default="real", help="none: the CUDA half without them")
    parser.add_argument("--parts", action="store_true", help="what of a call costs how much")
    options = parser.parse_args()
    if options.launches == "none":
        without_launches()
    torch.set_num_threads(1)
    x = torch.rand(1, 4, 8, 8)
    base = microseconds(lambda: x + x)
    print(f"{'x + x':33s}{base:8.2f} us")
    for name, run in (parts if options.parts else operators)().items():
        cost = microseconds(run)
        base = min(base, microseconds(lambda: x + x))
        print(f"{name:33s}{cost:8.2f} us{cost / base:8.1f} x")


if __name__ == "__main__":
    main()
