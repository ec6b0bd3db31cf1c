"""The networks inside a system whose work another engine can do in their place: where each is called, and as what."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .anlightendiff.system import AnlightenDiff
from .base import System
from .calls import Call, Function, calls, example, network_call, times
from .diffll.network import STATISTICS
from .diffll.system import DiffLL
from .exposurediffusion.system import ExposureDiffusion
from .exposurediffusion.unet import ExposureUNet
from .wavelet_anchored.system import WaveletAnchored


class Network(NamedTuple):
    """One network: `owner.method(...)` is what the system calls, `call` the same as a function of tensors alone."""

    owner: nn.Module
    method: str
    call: Call
    varied: bool  # called with many sizes in one picture: bands, strips
    most: int | None = None  # positions beyond which the network by itself goes in strips, for want of memory


def networks(system: System) -> dict[str, Network]:
    """By name, as `calls` has them; what is not here PyTorch does in any case.

    Raises ValueError for a system that has none here.
    """
    for kind, own in _NETWORKS.items():
        if isinstance(system, kind):
            return own(system)
    raise ValueError(f"engine: must be torch for {type(system).__name__}, whose networks are not described")


def _wavelet_anchored(system: WaveletAnchored) -> dict[str, Network]:
    found = calls(system)
    return {
        "network": Network(system.unet, "forward", found["network"], False),
        "restorer": Network(system.restorer, "forward", found["restorer"], True),
    }


def _diffll(system: DiffLL) -> dict[str, Network]:
    config, found = system.config, calls(system)
    multiple = 2 ** (len(config.ch_mult) - 1)
    inputs = {"x": example(config.condition_channels + 3, multiple), "t": times()}
    if config.statistics:
        inputs["statistics"] = torch.randn(len(times()), STATISTICS)
    own = {"network": Network(system.Unet, "forward", network_call(system.Unet, inputs, multiple, "eps"), False)}
    for name in found.keys() - own.keys():
        own[name] = Network(getattr(system, name), "forward", found[name], True)
    return own


def _anlightendiff(system: AnlightenDiff) -> dict[str, Network]:
    unet, described = system.model["unet"], calls(system)["network"]
    inputs = {"x": example(6, system.multiple), **described.inputs}
    multiples = {"x": system.multiple, **described.multiples}
    for name in ("x_t", "low"):
        del inputs[name], multiples[name]

    def eps(x: Tensor, t: Tensor, *features: Tensor) -> Tensor:
        return unet(x, t, list(features) or None)

    # of many sizes, though it has one: OpenVINO compiles no Mish for a size that is known
    call = Call(Function(eps, unet), inputs, multiples, True, "eps")
    return {"network": Network(unet, "forward", call, True, most=2**21)}


def _exposurediffusion(system: ExposureDiffusion) -> dict[str, Network]:
    network, config = system.netG, system.config
    strips = isinstance(network, ExposureUNet)
    multiple = network.multiple if strips else 2 ** len(config.encoder)
    method = "_whole" if strips else "forward"
    module = Function(getattr(network, method), network)
    call = network_call(module, {"x": example(config.in_channels, multiple)}, multiple, "picture")
    return {"network": Network(network, method, call, strips)}


_NETWORKS: dict[type[System], Callable] = {
    WaveletAnchored: _wavelet_anchored,
    DiffLL: _diffll,
    AnlightenDiff: _anlightendiff,
    ExposureDiffusion: _exposurediffusion,
}
