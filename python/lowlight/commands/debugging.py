"""`--debug`: where an error came from, of those too that become a sentence and stop nothing."""

from __future__ import annotations

import os
import traceback

# worker processes take it over
_ASKED = "LOWLIGHT_DEBUG"


def ask() -> None:
    os.environ[_ASKED] = "1"


def shown(error: BaseException) -> None:
    """On stderr, with what was behind it, where that was asked for."""
    if not os.environ.get(_ASKED):
        return
    link: BaseException | None = error
    while link is not None:
        # commands say what went wrong in a sentence of their own, and hide where
        link.__suppress_context__, link = False, link.__context__
    traceback.print_exception(error)
