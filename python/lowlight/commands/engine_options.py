"""`--engine` and `--precision` of the commands that make pictures."""

from __future__ import annotations

from typing import Annotated

import typer

Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="torch, openvino (on a CPU), cudagraph (on a GPU) or auto, as `lowlight tune` chose."
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="exact (default), or fast: bfloat16, where the processor has it."),
]
