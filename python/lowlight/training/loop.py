"""The training loop. All randomness is a function of (seed, sample), so an interrupted run resumes exactly."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import LAST
from ..data.batches.batches import PairBatches
from ..data.batches.raw_batches import RawBatches
from ..files.atomic import sweep, write_atomically
from ..files.json_text import json_text
from ..systems.base import System
from .config import Stage, TrainConfig, require
from .curves import read_log
from .folder_lock import FolderLock
from .logs import RunLog
from .objectives.lookup import objective_of
from .optimizers import make_optimizer
from .plateau import Plateau
from .processes import Alone
from .resume import PREVIOUS, code_version, newest_state, write_checkpoint
from .start import freeze, load_source, take_weights
from .time_left import TimeLeft
from .validation import Validates, better_than

# in the place of a split's name, where a model is trained on
_NAMELESS = "pictures without a split"


class Trainer:
    """Trains a system; `folder` receives last.pt (to resume), best.pt, config.json, the logs and samples/.

    Of several processes each takes its share of every batch; the first one writes.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: PairBatches | RawBatches,
        folder: Path,
        device: str | torch.device = "cpu",
        *,
        validator: Validates | None = None,
        processes: Alone | None = None,
    ):
        """Raises ValueError where the configuration does not go with the device, or the processes with the batches."""
        self.config, self.data, self.folder = config, data, folder
        self.processes = processes or Alone(torch.device(device))
        self.plan = config.resolved(len(data))
        for stage in self.plan.stages:
            if stage.batch % self.processes.count:
                raise ValueError(f"batch must be a multiple of the {self.processes.count} processes, got {stage.batch}")
            data.check(stage.shrink, stage.crop)
        objective = objective_of(config.system)
        self._own = objective(config, self.processes.device)
        self.system = self._own.system
        freeze(self.system, config.freeze)
        self.objective = self.processes.wrap(self._own, partial=self._own.partial or bool(config.freeze))
        self._learned = [*self.system.parameters(), *self._own.loss_parameters]
        self.optimizer = make_optimizer(config, self._learned)
        self._stage: Stage | None = None
        self._plateau = Plateau()
        self.ema = {name: p.detach().clone() for name, p in self.system.named_parameters()}
        self.step, self.seconds = 0, 0.0
        self._validator = validator if config.validate_every else None
        self._best: float | None = None
        self.trained_on = " + ".join([config.split] if isinstance(config.split, str) else config.split or []) or None
        if self._validator and config.best:
            columns = self._validator.better
            require(config.best in columns, "best", f"be one of {', '.join(columns)}", repr(config.best))
        self._lock, self._whole = FolderLock(folder), True
        self._clock = TimeLeft(self.plan.stages, objective.steps, self._area())
        if self._writes:
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def iterations(self) -> int:
        return self.plan.iterations

    @property
    def seconds_left(self) -> float | None:
        """An estimate, None before the first iteration."""
        return self._clock.seconds(self.step)

    @property
    def _writes(self) -> bool:
        return self.processes.rank == 0

    def begin_with(self, model: str) -> str:
        """Take the weights of a shipped name, a file or a run where they fit; returns what a reader should know of it.

        Raises what lowlight.load raises, ValueError where nothing fits.
        """
        source = load_source(model, self.system)
        said = take_weights(self.system, source, model)
        self.ema = {name: p.detach().clone() for name, p in self.system.named_parameters()}
        if source.trained_on is not None:
            self.trained_on = f"{source.trained_on} + {self.trained_on or _NAMELESS}"
        return said

    def train_step(self) -> dict[str, float]:
        """One iteration; returns the loss, its terms as they are summed, the gradient's norm and the learning rate."""
        stage, step, first = self.plan.stage_at(self.step)
        if stage is not self._stage:
            self._enter(stage)
        rate = stage.rate(step) * self._plateau.scale * min(1.0, (self.step + 1) / max(1, self.config.warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        share = stage.batch // self.processes.count
        skip = share * self.processes.rank
        batch = self.data.batch(first + skip, share, shrink=stage.shrink, crop=stage.crop)
        terms = self.objective(batch, stage, first, skip)
        terms = {name: self.config.weights[name] * value for name, value in terms.items()}
        total = sum(terms.values())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._learned, self.config.clip_norm or math.inf)
        shown = {"loss": total, **terms}
        means = self.processes.mean(torch.stack([value.detach().float() for value in shown.values()])).tolist()
        if not math.isfinite(norm):
            raise FloatingPointError(f"iteration {self.step}: the gradient is not finite (losses {means})")
        self._whole = False
        self.optimizer.step()
        self._average(step)
        self._plateau.seen(means[0], stage)
        self.step += 1
        self._whole = True
        return dict(zip(shown, means, strict=True)) | {"grad_norm": norm.item(), "lr": rate}

    def _enter(self, stage: Stage) -> None:
        self._stage = stage
        number = next(i for i, other in enumerate(self.plan.stages) if other is stage)
        self._plateau = self._plateau.entering(number)
        self._own.prepare(stage)
        freeze(self.system, self.config.freeze)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        # every stage starts an average of its own: what it begins to train has been anything before
        decay = min(self.config.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.ema.values()), list(self.system.parameters()), 1 - decay)

    def averaged(self) -> System:
        """A copy of the system with the averaged weights, ready to enhance."""
        self.optimizer.zero_grad(set_to_none=True)
        system = copy.deepcopy(self.system).eval().requires_grad_(False)
        for name, parameter in system.named_parameters():
            parameter.copy_(self.ema[name])
        return self._own.for_inference(system)

    def state(self) -> dict[str, Any]:
        """What `resume` needs, beside the configuration."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "pairs": len(self.data),
            "version": code_version(),
            "model": self.system.state_dict(),
            "ema": self.ema,
            "beside": self._own.loss_parameters.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "plateau": self._plateau.state(),
            "split": self.trained_on,
            "best": self._best,
        }

    def save(self) -> None:
        """Write last.pt, whole or not at all. Raises OSError where the disk does not take it."""
        if self._writes:
            self._write(LAST, PREVIOUS)

    def _write(self, name: str, previous: str | None = None) -> None:
        write_checkpoint(self.folder / name, self.state(), self.config, self.folder / previous if previous else None)

    def resume(self, allow_changes: bool = False, say: Callable[[str], None] = lambda line: None) -> bool:
        """Continue from last.pt where there is one, or from the one before it, which say(line) is told.

        The folder is this trainer's from here to the end of `run`. Raises ValueError where another configuration wrote
        the checkpoint, and where another training has the folder.
        """
        if self._writes:
            self._lock.acquire()
            for place in (self.folder, self.folder / "samples"):
                sweep(place, 0)
        try:
            state = newest_state(self.folder, self.config, len(self.data), allow_changes, tidy=self._writes, say=say)
            if state is not None:
                self._take(state)
        except BaseException:
            self._lock.release()
            raise
        return state is not None

    def _take(self, state: dict[str, Any]) -> None:
        try:
            self.system.load_state_dict(state["model"])
            self._own.loss_parameters.load_state_dict(state.get("beside", {}))
        except RuntimeError as error:
            told = " ".join(str(error).split())[:300]
            raise ValueError(f"{self.folder / LAST} holds another network: {told}") from None
        with torch.no_grad():
            for name, average in self.ema.items():
                average.copy_(state["ema"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["weight_decay"] = self.config.weight_decay
            if self.config.betas:
                group["betas"] = tuple(self.config.betas)
        self._stage, self._plateau = None, Plateau(**state.get("plateau", {}))
        self._best, self.trained_on = state.get("best"), state.get("split") or self.trained_on
        self.step, self.seconds = state["step"], state.get("seconds", 0.0)

    def run(
        self,
        progress: Callable[[int, dict[str, float]], None] | None = None,
        stop: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda line: None,
    ) -> bool:
        """Train to the last iteration, or until stop() says so; a checkpoint is written either way, and on any error.

        progress(step, losses) is called after every iteration, say(line) with what a reader should know.
        Returns whether the training is finished. Raises ValueError where another training has the folder.
        """
        log = None
        if self._writes:
            self._lock.acquire()
            write_atomically(self.folder / "config.json", json_text(dataclasses.asdict(self.config)).encode())
            terms, scores = self._own.active_terms(self.config), self._validator.better if self._validator else ()
            log = RunLog(self.folder, terms, self.step, self.config.tensorboard, tuple(scores))
        begun = self.step
        try:
            self._catch_up(log, say)
            self._loop(log, progress, stop, say)
        except BaseException:
            # between two iterations the state is whole, whatever the error; what is on the disk stays beside it
            if self._whole and self.step > begun:
                with contextlib.suppress(OSError):
                    self.save()
            raise
        finally:
            if log:
                log.close()
            self._lock.release()
        return self.step >= self.iterations

    def _loop(
        self,
        log: RunLog | None,
        progress: Callable[[int, dict[str, float]], None] | None,
        stop: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        sums: dict[str, float] = {}
        stopping, told = False, 0
        while self.step < self.iterations and not stopping:
            started = time.perf_counter()
            losses = self.train_step()
            told = self._tell_skipped(told, say)
            worked = time.perf_counter()
            self._clock.iteration(self.step - 1, worked - started)
            sums = {name: sums.get(name, 0.0) + value for name, value in (losses | {"count": 1}).items()}
            stopping = self.processes.any(stop())
            self.seconds += worked - started
            if self._due(self.config.log_every) or stopping:
                if log:
                    log.losses(self._row() | {name: value / sums["count"] for name, value in sums.items()})
                sums = {}
            self._pause(log, stopping, say)
            beside = time.perf_counter() - worked
            self._clock.beside(beside)
            self.seconds += beside
            if progress is not None:
                progress(self.step, losses)

    def close(self) -> None:
        """Leave the folder and the other processes; there is no more training after this."""
        self._lock.release()
        del self.objective, self._own
        self.processes.close()

    def _pause(self, log: RunLog | None, stopping: bool, say: Callable[[str], None]) -> None:
        """What is due after an iteration: validation, checkpoint, plot."""
        if self._due(self.config.validate_every or self.iterations) and not stopping:
            self._validate(log, say)
        if self._due(self.config.checkpoint_every) or stopping:
            self.save()
            if log and not log.plot() and self.step == self.iterations:
                say("no plot of the losses without matplotlib: pip install 'lowlight-ext[train]'")

    def _tell_skipped(self, told: int, say: Callable[[str], None]) -> int:
        """Of pictures that were damaged, each once a run; how many there are."""
        skipped = list(self.data.skipped.values())
        for line in skipped[told:]:
            say(f"skipped, another takes its place ({len(self.data.skipped)} of {len(self.data)} now): {line}")
        return len(skipped)

    def _catch_up(self, log: RunLog | None, say: Callable[[str], None]) -> None:
        """The validation that was due when the training was stopped."""
        due = self.step and self.config.validate_every and self._due(self.config.validate_every)
        if due and self.step not in {row["step"] for row in read_log(self.folder / "validation.csv")}:
            self._validate(log, say)

    def _validate(self, log: RunLog | None, say: Callable[[str], None]) -> None:
        if log and self._validator:
            scores = self._validator(self.averaged(), self.folder / "samples" / f"{self.step:07d}.png")
            log.scores(self._row() | scores)
            say(f"iteration {self.step}: {self._validator.sentence(scores)}")
            name = self.config.best
            if name and (self._best is None or better_than(scores[name], self._best, self._validator.better[name])):
                self._best = scores[name]
                self._write("best.pt")

    def _area(self) -> int:
        """Pixels of a whole picture, where the stages' costs cannot be compared without."""
        if isinstance(self.data, RawBatches) or len({stage.crop is None for stage in self.plan.stages}) == 1:
            return 1
        return self.data.batch(0, 1).low[0, 0].numel()

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.iterations

    def _row(self) -> dict[str, float]:
        return {"step": self.step, "seconds": self.seconds}
