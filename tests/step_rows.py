"""Rows of published samplers for diffusion_step, written out in float64."""

import torch

BETAS = torch.linspace(1e-4, 0.02, 200, dtype=torch.float64)
ALPHA_BAR = torch.cumprod(1 - BETAS, 0)


def pictures(count, *shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(count)]


def row(**entries):
    return torch.tensor([float(entries.get(name, 0)) for name in "pqabcdes"], dtype=torch.float64)


def quantities(t, t_next):
    """al, sg, al', sg', beta of a step from t to t_next; t_next = -1 is the clean picture."""
    ab, ab_next = ALPHA_BAR[t], ALPHA_BAR[t_next] if t_next >= 0 else torch.tensor(1.0, dtype=torch.float64)
    return ab.sqrt(), (1 - ab).sqrt(), ab_next.sqrt(), (1 - ab_next).sqrt(), 1 - ab / ab_next


def ddpm_row(t, anchored=False):
    al, sg, al_next, sg_next, beta = quantities(t, t - 1)
    a, b = al_next * beta / sg**2, al / al_next * sg_next**2 / sg**2
    s = sg_next / sg * beta.sqrt()
    return row(p=1 / al, q=-sg / al, a=a, b=b, c=1 - a - b if anchored else 0, s=s)


def ddim_row(t, t_next, eta, anchored=False):
    al, sg, al_next, sg_next, beta = quantities(t, t_next)
    c1 = eta * sg_next / sg * beta.sqrt()
    c2 = (sg_next**2 - c1**2).sqrt()
    c = 1 - al_next - c2 * (1 - al) / sg if anchored else 0
    return row(p=1 / al, q=-sg / al, a=al_next, d=c2, s=c1, c=c)
