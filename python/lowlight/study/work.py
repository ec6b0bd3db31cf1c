"""The work of a study: every task trained and measured once, going on with what an earlier call left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files.pictures import Picture, write_picture
from ..metrics.measures import Measure
from ..scenes.views import scene_views
from ..systems.ddpm.config import DDPMConfig
from ..systems.ddpm.system import alpha_bar_of
from ..training.loop import Trainer
from ..training.objectives.ddpm import DDPMObjective, DDPMOptions
from ..training.processes import Alone
from .config import StudyConfig, Task
from .measuring import measure, of_all
from .results import read_result, request_of, training_folder, write_result


@dataclass
class Work:
    """plan, its tasks; pictures: where they lie; folder: of trainings and results; more: measures beside the study's.

    results: what is measured already, by the tasks' names. Raises ValueError and FileNotFoundError, before any
    training, where there are too few pictures or one cannot be read, and where results are another study's.
    """

    plan: StudyConfig
    tasks: list[Task]
    pictures: Path
    folder: Path
    processes: Alone
    more: Sequence[Measure] = ()
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self):
        config = self.tasks[0].config
        self.found = [DDPMObjective.find(config, self.pictures, split) for split in ("train", "heldout")]
        # every picture is read before anything is trained, and kept for the trainings
        sides = {DDPMObjective.batches(config, paths).pictures.shape[-1] for paths in self.found}
        if len(sides) > 1:
            sizes = " and ".join(f"{side} x {side}" for side in sorted(sides))
            raise ValueError(f"pictures must share one square size, got {sizes}; objective.size makes one")
        for task in self.tasks:
            result = read_result(self.folder, task, self._request(task))
            if result is not None:
                self.results[task.name] = result

    def trainer(self, task: Task) -> Trainer:
        """The task's training as far as it has come."""
        batches = DDPMObjective.batches(task.training, self.found[0])
        trainer = Trainer(task.training, batches, training_folder(self.folder, task), processes=self.processes)  # type: ignore[arg-type]
        trainer.resume()
        return trainer

    def measure(self, task: Task, trainer: Trainer) -> dict[str, Any]:
        """Measures a finished training, keeps the result and returns what is said of it."""
        options, control = DDPMOptions(**task.config.objective), DDPMConfig(**self.tasks[0].config.network)
        system = trainer.averaged()
        measured = measure(
            system.sampled_with(DDPMConfig(**task.config.network)),  # type: ignore[operator]
            options.pictures(self.found[1], task.seed + (1 << 10)),
            options.pictures(self.found[0], task.seed),
            task.seed,
            equal_noise=alpha_bar_of(control)[control.start].item(),
            generated=self.plan.generated,
            steps=self.plan.generate_steps,
            more=self.more,
        )
        trained = {"iterations": trainer.iterations, "train_seconds": trainer.seconds}
        write_result(self.folder, task, self._request(task), measured, trained)
        result = read_result(self.folder, task, self._request(task))
        assert result is not None
        self.results[task.name] = result
        return result["about"]

    def chance(self) -> dict[str, float]:
        """What the held-out pictures of the control would score as new ones: no more than chance keeps them apart."""
        options, seed = DDPMOptions(**self.tasks[0].config.objective), self.tasks[0].seed
        held_out, trained_on = (options.pictures(self.found[i], seed) for i in (1, 0))
        return of_all(held_out, trained_on)

    def _request(self, task: Task) -> dict[str, Any]:
        return request_of(task, self.plan, [len(paths) for paths in self.found])


def write_scenes(count: int, side: int, folder: Path) -> None:
    """Pictures of procedural still lifes, those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.png" for number in range(count)]
    if all(path.is_file() for path in paths):
        return
    for path, picture in zip(paths, scene_views(count, side), strict=True):
        write_picture(path, Picture(picture.astype("float32") / 255))
