"""What `lowlight enhance` is to do: which pictures the arguments mean, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..files.formats import FORMATS
from ..raw.develop import is_raw
from .listing import matches_of, pictures_of, summary, without_pairs

# what outputs may be: pictures, and raw files exposed longer
_WRITABLE = (*FORMATS, ".dng")
# of names beside their sources
BESIDE = "_bright"


class PlanError(ValueError):
    """Arguments that cannot be carried out; the message is meant for the user."""


@dataclass(frozen=True)
class Job:
    """One picture: read `source`, write `target`."""

    source: Path
    target: Path


@dataclass
class Plan:
    """Jobs in the order of the arguments, (input, reason) for every input that cannot be one, and a count of the files
    in folders that are none, by kind."""

    jobs: list[Job] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Naming:
    """How results are called. folder: None is beside each source. format: an extension for all, None the source's
    own where it can be written, else .png. raw: of what raw files become."""

    folder: Path | None
    suffix: str = ""
    format: str | None = None
    raw: str = ".png"

    def target(self, source: Path, relative: Path, apart: bool = False) -> Path:
        """apart: with the source's extension in the name."""
        own = source.suffix.lower()
        extension = self.raw if is_raw(source) else self.format or (relative.suffix if own in FORMATS else ".png")
        middle = f"_{own[1:]}" if apart else ""
        name = f"{relative.stem}{middle}{self.suffix}{extension}"
        return source.with_name(name) if self.folder is None else self.folder / relative.with_name(name)


Look = Callable[[str, bool, Path | None, Counter[str]], tuple[list[tuple[Path, Path]], str | None]]


def look(
    entry: str, recursive: bool, output: Path | None, left_out: Counter[str]
) -> tuple[list[tuple[Path, Path]], str | None]:
    """(file, name relative to where the structure starts) of one argument, and what is to be said if none of them is a
    picture; None of a file that was named itself."""
    path = Path(entry)
    if path.is_dir():
        return pictures_of(path, recursive, output, left_out), nothing_in_folder(recursive)
    if path.exists():
        return [(path, Path(path.name))], None
    if glob.has_magic(entry):
        return matches_of(entry, left_out), "no picture matches"
    return [], "no such file or folder"


def nothing_in_folder(recursive: bool) -> str:
    return "no pictures in this folder" + ("" if recursive else "; --recursive looks into the folders in it")


def plan(
    inputs: list[str],
    output: str | None,
    *,
    recursive: bool = False,
    suffix: str = "",
    raw_suffix: str = ".png",
    format: str | None = None,
    pairs: str = "raw",
    look: Look = look,
) -> Plan:
    """Jobs for inputs (files, folders, globs) and an output: a file for one file, a folder, or None, beside the source.

    raw_suffix, format: extensions of what raw files and pictures become where the output is not a file's name.
    pairs: of a raw file and a camera's JPEG or HEIC of its name in a folder, "raw", "picture" or "both".
    look: finds an argument's files, where they are not all on this machine's file system.
    Folders and globs keep their structure below the output: relative to the folder, or to the glob's fixed beginning.
    Where a changed extension would give two results one name, the source's goes into it: a_arw.png.
    Raises PlanError if the output cannot take the inputs, two results would get one name, or one its source's.
    """
    if "-" in (*inputs, output):
        raise PlanError("standard input and output are not taken: give names of files (./- for one that is called -)")
    if suffix != os.path.basename(suffix):
        raise PlanError(f"--suffix is a part of names, and {suffix!r} is one of folders")
    result = Plan()
    folder = None if output is None else _output_folder(inputs, output, suffix)
    if output is not None and folder is None:
        if format is not None:
            raise PlanError(f"--format is for an output folder; {output} is a file name")
        if Path(inputs[0]).is_file():
            result.jobs = _without_collisions([Job(Path(inputs[0]), Path(output))])
        else:
            result.problems.append((inputs[0], "no such file"))
        return result
    naming = Naming(folder, (suffix or BESIDE) if folder is None else suffix, format, raw_suffix)
    found: list[tuple[Path, Path]] = []
    for entry in inputs:
        some, problem = _pictures(look, entry, recursive, naming, pairs, result.passed_over)
        found += some
        if problem:
            result.problems.append((entry, problem))
    result.jobs = _without_collisions(_named(found, naming))
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


def _pictures(
    look: Look, entry: str, recursive: bool, naming: Naming, pairs: str, passed_over: Counter[str]
) -> tuple[list[tuple[Path, Path]], str | None]:
    """As look, without results and halves of pairs; what is wrong with the argument if nothing is left."""
    left_out = Counter[str]()
    found, nothing = look(entry, recursive, naming.folder, left_out)
    if nothing is None:
        return found, None
    found = without_pairs(_without_results(found, naming, left_out), pairs, left_out)
    if not found:
        return [], "; ".join(filter(None, (nothing, summary(left_out))))
    passed_over.update(left_out)
    return found, None


def _without_results(found: list[tuple[Path, Path]], naming: Naming, left_out: Counter[str]) -> list[tuple[Path, Path]]:
    """Less what an earlier run wrote beside its sources."""
    if naming.folder is not None:
        return found
    results = {naming.target(*item, apart=apart) for item in found for apart in (False, True)}
    kept = [item for item in found if item[0] not in results]
    left_out.update({f"*{naming.suffix} of an earlier run": len(found) - len(kept)} if len(kept) < len(found) else {})
    return kept


def _named(found: list[tuple[Path, Path]], naming: Naming) -> list[Job]:
    """A job each; of several that would get one name, all whose extension changes have it in the name."""
    targets = [naming.target(*item) for item in found]
    sources: dict[Path, set[str]] = {}
    for (source, _), target in zip(found, targets, strict=True):
        sources.setdefault(target, set()).add(os.path.realpath(source))
    jobs = []
    for (source, relative), target in zip(found, targets, strict=True):
        changed = source.suffix.lower() != target.suffix.lower()
        apart = changed and len(sources[target]) > 1
        jobs.append(Job(source, naming.target(source, relative, apart=True) if apart else target))
    return jobs


def _without_collisions(jobs: list[Job]) -> list[Job]:
    """The jobs, each once. Raises PlanError if one result would replace another, or a picture still to be read."""
    sources = {os.path.realpath(job.source): job for job in jobs}
    by_target: dict[str, Job] = {}
    for job in jobs:
        source, target = os.path.realpath(job.source), os.path.realpath(job.target)
        other = by_target.setdefault(target, job)
        if os.path.realpath(other.source) != source:
            raise PlanError(f"{other.source} and {job.source} would both become {job.target}")
        if _same(job.source, job.target):
            raise PlanError(f"{job.source} would be written over; another --output, or --suffix, keeps what came")
        if target in sources:
            raise PlanError(f"{job.source} would become {job.target}, which is itself an input")
    return list(by_target.values())


def _same(source: Path, target: Path) -> bool:
    """Whether both are one file, whatever they are called: links, and disks on which case makes no difference."""
    return source == target or (os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target))
