"""Gradients of the diffusion step and of the anchored forward process."""

import pytest
import torch
from step_rows import ALPHA_BAR, ddpm_row, pictures
from torch.autograd import gradcheck, gradgradcheck

from lowlight_ext import anchored_q_sample, diffusion_step, testing, use_backend

OPERATOR = "diffusion_step"


@pytest.mark.parametrize("clip", [None, (-0.4, 0.5)])
def test_step_gradients(implementation, clip):
    backend, device = implementation
    inputs = [v.to(device).requires_grad_() for v in pictures(5, 2, 1, 2, 3)]
    table, t = pictures(1, 4, 8, seed=2)[0].to(device), torch.tensor([3, 1], device=device)

    def call(x_t, eps, center, previous, noise):
        return diffusion_step(
            x_t, eps, table, t=t, center=center, x0_previous=previous, noise=noise, clip=clip, return_x0=True
        )

    # in random directions, not one by one, where a call takes long
    mode = {"fast_mode": testing.interpreted(backend)}
    with use_backend(backend):
        assert gradcheck(call, inputs, **mode)
        assert gradcheck(lambda *v: diffusion_step(*v, table[:2], seed=3, clip=clip), inputs[:2], **mode)
        assert gradgradcheck(lambda *v: [o**2 for o in call(*v)], inputs, **mode)


def test_forward_process_gradients(implementation):
    backend, device = implementation
    inputs = [v.to(device).requires_grad_() for v in pictures(3, 3, 1, 2, 3)]
    t, table = torch.tensor([150, -1, 3], device=device), ALPHA_BAR.to(device)

    def call(x0, center, noise):
        return anchored_q_sample(x0, t, table, center=center, noise=noise, return_noise=True)

    mode = {"fast_mode": testing.interpreted(backend)}
    with use_backend(backend):
        assert gradcheck(call, inputs, **mode)
        assert gradcheck(lambda x0: anchored_q_sample(x0, t, table, seed=3), inputs[:1], **mode)
        assert gradgradcheck(lambda *v: [o**2 for o in call(*v)], inputs, **mode)


def test_only_what_is_needed_gets_a_gradient():
    x_t, eps, center = pictures(3, 1, 1, 2, 2)
    eps.requires_grad_()
    diffusion_step(x_t, eps, ddpm_row(50), center=center, seed=1).sum().backward()
    assert eps.grad is not None
    assert x_t.grad is None
    assert center.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_float32_gradients_are_the_reference(compiled, dtype):
    backend, device = compiled
    gradients = []
    for name in ("reference", backend):
        inputs = [v.to(device, dtype).requires_grad_() for v in pictures(3, 2, 3, 6, 5)]
        with use_backend(name):
            x, eps, center = inputs
            out, x0 = diffusion_step(
                x, eps, ddpm_row(50, True).to(device), center=center, seed=1, clip=(-1, 1), return_x0=True
            )
            noisy = anchored_q_sample(
                x0, torch.tensor([4, 90], device=device), ALPHA_BAR.to(device), center=center, seed=2
            )
            (out.float().pow(2).sum() + noisy.float().pow(3).sum()).backward()
        gradients.append([v.grad for v in inputs])
    ulp = testing.ULP[dtype]
    for mine, theirs in zip(*gradients, strict=True):
        # the losses see normals that differ by 4 ulp of float32
        torch.testing.assert_close(mine, theirs, rtol=8 * ulp, atol=32 * ulp)
