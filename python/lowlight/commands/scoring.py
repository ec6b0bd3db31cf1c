"""What the commands that score share: splits, LPIPS, the progress bar, tables in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ..data.sets.pairs import Pair
    from ..metrics.lpips import Lpips

# torch is imported inside the functions: `lowlight --help` must not wait for it


class Split(NamedTuple):
    """The pairs of one split, first to be scored, and a sentence for every picture without a partner."""

    name: str
    pairs: list[Pair]
    problems: list[str]


def find_splits(data: Path, names: Sequence[str] | None, limit: int | None) -> list[Split]:
    """The splits asked for, else the folder's default one; raises as scan_pairs does.

    Those of LOL-v1 bear its names (eval15, heldout ...), others the folder's name in front.
    """
    from ..data.sets.pairs import scan_pairs

    folder, parts = data.resolve().name, ("eval15", "our485")
    is_root = any((data / part).is_dir() for part in parts)
    splits = []
    for name in dict.fromkeys(names or [None]):
        pairs, problems = scan_pairs(data, name)
        if name is None:
            label = "eval15" if is_root else folder
        else:
            label = name if is_root or folder in parts else f"{folder} {name}"
        splits.append(Split(label, pairs[:limit], problems))
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


def echo_lines(console: Console, lines: Sequence[Any]) -> None:
    """Remarks below a table."""
    for line in lines:
        console.print(line, highlight=False, style="dim")
