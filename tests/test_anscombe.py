"""The generalised Anscombe transform: deviation 1, and both inverses, clipping undone, against scipy and draws."""

import math

import numpy as np
import pytest

from lowlight.cameras.anscombe import closed_form_inverse, stabilise, unbiased_inverse

stats = pytest.importorskip("scipy.stats", reason="scipy is in the extra [test]")
integrate = pytest.importorskip("scipy.integrate")

# gain, deviation: bright and dark gains of a camera, no read noise, much
NOISES = [(0.1, 1.2), (1.0, 2.5), (8.0, 9.0), (30.0, 12.0), (2.0, 0.0)]


def draws(mean, gain, deviation, count=100_000):
    rng = np.random.default_rng(0)
    counted = gain * stats.poisson(mean / gain).rvs(count, random_state=rng) if gain else mean
    return counted + deviation * stats.norm.rvs(size=count, random_state=rng)


@pytest.mark.parametrize(("gain", "deviation"), NOISES)
def test_deviation_is_one(gain, deviation):
    for photons in (10, 60, 400):
        assert stabilise(draws(photons * gain, gain, deviation), gain, deviation).std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("gain", "deviation"), NOISES)
@pytest.mark.parametrize("white", [None, 5, 200])
def test_unbiased_on_draws(gain, deviation, white):
    """From no light to white: the inverse of the mean of what was stabilised is the mean, to a few standard errors.

    white: in photons.
    """
    for photons in (0.0, 0.3, 2.0, 4.0, 15.0, 70.0, 190.0, 500.0):
        if photons > (white or 500):
            break
        numbers = draws(photons * gain, gain, deviation)
        settings = {} if white is None else {"white": white * gain}
        values = stabilise(numbers.clip(0, white * gain) if white else numbers, gain, deviation)
        found = unbiased_inverse(values.mean(), gain, deviation, **settings) / gain
        # of the mean of draws, times the slope of the inverse, which grows where much is clipped
        error = math.sqrt((photons + (deviation / gain) ** 2 + 0.5) / len(values))
        assert found == pytest.approx(photons, abs=6 * error + 0.004)


@pytest.mark.parametrize("photons", [0.5, 4.0])
def test_inverse_is_the_integral(photons):
    """E over Poisson's sum and normal integrals by scipy, with what is clipped as lumps at both ends."""
    gain, deviation, white = 4.0, 3.0, 24.0
    read, top = deviation / gain, white / gain

    def mean_at(k):
        low, high = stats.norm.cdf(-k / read), stats.norm.sf((top - k) / read)
        lumps = low * stabilise(0.0, gain, deviation) + high * stabilise(white, gain, deviation)
        between = integrate.quad(
            lambda z: stabilise(gain * z, gain, deviation) * math.exp(-(((z - k) / read) ** 2) / 2), 0, top, points=[k]
        )
        return lumps + between[0] / (read * math.sqrt(2 * math.pi))

    expected = sum(stats.poisson.pmf(k, photons) * mean_at(k) for k in range(40))
    assert unbiased_inverse(expected, gain, deviation, white=white) == pytest.approx(photons * gain, abs=2e-3)


def test_closed_form_is_near_the_exact_one_and_they_meet():
    for gain, deviation in NOISES:
        values = np.linspace(stabilise(0.0, gain, deviation), stabilise(900 * gain, gain, deviation), 4001)
        exact, closed = (f(values, gain, deviation) / gain for f in (unbiased_inverse, closed_form_inverse))
        assert np.abs(exact - closed).max() < 0.06
        assert np.all(np.diff(exact) >= 0)
        bright = exact > 50 + 7 * deviation / gain
        assert np.abs(exact - closed)[bright].max() < 0.02


def test_what_clipping_did():
    """It lifts the dark and dims what is near white; between, and far above black, there is none to undo."""
    values = stabilise(np.array([0.0, 1.0, 100.0, 290.0]), 1.0, 2.0)
    plain, clipped = unbiased_inverse(values, 1.0, 2.0), unbiased_inverse(values, 1.0, 2.0, white=300.0)
    assert np.all(clipped[:2] < plain[:2] - 0.2)
    assert clipped[2] == pytest.approx(plain[2], abs=0.02)
    assert clipped[3] > plain[3] + 1
    assert unbiased_inverse(100.0, 1.0, 2.0, white=300.0) == pytest.approx(300)


def test_without_photons():
    numbers = np.array([0.0, 1.0, 50.0])
    assert np.allclose(stabilise(numbers, 0, 2.0), numbers / 2)
    assert np.allclose(unbiased_inverse(numbers / 2, 0, 2.0), numbers)
    for mean in (1.0, 39.0):
        seen = stabilise(draws(mean, 0, 2.0).clip(0, 40), 0, 2.0).mean()
        assert unbiased_inverse(seen, 0, 2.0, white=40.0) == pytest.approx(mean, abs=0.03)


@pytest.mark.parametrize(("gain", "deviation"), [(-1, 1), (1, -1), (0, 0), (math.nan, 1), (1, math.inf)])
def test_errors(gain, deviation):
    for function in (stabilise, closed_form_inverse, unbiased_inverse):
        with pytest.raises(ValueError, match="gain and deviation must be finite, 0 or more and not both 0"):
            function(np.ones(2), gain, deviation)
    with pytest.raises(ValueError, match="white must be above 0"):
        unbiased_inverse(np.ones(2), 1.0, 1.0, white=0.0)
