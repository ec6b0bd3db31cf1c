"""What the commands that score share: options, splits, LPIPS, the run itself, tables in a terminal, files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ..files.contact_sheet import ContactSheet
    from ..metrics.lpips import Lpips
    from ..metrics.measures import Measure
    from ..scoring.report import Method, Report, Sample

# torch is imported inside the functions: `lowlight --help` must not wait for it


Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")]
Seeds = Annotated[
    list[int] | None, typer.Option(help="Seed of the noise; repeat for mean and standard deviation (default: 0).")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Score the first N pairs of each split only.")]
Json = Annotated[Path | None, typer.Option(help="Write recipe, summary and every score.")]


class Part(NamedTuple):
    """What one table is of: its name (of a split, of a set), samples to score, a sentence for all that is missing."""

    name: str
    samples: list[Sample]
    problems: list[str]


def find_splits(data: Path, names: Sequence[str] | None, limit: int | None) -> list[Part]:
    """The splits asked for, else the folder's default one; raises as scan_pairs does.

    Those of LOL-v1 bear its names (eval15, heldout ...), others the folder's name in front.
    """
    from ..data.sets.pairs import scan_pairs
    from ..scoring.srgb import picture_samples

    folder, parts = data.resolve().name, ("eval15", "our485")
    is_root = any((data / part).is_dir() for part in parts)
    splits = []
    for name in dict.fromkeys(names or [None]):
        pairs, problems = scan_pairs(data, name)
        if name is None:
            label = "eval15" if is_root else folder
        else:
            label = name if is_root or folder in parts else f"{folder} {name}"
        splits.append(Part(label, picture_samples(pairs[:limit]), problems))
    return splits


def load_lpips(wanted: bool, weights: Path | None, device: str | None) -> tuple[Lpips | None, str | None]:
    """LPIPS, or the sentence that says why it is left out. Weights that were asked for and do not fit are an error."""
    from ..metrics.lpips import Lpips, LpipsUnavailable

    if not wanted:
        if weights is not None:
            raise typer.BadParameter("--lpips-weights and --no-lpips contradict each other")
        return None, None
    try:
        return Lpips("alex", weights, device or "cpu"), None
    except (LpipsUnavailable, ValueError, OSError) as error:
        if weights is not None:
            raise typer.BadParameter(str(error)) from None
        return None, f"LPIPS is left out: {error}"


def check_outputs(*paths: Path | None) -> None:
    """What would fail after the last picture fails before the first: names of folders, folders that cannot be made."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise ValueError(f"{path} is a folder, not a file to write")
        path.parent.mkdir(parents=True, exist_ok=True)


def score_all(
    parts: Sequence[Part],
    methods: Sequence[Method],
    seeds: Sequence[int],
    report: Report,
    *,
    column: str = "split",
    measures: Sequence[Measure] | None = None,
    sheet: ContactSheet | None = None,
    hidden: Collection[str] = (),
) -> Report:
    """The report with all parts scored, the name of each in `column`; an interruption ends the command.

    sheet: gets the pictures but those with a `hidden` label.
    """
    from ..metrics.measures import MEASURES
    from ..scoring.report import evaluate

    try:
        with progress_bar(sum(len(part.samples) for part in parts)) as advance:
            for part in parts:
                report.problems += part.problems
                prefix = f"{part.name} " if len(parts) > 1 else ""
                add = None if sheet is None else partial(_add_to_sheet, sheet, prefix, hidden)
                about = {column: part.name}
                evaluate(
                    part.samples, methods, seeds, add, advance, measures=measures or MEASURES, about=about, report=report
                )
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was written.", err=True)
        raise typer.Exit(130) from None
    return report


def _add_to_sheet(
    sheet: ContactSheet, prefix: str, hidden: Collection[str], sample: Sample, pictures: Mapping[str, Any]
) -> None:
    ratio = f" x{sample.about['ratio']:g}" if "ratio" in sample.about else ""
    shown = {label: picture for label, picture in pictures.items() if label not in hidden}
    sheet.add(prefix + sample.name + ratio, shown)


def write_files(*files: tuple[Path | None, Callable[[Path], None]]) -> None:
    """Each where a path is given; what cannot be written ends the command with 1."""
    try:
        for path, write in files:
            if path is not None:
                write(path)
    except (OSError, ValueError) as error:
        typer.echo(f"not written: {error}", err=True)
        raise typer.Exit(1) from None


def write_sheet(sheet: ContactSheet | None, path: Path) -> None:
    """The sheet, if any picture was scored."""
    if sheet and sheet.rows:
        sheet.write(path)
        if sheet.left_out:
            typer.echo(f"{path}: {sheet.left_out} pictures more were scored than the sheet shows", err=True)


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, where that is a terminal; yields what advances it by one."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def wide_console() -> Console:
    """Standard output; a pipe has no width, and rich would take 80 columns and break the cells."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def table(rows: Sequence[Mapping[str, str]], title: str, left: int = 1, blocks: str | None = None) -> Table:
    """Rows of cells by column, the first `left` columns to the left; runs of equal cells in column `blocks` are said
    once and divided by a line."""
    result = Table(title=title, title_justify="left")
    for i, name in enumerate(rows[0]):
        result.add_column(name, justify="left" if i < left else "right", no_wrap=True)
    for i, row in enumerate(rows):
        first = i == 0 or blocks is None or rows[i - 1][blocks] != row[blocks]
        last = blocks is not None and i + 1 < len(rows) and rows[i + 1][blocks] != row[blocks]
        result.add_row(*("" if name == blocks and not first else text for name, text in row.items()), end_section=last)
    return result


def show(report: Report, tables: Iterable[Table], notes: Iterable[str]) -> None:
    """Tables and remarks below them where anything was scored, and what was not."""
    if report.rows:
        console = wide_console()
        for one in tables:
            console.print(one)
        for line in notes:
            console.print(line, highlight=False, style="dim")
    else:
        typer.echo("No picture could be scored.", err=True)
    for problem in report.problems:
        typer.echo(f"not scored: {problem}", err=True)
