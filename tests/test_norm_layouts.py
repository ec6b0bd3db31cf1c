"""Normalisations as PyTorch calls them: memory formats, float32 parameters, compiled, in batches, on many threads."""

import pytest
import torch
from test_norm import values

import lowlight_ext
from lowlight_ext import group_norm_silu, layer_norm2d, mish_instance_norm, simple_gate, testing, use_backend
from lowlight_ext.testing_norm import NORMS

OPERATOR = "group_norm_silu"


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_opcheck(implementation, op, layout):
    backend, device = implementation
    x = values(2, 4, 3, 5, dtype=torch.float32, layout=layout).to(device).requires_grad_()
    weight = values(4, seed=1, dtype=torch.float32).to(device).requires_grad_()
    arguments = {
        "group_norm_silu": (x, 2, weight, weight.detach(), 1e-5, True),
        "mish_instance_norm": (x, 1e-5),
        "layer_norm2d": (x, weight, None, 1e-6),
        "simple_gate": (x,),
    }[op]
    with use_backend(backend):
        torch.library.opcheck(getattr(torch.ops.lowlight_ext, op).default, arguments)


@pytest.mark.parametrize("op", [NORMS[0]])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_compiles_whole(implementation, op, layout):
    backend, device = implementation

    def block(x, weight, bias):
        x = group_norm_silu(x, 2, weight, bias)
        x = layer_norm2d(mish_instance_norm(x + 1), weight, bias)
        return simple_gate(x)

    kind = {"dtype": torch.float32}
    inputs = (values(2, 4, 6, 5, layout=layout, **kind), values(4, seed=1, **kind), values(4, seed=2, **kind))
    inputs = [v.to(device).requires_grad_() for v in inputs]
    with use_backend(backend):
        expected = block(*inputs)
        gradients = torch.autograd.grad(expected.square().sum(), inputs)
        result = torch.compile(block, fullgraph=True, backend="aot_eager")(*inputs)
        torch.testing.assert_close(result, expected)
        assert result.stride() == expected.stride()
        for mine, theirs in zip(torch.autograd.grad(result.square().sum(), inputs), gradients, strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("op", NORMS)
def test_memory_format(implementation, op):
    backend, device = implementation
    function = {"group_norm_silu": lambda x: group_norm_silu(x, 2)}.get(op, getattr(lowlight_ext, op))
    cube = values(2, 4, 3, 5, 2, dtype=torch.float32).to(device)
    cases = [(cube[..., 0].contiguous(), torch.channels_last), (cube, torch.channels_last_3d)]
    with use_backend(backend):
        for x, last in cases:
            x = x.contiguous(memory_format=last).requires_grad_()
            result = function(x)
            assert result.is_contiguous(memory_format=last)
            result.sum().backward()
            assert x.grad.is_contiguous(memory_format=last)
            torch.testing.assert_close(result, function(x.detach().contiguous()))
        assert function(cube.detach()[..., 0]).is_contiguous()
        # [B, C] and [B, C, n] are pictures, too
        for x in (values(3, 4).to(device), values(3, 4, 9).to(device)):
            torch.testing.assert_close(function(x), function(x.reshape(3, 4, -1, 1)).reshape(3, -1, *x.shape[2:]))


@pytest.mark.parametrize("op", [NORMS[0]])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_float32_parameters(implementation, op, dtype):
    """Narrow pictures with float32 weights, as in training under autocast: gradients to the weights stay float32."""
    backend, device = implementation
    x = values(2, 4, 6, 5, dtype=dtype).to(device)
    weight, bias = (values(4, seed=s, dtype=torch.float32).to(device).requires_grad_() for s in (1, 2))
    with use_backend(backend), torch.autocast(device, torch.bfloat16):
        for call in (lambda: group_norm_silu(x, 2, weight, bias), lambda: layer_norm2d(x, weight, bias)):
            result = call()
            to_weight, to_bias = torch.autograd.grad(result.float().sum(), (weight, bias))
            assert (result.dtype, to_weight.dtype, to_bias.dtype) == (dtype, torch.float32, torch.float32)
        assert mish_instance_norm(x).dtype == simple_gate(x).dtype == dtype
        assert group_norm_silu(x.float(), 2, weight, bias).dtype == torch.float32


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_threads_do_not_matter(implementation, op, layout):
    backend, device = implementation
    if backend == "reference":
        pytest.skip("PyTorch's own sums may depend on the number of threads")
    if testing.interpreted(backend):
        pytest.skip("triton's interpreter has one thread")
    # fewer slabs than threads, and more
    for shape in ((1, 4, 150, 221), (3, 32, 40, 50)):
        x = values(*shape, dtype=torch.float32, layout=layout).to(device)
        weight = values(shape[1], seed=1, dtype=torch.float32).to(device)
        call = {
            "group_norm_silu": lambda x, w: group_norm_silu(x, 2, w, w),
            "layer_norm2d": lambda x, w: layer_norm2d(x, w, w),
        }.get(op, lambda x, w, op=op: getattr(lowlight_ext, op)(x) + 0 * w.sum())
        results = []
        before = torch.get_num_threads()
        try:
            for threads in (1, 2, 3, 8):
                torch.set_num_threads(threads)
                leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
                with use_backend(backend):
                    y = call(*leaves)
                    results.append((y, *torch.autograd.grad((y * y.detach()).sum(), leaves)))
        finally:
            torch.set_num_threads(before)
        for other in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_batch_does_not_matter(implementation):
    backend, device = implementation
    x = values(3, 8, 20, 31, dtype=torch.float32).to(device)
    with use_backend(backend):
        for function in (lambda v: group_norm_silu(v, 4), mish_instance_norm, layer_norm2d, simple_gate):
            if backend != "reference":
                assert torch.equal(function(x)[1:2], function(x[1:2]))
