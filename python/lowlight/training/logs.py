"""What a training leaves for its reader: log.csv, validation.csv, a plot of both, and TensorBoard's file on request."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files.atomic import write_atomically
from .curves import curves


class RunLog:
    """Appends to the logs of a folder, from `step` on: later rows, of a run that was killed, are dropped."""

    def __init__(
        self,
        folder: Path,
        terms: Sequence[str],
        step: int = 0,
        tensorboard: bool = False,
        scores: Sequence[str] = ("psnr",),
    ):
        """terms: of the loss, a column each; scores: of the validation.

        Raises ValueError where tensorboard is asked for and not installed.
        """
        self.folder, self._writer = folder, _tensorboard(folder, step) if tensorboard else None
        self._columns = ("step", "seconds", "loss", *terms, "grad_norm", "lr")
        _drop_later(folder / "log.csv", self._columns, step)
        self._scores = ("step", "seconds", *scores)
        _drop_later(folder / "validation.csv", self._scores, step)

    def losses(self, row: Mapping[str, float]) -> None:
        """Means since the last row; a term that is not there leaves its column empty."""
        self._append("log.csv", self._columns, row, "train")

    def scores(self, row: Mapping[str, float]) -> None:
        self._append("validation.csv", self._scores, row, "validation")

    def _append(self, name: str, columns: tuple[str, ...], row: Mapping[str, float], group: str) -> None:
        path = self.folder / name
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow({key: f"{value:.7g}" for key, value in row.items()})
        if self._writer is not None:
            for key in set(columns) & row.keys() - {"step", "seconds"}:
                self._writer.add_scalar(f"{group}/{key}", row[key], int(row["step"]))

    def plot(self) -> bool:
        """Draws losses.png from the logs; returns whether matplotlib is there to do so."""
        try:
            figure = curves({self.folder.name: self.folder})
        except ImportError:
            return False
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
        write_atomically(self.folder / "losses.png", buffer.getvalue())
        return True

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _drop_later(path: Path, columns: tuple[str, ...], step: int) -> None:
    """Rewrites a log with these columns and the rows up to the step; a line that was cut off goes too."""
    if not path.is_file():
        return
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row.get("step") or "").isdecimal() and row.get("seconds")]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for row in rows if int(row["step"]) <= step)
    write_atomically(path, buffer.getvalue().encode())


def _tensorboard(folder: Path, step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("tensorboard=true needs TensorBoard: pip install 'lowlight-ext[train]'") from None
    return SummaryWriter(str(folder), purge_step=step + 1)
