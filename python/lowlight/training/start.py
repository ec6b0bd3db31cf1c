"""What a training begins with: another model's weights where they fit, and which weights stay as they are."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..checkpoints import load
from ..files.tensors import CheckpointError, short_list
from ..systems.base import System
from ..systems.registry import SYSTEMS


def load_source(model: str, system: System) -> System:
    """A shipped name, a file, or the folder of a run; what a file does not say is as the system to train has it."""
    try:
        return load(model, device="cpu")
    except CheckpointError:
        options = SYSTEMS[system.name].options
        return load(model, device="cpu", **{name: getattr(system.config, name) for name in options if name != "camera"})


def take_weights(system: System, source: System, name: str) -> str:
    """Copy into the system what the source has of the same name and shape; returns a sentence that names the rest.

    A weight that is normalised in training gets the source's plain one. Raises ValueError where nothing fits.
    """
    theirs, taken, other = source.state_dict(), [], []
    modules = dict(system.named_modules())
    own = {_plain(key) for key in system.state_dict()}
    with torch.no_grad():
        for key in sorted(own & theirs.keys()):
            path, _, leaf = key.rpartition(".")
            weight = getattr(modules[path], leaf)
            if weight.shape != theirs[key].shape:
                other.append(key)
                continue
            taken.append(key)
            if parametrize.is_parametrized(modules[path], leaf):
                setattr(modules[path], leaf, theirs[key].to(weight))
            else:
                weight.copy_(theirs[key])
    if not taken:
        raise ValueError(f"init: no weight of {name} ({source.name}) fits this {system.name}")
    rest = {"of another shape": other, "new here": sorted(own - theirs.keys()), "left": sorted(theirs.keys() - own)}
    named = "".join(f"; {what}: {short_list(keys)}" for what, keys in rest.items() if keys)
    return f"begins with {len(taken)} of {len(own)} weights of {name}{named}"


def freeze(system: nn.Module, prefixes: Iterable[str]) -> None:
    """Parameters whose names begin with one of the prefixes need no gradient. Raises ValueError where none does."""
    named = dict(system.named_parameters())
    for prefix in prefixes:
        chosen = [key for key in named if key == prefix or key.startswith(f"{prefix}.")]
        if not chosen:
            known = ", ".join(dict.fromkeys(key.split(".")[0] for key in named))
            raise ValueError(f"freeze must name modules or weights of the network ({known} ...), got {prefix!r}")
        for key in chosen:
            named[key].requires_grad_(False)


def _plain(key: str) -> str:
    """The weight's own name, where it is normalised in training."""
    return key.replace("parametrizations.", "").replace(".original0", "").replace(".original1", "")
