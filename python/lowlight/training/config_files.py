"""Training configurations from YAML files, shipped ones by name, with overrides, checked key by key."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml

from ..systems.registry import SYSTEMS
from .config import Stage, TrainConfig
from .objectives.lookup import checked, objective_of

CONFIGS = Path(__file__).parent / "configs"
_MISSING = object()


def shipped_configs(folder: str = "") -> list[str]:
    """Names of the configurations in the package, of all or of one folder of them."""
    paths = (CONFIGS / folder).rglob("*.yaml")
    return sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in paths)


def described_configs() -> list[tuple[str, str]]:
    """Names of the configurations in the package, each with the first sentence of its comment."""
    described = []
    for name in shipped_configs():
        text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
        comment = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
        described.append((name, re.split(r"(?<=\w)[.:;] ", f"{comment} ")[0].rstrip(". ")))
    return described


def written_out(config: TrainConfig) -> str:
    """The configuration as YAML, the defaults of the network and the objective too; load_config reads it."""
    values = dataclasses.asdict(config) | _with_defaults(config)
    # tuples are lists in YAML
    return yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False)


def load_config(name: str, overrides: typing.Sequence[str] = ()) -> TrainConfig:
    """A configuration from a YAML file or by the name of one that ships; overrides read "seed=1", "stages.0.batch=4".

    A file may begin with `base: NAME` of another one; its further keys replace that one's, a dotted key
    ("network.levels") one value inside.
    Raises FileNotFoundError with the shipped names, ValueError for unknown keys and impossible values.
    """
    values = _read(name)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ValueError(f"an override must read key=value, got {override!r}")
        _set(values, key, yaml.safe_load(text))
    return from_dict(values, name)


def from_dict(values: Mapping[str, Any], where: str = "configuration") -> TrainConfig:
    """A configuration from plain values. Raises ValueError that names `where` and the key."""
    values = dict(values)
    stages = values.pop("stages", None)
    if not isinstance(stages, list) or not stages:
        raise ValueError(f"{where}: stages must list at least one stage")
    parsed = [s if isinstance(s, Stage) else _build(Stage, s, f"{where}: stage {i}") for i, s in enumerate(stages)]
    with _named(where):
        system = values.get("system", TrainConfig.system)
        objective = objective_of(system)
        # built once for their checks: the configuration keeps what was given
        _build(SYSTEMS[system].config, values.get("network", {}), "network")
        _build(objective.options, values.get("objective", {}), "objective")
        return checked(_build(TrainConfig, values | {"stages": parsed}))


def differences(old: TrainConfig, new: TrainConfig, free: typing.Collection[str] = ()) -> list[str]:
    """Sentences such as "stages.0.batch: 4, now 2" for every key that differs, beside the keys in `free`."""
    before, after = _flat(old), _flat(new)
    return [
        f"{key}: {_shown(before.get(key, _MISSING))}, now {_shown(after.get(key, _MISSING))}"
        for key in dict.fromkeys((*before, *after))
        if before.get(key, _MISSING) != after.get(key, _MISSING) and key not in free
    ]


def _read(name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else CONFIGS / f"{name}.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"no configuration {name}: give a YAML file or one of {', '.join(shipped_configs())}")
    if name in seen:
        raise ValueError(f"{name}: its base leads back to itself")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{name} must hold keys and values, got a {type(values).__name__}")
    if "base" not in values:
        return values
    merged = _read(str(values.pop("base")), (*seen, name))
    for key, value in values.items():
        _set(merged, key, value)
    return merged


@contextmanager
def _named(where: str) -> Iterator[None]:
    """What is wrong is wrong there."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _build(cls: type, values: Any, where: str | None = None) -> Any:
    """The dataclass with these values, each of the field's type."""
    with _named(where) if where else nullcontext():
        if not isinstance(values, Mapping):
            raise ValueError(f"expected keys and values, got {values!r}")
        hints = typing.get_type_hints(cls)
        unknown = sorted(map(str, set(values) - set(hints)))
        if unknown:
            raise ValueError(f"unknown key {', '.join(unknown)}; known are {', '.join(sorted(hints))}")
        required = (f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING)
        missing = [name for name in required if name not in values]
        if missing:
            raise ValueError(f"{', '.join(missing)} is missing")
        return cls(**{name: _typed(value, hints[name], name) for name, value in values.items()})


def _typed(value: Any, hint: Any, name: str) -> Any:
    """The value if it has the type; YAML takes 1e-4, without a point, for text, and 1 for no float."""
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kinds = [typing.get_origin(kind) or kind for kind in allowed]
    if float in kinds and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    # lists stand for tuples, and True is no number of anything
    same = (list, tuple) if tuple in kinds else tuple(kinds)
    if isinstance(value, same) and not (isinstance(value, bool) and bool not in kinds):
        return value
    expected = " or ".join("null" if kind is types.NoneType else kind.__name__ for kind in kinds)
    raise ValueError(f"{name} must be of type {expected}, got {value!r}")


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """Put the value at a dotted key: "stages.0.batch"."""
    *path, last = str(key).split(".")
    target: Any = values
    try:
        for part in path:
            target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})
        if isinstance(target, list):
            target[int(last)] = value
        else:
            target[last] = value
    except (ValueError, IndexError, TypeError, AttributeError):
        raise ValueError(f"there is no {key} to set") from None


def _with_defaults(config: TrainConfig) -> dict[str, Any]:
    made = {"network": SYSTEMS[config.system].config, "objective": objective_of(config.system).options}
    return {key: dataclasses.asdict(kind(**getattr(config, key))) for key, kind in made.items()}


def _flat(config: TrainConfig) -> dict[str, Any]:
    """Dotted key -> value, with the network's and the objective's defaults."""
    values = dataclasses.asdict(config) | _with_defaults(config)

    def walk(value: Any, prefix: str) -> dict[str, Any]:
        if isinstance(value, dict):
            inside = ((f"{prefix}.{key}", v) for key, v in value.items())
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            inside = ((f"{prefix}.{i}", v) for i, v in enumerate(value))
        else:
            return {prefix: value}
        return {name: leaf for key, v in inside for name, leaf in walk(v, key).items()}

    return {name.lstrip("."): leaf for key, value in values.items() for name, leaf in walk(value, key).items()}


def _shown(value: Any) -> str:
    return "not there" if value is _MISSING else repr(value)
