"""Results depend on arguments, not on what a process has made torch's defaults; seeds mean the same everywhere."""

import contextlib

import numpy as np
import pytest
import torch
from test_enhance import Gamma
from typer.testing import CliRunner

import lowlight_ext
from lowlight.checkpoints import load_system
from lowlight.cli import COMMANDS, app
from lowlight.seeds import LAST_SEED, first_seed
from lowlight.systems.base import RawSystem, seeds_of
from lowlight.systems.brighten import enhance_picture
from lowlight.training.config_files import load_config
from lowlight.training.objectives.lookup import objective_of


@contextlib.contextmanager
def doubles():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


DEFAULTS = {"float64": doubles, "meta": lambda: torch.device("meta")}
OPERATORS = {
    "normal": lambda: lowlight_ext.normal((1, 3, 4, 4), 7, device="cpu"),
    "uniform": lambda: lowlight_ext.uniform((1, 3, 4, 4), 7, device="cpu"),
    "poisson": lambda: lowlight_ext.poisson(MEAN, 7),
}
DRAWING = {"ablate", "enhance", "evaluate", "evaluate-raw", "export", "generate", "sample", "steps", "study", "video"}
MEAN = torch.full((1, 1, 4, 4), 5.0)


@pytest.mark.parametrize("defaults", DEFAULTS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_operators(operator, defaults):
    with DEFAULTS[defaults]():
        found = OPERATORS[operator]()
    wanted = OPERATORS[operator]()
    assert (found.device.type, found.dtype) == ("cpu", wanted.dtype)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("defaults", DEFAULTS)
@pytest.mark.parametrize(
    "name", ["wavelet-anchored-small", "diffll-small", "anlightendiff-small", "exposurediffusion-small"]
)
def test_systems(name, defaults):
    system = load_system(name)
    raw = isinstance(system, RawSystem)
    low = torch.rand(1, 4 if raw else 3, 40, 56, generator=torch.Generator().manual_seed(0)) * 0.2
    told = {"ratio": 20.0, "K": 2.0} if raw else {}
    wanted = system.enhance_tensor(low, **told)
    with DEFAULTS[defaults]():
        found = system.enhance_tensor(low, **told)
    assert torch.equal(found, wanted)
    if not raw:
        with DEFAULTS[defaults]():
            assert enhance_picture(system, low, brightness=0.5).dtype == torch.float32


@pytest.mark.parametrize("values", [(0.0, 1.0000001), (-0.1, 1.1), (-1e-9, 1.0)])
def test_rounding_and_overshoot_are_clipped(values):
    array = np.linspace(*values, 12, dtype=np.float32).reshape(2, 2, 3)
    # to an ulp: on some processors numpy's root is not torch's
    np.testing.assert_allclose(enhance_picture(Gamma(), array), np.sqrt(array.clip(0, 1)), rtol=2e-7)


@pytest.mark.parametrize(
    ("value", "words"), [(1.2, r"0 \.\. 1\.2"), (-0.2, r"-0\.2 \.\. 0"), (255.0, "255"), (np.nan, "NaN")]
)
def test_another_range_is_refused(value, words):
    array = np.zeros((2, 2, 3), np.float32)
    array[0, 0, 0] = value
    with pytest.raises(ValueError, match=rf"in \[0, 1\], got .*{words}"):
        enhance_picture(Gamma(), array)


def test_seeds_are_0_to_2_64():
    assert seeds_of(2**63, 2).tolist() == [-(2**63)] * 2
    assert seeds_of(2**64 - 1, 1).tolist() == [-1]
    assert seeds_of(np.int64(5), 1).tolist() == [5]
    assert seeds_of(torch.tensor([3, 4]), 2).tolist() == [3, 4]
    for seed in (0, 5, 2**63 - 1, 2**63, 2**64 - 1):
        one = lowlight_ext.normal((1, 1, 4, 4), seeds_of(seed, 1))
        assert torch.equal(one, lowlight_ext.normal((1, 1, 4, 4), seed))
    for seed, kind in ((-1, ValueError), (2**64, ValueError), (1.5, TypeError), (True, TypeError), ("1", TypeError),
                       (torch.tensor([1.5]), TypeError), (torch.tensor([1, 2, 3]), ValueError)):  # fmt: skip
        with pytest.raises(kind, match="seed must be"):
            seeds_of(seed, 2)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_seed_on_the_command_line_has_the_same_bounds(command):
    wide = {"COLUMNS": "200"}
    if "--seed" not in CliRunner().invoke(app, [command, "--help"], env=wide).output:
        assert command not in DRAWING
        return
    assert command in DRAWING
    for seed in (-1, LAST_SEED + 1):
        refused = CliRunner().invoke(app, [command, "--seed", str(seed)], env=wide)
        assert "Invalid value for '--seed'" in refused.output
    # the next thing that is wrong
    assert "--seed" not in CliRunner().invoke(app, [command, "--seed", str(LAST_SEED), "--none"], env=wide).output


def test_samples_are_counted_under_any_seed(tmp_path):
    small = 2**23 - 1
    assert first_seed(small, 40) == small << 40
    others = {first_seed(seed, 40) for seed in (*range(small - 500, small + 500), 2**63, 2**64 - 1)}
    assert len(others) == 1002
    assert all(seed % 2**40 == 0 and -(2**63) <= seed < 2**63 for seed in others)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=r"seed must be 0 to 2\^64 - 1"):
            first_seed(seed, 40)
        with pytest.raises(ValueError, match=r"seed must be 0 to 2\^64 - 1"):
            load_config("diffll_small", [f"seed={seed}"])
    config = load_config("diffll_small", [f"seed={LAST_SEED}", "data=x"])
    objective = objective_of(config.system)(config, torch.device("cpu"))
    assert objective.seeds(3, 5).tolist() == [first_seed(LAST_SEED, 40) + k for k in (5, 6, 7)]
    arguments = ["sample", str(tmp_path / "a.png"), "--size", "24x16", "--seed"]
    assert CliRunner().invoke(app, [*arguments, str(LAST_SEED)]).exit_code == 0
    assert CliRunner().invoke(app, [*arguments, str(LAST_SEED + 1)]).exit_code == 2


@pytest.mark.parametrize(
    "name", ["wavelet-anchored-small", "diffll-small", "anlightendiff-small", "exposurediffusion-small"]
)
def test_every_system_takes_the_same_seeds(name):
    system = load_system(name)
    raw = isinstance(system, RawSystem)
    low, told = torch.full((1, 4 if raw else 3, 16, 16), 0.1), {"ratio": 20.0, "K": 2.0} if raw else {}
    assert system.enhance_tensor(low, seed=2**64 - 1, **told).isfinite().all()
    with pytest.raises(ValueError, match=r"seed must be 0 to 2\^64 - 1, got -1"):
        system.enhance_tensor(low, seed=-1, **told)
    with pytest.raises(TypeError, match="seed must be an integer"):
        system.enhance_tensor(low, seed=1.5, **told)
