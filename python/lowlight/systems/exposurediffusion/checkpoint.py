"""Published ExposureDiffusion checkpoints: which network the shapes tell, and what they do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...files.tensors import CheckpointError, count_of
from .network import CHANNELS

_NETWORK = "netG."
# first and last convolution of each network
_ENDS = {"unet": ("conv1_1.weight", "conv10_1.weight"), "naf": ("intro.weight", "ending.weight")}


def looks_like_exposure(names: Mapping[str, Any]) -> bool:
    """Whether the names are those of a published checkpoint or of this project's."""
    plain = {n.removeprefix(_NETWORK) for n in names}
    return {"upv6.weight", "conv10_1.weight"} <= plain or {"intro.weight", "ending.weight"} <= plain


def exposure_weights(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """The weights by this project's names; no fields are told and nothing is ignored."""
    return {_NETWORK + n.removeprefix(_NETWORK): tensor for n, tensor in state.items()}, {}, []


def detect_exposure(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of ExposureDiffusionConfig that the names and shapes of its tensors tell.

    8 input channels are taken as the picture and its photons (no published network sees the original and no photons).
    "resid" is None where the tensors do not tell: a unet of 4 outputs predicts the picture or the noise.
    Raises KeyError on a missing name, CheckpointError on numbers of channels that no such network has.
    """
    network = "naf" if _NETWORK + "intro.weight" in state else "unet"
    first, last = (state[_NETWORK + n] for n in _ENDS[network])
    inputs, outputs = first.shape[1] if first.dim() == 4 else None, last.shape[0]
    if inputs not in (CHANNELS, 2 * CHANNELS, 3 * CHANNELS) or outputs not in (CHANNELS, 2 * CHANNELS + 1):
        raise CheckpointError(
            f"its network takes {inputs} channels and gives {outputs}, where 4, 8 or 12 and 4 or 9 are known"
        )
    fields = {
        "network": network,
        "width": first.shape[0],
        "with_photon": inputs >= 2 * CHANNELS,
        "concat_origin": inputs == 3 * CHANNELS,
        "adaptive": outputs == 2 * CHANNELS + 1,
        "resid": None if network == "unet" and outputs == CHANNELS else False,
    }
    if network == "naf":
        encoder, middle, decoder = (_blocks(state, part) for part in ("encoders", "middle_blks", "decoders"))
        fields |= {"encoder": encoder, "middle": middle, "decoder": decoder}
    return fields


def exposure_options(
    fields: Mapping[str, Any], *, resid: bool | None = None, camera: str | None = None
) -> dict[str, Any]:
    """The fields with what the caller of `load` says beside them.

    Raises CheckpointError where resid is needed and not given, or contradicts the file.
    """
    told = fields.get("resid", False)
    if told is None and resid is None:
        raise CheckpointError(
            "its unet of 4 outputs may predict the picture or the noise, which the file does not say: "
            "load it with resid=False or resid=True"
        )
    if None not in (told, resid) and told != resid:
        raise CheckpointError(f"it has resid={told}, not the resid={resid} given to load")
    return {**fields, "resid": resid if told is None else told} | ({} if camera is None else {"camera": camera})


def _blocks(state: Mapping[str, Tensor], part: str) -> int | tuple[int, ...]:
    """Blocks of the middle, or of each level of the encoder or decoder."""
    count = count_of(state, rf"netG\.{part}\.(\d+)\.")
    if part == "middle_blks":
        return count
    return tuple(count_of(state, rf"netG\.{part}\.{i}\.(\d+)\.") for i in range(count))
