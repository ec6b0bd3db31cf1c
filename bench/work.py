"""What the networks of a whole picture are made of, counted and not computed: multiplications, bytes, a floor of time.

The system runs its way; its networks are called on the meta device, by the papers' formulas, and give zeros.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from plain_networks import plain_networks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from lowlight.systems.anlightendiff.system import AnlightenDiff
from lowlight.systems.base import System
from lowlight.systems.exposurediffusion.unet import ExposureUNet
from lowlight.systems.networks import networks


class Product(NamedTuple):
    """One convolution, matrix product or attention."""

    operations: float  # a multiplication and an addition being two
    bytes: float  # its inputs read once, its output written once


class Work(TorchDispatchMode):
    """Counts what runs under it: the products, and the bytes that all calls of PyTorch read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []
        self.bytes = 0.0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if not function.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
            moved = sum(x.numel() * x.element_size() for x in tensors)
            self.bytes += moved
            if count := flop_registry.get(function._overloadpacket):
                self.products.append(Product(count(*args, **(kwargs or {}), out_val=out), moved))
        return out


def floor(products: Iterable[Sequence[float]], gflop_s: float, gb_s: float) -> float:
    """Seconds of products alone, each at the rate of a matrix product or of a copy, whichever is slower."""
    return sum(max(operations / gflop_s, moved / gb_s) for operations, moved in products) / 1e9


def count(system: System, run: Callable[[], object]) -> Work:
    """Of `run`, which calls the system's networks."""
    work = Work()
    for owner, method, whole in _methods(system):
        setattr(owner, method, _counted(copy.deepcopy(owner).to("meta"), whole, work))
    run()
    return work


def _methods(system: System) -> list[tuple[torch.nn.Module, str, str]]:
    """Modules, what of them is called, and what is counted for it: as the papers have it, whole and not in strips."""
    if isinstance(system, AnlightenDiff):
        encoder = system.encoder["model"] if isinstance(system.encoder, torch.nn.ModuleDict) else system.encoder
        return [(encoder, "forward", "forward"), (system.model["unet"], "forward", "forward")]
    own = [network.owner for network in networks(system).values()]
    return [(owner, "forward", "_whole" if isinstance(owner, ExposureUNet) else "forward") for owner in own]


def _counted(module: torch.nn.Module, method: str, work: Work) -> Callable:
    def call(*args: Any, **kwargs: Any) -> Any:
        # a list that the network fills: the encoder's features
        lists = [value for value in kwargs.values() if isinstance(value, list)]
        meta_args, meta_kwargs = tree_map_only(torch.Tensor, lambda x: x.to("meta"), (args, kwargs))
        with plain_networks(), work:
            out = getattr(module, method)(*meta_args, **meta_kwargs)
        filled = [value for value in meta_kwargs.values() if isinstance(value, list)]
        for own, theirs in zip(lists, filled, strict=True):
            own.extend(_zeros(theirs[len(own) :]))
        return _zeros(out)

    return call


def _zeros(value: Any) -> Any:
    # one zero in the memory's place: what is made of it is not looked at
    return tree_map_only(torch.Tensor, lambda x: torch.zeros((), dtype=x.dtype).expand(x.shape).clone(), value)
