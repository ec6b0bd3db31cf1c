"""The machine that runs PTX on the CPU (tests/ptx_on_cpu): it finds what is wrong, and computes as a device does."""
# ruff: noqa: F811 (fixtures of the other file are imported, and arguments here)

import re
from pathlib import Path

import pytest
import torch
from cuda_ptx import architecture, ptx  # noqa: F401
from ptx_on_cpu import building, reading, translation
from ptx_on_cpu.device import PLACE

from lowlight_ext import simple_gate, use_backend

# the rows of wrong.cu's switch
FAULTS = {
    1: "a launch that CUDA would refuse",
    2: "a misaligned access of 8 bytes",
    3: "an access of 4 bytes outside the call's tensors .* thread 63 ",
    4: "an access of 4 bytes outside the call's tensors .* thread 0 ",
    5: "a read of shared memory that the block has not written .* thread 63 ",
    6: "a read of shared memory that the block has not written",
    7: "a read of what another thread wrote with no barrier between",
    8: "a write over what another thread wrote or read with no barrier between",
    9: "not all threads of a block came to this barrier",
    10: "not all threads of a warp came here",
}


@pytest.fixture
def wrong(ptx):
    """-> function: launches a kernel of wrong.cu; also with its threads from the last to the first."""
    if "wrong" not in ptx.programs:
        ptx.programs["wrong"] = building.Program(Path(building.HERE) / "wrong.cu", ptx.folder)
    program = ptx.programs["wrong"]

    def launched(row, backwards=False):
        x, out = torch.arange(64.0), torch.zeros(64)
        ptx.limit(backwards=backwards)
        ptx.launched(program, program.module.cuda_gate, (x, None, out, 0, row, 0, *PLACE))
        return out

    return launched


@pytest.mark.parametrize("architecture", [80], indirect=True)
def test_what_is_right_runs(wrong):
    expected = torch.arange(64.0).flip(0)
    expected += expected.reshape(32, 2).flip(1).flatten()
    assert torch.equal(wrong(0), expected)
    assert torch.equal(wrong(0, backwards=True), expected)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("row", FAULTS)
@pytest.mark.parametrize("architecture", [80], indirect=True)
def test_what_is_wrong_is_found(wrong, row, backwards):
    pattern = FAULTS[row]
    with pytest.raises(RuntimeError, match=rf"^gate on CUDA: ({pattern})"):
        wrong(row, backwards)
    # and the next launch is its own
    assert wrong(0)[0] == 63 + 62


def test_ptx_that_it_does_not_know_is_named():
    text = ".visible .entry kernel(\n\t.param .u64 kernel_param_0\n)\n{\n\t.reg .f32 %f<3>;\n\tLINE;\n\tret;\n\n}\n"
    assert "f1 + f1" in translation.translated(
        reading.kernel(text.replace("LINE", "add.rn.f32 %f2, %f1, %f1"), "kernel")
    )
    for line in ("add.f32 %f2, %f1, %f1", "ex2.approx.f32 %f2, %f1", "fma.rz.f32 %f2, %f1, %f1, %f1"):
        with pytest.raises(reading.NotUnderstood, match=re.escape(line)):
            translation.translated(reading.kernel(text.replace("LINE", line), "kernel"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_goes_in_and_out(ptx, dtype):
    """Widened and, times 1, narrowed: each comes back; times another, the product is rounded as torch rounds it."""
    every = torch.arange(2**16).to(torch.int16).view(dtype).reshape(1, 1, 256, 256)
    factors = torch.randint(-(2**15), 2**15, every.shape, generator=torch.Generator().manual_seed(1)).to(torch.int16)
    for other in (torch.ones_like(every), factors.view(dtype)):
        with use_backend("cuda"):
            found = simple_gate(torch.cat((every, other), 1))
        expected = (every.float() * other.float()).to(dtype)
        assert torch.equal(found.isnan(), expected.isnan())
        whole = ~expected.isnan()
        assert torch.equal(found.view(torch.int16)[whole], expected.view(torch.int16)[whole])
