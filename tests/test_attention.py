"""The attention of the networks: some queries at a time in bfloat16 on a CPU, PyTorch's own in all other cases."""

import pytest
import torch
import torch.nn.functional as F

from lowlight.systems.blocks import attention


def three(positions, dtype):
    """q, k and v as the networks have them: slices of one tensor."""
    both = torch.randn(2, 1, positions, 3 * 16, generator=torch.Generator().manual_seed(positions))
    return both.to(dtype).chunk(3, dim=-1)


@pytest.mark.parametrize("positions", [1, 7, 511, 512, 513, 1100])
@torch.no_grad()
def test_in_bfloat16(positions):
    q, k, v = three(positions, torch.bfloat16)
    made = attention(q, k, v)
    q, k, v = (x.double() for x in (q, k, v))
    expected = torch.softmax(q @ k.mT / 4, dim=-1) @ v
    assert made.dtype == torch.bfloat16
    assert made.shape == expected.shape
    # weights are rounded to 2^-9 of them, and so is the result
    assert (made - expected).abs().max() < 2**-6 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_otherwise_it_is_pytorchs(dtype):
    q, k, v = three(600, dtype)
    for gradients in (True, False) if dtype == torch.float32 else (True,):
        with torch.set_grad_enabled(gradients):
            assert attention(q, k, v).equal(F.scaled_dot_product_attention(q, k, v))
