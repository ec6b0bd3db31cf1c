"""What a request may ask for: the options of `lowlight enhance`, checked and described by pydantic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import SkipJsonSchema

from ..files.formats import FORMATS, missing_reader
from ..systems.wish import MOST_SATURATION, MOST_STOPS

# a request must not keep a device for hours
MOST_STEPS = 100
# of the answers, by the format's name
MEDIA_TYPES = {
    "PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff", "BMP": "image/bmp",
    "AVIF": "image/avif", "HEIF": "image/heic", "JXL": "image/jxl",
}  # fmt: skip

# None, which a query cannot say
_Left = Annotated[None, SkipJsonSchema()]


class Wanted(BaseModel):
    """Options of one request; what is not said is as on the command line."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    brightness: float = Field(
        0.0, ge=-MOST_STOPS, le=MOST_STOPS, description="Stops brighter or darker than the model's own exposure."
    )
    saturation: float = Field(1.0, ge=0, le=MOST_SATURATION, description="Colour: 0 is grey, 1 the model's own.")
    strength: float = Field(1.0, ge=0, le=1, description="From 0, the dark picture itself, to 1.")
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] | _Left = Field(
        None, description="Network calls; the model's own number where none is said."
    )
    seed: int = Field(0, ge=0, le=2**64 - 1, description="Of the noise: the same seed gives the same picture.")
    quality: Annotated[int, Field(ge=1, le=100)] | _Left = Field(
        None, description="Of formats with a loss (95; a lossless WebP stays so)."
    )
    # create_model narrows both to what there is
    format: str | None = None
    model: str = ""


def wanted_of(models: Sequence[str]) -> type[Wanted]:
    """Wanted where `model` is one of these, the first if none is said, and `format` the extension of what
    can be written here."""
    extensions: Any = Literal[tuple(suffix[1:] for suffix, name in FORMATS.items() if not missing_reader(name))]
    names: Any = Literal[tuple(models)]
    format = Field(None, description="Of the answer; as the picture came where none is said.")
    return create_model(
        "Wanted",
        __base__=Wanted,
        format=(extensions | _Left, format),
        model=(names, Field(models[0], description="One of those that the server has loaded.")),
    )
