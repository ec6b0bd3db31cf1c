"""Published DiffLL checkpoints: which network the names and shapes tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...files.tensors import count_of


def looks_like_diffll(names: Mapping[str, Any]) -> bool:
    """Whether the names are those of a published checkpoint or of this project's."""
    return {"high_enhance0", "Unet"} <= {name.split(".")[0] for name in names}


def unet_fields(state: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    """The fields that the tensors of a `UNet` under this name tell."""
    ch, under = state[f"{prefix}.conv_in.weight"].shape[0], rf"{prefix}\.down\."
    levels = range(count_of(state, rf"{under}(\d+)\."))
    return {
        "ch": ch,
        "ch_mult": tuple(state[f"{prefix}.down.{i}.block.0.conv1.weight"].shape[0] // ch for i in levels),
        "num_res_blocks": count_of(state, rf"{under}0\.block\.(\d+)\."),
        "attention_level": count_of(state, rf"{under}(\d+)\.attn\.") - 1,
    }


def detect_diffll(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of DiffLLConfig that the names and shapes of a DiffLL's tensors tell.

    The rest (groups of the normalisation, schedule, steps) leaves no trace in them. Raises KeyError on a missing name.
    """
    return {
        **unet_fields(state, "Unet"),
        "hfrm_width": state["high_enhance0.conv_head.point_conv.weight"].shape[0],
        "levels": count_of(state, r"high_enhance(\d+)\."),
        "guide": "gamma" if state["Unet.conv_in.weight"].shape[1] == 9 else "none",
        "statistics": any(name.startswith("Unet.statistics.") for name in state),
    }
