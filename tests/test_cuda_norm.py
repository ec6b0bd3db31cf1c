"""The normalisations on a GPU: what test_cuda.py asks of operators whose sums have an order of their own."""

import pytest
import test_cuda
import test_norm
import torch
from test_cuda import cuda  # noqa: F401 (a fixture that all tests here use)

from lowlight_ext import group_norm_silu, kernels_compiled, layer_norm2d, simple_gate, testing, use_backend
from lowlight_ext.checks import DTYPES
from lowlight_ext.testing_norm import NORMS

# beyond what the host's tests have time for: many chunks of many groups, planes of a training, more rows than a grid
SHAPES = (((4, 64, 256, 256), 32), ((1, 3, 400, 600), 1), ((2, 512, 16, 16), 32), ((70000, 2, 1, 3), 2))


@pytest.mark.parametrize("op", NORMS)
def test_a_graph_records_and_replays(op):
    test_cuda.test_a_graph_records_and_replays(op)


@pytest.mark.parametrize("op", NORMS)
def test_runs_on_the_current_stream(op, monkeypatch):
    test_cuda.test_runs_on_the_current_stream(op, monkeypatch)


@pytest.mark.parametrize("op", NORMS)
def test_a_second_device(op):
    test_cuda.test_a_second_device(op)


def test_a_graph_records_gradients():
    x = test_norm.values(2, 8, 96, 97, dtype=torch.float32).cuda().requires_grad_()
    weight = torch.rand(8, device="cuda", requires_grad=True)

    def step():
        y = layer_norm2d(group_norm_silu(x, 2, weight, weight), weight, weight)
        return torch.autograd.grad(simple_gate(y).square().sum(), (x, weight))

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step()
    for _ in range(2):
        with torch.no_grad():
            x.copy_(x.flip(2).clone())
        graph.replay()
        test_cuda.same_bits(results, step())


@pytest.mark.parametrize("layout", testing.LAYOUTS[:2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "groups"), SHAPES)
def test_torch_agrees(shape, groups, dtype, layout):
    test_norm.test_torch_agrees(("cuda", "cuda"), NORMS[0], shape, groups, dtype, layout)


@pytest.mark.parametrize("layout", testing.LAYOUTS[:2])
@pytest.mark.parametrize("op", NORMS)
def test_every_run_has_the_same_bits(op, layout):
    """Nothing depends on which block comes first."""
    x = testing.arranged(test_norm.values(3, 32, 130, 140, dtype=torch.float32).cuda(), layout).requires_grad_()
    weight = torch.rand(32, device="cuda", requires_grad=True)
    call = {
        "group_norm_silu": lambda: group_norm_silu(x, 2, weight, weight),
        "layer_norm2d": lambda: layer_norm2d(x, weight, weight),
    }.get(op, lambda: getattr(torch.ops.lowlight_ext, op)(*((x,) if op == "simple_gate" else (x, 1e-5))))

    def run():
        y = call()
        y = y if isinstance(y, torch.Tensor) else y[0]
        inputs = (x, weight) if op in ("group_norm_silu", "layer_norm2d") else (x,)
        return (y.detach(), *torch.autograd.grad(y, inputs, y.detach()))

    expected = run()
    for _ in range(20):
        test_cuda.same_bits(run(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", testing.LAYOUTS)
def test_the_gate_has_the_bits_of_cpp(dtype, layout):
    for shape in ((2, 4, 6, 10), (1, 16, 3, 8), (2, 34, 512, 640)):
        x = testing.arranged(test_norm.values(*shape, dtype=dtype), layout)
        found = []
        for backend, device in (("cpp", "cpu"), ("cuda", "cuda")):
            leaf = x.to(device).requires_grad_()
            with use_backend(backend):
                y = simple_gate(leaf)
                found.append((y.detach(), *torch.autograd.grad(y, leaf, torch.ones_like(y))))
        test_cuda.same_bits(*found)


def test_a_launch_waits_for_nothing():
    torch.cuda.set_sync_debug_mode("error")
    try:
        for shape in ((2, 6, 8, 16), (1, 6, 200, 300)):
            x, weight = torch.rand(shape, device="cuda"), torch.rand(6, device="cuda")
            for picture in (x, x.contiguous(memory_format=torch.channels_last)):
                _, stats = kernels_compiled.group_norm_silu(picture, 2, weight, weight, 1e-5, True)
                kernels_compiled.group_norm_silu_backward(picture, picture, stats, weight, weight, 2, True)
                _, stats = kernels_compiled.mish_instance_norm(picture, 1e-5)
                kernels_compiled.mish_instance_norm_backward(picture, picture, stats)
                _, stats = kernels_compiled.layer_norm2d(picture, weight, weight, 1e-6)
                kernels_compiled.layer_norm2d_backward(picture, picture, stats, weight, weight)
                kernels_compiled.simple_gate_backward(kernels_compiled.simple_gate(picture), picture)
    finally:
        torch.cuda.set_sync_debug_mode("default")
