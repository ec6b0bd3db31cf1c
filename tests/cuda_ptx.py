"""Fixtures of what tests/ptx_on_cpu runs: the CUDA half as nvcc compiles it, on CPU tensors."""

import pytest
from cuda_host import stand_in
from ptx_on_cpu import building
from ptx_on_cpu.device import PLACE, Device

# by architecture, and by process: whichever files of tests ask for one
DEVICES: dict[int, Device] = {}


def device_of(folder, architecture):
    """The PTX of 7.5 and of 8.0 is all that the build has (csrc/cuda/architectures.cmake)."""
    if architecture not in DEVICES:
        try:
            building.compiler()
            building.machine(folder)
        except building.NoCompiler as missing:
            pytest.skip(str(missing))
        DEVICES[architecture] = Device(folder, architecture)
    return DEVICES[architecture]


@pytest.fixture(params=[80, 75], ids=["sm_80", "sm_75"])
def architecture(request):
    return request.param


@pytest.fixture
def ptx(tmp_path_factory, monkeypatch, architecture):
    """`use_backend("cuda")` on CPU tensors runs the PTX of the kernels."""
    folder = tmp_path_factory.getbasetemp() / "ptx_on_cpu"
    folder.mkdir(exist_ok=True)
    device = device_of(folder, architecture)
    stand_in(monkeypatch, device, PLACE)
    return device
