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
import test_cuda_host_raw
import torch
from cuda_host import backends, compiled  # noqa: F401
from cuda_ptx import architecture, ptx  # noqa: F401
from ptx_on_cpu import building, reading

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
    ("tone",): ("tone_curve",),
}
# in a mangled name, after the body's
TYPES = {torch.float32: "f", torch.float64: "d", torch.float16: "NS_4HalfE", torch.bfloat16: "NS_8BFloat16E"}
# odd widths and whole groups of 4 and of 8; around the blocks of the normalisations
SHAPES = ((2, 3, 6, 10), (1, 1, 2, 2), (2, 3, 4, 32), (1, 2, 6, 24), (3, 1, 2, 12), (1, 1, 2, 4100))
# beside those of the normalisations: more channels than registers hold, in rows that are no whole vectors
DEEP = ((1, 2200, 1, 8), (1, 2201, 1, 3))


def agree(sample, dtype, found, expected):
    """Bit by bit, but NaN is NaN: the device sets its other bits its own way. Close where libraries have an exp."""
    assert len(found) == len(expected)
    allowed = (testing.gradient_tolerance if sample.op in NORMS else testing.tolerance)(sample, dtype)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is None:
            continue
        assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride())
        if dtype == torch.float64 and sample.op in ("group_norm_silu", "mish_instance_norm", "tone_curve"):
            torch.testing.assert_close(a, b, rtol=allowed.rtol, atol=allowed.atol, equal_nan=True)
            continue
        integers = test_cuda_host.INTEGERS[a.element_size()]
        a, b = (v.where(~v.isnan(), 7) if v.is_floating_point() else v for v in (a, b))
        assert torch.equal(a.contiguous().view(integers), b.contiguous().view(integers)), sample.name


def outcome(sample, dtype):
    """The results of a call, and the gradients of their sum with fixed weights to its pictures."""
    if sample.op not in testing.DIFFERENTIABLE or sample.op == "poisson":
        return sample()
    # schedules, rows and counts have none
    fixed = sample.kwargs.get("counts")
    parameters = sample.op in NORMS

    def wanted(v):
        return v.dtype == dtype and v is not fixed and (v.dim() > 3 or parameters)

    tensors = [v.detach().requires_grad_(wanted(v)) for v in sample.tensors()]
    results = sample.with_tensors(tensors)()
    outputs = [y for y in results if y.requires_grad]
    weights = [torch.linspace(-1, 1, y.numel()).reshape(y.shape).to(y) for y in outputs]
    inputs = [v for v in tensors if v.requires_grad]
    return *results, *torch.autograd.grad(outputs, inputs, weights, allow_unused=True)


def compare(sample, dtype, loops, monkeypatch):
    """As PTX, on the host's loops, and as cpp where it adds nothing up."""
    with use_backend("cuda"):
        found = outcome(sample, dtype)
        with monkeypatch.context() as instead:
            instead.setattr(call, "_C", loops)
            agree(sample, dtype, found, outcome(sample, dtype))
    if sample.op not in NORMS and backends.why_not("cpp", sample.op, "cpu") is None:
        with use_backend("cpp"):
            agree(sample, dtype, found, outcome(sample, dtype))


def samples(op, dtype):
    if op in NORMS:
        for shape in (*(shape for shape, _ in test_cuda_host_norm.SHAPES), *DEEP):
            for layout in testing.LAYOUTS[:2]:
                yield from testing.sample_inputs(op, shape, dtype, "cpu", layout)
        return
    if op == "tone_curve":
        for shape in (*SHAPES, *testing.ODD_SHAPES):
            yield from testing.sample_inputs(op, shape, dtype, "cpu", "channels_last")
    for shape in SHAPES if op in testing.EVEN_ONLY else (*SHAPES, *testing.ODD_SHAPES):
        for sample in testing.sample_inputs(op, shape, dtype):
            yield sample
            if op == "raw_noise" and sample.kwargs.pop("origin", None):
                # in whole groups, too, which begin with a counter
                yield sample


def unlaunched(device, files, dtype):
    """Kernels of `files` for pictures of `dtype` that have not run."""
    mine = re.compile(rf"\d[A-Z][A-Za-z]+I{TYPES[dtype]}")
    return [
        name
        for file in files
        for name in reading.names(device.program(file).text)
        if mine.search(name) and name not in device.program(file).loaded
    ]


def test_every_file_has_a_family():
    files = [file for files in FAMILIES for file in files]
    assert sorted(files) == sorted(path.stem for path in building.CUDA.glob("*.cu") if path.stem != "device")
    assert sorted(op for ops in FAMILIES.values() for op in ops) == sorted(backends.OPERATORS)


@pytest.mark.parametrize("architecture", [80], indirect=True)
@pytest.mark.parametrize("op", ["normal", "simple_gate", "group_norm_silu"])
def test_a_few_kernels(ptx, op):
    """Groups of pixels, aligned or not; blocks whose threads add up through shuffles, shared memory and barriers."""
    # the last one's groups are more than a warp's
    for shape in ((2, 3, 6, 10), (2, 3, 4, 32), (1, 2, 24, 64)):
        for sample in testing.sample_inputs(op, shape):
            testing.compare(sample, "cuda", torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("files", FAMILIES, ids="+".join)
def test_every_kernel(ptx, compiled, monkeypatch, files, dtype):
    for op in FAMILIES[files]:
        for sample in samples(op, dtype):
            compare(sample, dtype, compiled, monkeypatch)
    assert not unlaunched(ptx, files, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [80], indirect=True)
@pytest.mark.parametrize("op", backends.OPERATORS)
def test_the_order_does_not_matter(ptx, op):
    """With two blocks on an axis threads come round again; in reverse order nobody waits for anybody."""
    for sample in samples(op, torch.float32):
        with use_backend("cuda"):
            ptx.limit()
            expected = outcome(sample, torch.float32)
            ptx.limit(2, backwards=True)
            found = outcome(sample, torch.float32)
        agree(sample, torch.float32, found, expected)
        assert max(ptx.last()[:3]) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [80], indirect=True)
def test_what_only_values_show(ptx, monkeypatch):
    """Tests of the host's loops that hang on what numbers are, as PTX: tables, times, counts and their tails."""
    with monkeypatch.context() as recording:
        test_cuda_host.test_what_the_host_can_not_see_gives_nan(ptx, recording)
    test_cuda_host.test_a_kept_picture_is_kept_whatever_the_noise(ptx)
    test_cuda_host_raw.test_counts_of_every_mean(ptx, torch.float32, 20, test_cuda_host_raw.PLACES[1])
    test_cuda_host_raw.test_the_boundary_between_the_methods(ptx)
    test_cuda_host_raw.test_the_farthest_tail(ptx)
    test_cuda_host_raw.test_what_is_no_mean_counts_nan(ptx)
    test_cuda_host_raw.test_one_row_serves_all_samples(ptx)
    test_cuda_host_raw.test_a_graph_refuses_photons_by_nan(ptx, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [80], indirect=True)
@pytest.mark.parametrize("layout", testing.LAYOUTS[:2])
@pytest.mark.parametrize("op", NORMS)
def test_addresses_and_workspaces(ptx, op, layout, monkeypatch):
    """Element by element, where addresses are not aligned; nothing read of a workspace before it was written."""
    test_cuda_host_norm.test_addresses_do_not_matter(ptx, op, torch.bfloat16, layout)
    test_cuda_host_norm.test_a_workspace_is_large_enough(ptx, op, torch.float32, layout, monkeypatch)
