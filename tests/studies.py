"""A small study, its pictures and its command line, for the tests of studies."""

import numpy as np
import yaml
from PIL import Image
from train_process import write_config
from typer.testing import CliRunner

from lowlight.cli import app

TRAINING = {
    "system": "ddpm",
    "network": {
        "widths": [8, 16], "layers": 1, "attention_levels": [], "norm_groups": 4, "timesteps": 12, "start": 4,
    },
    "objective": {"size": 12, "held_out": 2},
    "stages": [{"batch": 2, "iterations": 4, "learning_rate": 1e-3}],
    "warmup": 0,
    "ema": 0.0,
    "checkpoint_every": 1,
    "log_every": 2,
}  # fmt: skip


VARIANTS = {
    "control": {},
    "large": {"network.variance": "fixed_large"},
    "brightness 1": {"objective.brightness": 1.0},
    "betas": {"network.beta_end": 0.05},
}


def pictures(folder, count=6, size=(14, 20)):
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(3)
    for number in range(count):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def small_study(folder, **values):
    training = write_config(folder / "training.yaml", **TRAINING)
    claims = [{"text": "more noise is better", "variants": ["large"], "measure": "shift"}]
    plan = {"training": str(training), "variants": VARIANTS, "claims": claims, "seeds": [0, 1], "generated": 3,
            "generate_steps": 2}  # fmt: skip
    path = folder / "plan.yaml"
    # the first variant is the control
    path.write_text(yaml.safe_dump(plan | values, sort_keys=False))
    return path


def study(*arguments, code=0):
    result = CliRunner().invoke(app, ["study", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return " ".join(result.output.replace("│", " ").split())
