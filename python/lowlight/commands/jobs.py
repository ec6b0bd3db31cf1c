"""What `lowlight enhance` is to do: which pictures the arguments mean, and where each result goes."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path

from ..files.pictures import FORMATS, PictureError, format_of
from ..raw.develop import is_raw

# what outputs may be: pictures, and raw files exposed longer
_WRITABLE = (*FORMATS, ".dng")


class PlanError(ValueError):
    """Arguments that cannot be carried out; the message is meant for the user."""


@dataclass(frozen=True)
class Job:
    """One picture: read `source`, write `target`."""

    source: Path
    target: Path


@dataclass
class Plan:
    """Jobs in the order of the arguments, and (input, reason) for every input that cannot be one."""

    jobs: list[Job] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def plan(
    inputs: list[str], output: str, *, recursive: bool = False, suffix: str = "", raw_suffix: str = ".png"
) -> Plan:
    """Jobs for inputs (files, folders, globs) and an output (a file for one file, else a folder; made when needed).

    raw_suffix: of what raw files become in a folder.

    Folders and globs keep their structure below the output: relative to the folder, or to the glob's fixed beginning.
    Raises PlanError if the output cannot take the inputs, or two results would get one name.
    """
    result = Plan()
    folder = _output_folder(inputs, output, suffix)
    if folder is None:
        source = Path(inputs[0])
        if source.is_file():
            result.jobs.append(Job(source, Path(output)))
        else:
            result.problems.append((inputs[0], "no such file"))
        return result
    for entry in inputs:
        found, problem = _pictures(entry, recursive, folder)
        if problem:
            result.problems.append((entry, problem))
        for source, relative in found:
            extension = raw_suffix if is_raw(source) else relative.suffix
            target = folder / relative.with_name(f"{relative.stem}{suffix}{extension}")
            try:
                if not is_raw(source):
                    format_of(target)
                result.jobs.append(Job(source, target))
            except PictureError:
                result.problems.append((str(source), f"cannot write '{target.suffix}' files: give -o a file name"))
    result.jobs = _without_collisions(result.jobs)
    return result


def _output_folder(inputs: list[str], output: str, suffix: str) -> Path | None:
    """The folder that results go to, or None where the output is the name of the one result."""
    path = Path(output)
    several = len(inputs) > 1 or os.path.isdir(inputs[0]) or _is_glob(inputs[0])
    if path.is_dir() or output.endswith(("/", os.sep)) or (several and not path.suffix):
        return path
    if path.is_file() and several:
        raise PlanError(f"{output} is a file, and several pictures need a folder")
    if path.suffix.lower() in _WRITABLE and not several:
        if suffix:
            raise PlanError(f"--suffix is for an output folder; {output} is a file name")
        return None
    if path.suffix.lower() in _WRITABLE:
        raise PlanError(f"{output} is a file name, and several pictures need a folder")
    if path.suffix and not several:
        raise PlanError(
            f"cannot write '{path.suffix}' files; use one of {', '.join(_WRITABLE)}, "
            "or end a folder's name with a slash"
        )
    return path


def _is_glob(entry: str) -> bool:
    return glob.has_magic(entry) and not os.path.exists(entry)


def _pictures(entry: str, recursive: bool, output: Path) -> tuple[list[tuple[Path, Path]], str | None]:
    """(file, name relative to where the structure starts) of one argument, and what is wrong with it if it has none."""
    path = Path(entry)
    if path.is_dir():
        found = [(file, file.relative_to(path)) for file in _in_folder(path, recursive, output)]
        hint = "" if recursive else "; --recursive looks into the folders in it"
        return found, None if found else f"no pictures in this folder{hint}"
    if path.exists():
        return [(path, Path(path.name))], None
    if glob.has_magic(entry):
        root = _fixed_beginning(path)
        matches = (Path(match) for match in sorted(glob.glob(entry, recursive=True)))
        found = [(match, match.relative_to(root)) for match in matches if _is_picture(match)]
        return found, None if found else "no picture matches"
    return [], "no such file or folder"


def _in_folder(folder: Path, recursive: bool, output: Path) -> list[Path]:
    """Pictures in natural reading order; hidden files, hidden folders and the output's folder are passed over."""
    found, inside = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            inside.append(path)
        elif _is_picture(path):
            found.append(path)
    if recursive:
        here = os.path.realpath(output)
        for path in inside:
            # a link to a folder may lead in a circle
            if not path.is_symlink() and os.path.realpath(path) != here:
                found += _in_folder(path, True, output)
    return found


def _is_picture(path: Path) -> bool:
    return (path.suffix.lower() in FORMATS or is_raw(path)) and path.is_file()


def _fixed_beginning(pattern: Path) -> Path:
    """The folders of a glob before the first one with a wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _without_collisions(jobs: list[Job]) -> list[Job]:
    """The jobs, each once. Raises PlanError if one result would replace another, or a picture still to be read."""
    sources = {os.path.realpath(job.source): job for job in jobs}
    by_target: dict[str, Job] = {}
    for job in jobs:
        source, target = os.path.realpath(job.source), os.path.realpath(job.target)
        other = by_target.setdefault(target, job)
        if os.path.realpath(other.source) != source:
            raise PlanError(f"{other.source} and {job.source} would both become {job.target}")
        if target in sources and target != source:
            raise PlanError(f"{job.source} would become {job.target}, which is itself an input")
    return list(by_target.values())
