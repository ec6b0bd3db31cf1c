"""What nvcc makes of the kernels, run without a GPU (tests/ptx_on_cpu): every kernel, through the public operators.

Each call runs three times: from `<<<>>>` on as PTX, on the host's loops (test_cuda_host*.py holds those against the
reference), and as cpp. All bits agree; those of sums with the host's loops alone, for cpp adds in another order. Stray
and misaligned accesses, shared memory read unwritten or raced for, and barriers that threads miss are errors.
"""
# ruff: noqa: F811 (fixtures of the other file are imported, and arguments here)

import re

import pytest
import test_cuda_host
import test_cuda_host_norm
import test_norm
import torch
from cuda_host import backends, compiled  # noqa: F401
from cuda_ptx import architecture, ptx  # noqa: F401
from ptx_on_cpu import reading
from ptx_on_cpu.device import PLACE

from lowlight_ext import testing, use_backend
from lowlight_ext.checks import DTYPES
from lowlight_ext.kernels_compiled import call
from lowlight_ext.testing_norm import NORMS

# .cu files, and the operators that they are for
FAMILIES = {
    ("noise",): ("normal", "uniform", "philox"),
    ("haar",): ("haar_dwt2d", "haar_idwt2d"),
    ("step",): ("diffusion_step",),
    ("q_sample",): ("anchored_q_sample",),
    ("poisson",): ("poisson", "tukey_lambda"),
    ("raw_noise",): ("raw_noise",),
    ("exposure",): ("exposure_step",),
    ("norm", "norm_gradient"): ("group_norm_silu", "mish_instance_norm"),
    ("layer_norm", "layer_norm_gradient"): ("layer_norm2d",),
    ("gate",): ("simple_gate",),
}
# in a mangled name, after the body's
TYPES = {torch.float32: "f", torch.float64: "d", torch.float16: "NS_4HalfE", torch.bfloat16: "NS_8BFloat16E"}
# odd widths and whole groups of 4 and of 8; around the blocks of the normalisations
SHAPES = ((2, 3, 6, 10), (1, 1, 2, 2), (2, 3, 4, 32), (1, 2, 6, 24), (3, 1, 2, 12), (1, 1, 2, 4100))


def same_bits(found, expected):
    """NaN is NaN: the device sets its other bits its own way."""
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride())
            # as zeros of two signs may differ
            a, b = (v.nan_to_num(7.25) if v.is_floating_point() else v for v in (a, b))
            test_cuda_host.same_bits([a.contiguous()], [b.contiguous()])


def outcome(sample, dtype):
    """The results of a call, and the gradients of their sum with fixed weights to its pictures."""
    counts = sample.kwargs.get("counts")
    pictures = [v for v in sample.tensors() if v.dtype == dtype and v.dim() > 3 and v is not counts]
    if sample.op not in testing.DIFFERENTIABLE or sample.op == "poisson":
        return sample()
    kept = [v.detach().requires_grad_(v.dtype == dtype and v is not counts) for v in sample.tensors()]
    results = sample.with_tensors(kept)()
    inputs = [v for v in kept if v.requires_grad]
    outputs = [y for y in results if y.requires_grad]
    weights = [
        torch.linspace(-1, 1, y.numel()).reshape(y.shape).to(y).contiguous(memory_format=testing.memory_format(y))
        for y in outputs
    ]
    assert pictures
    return *results, *torch.autograd.grad(outputs, inputs, weights, allow_unused=True)


def ways(sample, dtype, loops, monkeypatch):
    """The outcome as PTX, and what it has to be."""
    with use_backend("cuda"):
        found = outcome(sample, dtype)
        with monkeypatch.context() as instead:
            instead.setattr(call, "_C", loops)
            yield found, outcome(sample, dtype)
    if sample.op not in NORMS and backends.why_not("cpp", sample.op, "cpu") is None:
        with use_backend("cpp"):
            yield found, outcome(sample, dtype)


def samples(op, dtype):
    if op in NORMS:
        for shape, _ in test_cuda_host_norm.SHAPES:
            for layout in testing.LAYOUTS[:2]:
                yield from testing.sample_inputs(op, shape, dtype, "cpu", layout)
        return
    for shape in SHAPES:
        yield from testing.sample_inputs(op, shape, dtype)


def unlaunched(device, files, dtype):
    """Kernels of `files` for pictures of `dtype` that have not run."""
    mine = re.compile(rf"\d[A-Z][A-Za-z]+I{TYPES[dtype]}")
    return [
        name
        for file in files
        for name in reading.names(device.program(file).text)
        if mine.search(name.replace("lowlight_kernel", "")) and name not in device.program(file).loaded
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("files", FAMILIES, ids="+".join)
def test_every_kernel(ptx, compiled, monkeypatch, files, dtype):
    for op in FAMILIES[files]:
        for sample in samples(op, dtype):
            for found, expected in ways(sample, dtype, compiled, monkeypatch):
                same_bits(found, expected)
    assert not unlaunched(ptx, files, dtype)
