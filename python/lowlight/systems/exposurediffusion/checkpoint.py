"""Published ExposureDiffusion checkpoints: which network the shapes tell, and what they do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...files.tensors import CheckpointError, count_of
from .network import CHANNELS, ExposureDiffusionConfig

_NETWORK = "netG."
# first and last convolution of each network
_ENDS = {"unet": ("conv1_1.weight", "conv10_1.weight"), "naf": ("intro.weight", "ending.weight")}

# published networks of other pictures, by their channels
_OTHERS = {9: "is for the packed raw of X-Trans sensors", 3: "is for RGB pictures (sRGB, or by a camera's curve)"}
_UNTOLD = {
    "resid": "its unet of 4 outputs may predict the picture or the noise",
    "with_photon": "its 8 inputs may be the picture and its photons, or the picture and the original",
}


def looks_like_exposure(names: Mapping[str, Any]) -> bool:
    """Whether the names are those of a published checkpoint or of this project's."""
    plain = {n.removeprefix(_NETWORK) for n in names}
    return {"upv6.weight", "conv10_1.weight"} <= plain or {"intro.weight", "ending.weight"} <= plain


def exposure_weights(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """The weights by this project's names; no fields are told and nothing is ignored."""
    return {_NETWORK + n.removeprefix(_NETWORK): tensor for n, tensor in state.items()}, {}, []


def detect_exposure(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of ExposureDiffusionConfig that the names and shapes of its tensors tell.

    What they do not tell is None: "resid", where a unet of 4 outputs predicts the picture or the noise; "with_photon",
    where 8 input channels are the picture and its photons, or the picture and the original input.
    Raises KeyError on a missing name, CheckpointError on numbers of channels that no such network has.
    """
    network = "naf" if _NETWORK + "intro.weight" in state else "unet"
    first, last = (state[_NETWORK + n] for n in _ENDS[network])
    inputs, outputs = first.shape[1] if first.dim() == 4 else None, last.shape[0]
    if inputs not in (CHANNELS, 2 * CHANNELS, 3 * CHANNELS) or outputs not in (CHANNELS, 2 * CHANNELS + 1):
        what = next((f"{what}: it " for n, what in _OTHERS.items() if _made_for(n, inputs, outputs)), "")
        raise CheckpointError(
            f"its network {what}takes {inputs} channels and gives {outputs}, where 4, 8 or 12 and 4 or 9 are known"
        )
    fields = {
        "network": network,
        "width": first.shape[0],
        "with_photon": None if inputs == 2 * CHANNELS else inputs > CHANNELS,
        "concat_origin": inputs == 3 * CHANNELS,
        "adaptive": outputs == 2 * CHANNELS + 1,
        "resid": None if network == "unet" and outputs == CHANNELS else False,
    }
    if network == "naf":
        encoder, middle, decoder = (_blocks(state, part) for part in ("encoders", "middle_blks", "decoders"))
        fields |= {"encoder": encoder, "middle": middle, "decoder": decoder}
    return fields


def exposure_options(
    fields: Mapping[str, Any],
    *,
    resid: bool | None = None,
    with_photon: bool | None = None,
    camera: str | None = None,
) -> dict[str, Any]:
    """The fields with what the caller of `load` says beside them.

    Raises CheckpointError where resid or with_photon is needed and not given, or contradicts the file.
    """
    known = {**fields} if camera is None else {**fields, "camera": camera}
    defaults = ExposureDiffusionConfig()
    for name, given in (("resid", resid), ("with_photon", with_photon)):
        told = fields.get(name, getattr(defaults, name))
        if told is None and given is None:
            raise CheckpointError(
                f"{_UNTOLD[name]}, which the file does not say: load it with {name}=False or {name}=True"
            )
        if None not in (told, given) and told != given:
            raise CheckpointError(f"it has {name}={told}, not the {name}={given} given to load")
        known[name] = given if told is None else told
    if fields.get("with_photon", True) is None:
        known["concat_origin"] = not with_photon
    return known


def _made_for(colours: int, inputs: int | None, outputs: int) -> bool:
    """Whether these are the channels of a published network for pictures of so many."""
    return inputs in (colours, 2 * colours, 3 * colours) and outputs in (colours, 2 * colours + 1)


def _blocks(state: Mapping[str, Tensor], part: str) -> int | tuple[int, ...]:
    """Blocks of the middle, or of each level of the encoder or decoder."""
    count = count_of(state, rf"netG\.{part}\.(\d+)\.")
    if part == "middle_blks":
        return count
    return tuple(count_of(state, rf"netG\.{part}\.{i}\.(\d+)\.") for i in range(count))
