"""Configurations from plain values: every field of its type, every number within bounds, before anything is made."""

from __future__ import annotations

import dataclasses
import reprlib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

# beyond every network that was ever trained; what repeats blocks costs time before it costs memory
_MOST, _MOST_BLOCKS, _MOST_LEVELS, _MOST_TIMES = 1 << 16, 64, 16, 100_000
_BLOCKS = ("num_res_blocks", "blocks", "layers", "encoder", "middle", "decoder")
_TIMES = ("timesteps", "steps", "iter_num")
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 100


def build(cls: type, values: Any, where: str | None = None, check: Callable[[str, Any], None] | None = None) -> Any:
    """The dataclass with these values, each of the field's type. Raises ValueError that names the field.

    check(name, value) sees each value of the right type and may raise ValueError too.
    """
    with named(where) if where else nullcontext():
        if not isinstance(values, Mapping):
            raise ValueError(f"expected keys and values, got {_short(values)}")
        hints = typing.get_type_hints(cls)
        unknown = sorted(map(str, set(values) - set(hints)))
        if unknown:
            raise ValueError(f"unknown key {', '.join(unknown)}; known are {', '.join(sorted(hints))}")
        required = (f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING)
        missing = [name for name in required if name not in values]
        if missing:
            raise ValueError(f"{', '.join(missing)} is missing")
        typed = {name: _typed(value, hints[name], name) for name, value in values.items()}
        if check:
            for name, value in typed.items():
                check(name, value)
        try:
            return cls(**typed)
        # of a field that is a mapping of any values
        except TypeError as error:
            raise ValueError(str(error)) from None


def network_config(cls: type, values: Any, where: str | None = None) -> Any:
    """`build` of a system's configuration, whose numbers must lie within bounds. Raises ValueError beyond them."""
    return build(cls, values, where, _bounded)


@contextmanager
def named(where: str) -> Iterator[None]:
    """What is wrong is wrong there."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _bounded(name: str, value: Any) -> None:
    if isinstance(value, list | tuple):
        if len(value) > _MOST_LEVELS:
            raise ValueError(f"{name} must have at most {_MOST_LEVELS} entries, got {len(value)}")
        for entry in value:
            _bounded(name, entry)
    elif isinstance(value, int | float):
        most = _MOST_BLOCKS if name in _BLOCKS else _MOST_TIMES if name in _TIMES else _MOST
        # neither NaN nor an infinity is
        if not abs(value) <= most:
            raise ValueError(f"{name} must be at most {most}, got {_short(value)}")


def _typed(value: Any, hint: Any, name: str) -> Any:
    """The value if it has the type; YAML takes 1e-4, without a point, for text, and 1 for no float."""
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if Any in allowed:
        return value
    kinds = [typing.get_origin(kind) or kind for kind in allowed]
    if float in kinds and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    # lists stand for tuples, and True is no number of anything
    same = (list, tuple) if tuple in kinds else tuple(kinds)
    if isinstance(value, same) and not (isinstance(value, bool) and bool not in kinds):
        return _inside(value, allowed, name)
    expected = " or ".join("null" if kind is types.NoneType else kind.__name__ for kind in kinds)
    raise ValueError(f"{name} must be of type {expected}, got {_short(value)}")


def _inside(value: Any, allowed: tuple[Any, ...], name: str) -> Any:
    """A list's or a mapping's entries, each of its type; anything else as it is."""
    kind = next((k for k in allowed if typing.get_origin(k) in (list, tuple, dict)), None)
    if isinstance(value, list | tuple) and kind is not None:
        return [_typed(entry, typing.get_args(kind)[0], f"{name}.{i}") for i, entry in enumerate(value)]
    if isinstance(value, dict) and kind is not None:
        key, hint = typing.get_args(kind)
        return {_typed(k, key, f"{name}'s key"): _typed(v, hint, f"{name}.{k}") for k, v in value.items()}
    return value


def _short(value: Any) -> str:
    try:
        return _REPR.repr(value)
    # a whole number of thousands of digits
    except ValueError:
        return f"a {type(value).__name__}"
