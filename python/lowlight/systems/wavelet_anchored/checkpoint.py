"""Which widths the names and shapes of an anchored wavelet diffusion's weights tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...files.tensors import count_of
from ..diffll.checkpoint import unet_fields


def looks_like_wavelet_anchored(names: Mapping[str, Any]) -> bool:
    """Whether the names are those of its three networks."""
    return {"anchor", "unet", "restorer"} <= {name.split(".")[0] for name in names}


def detect_wavelet_anchored(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of WaveletAnchoredConfig that names and shapes tell; the rest leaves no trace in them.

    Raises KeyError on a missing name.
    """
    return {
        **unet_fields(state, "unet"),
        "width": state["restorer.head.weight"].shape[0],
        "blocks": count_of(state, r"restorer\.coarse\.(\d+)\."),
        "exposure": state["exposure.net.0.weight"].shape[0] if "exposure.net.0.weight" in state else 0,
    }
