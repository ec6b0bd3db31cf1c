"""What the commands that score share: options, splits, LPIPS, the run itself, what it shows and what it writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from .seed_option import seed_option
from .terminal import ALOUD, Voice, progress_bar, wide_console

if TYPE_CHECKING:
    from ..metrics.lpips import Lpips
    from ..scoring.report import Method, Report, Sample, SampleSet

# torch is imported inside the functions: `lowlight --help` must not wait for it

Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ... (default: a GPU if there is one).")]
Seeds = Annotated[
    list[int] | None, seed_option("Seed of the noise; repeat for mean and standard deviation (default: 0).")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Score the first N pairs of each split only.")]
Json = Annotated[Path | None, typer.Option(help="Write recipe, summary and every score; - is standard output.")]

_STDOUT = Path("-")


class Outputs:
    """Files that were asked for; what would fail after the last picture raises ValueError or OSError before the first.

    The sheet's pictures are those that `show` gets, without those whose labels are `hidden`; those of the labels in
    `made` are written to the folder `save` too. json: "-" is standard output, tables for people then go to stderr.
    """

    def __init__(
        self, csv: Path | None, json: Path | None, markdown: Path | None, *,
        sheet: Path | None = None, plot: Path | None = None, save: Path | None = None,
        quiet: bool = False,
    ):  # fmt: skip
        from ..files.contact_sheet import ContactSheet
        from ..files.pictures import format_of
        from ..scoring.steps import require_matplotlib

        self.csv, self.json, self.markdown, self.sheet, self.plot = csv, json, markdown, sheet, plot
        self._pictures, self.hidden = ContactSheet(), set[str]()
        self.save, self.made = save, set[str]()
        self.voice = Voice(quiet, json=json == _STDOUT)
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
        if sheet is not None:
            format_of(sheet)
        if plot is not None:
            require_matplotlib(plot)
        for path in (csv, None if self.voice.json else json, markdown, sheet, plot):
            if path is not None and path.is_dir():
                raise ValueError(f"{path} is a folder, not a file to write")
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)

    def show(self, split: str, sample: Sample, pictures: Mapping[str, Any]) -> None:
        """A row of the sheet, and the files of `save`: SPLIT/METHOD/NAME.png, of one split METHOD/NAME.png."""
        for label in self.made & pictures.keys() if self.save else ():
            self._save(Path(split) / _file_name(label) / f"{sample.name}.png", pictures[label])
        if self.sheet is None:
            return
        prefix = f"{split} " if split else ""
        ratio = f" x{sample.about['ratio']:g}" if "ratio" in sample.about else ""
        shown = {label: picture for label, picture in pictures.items() if label not in self.hidden}
        self._pictures.add(prefix + sample.name + ratio, shown)

    def _save(self, name: Path, picture: Any) -> None:
        from ..files.pictures import Picture, write_picture

        assert self.save is not None
        path = self.save / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(path, Picture(picture.clamp(0, 1).float().movedim(0, -1).contiguous().numpy()))
        except OSError as error:
            typer.echo(f"not written: {error}", err=True)
            raise typer.Exit(1) from None

    def write(self, report: Report, json: str, markdown: str, draw: Callable[[Path], None] | None = None) -> None:
        """All of them. Ends the command with 1 where one cannot be written, or a picture could not be scored."""
        from ..scoring.tables import report_csv, write_text

        try:
            for path, text in ((self.csv, report_csv(report)), (self.json, json), (self.markdown, markdown)):
                if path is not None and path == _STDOUT == self.json:
                    typer.echo(text, nl=False)
                elif path is not None:
                    write_text(path, text)
            if self.sheet is not None and self._pictures.rows:
                self._pictures.write(self.sheet)
            if self.plot is not None and draw is not None and report.rows:
                draw(self.plot)
        except (OSError, ValueError) as error:
            typer.echo(f"not written: {error}", err=True)
            raise typer.Exit(1) from None
        if self._pictures.left_out:
            typer.echo(f"{self.sheet}: {self._pictures.left_out} pictures more were scored than it shows", err=True)
        if report.problems or not report.rows:
            raise typer.Exit(1)


def _file_name(label: str) -> str:
    """A method's label as the name of a folder: of a path its last two parts."""
    return re.sub(r"[^\w.+-]+", "_", "_".join(Path(label).parts[-2:])).strip("_")


def find_splits(
    data: Path, names: Sequence[str] | None, limit: int | None, high: Path | None = None
) -> list[SampleSet]:
    """The splits asked for, else the folder's default one; high: as of scan_pairs, which says what is raised.

    Those of LOL-v1 bear its names (eval15, heldout ...), others the folder's name in front.
    """
    from ..data.sets.pairs import scan_pairs
    from ..scoring.report import SampleSet
    from ..scoring.srgb import picture_samples

    folder, parts = data.resolve().name, ("eval15", "our485")
    is_root = any((data / part).is_dir() for part in parts)
    splits = []
    wanted: Sequence[str | None] = names or [None]
    for name in dict.fromkeys(wanted):
        pairs, problems = scan_pairs(data, name, high=high)
        if name is None:
            label = "eval15" if is_root else folder
        else:
            label = name if is_root or folder in parts else f"{folder} {name}"
        splits.append(SampleSet(label, picture_samples(pairs[:limit]), problems))
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


def score_all(
    sets: Sequence[SampleSet],
    methods: Sequence[Method],
    seeds: Iterable[int],
    outputs: Outputs,
    report: Report,
    *,
    column: str = "split",
    **options: Any,
) -> Report:
    """The report with all sets scored, the name of each in `column`; options as of `evaluate`. An interruption ends the
    command."""
    from ..scoring.report import evaluate

    try:
        with progress_bar(sum(len(one.samples) for one in sets), voice=outputs.voice) as bar:
            for one in sets:
                report.problems += one.problems
                wanted = outputs.sheet or outputs.save
                show = partial(outputs.show, one.name if len(sets) > 1 else "") if wanted else None
                about = {column: one.name}
                seeds = list(dict.fromkeys(seeds))
                evaluate(one.samples, methods, seeds, show, bar.advance, about=about, report=report, **options)
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was written.", err=True)
        raise typer.Exit(130) from None
    return report


def show(
    report: Report, tables: Iterable[Table], notes: Iterable[str], warnings: Iterable[str] = (), voice: Voice = ALOUD
) -> None:
    """Tables and remarks below them where anything was scored; what was not, and warnings."""
    if report.rows and voice.quiet:
        warnings = ()
    elif report.rows:
        console = wide_console(stderr=voice.json)
        for one in tables:
            console.print(one)
        for line in notes:
            console.print(line, highlight=False, style="dim")
    else:
        typer.echo("No picture could be scored.", err=True)
    for line in (*(f"not scored: {problem}" for problem in report.problems), *(f"warning: {w}" for w in warnings)):
        typer.echo(line, err=True)
