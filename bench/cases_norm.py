"""What is timed of the normalisations: features [B, 48, H / 4, W / 4], as many numbers as the pictures."""

from collections.abc import Callable

import rivals_norm
import torch
from case import Case, Setting
from rivals import compiled
from torch import Tensor

import lowlight_ext as e

CHANNELS, GROUPS = 48, 8


def with_gradient(function: Callable) -> Callable:
    """-> a call that gives the result and the gradient to x of its sum with weights g."""

    def call(x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().requires_grad_()
            y = function(x)
            return y, *torch.autograd.grad(y, x, g)

    return call


def norms(on: Setting) -> list[Case]:
    batch, _, height, width = on.shape
    weight, bias = (torch.rand(CHANNELS, device=on.device, dtype=on.dtype) for _ in range(2))
    formats = {"": torch.contiguous_format, ", channels_last": torch.channels_last}

    def features(layout, channels=CHANNELS):
        x = on.rand(batch, channels, height // 4, width // 4) * 2 - 1
        return x.to(memory_format=layout)

    # name, output of one input, operations forward and back, ours, PyTorch's
    functions = (
        ("group_norm_silu", 1, 24, 40, lambda x: e.group_norm_silu(x, GROUPS, weight, bias),
         lambda x: rivals_norm.group_norm_silu(x, GROUPS, weight, bias)),
        ("mish_instance_norm", 1, 36, 60, e.mish_instance_norm, rivals_norm.mish_instance_norm),
        ("layer_norm2d", 1, 8, 14, lambda x: e.layer_norm2d(x, weight, bias),
         lambda x: rivals_norm.layer_norm2d(x, weight, bias)),
        ("simple_gate", 0.5, 0.5, 1, e.simple_gate, rivals_norm.simple_gate),
    )  # fmt: skip
    libraries = {"layer_norm2d": {"F.layer_norm": lambda x: rivals_norm.library_layer_norm(x, weight, bias)}}
    made = []
    for name, out, forward, back, ours, plain in functions:
        for suffix, layout in formats.items():
            channels = round(CHANNELS * out)

            def x(layout=layout):
                return (features(layout),)

            def x_and_grad(layout=layout, channels=channels):
                return features(layout), features(layout, channels)

            others = {k: (call, lambda x: (x,)) for k, call in libraries.get(name, {}).items()}
            both = {k: (with_gradient(call), lambda x, g: (x, g)) for k, call in libraries.get(name, {}).items()}
            made += [
                Case(name + suffix, name, "test_norm.py", 1 + out, forward, x, ours, plain, others,
                     ("PyTorch", 1 / 1.5)),
                Case(f"{name}{suffix}, with gradient", name, "test_norm.py", 3 + 2 * out, forward + back, x_and_grad,
                     with_gradient(ours), with_gradient(plain), both, ("PyTorch", 1 / 1.5),
                     # gradients are taken outside of what is compiled, as a training does
                     lambda plain=plain: with_gradient(compiled(plain))),
            ]  # fmt: skip
    return made
