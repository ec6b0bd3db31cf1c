"""What a study is made of: a training, variants of it, what is claimed of them; from YAML files and shipped ones."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..seeds import checked_seed
from ..systems.fields import build
from ..training.config import TrainConfig, require
from ..training.config_files import load_config, parse_yaml

CONFIGS = Path(__file__).parent / "configs"
# settings of the network that leave its training as it is
_SAMPLING = frozenset({"variance", "clip", "tables", "start", "spacing"})


@dataclass(frozen=True)
class Claim:
    """Something that is said of variants against the control: a measure of a view that is `better` than its."""

    text: str
    variants: list[str]
    measure: str
    view: str = "start"
    better: bool = True


@dataclass(frozen=True)
class StudyConfig:
    """training: name or file of its configuration. variants: {name: {setting: value}}, the first one the control.

    claims: fields of `Claim` each. seeds: of training and noise. generated: new pictures a variant and seed;
    generate_steps: network calls of each.
    """

    training: str
    variants: dict[str, dict[str, Any]]
    claims: list[dict[str, Any]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0])
    generated: int = 16
    generate_steps: int = 50

    def __post_init__(self):
        require(bool(self.variants), "variants", "name the control at least", self.variants)
        same = len({slug(name) for name in self.variants}) < len(self.variants)
        require(not same, "variants", "have names that differ in letters and digits", ", ".join(self.variants))
        require(bool(self.seeds), "seeds", "list one at least", self.seeds)
        for seed in self.seeds:
            checked_seed(seed)
        require(self.generated >= 2, "generated", "be at least 2", self.generated)
        require(self.generate_steps >= 1, "generate_steps", "be positive", self.generate_steps)
        for claim in self.parsed_claims:
            unknown = sorted(set(claim.variants) - set(self.variants))
            require(not unknown, "claims", f"be of variants {', '.join(self.variants)}", ", ".join(unknown))

    @property
    def parsed_claims(self) -> list[Claim]:
        return [build(Claim, claim, "claims") for claim in self.claims]

    @property
    def control(self) -> str:
        return next(iter(self.variants))

    def only(self, names: Sequence[str]) -> StudyConfig:
        """The control, these variants and what is claimed of them. Raises ValueError for a name that it has not."""
        unknown = [name for name in names if name not in self.variants]
        require(not unknown, "--only", f"name one of {'; '.join(self.variants)}", "; ".join(unknown))
        kept = {name: self.variants[name] for name in self.variants if name in (self.control, *names)}
        claims = [claim | {"variants": [name for name in claim["variants"] if name in kept]} for claim in self.claims]
        return replace(self, variants=kept, claims=[claim for claim in claims if claim["variants"]])


@dataclass(frozen=True)
class Task:
    """A variant with one seed. training: what must be trained for it, which is the variant `trained_as`'s too."""

    variant: str
    seed: int
    config: TrainConfig
    training: TrainConfig
    trained_as: str

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{slug(self.variant)}-seed{self.seed}"

    @property
    def training_name(self) -> str:
        return f"{slug(self.trained_as)}-seed{self.seed}"


def slug(name: str) -> str:
    """The name as files bear it."""
    return re.sub(r"[^\w.=]+", "-", name)


def shipped_studies() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def load_study(name: str) -> StudyConfig:
    """A study from a YAML file or by the name of one that ships.

    A file may name another as its `base`: its keys replace that one's, and of the variants those of the same name.
    Raises FileNotFoundError with the shipped names, ValueError for unknown keys and impossible values.
    """
    return build(StudyConfig, _read(name), name)


def _read(name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else CONFIGS / f"{name}.yaml"
    # os.path's is False for names that no file can have, pathlib's raises
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no study {name}: give a YAML file or one of {', '.join(shipped_studies())}")
    values = parse_yaml(path.read_bytes(), name)
    require(
        isinstance(values, dict) and name not in seen, name, "hold keys and values, and be no base of itself", values
    )
    base = values.pop("base", None)
    if base is None:
        return values
    whole = _read(str(base), (*seen, name))
    of_base, own = whole.get("variants", {}), values.pop("variants", {})
    for variants in (of_base, own):
        require(isinstance(variants, dict), f"{name}: variants", "be names with their settings", variants)
    return {**whole, **values, "variants": {**of_base, **own}}


def tasks_of(study: StudyConfig, overrides: Sequence[str] = ()) -> list[Task]:
    """All variants with the first seed, then with the next; overrides "key=value" hold for every training.

    Raises ValueError where a variant's settings are impossible, and for a system other than a DDPM.
    """
    tasks = []
    for seed in study.seeds:
        owners: dict[str, str] = {}
        for name, settings in study.variants.items():
            own = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
            try:
                config = load_config(study.training, [*overrides, *own, f"seed={seed}"])
            except ValueError as error:
                raise ValueError(f"variant {name}: {error}") from None
            require(config.system == "ddpm", f"variant {name}", "train a ddpm", config.system)
            training = _training_of(config)
            owner = owners.setdefault(json.dumps(dataclasses.asdict(training), sort_keys=True), name)
            tasks.append(Task(name, seed, config, training, owner))
    return tasks


def _training_of(config: TrainConfig) -> TrainConfig:
    """The configuration with the sampling's settings as they are where nobody says."""
    network = {name: value for name, value in config.network.items() if name not in _SAMPLING}
    # the default start must lie in the process
    return replace(config, network=network | {"start": min(50, network.get("timesteps", 1000) - 1)})
