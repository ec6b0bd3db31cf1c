"""The reference's square roots: the nearest number, on every processor and under every torch."""

import math

import numpy as np
import pytest
import torch

from lowlight_ext.reference.roots import root


def numbers(dtype):
    generator = torch.Generator().manual_seed(1)
    spread = torch.rand(100_000, generator=generator, dtype=torch.float64)
    return torch.cat([spread, 1 - spread * 1e-8, 10 ** (60 * spread - 30)]).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_roots_are_correctly_rounded(dtype):
    x = numbers(dtype)
    assert torch.equal(root(x), torch.from_numpy(np.sqrt(x.numpy())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends(dtype):
    x = torch.tensor([0.0, -0.0, 1.0, 4.0, 1e-30, math.inf], dtype=dtype)
    assert root(x).tolist() == [np.sqrt(v) for v in x.numpy()]
    assert root(torch.tensor([-1.0, math.nan], dtype=dtype)).isnan().all()


def test_the_correction_is_needed_somewhere():
    """A root that is an ulp off, as some processors give it, comes back right."""
    x = numbers(torch.float64)
    right = torch.from_numpy(np.sqrt(x.numpy()))

    class Off(torch.Tensor):
        def sqrt(self):
            return torch.nextafter(right, torch.full_like(right, math.inf))

    assert torch.equal(root(x.as_subclass(Off)).as_subclass(torch.Tensor), right)
