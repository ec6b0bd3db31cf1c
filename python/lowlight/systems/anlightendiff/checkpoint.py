"""Published AnlightenDiff checkpoints: Lightning's names, weight normalisation, and what else lies in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...diffusion.schedules import cosine_betas
from ...files.tensors import CheckpointError, short_list

# gain and direction: the old hook's names and those of torch.nn.utils.parametrizations
_NORMALISED = ((".weight_g", ".weight_v"), (".parametrizations.weight.original0", ".parametrizations.weight.original1"))
_NETWORKS = ("encoder.", "histroEncoder.", "model.unet.")
_ENCODERS = ("encoder.", "histroEncoder.")
# the two-step file holds the encoder a second time, inside the histogram network
_AGAIN = "histroEncoder.encoder."
_BETAS = "model.betas"


class Weights(NamedTuple):
    """What a checkpoint holds of an AnlightenDiff."""

    state: dict[str, Tensor]  # by this project's names, plain
    fields: dict[str, int]  # of the configuration, that the file's schedule tells
    ignored: list[str]  # names of what is no part of the model (the perceptual loss's networks)


def looks_like_anlightendiff(names: Mapping[str, Any]) -> bool:
    """Whether the names are those of a published checkpoint or of this project's."""
    return any(n.startswith("model.unet.downs.") for n in names)


def anlightendiff_weights(state: Mapping[str, Tensor]) -> Weights:
    """The weights among the tensors of a checkpoint, with weight normalisation folded in.

    The time layers of the encoders, which have no time, and the schedule's buffers are dropped; so are the encoder's
    copy and the names outside the networks, which are reported.
    Raises CheckpointError for half a weight normalisation, a copy of the encoder that is none, another schedule.
    """
    timesteps = _checked_timesteps(state)
    folded = fold_weight_norm({n: tensor for n, tensor in state.items() if n.startswith(_NETWORKS)})
    copies = {n: tensor for n, tensor in folded.items() if n.startswith(_AGAIN)}
    differing = [n for n, copy in copies.items() if not _same(copy, folded.get(n.removeprefix("histroEncoder.")))]
    if differing:
        raise CheckpointError(f"its second copy of the encoder differs from the first in {short_list(differing)}")
    weights = {n: tensor for n, tensor in folded.items() if n not in copies and not _is_unused_time(n)}
    ignored = [n for n in state if not n.startswith(_NETWORKS) and not _is_schedule(n, state[n], timesteps)]
    # published sampling takes every step
    fields = {} if timesteps is None else {"timesteps": timesteps, "steps": timesteps}
    return Weights(weights, fields, ignored)


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Plain weights g v / |v| (the norm over all axes but the first) for every pair of gain and direction."""
    folded = dict(state)
    for gain, direction in _NORMALISED:
        stems = [n.removesuffix(end) for end in (gain, direction) for n in state if n.endswith(end)]
        for stem in dict.fromkeys(stems):
            if stem + gain not in folded or stem + direction not in folded:
                lacking = gain if stem + gain not in folded else direction
                raise CheckpointError(f"it lacks {stem}{lacking}, the other half of a weight normalisation")
            g, v = folded.pop(stem + gain), folded.pop(stem + direction)
            if v.dim() < 2 or g.shape != (len(v), *(1,) * (v.dim() - 1)):
                shapes = f"{tuple(g.shape)} and {tuple(v.shape)}"
                raise CheckpointError(
                    f"the shapes {shapes} of {stem}{gain} and {direction} are no weight normalisation"
                )
            norm = v.double().flatten(1).norm(dim=1).view(g.shape)
            folded[stem + ".weight"] = (v.double() * (g.double() / norm)).to(v.dtype)
    return folded


def detect_anlightendiff(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of AnlightenDiffConfig that the names and shapes of plain weights tell.

    r of the residual and how it samples leave no trace in them. Raises KeyError on a missing name.
    """
    levels = 0
    while any(n.startswith(f"model.unet.downs.{levels}.") for n in state):
        levels += 1
    down = "model.unet.downs.{}.{}.block1.block.1.weight"
    widths = tuple(state[down.format(i, 0)].shape[0] for i in range(levels))
    return {
        "two_step": any(n.startswith("encoder.model.") for n in state),
        "stronger_cond": state[down.format(0, 1)].shape[1] == 2 * widths[0],
        "widths": widths,
    }


def _is_unused_time(name: str) -> bool:
    return name.startswith(_ENCODERS) and ".mlp." in name


def _is_schedule(name: str, tensor: Tensor, timesteps: int | None) -> bool:
    return re.match(r"model\.\w+$", name) is not None and tensor.shape == (timesteps,)


def _same(a: Tensor, b: Tensor | None) -> bool:
    return b is not None and torch.equal(a, b)


def _checked_timesteps(state: Mapping[str, Tensor]) -> int | None:
    betas = state.get(_BETAS)
    if betas is None:
        return None
    if betas.dim() != 1 or not torch.allclose(betas.double(), cosine_betas(len(betas)), rtol=0, atol=1e-6):
        raise CheckpointError(f"its schedule {_BETAS} {tuple(betas.shape)} is not the published cosine one")
    return len(betas)
