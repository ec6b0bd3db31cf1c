"""What became of the files of `lowlight enhance`, for people and for programs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, NamedTuple

import typer

from .terminal import Voice, echo_json


class Report(NamedTuple):
    """What became of one file: status is "enhanced", "skipped" (its result exists) or "failed" (error says why).

    model and device: by what, where it came so far. seconds: spent on reading, network and writing.
    """

    source: str
    target: str | None
    status: str
    error: str | None = None
    notes: tuple[str, ...] = ()
    width: int | None = None
    height: int | None = None
    model: str | None = None
    device: str | None = None
    seconds: float | None = None

    def facts(self) -> dict[str, object]:
        """Of those that are known."""
        kept = {name: value for name, value in self._asdict().items() if value is not None}
        if self.seconds is not None:
            kept["seconds"] = round(self.seconds, 4)
        return kept | {"notes": list(self.notes)}

    def __str__(self) -> str:
        what = f"{self.source}: {self.status}"
        if self.width is not None:
            what = f"{self.source}: {self.width} x {self.height}, {self.model} on {self.device}, {self.seconds:.2f} s"
        return f"{what}, {self.error}" if self.error else f"{what}, {self.target}"


@dataclass
class Reporter:
    """Takes reports as they come. say: writes a line for people, past a progress bar. out: standard output."""

    voice: Voice
    say: Callable[[str], None]
    counts: Counter[str] = field(default_factory=Counter)
    skipped: str = ""
    failed: list[Report] = field(default_factory=list)
    noted: list[Report] = field(default_factory=list)
    out: IO[str] = field(default_factory=lambda: sys.stdout)

    def __call__(self, report: Report) -> None:
        self.counts[report.status] += 1
        if report.status == "failed":
            self.failed.append(report)
        elif report.status == "skipped":
            self.skipped = str(report.target)
        if self.voice.json:
            if report.error or not self.voice.quiet:
                echo_json(report.facts(), out=self.out)
        elif self.voice.verbose:
            for line in (str(report), *(f"{report.source}: {note}" for note in report.notes)):
                self.say(line)
        elif report.notes:
            self.noted.append(report)

    def finish(self, passed_over: Counter[str], planned: int, seconds: float, interrupted: bool) -> None:
        """Notes and failures on stderr; on stdout one line that says how it went."""
        if self.voice.json:
            counts = {status: self.counts[status] for status in ("enhanced", "skipped", "failed")}
            more = {"passed_over": dict(passed_over), "seconds": round(seconds, 3), "interrupted": interrupted}
            echo_json({"summary": counts | more})
            return
        if not self.voice.quiet:
            for report in self.noted:
                for note in report.notes:
                    typer.echo(f"{report.source}: {note}", err=True)
        if self.failed:
            typer.echo("Failed:", err=True)
            for report in self.failed:
                typer.echo(f"  {report.source}: {report.error}", err=True)
        if not self.voice.quiet:
            typer.echo(", ".join(self._sums()) + ".")
        if interrupted:
            done = f"Interrupted after {self.counts['enhanced']} of {planned}"
            typer.echo(f"{done}; the same command goes on from here.", err=True)

    def _sums(self) -> list[str]:
        done, skipped = self.counts["enhanced"], self.counts["skipped"]
        parts = [f"{done} {'picture' if done == 1 else 'pictures'} enhanced"]
        if skipped == 1:
            parts.append(f"{self.skipped} exists and was skipped (--overwrite replaces it)")
        elif skipped:
            parts.append(f"{skipped} skipped because their outputs exist (--overwrite replaces them)")
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        return parts
