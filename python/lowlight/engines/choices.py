"""What was measured on this machine: the fastest engine of each model and precision, kept in the user's cache."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from filelock import FileLock

from ..files.atomic import write_atomically
from .cache import engine_folder, version_of

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Choice:
    """The fastest of the engines whose pictures are as they should be."""

    model: str  # as it was called
    precision: str
    engine: str
    size: tuple[int, int]  # width and height of the picture measured
    milliseconds: dict[str, float]  # a picture, by engine
    machine: str


def machine(device: torch.device = CPU) -> str:
    """What the figures depend on: another processor, number of threads, GPU or library is measured anew."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {version_of('torch')}"
    threads, libraries = torch.get_num_threads(), (f"{name} {version_of(name)}" for name in ("torch", "openvino"))
    return ", ".join((_processor(), f"{threads} threads", *libraries))


def chosen(key: str, precision: str, device: torch.device = CPU) -> Choice | None:
    """What was measured on this device of this machine for the system of this key."""
    return _read().get(f"{key} {precision} {machine(device)}")


def choices() -> list[Choice]:
    """All that holds for this machine and its GPUs."""
    here = {machine(), *(machine(torch.device("cuda", index)) for index in range(torch.cuda.device_count()))}
    return [choice for choice in _read().values() if choice.machine in here]


def keep(key: str, choice: Choice) -> None:
    """In the place of an earlier one. Raises OSError if the disk refuses."""
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        kept = {name: asdict(each) for name, each in _read().items()} | {
            f"{key} {choice.precision} {choice.machine}": asdict(choice)
        }
        write_atomically(file, json.dumps(kept, indent=1).encode())


def _file() -> Path:
    return engine_folder() / "choices.json"


def _read() -> dict[str, Choice]:
    """What is kept; nothing where the file is of another version or no file of ours."""
    try:
        kept = json.loads(_file().read_text())
        return {name: Choice(**each | {"size": tuple(each["size"])}) for name, each in kept.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _processor() -> str:
    """Its name and model number: two of one name may differ in what they can do."""
    wanted = ("model name", "cpu family", "model")
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    parts = (line.partition(":") for line in lines)
    facts = {name.strip(): value.strip() for name, _, value in parts}
    return " ".join(facts[name] for name in wanted if name in facts) or platform.machine()
