"""The CUDA side of the normalisations without a GPU: as test_cuda_host.py, with blocks whose threads take turns.

What the threads of a block add up together is added in the order of a GPU's warps, from the code of the kernels; the
shuffles and barriers themselves are nvcc's (test_cuda_code.py) and a device's (test_cuda.py).
"""
# ruff: noqa: F811 (fixtures of the other file are imported, and arguments here)

import pytest
import test_norm
import test_norm_layouts
import torch
from cuda_host import backends, compiled, host  # noqa: F401

from lowlight_ext import group_norm_silu, layer_norm2d, mish_instance_norm, simple_gate, testing
from lowlight_ext.backends import use_backend
from lowlight_ext.checks import DTYPES
from lowlight_ext.testing_norm import NORMS

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
# a group beyond one block's chunk; rows of whole vectors and not; rows shorter than a warp's; one pixel a row; more
# channels than a warp's lanes hold, and than registers do
SHAPES = (
    *(((1, 8, 66, 97), 2), ((2, 12, 24, 64), 1), ((3, 6, 4, 8), 2), ((1, 64, 2, 2), 4)),
    *(((2, 40, 1, 1), 5), ((1, 700, 2, 6), 7), ((1, 1100, 2, 2), 2)),
)
CALLS = {
    "group_norm_silu": lambda x, *affine: group_norm_silu(x, 2, *affine),
    "mish_instance_norm": lambda x, *_: mish_instance_norm(x),
    "layer_norm2d": layer_norm2d,
    "simple_gate": lambda x, *_: simple_gate(x),
}
# numbers behind a workspace that nobody may touch
MARGIN = 64


def results(op, x, backend="cuda"):
    """The result of `op` with weight and bias, and all its gradients."""
    x = x.detach().requires_grad_()
    weight, bias = (test_norm.values(x.shape[1], seed=s).to(x.dtype).requires_grad_() for s in (1, 2))
    inputs = (x, weight, bias) if op in ("group_norm_silu", "layer_norm2d") else (x,)
    with use_backend(backend):
        y = CALLS[op](*inputs)
        grad = testing.arranged(test_norm.values(*y.shape, seed=3, dtype=x.dtype), layout_of(x))
        return (y.detach(), *torch.autograd.grad(y, inputs, grad))


def layout_of(x):
    return "contiguous" if x.is_contiguous() else "channels_last"


def same_bits(found, expected):
    for a, b in zip(found, expected, strict=True):
        integers = INTEGERS[a.element_size()]
        assert torch.equal(a.contiguous().view(integers), b.contiguous().view(integers))


@pytest.mark.parametrize("layout", testing.LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", NORMS)
def test_within_the_tolerances_of_the_reference(host, op, dtype, layout):
    for shape in (*testing.SHAPES, (2, 8, 6, 16), (1, 6, 1, 1)):
        for sample in testing.sample_inputs(op, shape, dtype, "cpu", layout):
            testing.compare(sample, "cuda", dtype)


@pytest.mark.parametrize("layout", testing.LAYOUTS[:2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "groups"), [*test_norm.SHAPES, *SHAPES])
def test_torch_agrees(host, shape, groups, dtype, layout):
    """All of them, and their gradients, on the same inputs in float64."""
    test_norm.test_torch_agrees(("cuda", "cpu"), NORMS[0], shape, groups, dtype, layout)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", testing.LAYOUTS)
def test_the_gate_has_the_bits_of_cpp(host, dtype, layout):
    if reason := backends.backends("simple_gate")["cpp"]:
        pytest.skip(f"cpp: {reason}")
    for shape in ((2, 4, 6, 10), (1, 16, 3, 8), (2, 2, 1, 1), (1, 34, 5, 7)):
        x = testing.arranged(test_norm.values(*shape, dtype=dtype), layout)
        same_bits(results("simple_gate", x), results("simple_gate", x, "cpp"))


@pytest.mark.parametrize("layout", testing.LAYOUTS[:2])
@pytest.mark.parametrize("op", NORMS)
def test_the_order_of_threads_does_not_matter(host, op, layout):
    """Nobody reads in a step what another writes in it: in reverse order, and with few blocks, bits stay the same."""
    for shape, _ in SHAPES[:4]:
        x = test_norm.values(*shape, dtype=torch.float32, layout=layout)
        host.limit()
        expected = results(op, x)
        host.limit(2, backwards=True)
        same_bits(results(op, x), expected)


@pytest.mark.parametrize("layout", testing.LAYOUTS[:2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", NORMS)
def test_addresses_do_not_matter(host, op, dtype, layout):
    """Read element by element, where they are not aligned, they are added up in the order of whole vectors."""
    for shape in ((2, 16, 6, 8), (1, 8, 64, 72)):
        x = test_norm.values(*shape, dtype=dtype, layout=layout)
        memory = torch.zeros(x.numel() + 1, dtype=dtype)[1:]
        shifted = memory.as_strided(x.shape, x.stride()).copy_(x)
        assert shifted.data_ptr() % 16
        same_bits(results(op, shifted), results(op, x))


@pytest.mark.parametrize("layout", testing.LAYOUTS[:2])
@pytest.mark.parametrize("op", NORMS)
def test_the_batch_does_not_matter(host, op, layout):
    for shape in ((3, 6, 7, 5), (3, 16, 40, 56)):
        x = test_norm.values(*shape, dtype=torch.float32, layout=layout)
        # to weight and bias there is one gradient for all
        together, alone = (results(op, v)[0] for v in (x, x[1:2]))
        same_bits([together[1:2]], [alone])
        with use_backend("cuda"):
            grads = [torch.autograd.grad(CALLS[op](v.requires_grad_()).square().sum(), v)[0] for v in (x, x[1:2])]
        same_bits([grads[0][1:2]], [grads[1]])


@pytest.mark.parametrize("layout", testing.LAYOUTS[:2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", NORMS)
def test_a_workspace_is_large_enough(host, op, dtype, layout, monkeypatch):
    """What lies behind it keeps its numbers, and nothing in it is read before it was written."""
    spaces = []

    def spacious(kernel, x, *arguments):
        ask = getattr(host, f"cuda_{kernel}_workspace", None)
        if ask is None:
            return None
        numbers = ask(*arguments, None)
        space = x.new_full((numbers + MARGIN,), torch.nan, dtype=torch.promote_types(x.dtype, torch.float32))
        space[numbers:] = 7
        spaces.append((numbers, space))
        return space

    monkeypatch.setattr("lowlight_ext.kernels_compiled.norm.workspace", spacious)
    for shape, _ in SHAPES:
        x = test_norm.values(*shape, dtype=dtype, layout=layout)
        assert all(v.isfinite().all() for v in results(op, x))
    assert all((space[numbers:] == 7).all() and space[:numbers].isfinite().all() for numbers, space in spaces)
    # layer_norm2d adds up in its backward pass alone
    passes = {"group_norm_silu": 2, "mish_instance_norm": 2, "layer_norm2d": 1, "simple_gate": 0}
    assert len(spaces) == passes[op] * len(SHAPES)
    assert any(numbers for numbers, _ in spaces) == (op != "simple_gate")


@pytest.mark.parametrize("layout", testing.LAYOUTS[:2])
@pytest.mark.parametrize("op", NORMS[:3])
def test_far_from_zero(host, op, layout):
    test_norm.test_far_from_zero(("cuda", "cpu"), op, layout)


@pytest.mark.parametrize("layout", testing.LAYOUTS[:2])
@pytest.mark.parametrize("op", NORMS)
def test_laws(host, op, layout):
    """Those of test_norm*.py: gradgradcheck through the operators, memory formats, NaN where it belongs."""
    device = ("cuda", "cpu")
    test_norm.test_gradients(device, op, layout)
    test_norm_layouts.test_opcheck(device, op, layout)
    test_norm_layouts.test_memory_format(device, op)
    test_norm.test_nan(device, op)


def test_activations_at_their_ends(host):
    test_norm.test_silu_at_its_ends(("cuda", "cpu"))
    test_norm.test_mish_at_its_ends(("cuda", "cpu"))


@pytest.mark.parametrize(("shape", "blocks", "threads"), [((2, 4, 2, 2), 2, 32), ((3, 2, 64, 128), 3, 512)])
def test_a_group_that_fits_is_one_blocks(host, shape, blocks, threads):
    """Read once: one launch, no workspace; one number more, and it is the work of several."""
    x = test_norm.values(*shape, dtype=torch.float32)
    with use_backend("cuda"):
        group_norm_silu(x, 1)
        assert host.last_crew() == [blocks, threads]
        wider = test_norm.values(1, 1, 1, 16385, dtype=torch.float32)
        group_norm_silu(wider, 1)
        # the last launch of a block of threads merges the chunks of the one group
        assert host.last_crew() == [1, 32]


@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, 4), (1, 32), (1, 256), (4, 32), (8, 256), (32, 256), (64, 128)])
def test_sums_over_some_of_the_threads(host, low, high):
    values = torch.randint(0, 1000, (256,), generator=torch.Generator().manual_seed(low + high)).double()
    groups = values.reshape(256 // high, high // low, low)
    expected = groups.sum(1, keepdim=True).expand_as(groups).reshape(-1)
    assert torch.equal(host.sum(values, low, high), expected)
