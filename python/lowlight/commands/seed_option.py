"""`--seed` of every command that draws: 0 to 2^64 - 1."""

from __future__ import annotations

from typing import Any

import typer

from ..seeds import LAST_SEED


def seed_option(help: str) -> Any:
    return typer.Option(min=0, max=LAST_SEED, metavar="INTEGER", help=f"{help} 0 to 2^64 - 1.")
