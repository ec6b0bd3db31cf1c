"""lowlight: dark photographs back to light with diffusion models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# eagerly, and without torch: a later `from .enhance import ...` would put the module in the function's place
from .enhance import enhance

if TYPE_CHECKING:
    from .checkpoints import load, shipped_models
    from .expose import enhance_raw

__all__ = ["enhance", "enhance_raw", "load", "shipped_models"]


def __getattr__(name: str) -> Any:
    # torch takes a second to import: only who needs it waits
    if name in ("load", "shipped_models"):
        from . import checkpoints

        return getattr(checkpoints, name)
    if name == "enhance_raw":
        from .expose import enhance_raw

        return enhance_raw
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
