"""lowlight: dark photographs back to light with diffusion models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoints import load, shipped_models
    from .enhance import enhance

__all__ = ["enhance", "load", "shipped_models"]

_HOMES = {"enhance": "enhance", "load": "checkpoints", "shipped_models": "checkpoints"}


def __getattr__(name: str) -> Any:
    # torch takes a second to import: only who needs it waits
    if name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
