"""lowlight: dark photographs back to light with diffusion models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# eagerly, and without torch: a later `from .enhance import ...` would put the module in the function's place
from .enhance import enhance

if TYPE_CHECKING:
    from .checkpoints import load
    from .expose import enhance_raw
    from .shipped import shipped_models
    from .video.door import enhance_video

    __version__: str

__all__ = ["__version__", "enhance", "enhance_raw", "enhance_video", "load", "shipped_models"]


def __getattr__(name: str) -> Any:
    # torch takes a second to import: only who needs it waits
    if name == "load":
        from .checkpoints import load

        return load
    if name == "enhance_raw":
        from .expose import enhance_raw

        return enhance_raw
    if name == "enhance_video":
        from .video.door import enhance_video

        return enhance_video
    if name == "shipped_models":
        from .shipped import shipped_models

        return shipped_models
    if name == "__version__":
        from importlib.metadata import version

        return version("lowlight-ext")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
