"""Anchored samplers against the ordinary ones in shifted coordinates, y = x - phi, and the published schedule."""

import golden
import pytest
import torch

import lowlight_ext
from lowlight.diffusion.sampling import iterate
from lowlight.diffusion.schedules import (
    alpha_bars,
    cosine_betas,
    ddim_rows,
    ddpm_rows,
    dpm_solver_rows,
    linear_betas,
    sampling_times,
)
from lowlight.systems.anlightendiff.schedules import (
    SAMPLERS,
    anchored,
    anchored_ddim_rows,
    anchored_dpm_solver_rows,
    anchored_sampler_rows,
    drds_rows,
    rederived,
)

BETAS = cosine_betas(100)
AB = alpha_bars(BETAS)
TIMES = {
    "all": sampling_times(100, 100),
    "8": sampling_times(100, 8, "trailing"),
    "3": sampling_times(100, 3),
    "1": [99],
}
SHAPE = (2, 3, 4, 5)


def random(seed, scale=1.0):
    return scale * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def anchored_eps(x, t):
    """A network that predicts eps*; any bounded function of x and t."""
    return torch.sin(x) + 0.01 * t


def shifted_walk(plain, times, phi, clip, noise, rederive):
    """The ordinary sampler `plain` written out for y = x - phi; x0 is clipped as a picture, before it is shifted."""
    x, last, estimates = phi.clone(), None, []
    for i, t in enumerate(times):
        _, _, a, b, c, d, e, s = plain[i].tolist()
        al, sg = AB[t].sqrt(), (1 - AB[t]).sqrt()
        eps = anchored_eps(x, t) - (1 - al) / sg * phi
        y = x - phi
        y0 = (y - sg * eps) / al
        if clip:
            y0 = (y0 + phi).clamp(-1, 1) - phi
        if rederive:
            eps = (y - al * y0) / sg
        assert c == 0
        z = noise(t) if s else 0
        x = phi + a * y0 + b * y + d * eps + (e * last if e else 0) + s * z
        last = y0
        estimates.append(y0 + phi)
    return x, estimates


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("clip", [False, True], ids=["free", "clipped"])
@pytest.mark.parametrize(
    ("plain", "anchor", "rederive"),
    [
        (ddpm_rows, drds_rows, False),
        (ddim_rows, anchored_ddim_rows, True),
        (lambda ab, t: ddim_rows(ab, t, 0.7), lambda ab, t: anchored_ddim_rows(ab, t, 0.7), True),
        (ddim_rows, lambda ab, t: anchored_ddim_rows(ab, t, clipped=False), False),
        (dpm_solver_rows, anchored_dpm_solver_rows, False),
    ],
    ids=["drds", "ddim", "ddim 0.7", "ddim with the network's eps", "dpm++"],
)
def test_shifted_process(plain, anchor, rederive, clip, times):
    center = 0.5 + random(0, 0.4)  # beyond [0, 1] in places, as the one-step model's
    phi = 2 * center - 1
    noise = {t: random(1000 + t) for t in times}.get
    expected, estimates = shifted_walk(plain(AB, times), times, phi, clip, noise, rederive)
    rows = anchor(AB, times)
    assert rows.dtype == torch.float64
    bounds = (-1, 1) if clip else None
    steps = list(iterate(anchored_eps, phi, times, rows, center=center, clip=bounds, noise=noise))
    # without the clip x0 at t = 99 is 2000 times x_t, and so are the rounding errors
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if clip else {"rtol": 1e-7, "atol": 1e-6}
    torch.testing.assert_close(steps[-1][0], expected, **tolerance)
    for (_, x0), y0 in zip(steps, estimates, strict=True):
        torch.testing.assert_close(x0, y0, **tolerance)


def test_c_matters():
    rows = drds_rows(AB, TIMES["8"])
    plain = ddpm_rows(AB, TIMES["8"])
    assert torch.equal(rows[:, [0, 1, 2, 3, 5, 6, 7]], plain[:, [0, 1, 2, 3, 5, 6, 7]])
    assert (rows[:-1, 4] > 1e-4).all()
    assert rows[-1, 4] == 0


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_ddim_with_eta_1_is_drds(times):
    torch.testing.assert_close(anchored_ddim_rows(AB, times, 1.0), drds_rows(AB, times), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(anchored_ddim_rows(AB, times, 0.5)[:-1], drds_rows(AB, times)[:-1]) or len(times) == 1


def test_rederived_changes_nothing_without_a_clip():
    times, center = TIMES["8"], 0.5 + random(0, 0.4)
    results = [
        list(iterate(anchored_eps, 2 * center - 1, times, anchored_ddim_rows(AB, times, clipped=c), center=center))[-1]
        for c in (True, False)
    ]
    torch.testing.assert_close(*(x for x, _ in results), rtol=1e-7, atol=1e-7)
    assert (rederived(ddim_rows(AB, times))[:, 5] == 0).all()
    assert (ddim_rows(AB, times)[:-1, 5] > 0).all()


def test_a_center_of_one_half_is_an_ordinary_diffusion():
    times, half = TIMES["8"], torch.full(SHAPE, 0.5, dtype=torch.float64)
    for plain in (ddpm_rows, dpm_solver_rows, ddim_rows):
        rows = plain(AB, times)
        noise = {t: random(t) for t in times}.get
        with_anchor = iterate(anchored_eps, random(5), times, anchored(rows), center=half, noise=noise)
        without = iterate(anchored_eps, random(5), times, rows, noise=noise)
        assert all(torch.equal(a[0], b[0]) for a, b in zip(with_anchor, without, strict=True))


def test_ddpm_agrees_with_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(200, beta_start=1e-4, beta_end=0.02, clip_sample=True)
    ab = alpha_bars(linear_betas(200, 1e-4, 0.02))
    for steps in (200, 10):
        times = sampling_times(200, steps)
        scheduler.set_timesteps(steps)
        assert scheduler.timesteps.tolist() == times
        rows = ddpm_rows(ab, times)
        for i in (0, len(times) // 2, len(times) - 2):
            x, eps = random(1).float(), random(2).float()
            expected = scheduler.step(eps, times[i], x, generator=torch.Generator().manual_seed(3)).prev_sample
            z = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
            result = lowlight_ext.diffusion_step(x, eps, rows[i].float(), noise=z, clip=(-1, 1))
            torch.testing.assert_close(result, expected, rtol=2e-4, atol=2e-4)  # its table is float32


def test_published_schedule():
    """Every buffer of the published schedule, formed in float64 and stored as float32."""
    expected = {k.removeprefix("schedule/"): v for k, v in golden.outputs("anlightendiff").items() if "schedule/" in k}
    al, sg = AB.sqrt(), (1 - AB).sqrt()
    rows = drds_rows(AB, TIMES["all"]).flip(0)
    buffers = {
        "betas": BETAS,
        "alphas_cumprod": AB,
        "posterior_variance": rows[:, 7] ** 2,
        "posterior_mean_coef1": rows[:, 2],
        "posterior_mean_coef2": rows[:, 3],
        "extra_term_coef1": (1 - al) / sg,
        "extra_term_coef2": rows[:, 4],
        "posterior_log_variance_clipped": (rows[:, 7] ** 2).clamp(min=1e-20).log(),
    }
    assert buffers.keys() == expected.keys()
    for name, value in buffers.items():
        difference = (value - torch.from_numpy(expected[name]).double()).abs()
        assert (difference <= 1.2e-7 * value.abs() + 1e-15).all(), name


def test_unknown_sampler():
    assert set(SAMPLERS) == {"drds", "ddim", "dpm++"}
    for name, rows in SAMPLERS.items():
        assert torch.equal(anchored_sampler_rows(name, AB, [50, 0]), rows(AB, [50, 0]))
    with pytest.raises(ValueError, match=r"sampler must be one of drds, ddim, dpm\+\+, got 'euler'"):
        anchored_sampler_rows("euler", AB, [0])
