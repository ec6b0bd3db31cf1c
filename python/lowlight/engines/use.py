"""Puts an engine in the place of a system's networks, in the precision asked for."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..systems.base import RawSystem, System, channels_last
from ..systems.networks import Network, networks
from . import cuda_graph, openvino
from .cache import engine_folder, key_of
from .choices import chosen

ENGINES = ("torch", "openvino", "cudagraph", "auto")
ENGINES_OF = {"cpu": ("torch", "openvino"), "cuda": ("torch", "cudagraph")}  # by device
PRECISIONS = ("exact", "fast")
M = TypeVar("M", bound=nn.Module)


def check_engine(engine: str, precision: str | None, device: torch.device, dtype: torch.dtype | None) -> None:
    """Raises ValueError, in one sentence, for what cannot be had here."""
    if engine not in ENGINES:
        raise ValueError(f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}")
    if precision not in (None, *PRECISIONS):
        raise ValueError(f"precision: must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if dtype not in (None, torch.float32) and (precision or engine != "torch"):
        raise ValueError(f"dtype: with precision or another engine than torch it must be float32, got {dtype}")
    if engine == "openvino" and device.type != "cpu":
        raise ValueError(f"engine: openvino runs on the CPU, got device {device}")
    if engine == "cudagraph" and device.type != "cuda":
        raise ValueError(f"engine: cudagraph runs on an NVIDIA GPU, got device {device}")
    if engine == "openvino" and (reason := openvino.missing()):
        raise ValueError(f"engine: openvino {reason}")
    if precision == "fast" and (reason := no_bfloat16(device)):
        raise ValueError(f"precision: fast is bfloat16, which {reason}; exact works")


def no_bfloat16(device: torch.device) -> str | None:
    """Why bfloat16 is no gain on a device, or None."""
    if device.type == "cuda":
        return None if torch.cuda.get_device_capability(device) >= (8, 0) else "this GPU has not"
    if platform.machine().lower() in ("aarch64", "arm64"):
        return None if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "this processor has not"
    # oneDNN imitates it where AVX-512 is without: slower than float32
    flags = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return None if any(flag and flag() for flag in flags) else "this processor has not (AVX512-BF16 or AMX)"


def use_engine(system: System, engine: str, precision: str | None) -> System:
    """The system on its device, its networks run by an engine from now on; those weights, `laid_out`, no gradients.

    auto: what `lowlight tune` measured to be fastest for this model on this machine; torch, with a warning, where it
    did not. fast: networks in bfloat16, the picture at least 45 dB from exact. Raises ValueError as check_engine.
    """
    check_engine(engine, precision, system.device, system.dtype)
    precision = precision or "exact"
    if engine in ("torch", "cudagraph"):
        system = laid_out(narrowed(system) if precision == "fast" else system)
        if engine == "cudagraph":
            if isinstance(system, RawSystem):
                raise ValueError(f"engine: must be torch for the raw of {type(system).__name__}, got cudagraph")
            cuda_graph.replay_pictures(system)  # type: ignore[arg-type]
        return system
    key = key_of(system)
    if engine == "auto":
        return use_engine(system, _measured(system, key, precision), precision)
    system = laid_out(system)
    for name, network in networks(system).items():
        graph = openvino.Graph(openvino.graph_file(engine_folder(), key, name), network.call, precision, network.varied)
        setattr(network.owner, network.method, InPlace(network, graph))
    return system


def laid_out(system: System) -> System:
    """Channels last on a CPU, where that saves a quarter to a third of the time, and of half-precision weights on a
    GPU, whose matrix units take them so; float32 there as convolutions are by default, until it is measured."""
    if system.device.type == "cpu" or system.dtype in (torch.float16, torch.bfloat16):
        return channels_last(system)
    return system


def narrowed(module: M) -> M:
    """In bfloat16, but for the numbers of the group norms.

    Their operator takes them in float32: they are not converted in every call, and not rounded.
    """
    for each in module.modules():
        if not isinstance(each, nn.GroupNorm):
            for tensor in (*each.parameters(recurse=False), *each.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(torch.bfloat16)
    return module


def _measured(system: System, key: str, precision: str) -> str:
    """The engine that was measured to be fastest, of those that are here."""
    choice = chosen(key, precision, system.device)
    if choice is None:
        warnings.warn(f"engine: {system.name} was not measured here (`lowlight tune MODEL`): torch", stacklevel=4)
    return "torch" if choice is None or (choice.engine == "openvino" and openvino.missing()) else choice.engine


class InPlace:
    """Called as the network's method, done by the graph; what does not fit the graph goes to the method."""

    def __init__(self, network: Network, graph: Callable[..., Tensor]):
        self._own, self._graph, self._most = getattr(network.owner, network.method), graph, network.most
        first = next(iter(network.call.inputs.values()))
        self._count = None if network.call.batch else first.shape[0]

    def __call__(self, *given: Any) -> Tensor:
        inputs = [x for each in given if each is not None for x in (each if isinstance(each, list) else [each])]
        x = inputs[0]
        if torch.is_grad_enabled() and any(each.requires_grad for each in inputs):
            raise ValueError("engine: openvino computes no gradients; load with engine torch")
        # a graph of one picture's bands, or a map too large to be held whole
        if self._count not in (None, x.shape[0]) or (self._most and x.shape[-2] * x.shape[-1] > self._most):
            return self._own(*given)
        return self._graph(*inputs)
