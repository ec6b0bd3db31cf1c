"""What commands show while they work, and their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Bar(NamedTuple):
    """advance(): by one; describe(text): what is worked on, in front of the bar; reach(done, total): total or None."""

    advance: Callable[[], None]
    describe: Callable[[str], None]
    reach: Callable[[int, int | None], None]


@contextmanager
def progress_bar(total: int, text: str = "") -> Iterator[Bar]:
    """A bar on stderr, where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=total)
        yield Bar(
            lambda: progress.advance(task),
            lambda text: progress.update(task, description=text),
            lambda done, total: progress.update(task, completed=done, total=total),
        )


def wide_console(width: int = 160) -> Console:
    """Standard output; a pipe has no width, and rich would take 80 columns and break the cells."""
    console = Console()
    return console if console.is_terminal else Console(width=width)


def table(
    rows: Sequence[Mapping[str, str]], title: str | None = None, left: int = 1, blocks: str | None = None
) -> Table:
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
