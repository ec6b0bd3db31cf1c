"""Training configurations from YAML files, shipped ones by name, with overrides, checked key by key."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..systems.fields import build, named, network_config
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
        _set(values, key, parse_yaml(text, key))
    return from_dict(values, name)


def from_dict(values: Mapping[str, Any], where: str = "configuration") -> TrainConfig:
    """A configuration from plain values. Raises ValueError that names `where` and the key."""
    values = dict(values)
    stages = values.pop("stages", None)
    if not isinstance(stages, list) or not stages:
        raise ValueError(f"{where}: stages must list at least one stage")
    parsed = [s if isinstance(s, Stage) else build(Stage, s, f"{where}: stage {i}") for i, s in enumerate(stages)]
    with named(where):
        system = values.get("system", TrainConfig.system)
        objective = objective_of(system)
        # built once for their checks: the configuration keeps what was given
        network_config(SYSTEMS[system].config, values.get("network", {}), "network")
        build(objective.options, values.get("objective", {}), "objective")
        return checked(build(TrainConfig, values | {"stages": parsed}))


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
    # os.path's is False for names that no file can have, pathlib's raises
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no configuration {name}: give a YAML file or one of {', '.join(shipped_configs())}")
    if name in seen:
        raise ValueError(f"{name}: its base leads back to itself")
    values = parse_yaml(path.read_bytes(), name) or {}
    if not isinstance(values, dict):
        raise ValueError(f"{name} must hold keys and values, got a {type(values).__name__}")
    if "base" not in values:
        return values
    merged = _read(str(values.pop("base")), (*seen, name))
    for key, value in values.items():
        _set(merged, key, value)
    return merged


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Plain values. Raises ValueError that says where."""
    try:
        return yaml.safe_load(text)
    # YAMLError, and what the scalars' own parsers and brackets without end raise
    except Exception as error:
        raise ValueError(f"{where} is no YAML: {' '.join(str(error).split()) or type(error).__name__}") from None


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
