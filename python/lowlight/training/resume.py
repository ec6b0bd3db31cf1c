"""Checkpoints of an unfinished training: written whole or not at all, read without running code from them."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import LAST
from ..files.atomic import write_atomically
from ..files.tensors import CheckpointError, read_pickled
from .config import TrainConfig
from .config_files import differences, from_dict

PREVIOUS, DAMAGED = "last.previous.pt", "last.damaged.pt"
# keys that change where and how often something is written or shown, and no weight
FREE = frozenset(
    {
        "data",
        "objective.cache",
        "checkpoint_every",
        "log_every",
        "validate_every",
        "validate_pairs",
        "validate_lpips",
        "tensorboard",
    }
)


def code_version() -> str:
    """The package's version, and the commit where it runs from a checkout."""
    try:
        version = metadata.version("lowlight-ext")
    except metadata.PackageNotFoundError:
        version = "not installed"
    root = Path(__file__).resolve().parents[3]
    # an installed package may lie inside somebody else's repository
    if not (root / ".git").exists() or not (root / "python" / "lowlight").is_dir():
        return version
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version} ({commit})"


def write_checkpoint(path: Path, state: dict[str, Any], config: TrainConfig, previous: Path | None = None) -> None:
    """previous: where the one before goes. Raises OSError that says what became of it."""
    buffer = io.BytesIO()
    torch.save(state | {"config": dataclasses.asdict(config), "seed": config.seed}, buffer)
    data = buffer.getbuffer()
    try:
        write_atomically(path, data, durable=True, previous=previous)
    except OSError as error:
        reason = "no space left on the disk" if error.errno == errno.ENOSPC else error.strerror or str(error)
        kept = "the previous checkpoint is intact" if path.exists() else "there is no earlier checkpoint"
        raise OSError(
            error.errno, f"{path} ({data.nbytes / 1e6:.1f} MB, iteration {state['step']}) not written: {reason}; {kept}"
        ) from error


def newest_state(
    folder: Path,
    config: TrainConfig,
    pairs: int,
    allow_changes: bool = False,
    *,
    tidy: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any] | None:
    """The state in last.pt or, where that is damaged or gone, in the one before; None where there is neither.

    tidy: a damaged last.pt is renamed. say is told of it. Raises as read_checkpoint does.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    told = f"{last} is not there"
    if last.is_file():
        try:
            return read_checkpoint(last, config, pairs, allow_changes)
        except CheckpointError as error:
            if not previous.is_file():
                raise
            told = f"{error}; it is kept as {DAMAGED}"
            if tidy:
                os.replace(last, folder / DAMAGED)
    elif not previous.is_file():
        return None
    state = read_checkpoint(previous, config, pairs, allow_changes)
    say(f"{told}: going on from {previous.name}, iteration {state['step']}")
    return state


def read_checkpoint(path: Path, config: TrainConfig, pairs: int, allow_changes: bool = False) -> dict[str, Any]:
    """The state in a checkpoint. Raises ValueError where it is damaged or its training was another one."""
    state = read_pickled(path)
    missing = {"step", "model", "ema", "optimizer", "config"} - state.keys()
    if missing:
        raise ValueError(f"{path} is no checkpoint of a training: it lacks {', '.join(sorted(missing))}")
    old = from_dict(state["config"], str(path))
    # the first checkpoints did not say on what they were trained
    free = FREE if old.split else FREE | {"split"}
    changed = differences(old, config, free)
    if state.get("pairs", pairs) != pairs:
        changed.append(f"pairs of pictures: {state['pairs']}, now {pairs}")
    if changed and not allow_changes:
        raise ValueError(
            f"{path} comes from another training: {'; '.join(changed)}. "
            "Take another output folder, or go on all the same with --allow-changes"
        )
    return state
