"""The network calls that a system is made of, as modules of tensors alone: what `lowlight export` writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .anlightendiff.conditioning import FEATURES
from .anlightendiff.system import AnlightenDiff
from .base import PictureSystem, System
from .ddpm.system import DDPM
from .diffll.network import HFRM, STATISTICS
from .diffll.system import DiffLL
from .exposurediffusion.network import predict
from .exposurediffusion.system import ExposureDiffusion
from .wavelet_anchored.network import RESTORER_INPUTS, TOLD, UNET_INPUTS, UNET_STATISTICS
from .wavelet_anchored.system import WaveletAnchored

_BATCH = 2  # of the examples, since a batch of one would be taken for a constant


class Function(nn.Module):
    """A function of tensors as a module that holds the modules whose weights it uses."""

    def __init__(self, function: Callable[..., Tensor], *holders: nn.Module):
        super().__init__()
        self.function, self.holders = function, nn.ModuleList(holders)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class Call(NamedTuple):
    """A function of tensors and examples of its inputs, by name."""

    module: Function
    inputs: dict[str, Tensor]
    multiples: dict[str, int]  # of the pictures among them: height and width are so many times two common numbers
    batch: bool  # whether it takes any batch, or the examples' alone
    output: str


def calls(system: System) -> dict[str, Call]:
    """By name, the network's first. Raises ValueError for a system that has none here."""
    for kind, own in _CALLS.items():
        if isinstance(system, kind):
            return own(system)
    raise ValueError(
        f"calls: must be one of {', '.join(kind.__name__ for kind in _CALLS)}, got {type(system).__name__}"
    )


def picture_call(system: PictureSystem, steps: int, seed: int, width: int, height: int) -> Call:
    """The whole way of one picture of this size: the sampler unrolled, its noise drawn inside, the wavelets."""

    def enhance(low: Tensor) -> Tensor:
        return system.enhance_tensor(low, steps=steps, seed=seed)

    low = torch.rand(1, 3, height, width) * 0.2
    return Call(Function(enhance, system), {"low": low}, {}, False, "picture")


def example(channels: int, multiple: int, batch: int = _BATCH) -> Tensor:
    """A batch of pictures whose sides are multiples of this."""
    return torch.randn(batch, channels, 3 * multiple, 4 * multiple)


def times() -> Tensor:
    """One of each picture of the examples."""
    return torch.arange(1, 1 + _BATCH)


def network_call(module: nn.Module, inputs: dict[str, Tensor], multiple: int, output: str) -> Call:
    """Of a module that takes any batch and pictures of these multiples, by the names of its inputs."""
    module = module if isinstance(module, Function) else Function(module.__call__, module)
    return Call(module, inputs, {name: multiple for name, x in inputs.items() if x.dim() == 4}, True, output)


def _diffll(system: DiffLL) -> dict[str, Call]:
    config = system.config
    multiple = 2 ** (len(config.ch_mult) - 1)
    inputs = {"x_t": example(3, multiple), "t": times(), "condition": example(config.condition_channels, multiple)}
    if config.statistics:
        inputs["statistics"] = torch.randn(_BATCH, STATISTICS)

    def eps(x_t: Tensor, t: Tensor, condition: Tensor, statistics: Tensor | None = None) -> Tensor:
        return system.Unet(torch.cat([condition, x_t], dim=1), t, statistics)

    found = {"network": network_call(Function(eps, system.Unet), inputs, multiple, "eps")}
    for name, hfrm in system.named_children():
        if isinstance(hfrm, HFRM):
            # one picture's: a third of a batch that may be one is no symbol
            bands = {"bands": example(3, 4, 3)}
            found[name] = Call(Function(hfrm.__call__, hfrm), bands, {"bands": 1}, False, "restored")
    return found


def _anlightendiff(system: AnlightenDiff) -> dict[str, Call]:
    widths, multiple = system.config.widths, system.multiple
    inputs = {"x_t": example(3, multiple), "t": times(), "low": example(3, multiple)}
    multiples = dict.fromkeys(("x_t", "low"), multiple)
    if system.config.stronger_cond:
        for i, width in enumerate(widths):
            multiples[f"feature_{i}"] = multiple >> i
            inputs[f"feature_{i}"] = example(width, multiple >> i)

    def eps(x_t: Tensor, t: Tensor, low: Tensor, *features: Tensor) -> Tensor:
        return system.model["unet"](torch.cat([x_t, low], dim=1), t, list(features) or None)

    encoder = system.encoder["model"] if isinstance(system.encoder, nn.ModuleDict) else system.encoder
    return {
        "network": Call(Function(eps, system.model), inputs, multiples, True, "eps"),
        "encoder": network_call(encoder, {"features": example(FEATURES, multiple)}, multiple, "encoded"),
    }


def _exposurediffusion(system: ExposureDiffusion) -> dict[str, Call]:
    multiple = system.netG.multiple if system.config.network == "unet" else 2 ** len(system.config.encoder)

    def picture(inputs: Tensor) -> Tensor:
        return predict(system.netG, system.config, inputs)[0]

    inputs = {"inputs": example(system.config.in_channels, multiple)}
    return {"network": network_call(Function(picture, system.netG), inputs, multiple, "picture")}


def _wavelet_anchored(system: WaveletAnchored) -> dict[str, Call]:
    multiple = 2 ** (len(system.config.ch_mult) - 1)
    inputs = {
        "inputs": example(UNET_INPUTS, multiple),
        "t": times(),
        "vector": torch.randn(_BATCH, UNET_STATISTICS),
    }
    bands = {"bands": example(RESTORER_INPUTS, 2), "told": torch.randn(_BATCH, TOLD)}
    return {
        "network": network_call(system.unet, inputs, multiple, "residual"),
        "restorer": network_call(system.restorer, bands, 2, "gates_and_residuals"),
    }


def _ddpm(system: DDPM) -> dict[str, Call]:
    inputs = {"x_t": example(3, system.config.multiple), "t": times()}
    return {"network": network_call(system.unet, inputs, system.config.multiple, system.config.prediction)}


_CALLS: dict[type[System], Callable] = {
    DiffLL: _diffll,
    AnlightenDiff: _anlightendiff,
    ExposureDiffusion: _exposurediffusion,
    WaveletAnchored: _wavelet_anchored,
    DDPM: _ddpm,
}
