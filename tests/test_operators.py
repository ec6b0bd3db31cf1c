"""The table: every operator x backend x dtype x layout x size against the reference; each one's laws are elsewhere."""

import pytest
import torch

import lowlight_ext
from lowlight_ext import testing, use_backend
from lowlight_ext.backends import OPERATORS
from lowlight_ext.checks import DTYPES

LIKE_NO_TENSOR = ("normal", "uniform", "philox", "tukey_lambda")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPERATORS)
def test_result(compiled, op, dtype):
    backend, device = compiled
    for shape in testing.shapes(op, backend):
        for sample in testing.sample_inputs(op, shape, dtype, device):
            testing.compare(sample, backend, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", testing.LAYOUTS[1:])
@pytest.mark.parametrize("op", [op for op in OPERATORS if op not in LIKE_NO_TENSOR])
def test_layout(compiled, op, layout, dtype):
    backend, device = compiled
    for shape in testing.layout_shapes(op, backend):
        for sample in testing.sample_inputs(op, shape, dtype, device, layout):
            testing.compare(sample, backend, dtype)


def gradients(sample, pictures):
    """Of a sum of the results with fixed weights."""
    results = [y for y in sample() if y.requires_grad]
    weights = [torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).reshape(y.shape) for y in results]
    return torch.autograd.grad(results, pictures, weights, allow_unused=True)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "slice"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("op", testing.DIFFERENTIABLE)
def test_gradient(compiled, op, dtype, layout):
    backend, device = compiled
    for sample in list(testing.sample_inputs(op, testing.SHAPES[0], dtype, device, layout)):
        counts = sample.kwargs.get("counts")
        pictures = [v for v in sample.tensors() if v.dtype == dtype and v.dim() > 3 and v is not counts]
        for v in pictures:
            v.requires_grad_()
        found = []
        for name in ("reference", backend):
            with use_backend(name):
                found.append(gradients(sample, pictures))
        assert any(g is not None for g in found[0])
        allowed = testing.gradient_tolerance(sample, dtype)
        for theirs, mine in zip(*found, strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                torch.testing.assert_close(mine, theirs, rtol=allowed.rtol, atol=allowed.atol)


class Call(torch.nn.Module):
    """One sample's call, whose tensors are the module's inputs; plain lists, for torch 2.6 exports no dataclass."""

    def __init__(self, sample):
        super().__init__()
        self.function = getattr(lowlight_ext, sample.op)
        self.args, self.kwargs = list(sample.args), dict(sample.kwargs)
        self.in_args = [i for i, v in enumerate(sample.args) if isinstance(v, torch.Tensor)]
        self.in_kwargs = [name for name, v in sample.kwargs.items() if isinstance(v, torch.Tensor)]

    def forward(self, *tensors):
        args, kwargs = list(self.args), dict(self.kwargs)
        for i, tensor in zip(self.in_args, tensors[: len(self.in_args)], strict=True):
            args[i] = tensor
        for name, tensor in zip(self.in_kwargs, tensors[len(self.in_args) :], strict=True):
            kwargs[name] = tensor
        out = self.function(*args, **kwargs)
        return out if isinstance(out, tuple) else (out,)


@pytest.mark.parametrize("op", OPERATORS)
def test_exports(implementation, op):
    backend, device = implementation
    for sample in testing.sample_inputs(op, testing.layout_shapes(op, backend)[0], torch.float32, device):
        with use_backend(backend):
            program = torch.export.export(Call(sample), tuple(sample.tensors()))
            results = program.module()(*sample.tensors())
            for mine, theirs in zip(results, sample(), strict=True):
                assert torch.equal(mine, theirs), sample.name


@pytest.mark.parametrize("op", OPERATORS)
def test_autocast_changes_nothing(implementation, op):
    backend, device = implementation
    for sample in testing.sample_inputs(op, testing.layout_shapes(op, backend)[0], torch.float32, device):
        with use_backend(backend):
            expected = sample()
            with torch.autocast(device, torch.bfloat16):
                results = sample()
        for mine, theirs in zip(results, expected, strict=True):
            assert mine.dtype == theirs.dtype
            assert torch.equal(mine, theirs), sample.name
