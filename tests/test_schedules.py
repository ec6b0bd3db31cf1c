"""Schedules and samplers against diffusers and against numbers worked out by hand."""

import math

import pytest
import torch

from lowlight.diffusion.sampling import iterate, sample
from lowlight.diffusion.schedules import (
    BETAS,
    SPACINGS,
    alpha_bars,
    ddim_rows,
    dpm_solver_rows,
    linear_betas,
    sampler_rows,
    sampling_times,
)


@pytest.fixture(scope="module")
def alpha_bar():
    return alpha_bars(linear_betas(200, 1e-4, 0.02))


def fake_eps(x, t):
    return torch.sin(3 * x) + 0.001 * t


def test_schedule(alpha_bar):
    betas = linear_betas(200, 1e-4, 0.02)
    assert betas.dtype == alpha_bar.dtype == torch.float64
    assert betas[0] == 1e-4
    assert betas[-1] == 0.02
    assert alpha_bar[1].item() == pytest.approx((1 - 1e-4) * (1 - 1e-4 - 0.0199 / 199), rel=1e-14)


def test_beta_schedules():
    """Ends and middles by hand, b0 = 0.0001 and b1 = 0.09 over T = 3."""
    middle = {"linear": 0.04505, "quad": ((0.01 + 0.3) / 2) ** 2, "const": 0.09, "jsd": 1 / 2, "sigmoid": 0.04505}
    for name, wanted in middle.items():
        betas = BETAS[name](3, 1e-4, 0.09)
        assert betas.dtype == torch.float64
        assert betas[1].item() == pytest.approx(wanted, rel=1e-12)
    assert BETAS["quad"](3, 1e-4, 0.09)[[0, 2]].tolist() == pytest.approx([1e-4, 0.09], rel=1e-12)
    assert BETAS["jsd"](3, 1e-4, 0.09)[[0, 2]].tolist() == pytest.approx([1 / 3, 1], rel=1e-12)
    first = 1e-4 + (0.09 - 1e-4) / (1 + math.exp(6))
    assert BETAS["sigmoid"](3, 1e-4, 0.09)[0].item() == pytest.approx(first, rel=1e-12)
    with pytest.raises(ValueError, match="nothing is left of the picture at t = 2"):
        sampler_rows("ddim", alpha_bars(BETAS["jsd"](3, 1e-4, 0.09)), [2, 1, 0])


def test_sampling_times():
    assert sampling_times(200, 10) == [180, 160, 140, 120, 100, 80, 60, 40, 20, 0]
    assert sampling_times(200, 3) == [132, 66, 0]
    assert sampling_times(200, 10, "published") == sampling_times(200, 10)
    assert sampling_times(200, 7, "published") == [196, 168, 140, 112, 84, 56, 28, 0]
    assert len(sampling_times(200, 30, "published")) == 34
    assert sampling_times(200, 2, "trailing") == [199, 99]
    assert sampling_times(100, 2, "inner") == [66, 33]
    assert sampling_times(100, 1, "inner") == [50]
    for spacing in SPACINGS:
        assert sampling_times(200, 200, spacing) == list(range(199, -1, -1))
        for steps in range(1, 200):
            times = sampling_times(200, steps, spacing)
            assert times == sorted(set(times), reverse=True)
            assert len(times) == (steps if spacing != "published" else -(-200 // (200 // steps)))
    with pytest.raises(ValueError, match="spacing must be one of published, leading, trailing, inner, got 'even'"):
        sampling_times(200, 3, "even")
    for steps in (0, 201):
        with pytest.raises(ValueError, match=f"got {steps}"):
            sampling_times(200, steps)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_agrees_with_diffusers(alpha_bar, eta):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=200, beta_start=1e-4, beta_end=0.02, clip_sample=False, set_alpha_to_one=True
    )
    scheduler.set_timesteps(10)
    times = sampling_times(200, 10)
    assert scheduler.timesteps.tolist() == times
    noise = {t: torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(t)) for t in times}
    x = expected = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1000))
    for t in times:
        # the last step goes to alpha_bar = 1: its noise counts for nothing
        expected = scheduler.step(fake_eps(expected, t), t, expected, eta=eta, variance_noise=noise[t]).prev_sample
    result = sample(fake_eps, x, times, ddim_rows(alpha_bar, times, eta), noise=noise.get)
    # diffusers keeps its table in float32
    torch.testing.assert_close(result, expected, rtol=2e-4, atol=2e-4)
    if eta:
        other = sample(fake_eps, x, times, ddim_rows(alpha_bar, times), noise=noise.get)
        assert (other - expected).abs().max() > 0.01


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(("steps", "spacing"), [(10, "leading"), (5, "trailing"), (3, "leading"), (1, "trailing")])
def test_dpm_solver_agrees_with_diffusers(alpha_bar, steps, spacing):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DPMSolverMultistepScheduler(
        num_train_timesteps=200,
        beta_start=1e-4,
        beta_end=0.02,
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
    )
    times = sampling_times(200, steps, spacing)
    scheduler.set_timesteps(timesteps=times)
    x = expected = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1000))
    for t in times:
        expected = scheduler.step(fake_eps(expected, t), t, expected).prev_sample
    result = sample(fake_eps, x, times, dpm_solver_rows(alpha_bar, times))
    # diffusers keeps its table in float32
    torch.testing.assert_close(result, expected, rtol=2e-4, atol=2e-4)
    if steps > 2:
        first_order = sample(fake_eps, x, times, ddim_rows(alpha_bar, times))
        assert (first_order - expected).abs().max() > 0.01


def test_dpm_solver_is_of_second_order():
    """For the exact eps of Gaussian data the flow is linear and known: halving the step quarters the error."""
    ab = alpha_bars(linear_betas(100_000, 1e-7, 2e-4))
    variance = 0.25

    def exact(x, t):
        return x * (1 - ab[t]).sqrt() / (ab[t] * variance + 1 - ab[t])

    # evenly spaced in the logarithm of the signal-to-noise ratio, where the solver's order is defined
    log_snr = 0.5 * (ab / (1 - ab)).log()
    errors = {}
    for steps in (40, 80, 160):
        wanted = torch.linspace(float(log_snr[-1]), float(log_snr[1000]), steps + 1, dtype=torch.float64)
        times = [int((log_snr - w).abs().argmin()) for w in wanted]
        start, end = ((ab[t] * variance + 1 - ab[t]).sqrt() for t in (times[0], times[-1]))
        x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        # all but the last step, which leaves the range
        for name in ("ddim", "dpm++"):
            *_, (reached, _), _ = iterate(exact, x, times, sampler_rows(name, ab, times))
            errors[name, steps] = abs(reached.item() - (end / start).item())
    for steps in (40, 80):
        assert errors["ddim", steps] / errors["ddim", 2 * steps] == pytest.approx(2, abs=0.05)
        assert errors["dpm++", steps] / errors["dpm++", 2 * steps] == pytest.approx(4, abs=0.1)


def test_up_to_two_steps_the_samplers_are_one(alpha_bar):
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for steps, same in ((1, True), (2, True), (3, False)):
        times = sampling_times(200, steps, "trailing")
        a, b = (sample(fake_eps, x, times, sampler_rows(name, alpha_bar, times)) for name in ("ddim", "dpm++"))
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5) is same
    with pytest.raises(ValueError, match=r"one of ddim, dpm\+\+, got 'euler'"):
        sampler_rows("euler", alpha_bar, times)


def test_noise_comes_from_the_seed(alpha_bar):
    times = sampling_times(200, 4)
    rows = ddim_rows(alpha_bar, times, eta=1.0)
    x = torch.zeros(1, 3, 8, 8)
    first, again, other = (sample(fake_eps, x, times, rows, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_step_is_shown(alpha_bar):
    times = sampling_times(200, 4)
    steps = list(iterate(fake_eps, torch.ones(1, 3, 4, 4), times, ddim_rows(alpha_bar, times)))
    assert len(steps) == 4
    # the last step goes to alpha_bar = 1, so its x is its x0
    assert torch.equal(*steps[-1])
    assert not torch.equal(*steps[0])
