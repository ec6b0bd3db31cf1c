"""The CUDA side without a GPU: the code of its threads, compiled for the host and run over all blocks and threads.

What csrc/cuda/*.cu hands to a launch (choice of variant, grid, per-thread body) is plain C++; cuda_host.cpp runs it in
loops. So these tests see its arithmetic, its indices and lowlight_ext/kernels_compiled; they do not see nvcc's code
(test_cuda_code.py looks at that) nor a device (test_cuda.py does, where there is one).
"""
# ruff: noqa: F811 (fixtures of the other file are imported, and arguments here)

import contextlib

import pytest
import torch
from cuda_host import backends, compiled, host  # noqa: F401

from lowlight_ext import anchored_q_sample, checks, diffusion_step, normal, testing, use_backend
from lowlight_ext.checks import DTYPES
from lowlight_ext.testing_norm import NORMS

# test_cuda_host_norm.py has the others
OPERATORS = [op for op in backends.OPERATORS if op not in NORMS]
# beside the usual ones: widths of whole groups of 8 and of 4, a narrow one, many planes, one long row
SHAPES = (*testing.SHAPES, (2, 3, 4, 32), (1, 2, 6, 24), (3, 1, 2, 12), (2, 70, 2, 2), (1, 1, 2, 4100))
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def same_bits(results, expected):
    for a, b in zip(results, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        integers = INTEGERS[a.element_size()]
        assert torch.equal(a.view(integers), b.view(integers))


@contextlib.contextmanager
def forced_or_skipped(backend, op):
    if reason := backends.backends(op)[backend]:
        pytest.skip(f"{backend}: {reason}")
    with use_backend(backend):
        yield


# strides are Python's matter: the kernels get contiguous pictures
@pytest.mark.parametrize(
    ("dtype", "layout"),
    [(dtype, "contiguous") for dtype in DTYPES] + [(torch.float32, layout) for layout in testing.LAYOUTS[1:]],
)
@pytest.mark.parametrize("op", OPERATORS)
def test_the_bits_of_cpp(host, op, dtype, layout):
    for shape in SHAPES if layout == "contiguous" else SHAPES[:2]:
        for sample in testing.sample_inputs(op, shape, dtype, "cpu", layout):
            with forced_or_skipped("cpp", op):
                expected = sample()
            with use_backend("cuda"):
                same_bits(sample(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPERATORS)
def test_within_the_tolerances_of_the_reference(host, op, dtype):
    for sample in testing.sample_inputs(op, SHAPES[0], dtype):
        testing.compare(sample, "cuda", dtype)


def gradients(backend, dtype, shape, clip):
    x_t, eps, center, previous, noise = (v.requires_grad_() for v in testing._pictures(5, shape, dtype, "cpu", "slice"))
    rows, t = testing._rows(3, "cpu"), torch.arange(shape[0]) % 3
    with use_backend(backend):
        out, x0 = diffusion_step(
            x_t, eps, rows, t=t, center=center, x0_previous=previous, seed=3, clip=clip, return_x0=True
        )
        x_t2, n = anchored_q_sample(
            x0, t - 1, torch.linspace(0.9, 0.1, 3), center=center, noise=noise, return_noise=True
        )
        loss = (out.float() * 1.5).sum() + (x_t2.float() ** 2).sum() + n.float().sin().sum()
        return torch.autograd.grad(loss, (x_t, eps, center, previous, noise))


@pytest.mark.parametrize("clip", [None, (-0.4, 0.5)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 6, 10), (3, 2, 4, 16), (1, 1, 2, 2)])
def test_gradients_have_the_bits_of_cpp(host, shape, dtype, clip):
    if reason := backends.backends("diffusion_step")["cpp"]:
        pytest.skip(f"cpp: {reason}")
    same_bits(gradients("cuda", dtype, shape, clip), gradients("cpp", dtype, shape, clip))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("op", OPERATORS)
def test_the_grid_does_not_matter(host, op, blocks, backwards):
    """With one or two blocks on an axis threads come round again; in reverse order nobody waits for anybody."""
    for shape in ((1, 3, 66, 130), (2, 3, 34, 64)):
        for sample in testing.sample_inputs(op, shape):
            with use_backend("cuda"):
                host.limit()
                expected = sample()
                host.limit(blocks, backwards)
                same_bits(sample(), expected)
    assert max(host.last()[:3]) <= blocks


@pytest.mark.parametrize(
    ("dtype", "width", "offset", "group"),
    [
        (torch.float32, 12, 0, [4, 1]),
        (torch.float32, 12, 1, [1, 0]),
        (torch.float32, 10, 0, [1, 0]),
        (torch.float64, 12, 0, [4, 1]),
        (torch.float64, 12, 1, [1, 0]),
        (torch.float16, 24, 0, [8, 1]),
        (torch.bfloat16, 24, 4, [1, 0]),
        (torch.bfloat16, 20, 0, [4, 1]),
        (torch.float16, 22, 0, [1, 0]),
    ],
)
def test_wide_accesses_where_they_are_aligned(host, dtype, width, offset, group):
    """Groups of 16 bytes (8 where four halves are all that fits) if, and only if, addresses and widths allow them."""
    # one sample of one row: its width decides
    memory = torch.rand(offset + width).to(dtype)
    x = memory[offset:].reshape(1, 1, 1, width)
    assert x.is_contiguous()
    row = testing._rows(1, "cpu")[0]
    with use_backend("cuda"):
        out = diffusion_step(x, x, row, noise=x)
        assert host.last()[5:] == group
        with use_backend("reference"):
            assert torch.equal(out, diffusion_step(x, x, row, noise=x))


@pytest.mark.parametrize(("origin", "aligned"), [(0, 1), (4, 1), (6, 0)])
def test_counters_begin_with_a_group(host, origin, aligned):
    with use_backend("cuda"):
        normal((1, 1, 3, 64), 1, origin=(0, origin))
    assert host.last()[5:] == [4, aligned]


def test_a_seed_by_value_is_the_seed_in_memory(host):
    seeds, results = torch.tensor([-77]), []
    for source in ((seeds.data_ptr(), 0, 3, 1, 2, 5, 2, 0), (0, 0, 3, 1, 2, 5, 2, -77)):
        out = torch.zeros(2, 2, 5, 9)
        host.cuda_noise(out, 0, True, *out.shape, *source)
        results.append(out)
    assert torch.equal(*results)
    with use_backend("reference"):
        torch.testing.assert_close(results[0], normal((2, 2, 5, 9), -77, stream=3, origin=(1, 2), plane=5))


@pytest.mark.parametrize(
    ("planes", "lines", "groups"),
    [(1, 1, 1), (1, 1, 2**40), (2**20, 2**20, 2**20), (3, 1080, 150), (48, 2048, 512), (70000, 1, 3), (1, 300, 1)],
)
def test_grids_are_within_the_limits(compiled, planes, lines, groups):
    blocks_x, blocks_y, blocks_z, threads_x, threads_y = compiled.grid(planes, lines, groups)
    assert 1 <= blocks_x < 2**31
    assert 1 <= blocks_y <= 65535
    assert 1 <= blocks_z <= 65535
    assert 1 <= threads_x * threads_y <= 256
    # no idle blocks
    assert (blocks_x - 1) * threads_x < groups
    assert (blocks_y - 1) * threads_y < lines
    assert blocks_z <= planes


def test_what_the_host_can_not_see_gives_nan(host, monkeypatch):
    """While a CUDA graph is recorded nobody can look at t and s: no read beyond the table, and no silence."""
    monkeypatch.setattr(checks, "readable", lambda value: False)
    x = torch.rand(3, 2, 4, 6)
    rows = testing._rows(2, "cpu")
    with use_backend("cuda"):
        out = diffusion_step(x, x, rows, t=torch.tensor([1, 2, -1]), seed=1)
        assert [bool(v.isnan().all()) for v in out] == [False, True, True]
        assert not out[0].isnan().any()
        still = rows.clone()
        still[0, -1] = 0
        out = diffusion_step(x, x, still, t=torch.tensor([0, 1, 0]))
        assert [bool(v.isnan().all()) for v in out] == [False, True, False]
        out = anchored_q_sample(x, torch.tensor([0, -5, 2]), torch.tensor([0.5, 0.2]), seed=1)
        assert [bool(v.isnan().any()) for v in out] == [False, False, True]
        assert torch.equal(out[1], x[1])


def test_a_kept_picture_is_kept_whatever_the_noise(host):
    x = torch.rand(2, 1, 4, 8)
    noise = torch.full_like(x, torch.inf)
    with use_backend("cuda"):
        out = anchored_q_sample(x, torch.tensor([-1, 0]), torch.tensor([0.5]), noise=noise)
    assert torch.equal(out[0], x[0])
    assert out[1].isinf().all()
