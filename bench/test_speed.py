"""The table of bench/run.py for pytest-benchmark: `pytest bench --benchmark-only [--device cuda]`; asserts no speed."""

import sys
from itertools import cycle
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from case import Case, Setting, available, forced
from cases import cases
from timing import rotations


def pytest_generate_tests(metafunc):
    config = metafunc.config
    device = torch.device(config.getoption("device"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda: torch finds no CUDA device")
    on = Setting(tuple(config.getoption("shape")), torch.float32, device)
    backends = ("cpp",) if device.type == "cpu" else ("cuda", "triton")
    found = [(case, name) for case in cases(on) for name in (*backends, "PyTorch", *case.others)]
    metafunc.parametrize(("case", "name"), found, ids=[f"{case.name}-{name}" for case, name in found])


@pytest.fixture
def device(request) -> torch.device:
    return torch.device(request.config.getoption("device"))


def test_speed(benchmark, case: Case, name: str, device: torch.device):
    reason = available(case.operator, device).get(name)
    if reason or (name == "PyTorch" and case.plain is None):
        pytest.skip(reason or f"{case.name} is no formula in PyTorch: see its rivals")
    call, prepare = case.others.get(name) or (case.plain if name == "PyTorch" else forced(name, case.ours), None)
    size = sum(x.nbytes for x in case.make())
    sets = [case.make() for _ in range(rotations(size, device) if size else 1)]
    inputs = cycle([prepare(*each) for each in sets] if prepare else sets)

    def once():
        result = call(*next(inputs))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    benchmark.group = case.name
    with torch.inference_mode():
        once()
        benchmark(once)
