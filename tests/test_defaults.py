"""Results depend on arguments, not on what a process has made torch's defaults; seeds mean the same everywhere."""

import contextlib

import numpy as np
import pytest
import torch
from test_enhance import Gamma

import lowlight_ext
from lowlight.checkpoints import load_system
from lowlight.systems.base import RawSystem, seeds_of
from lowlight.systems.brighten import enhance_picture


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
    assert np.array_equal(enhance_picture(Gamma(), array), np.sqrt(array.clip(0, 1)))


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
