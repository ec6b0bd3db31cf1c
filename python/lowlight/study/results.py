"""Results of a study on the disk: a file a variant and seed, written when it is measured, read when it goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.pictures import Picture, read_srgb, write_picture
from ..scoring.tables import write_text
from .config import StudyConfig, Task
from .measuring import Measured


def request_of(task: Task, study: StudyConfig, pictures: list[int]) -> dict[str, Any]:
    """All that a result depends on. pictures: how many are trained on, how many held out."""
    values = {
        "config": dataclasses.asdict(task.config) | {"data": ""},
        "generated": [study.generated, study.generate_steps],
        "pictures": pictures,
    }
    # as JSON gives it back
    return json.loads(json.dumps(values))


def read_result(folder: Path, task: Task, request: dict[str, Any]) -> dict[str, Any] | None:
    """What was measured of the task, None where nothing is there.

    Raises ValueError where it was another study's, or the file is damaged.
    """
    path = _path(folder, task)
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        found = result["request"]
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{path} is damaged: delete it, and it is measured again") from None
    if found != request:
        raise ValueError(f"{path} comes from another study (settings or pictures): take another --output")
    return result


def write_result(
    folder: Path, task: Task, request: dict[str, Any], measured: Measured, trained: dict[str, Any]
) -> None:
    """The strips first: a result that is there is whole. trained: what is to be said of its training."""
    for name, strip in measured.strips.items():
        path = strip_path(folder, task, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, Picture(torch.cat(list(strip), dim=2).movedim(0, -1).contiguous().numpy()))
    about = {"variant": task.variant, "seed": task.seed, "trained_as": task.trained_as, **trained, **measured.facts}
    write_text(_path(folder, task), json.dumps({"request": request, "about": about, "rows": measured.rows}, indent=1))


def read_strip(folder: Path, task: Task, name: str) -> Tensor:
    """[3, S, N S] in [0, 1]: pictures side by side."""
    return torch.from_numpy(read_srgb(strip_path(folder, task, name))).movedim(-1, 0)


def strip_path(folder: Path, task: Task, name: str) -> Path:
    return folder / "pictures" / f"{task.name}-{name.replace(' ', '-')}.png"


def training_folder(folder: Path, task: Task) -> Path:
    return folder / "trainings" / task.training_name


def _path(folder: Path, task: Task) -> Path:
    return folder / "results" / f"{task.name}.json"
