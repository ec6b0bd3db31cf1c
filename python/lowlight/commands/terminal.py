"""What commands show while they work, and their tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..files.json_text import json_text

# what commands that say more than a line share
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what failed.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say of each file what is done to it.")]
Json = Annotated[bool, typer.Option("--json", help="Say it to a program: JSON on standard output.")]

_SILENCE = 60.0  # seconds between lines of progress where there is no terminal for a bar


class Voice(NamedTuple):
    """How much a command says, and to whom."""

    quiet: bool = False
    verbose: bool = False
    json: bool = False

    def checked(self) -> Voice:
        """An error of the command line's where it is told to say little and much."""
        if self.quiet and self.verbose:
            raise typer.BadParameter("--quiet and --verbose contradict each other")
        return self

    def tell(self, line: str) -> None:
        """To people, on standard output: what a command is run for."""
        if not (self.quiet or self.json):
            typer.echo(line)

    def note(self, line: str) -> None:
        """To people, on stderr, where it is in no program's way."""
        if not self.quiet:
            typer.echo(line, err=True)

    def detail(self, line: str) -> None:
        """The same, where more is asked for."""
        if self.verbose:
            typer.echo(line, err=True)

    def show(self, table: Table) -> None:
        """As tell."""
        if not (self.quiet or self.json):
            wide_console().print(table)

    def answer(self, facts: Any) -> None:
        """To programs: what there is to know, once, at the end."""
        if self.json:
            echo_json(facts, 1)


ALOUD = Voice()


class Bar(NamedTuple):
    """advance(): by one; describe(text): what is worked on, in front of the bar; say(line): on stderr, past the bar;
    reach(done, total): as far as that, of so many, None where that is not known."""

    advance: Callable[[], None]
    describe: Callable[[str], None]
    say: Callable[[str], None]
    reach: Callable[[int, int | None], None]


class Seldom:
    """due(): whether the last time it was is a minute ago."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> bool:
        if time.monotonic() - self._last < _SILENCE:
            return False
        self._last = time.monotonic()
        return True


@contextmanager
def progress_bar(total: int, text: str = "", voice: Voice = ALOUD) -> Iterator[Bar]:
    """A bar on stderr where that is a terminal, else a line a minute; nothing where the voice is quiet."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    # JSON lines on the same terminal would run through the bar
    if voice.quiet or not console.is_terminal or (voice.json and sys.stdout.isatty()):
        yield _lines(total, voice)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # what is written to stdout may go to a file, and stays there
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(escape(text), total=total)
        yield Bar(
            lambda: progress.advance(task),
            lambda text: progress.update(task, description=escape(text)),
            lambda line: progress.console.print(line, markup=False, highlight=False, soft_wrap=True),
            lambda done, total: progress.update(task, completed=done, total=total),
        )


def _lines(total: int, voice: Voice) -> Bar:
    """Progress off a terminal: how many are done and how long the others will take."""
    seldom, start, done = Seldom(), time.monotonic(), 0

    def say(line: str) -> None:
        typer.echo(line, err=True)

    def reach(now: int, of: int | None) -> None:
        nonlocal done
        done = now
        if voice.quiet or not seldom.due():
            return
        # how long one takes is not known before the first
        if of is None or not done:
            say(f"{done} done")
        else:
            left = timedelta(seconds=round((time.monotonic() - start) / done * (of - done)))
            say(f"{done} of {of}, {left} left")

    return Bar(lambda: reach(done + 1, total), lambda text: None, say, reach)


def echo_json(value: Any, indent: int | None = None, out: IO[str] | None = None) -> None:
    """On standard output, or another, at once; one line unless it is indented."""
    typer.echo(json_text(value, indent), out, nl=False)


def wide_console(width: int = 160, stderr: bool = False) -> Console:
    """Standard output or stderr; a pipe has no width, and rich would take 80 columns and break the cells."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(width=width, stderr=stderr)


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
