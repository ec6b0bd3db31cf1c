"""Shared by the tests of training: a tiny configuration, a few pairs, and `lowlight train` in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from lowlight.data.sets.pairs import find_pairs

NETWORK = {"ch": 8, "ch_mult": [1, 1, 1, 1], "norm_groups": 4, "hfrm_width": 8, "guide": "gamma", "steps": 2}


def make_pairs(root, count=5, size=(64, 72)):
    generator = np.random.default_rng(0)
    for number in range(count):
        bright = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        for side, picture in (("high", bright), ("low", bright // 12)):
            (root / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / side / f"{number}.png")
    return find_pairs(root)


def write_config(path, **values):
    path.write_text(yaml.safe_dump(values))
    return path


def start(*arguments, launcher=("-m", "lowlight")):
    """The running process; one thread, so that sums come out alike wherever it runs.

    It runs in the folder of the tests: `python -m` looks for modules in its own folder first, and in the root of the
    repository it would find the sources without what was compiled, which draw other bits of noise.
    """
    paths = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=Path(__file__).parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process, code=0, timeout=500):
    """Its output and errors, once it has ended with the code; one that does not end is ended."""
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, errors = process.communicate(timeout=60)
    assert process.returncode == code, output + errors
    return output, errors
