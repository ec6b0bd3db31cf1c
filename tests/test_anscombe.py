"""The generalised Anscombe transform: deviation 1, both inverses and the clipped one, against scipy and draws."""

import math

import numpy as np
import pytest

from lowlight.raw.anscombe import closed_form_inverse, stabilise, unbiased_inverse

stats = pytest.importorskip("scipy.stats", reason="scipy is in the extra [test]")
integrate = pytest.importorskip("scipy.integrate")

# gain, deviation: bright and dark gains of a camera, no read noise, much
NOISES = [(0.1, 1.2), (1.0, 2.5), (8.0, 9.0), (30.0, 12.0), (2.0, 0.0)]


def draws(mean, gain, deviation, count=200_000):
    rng = np.random.default_rng(0)
    counted = gain * stats.poisson(mean / gain).rvs(count, random_state=rng) if gain else mean
    return counted + deviation * stats.norm.rvs(size=count, random_state=rng)


@pytest.mark.parametrize(("gain", "deviation"), NOISES)
def test_deviation_is_one(gain, deviation):
    for photons in (10, 60, 400):
        assert stabilise(draws(photons * gain, gain, deviation), gain, deviation).std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("gain", "deviation"), NOISES)
@pytest.mark.parametrize("clipped", [False, True])
def test_unbiased_on_draws(gain, deviation, clipped):
    """From no light to much: the inverse of the mean of what was stabilised is the mean, to a few standard errors."""
    for photons in (0.0, 0.3, 2.0, 15.0, 70.0, 500.0):
        numbers = draws(photons * gain, gain, deviation)
        values = stabilise(np.maximum(numbers, 0) if clipped else numbers, gain, deviation)
        found = unbiased_inverse(values.mean(), gain, deviation, clipped=clipped) / gain
        # of the mean of draws, times the slope of the inverse, which grows in the dark
        error = math.sqrt((photons + (deviation / gain) ** 2 + 0.5) / len(values))
        assert found == pytest.approx(photons, abs=6 * error + 0.004)


@pytest.mark.parametrize("photons", [0.5, 4.0])
def test_exact_inverse_is_the_integral(photons):
    """E over Poisson sum and normal integral by scipy, the kink of the clipping and all."""
    gain, deviation = 4.0, 3.0
    read = deviation / gain

    def mean_at(k):
        # below 0 the clipped number is 0
        dark = stats.norm.cdf(-k / read) * stabilise(0.0, gain, deviation)
        return (
            dark
            + integrate.quad(
                lambda z: stabilise(gain * z, gain, deviation) * stats.norm.pdf(z, k, read), 0, k + 9 * read
            )[0]
        )

    expected = sum(stats.poisson.pmf(k, photons) * mean_at(k) for k in range(40))
    assert unbiased_inverse(expected, gain, deviation, clipped=True) == pytest.approx(photons * gain, abs=2e-3)


def test_closed_form_is_near_the_exact_one_and_they_meet():
    for gain, deviation in NOISES:
        values = np.linspace(stabilise(0.0, gain, deviation), stabilise(900 * gain, gain, deviation), 4001)
        exact, closed = (f(values, gain, deviation) / gain for f in (unbiased_inverse, closed_form_inverse))
        assert np.abs(exact - closed).max() < 0.06
        assert np.all(np.diff(exact) >= 0)
        bright = exact > 50 + 7 * deviation / gain
        assert np.abs(exact - closed)[bright].max() < 0.01


def test_what_was_clipped_is_darker_than_it_looks():
    """Clipping lifts the dark: the inverse that knows of it gives less, and the same where there is light."""
    values = np.linspace(2, 40, 50)
    plain, clipped = (unbiased_inverse(values, 1.0, 2.0, clipped=c) for c in (False, True))
    assert np.all(clipped <= plain + 1e-9)
    assert (plain - clipped).max() > 0.3
    assert plain[-1] == clipped[-1]


def test_without_photons():
    numbers = np.array([0.0, 1.0, 50.0])
    assert np.allclose(stabilise(numbers, 0, 2.0), numbers / 2)
    assert np.allclose(unbiased_inverse(numbers / 2, 0, 2.0), numbers)
    clipped = np.maximum(draws(1.0, 0, 2.0), 0)
    assert unbiased_inverse(stabilise(clipped, 0, 2.0).mean(), 0, 2.0, clipped=True) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("gain", "deviation"), [(-1, 1), (1, -1), (0, 0), (math.nan, 1), (1, math.inf)])
def test_errors(gain, deviation):
    for function in (stabilise, closed_form_inverse, unbiased_inverse):
        with pytest.raises(ValueError, match="gain and deviation must be finite, 0 or more and not both 0"):
            function(np.ones(2), gain, deviation)
