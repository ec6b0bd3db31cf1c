"""The anchor phi: the dark picture under a tone curve of each channel, as bright as it is wanted to be."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lowlight_ext import brought, tone_curve

from ..light import exposed

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
STATISTICS = 3 * len(QUANTILES)
FLOOR = 1 / 255  # bounds the slope of a curve at black, where one step of an 8-bit picture is all there is
AUTOMATIC_MEAN = 0.44  # between the truths it was trained on, 0.47, and those held out, 0.37
_MOST_OF_HIGHLIGHTS = 0.9  # of the root of mean over highlights
_EXPOSED = (0.5, 0.75)  # highlights of a picture that may be exposed too short, and of one that is not
_RELUCTANCE = 1.2  # cube of the lift, a natural logarithm, of which such a picture gets half
_ROUNDS = 12
_MOST_GAIN = 1e3
_STRETCH = (-2.0, 4.0)
_SHOULDER = 0.2  # most of the range below white that highlights are rolled off in
_HUE = 0.6  # share of what keeps a highlight's hue; the rest goes to white, as a camera's channels do that clip alone


def band_statistics(band: Tensor) -> Tensor:
    """[B, 3, h, w] means of pixels in [0, 1] -> [B, 21]: log of seven quantiles a channel, brought to about +-1.5."""
    levels = brought(torch.tensor(QUANTILES, dtype=torch.float32, device="cpu"), band.device)
    quantiles = torch.quantile(band.flatten(2).float(), levels, dim=2)  # [7, B, 3]
    logs = ((quantiles + FLOOR) / (1 + FLOOR)).log().permute(1, 0, 2).flatten(1)
    return (logs + 3) / 1.5


class Curve(NamedTuple):
    """x -> lowlight_ext.tone_curve of it: a power law from black to white, whose highlights are rolled off."""

    gamma: Tensor  # [B, 3]
    scale: Tensor  # [B, 3]
    knee: Tensor  # [B, 1], where highlights begin to be rolled off; 1: they are clipped

    def __call__(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> the same."""
        return tone_curve(x, self.gamma, self.scale, self.knee, floor=FLOOR, share=_HUE)

    def brightened(self, gain: Tensor) -> Curve:
        """gain [B] times as bright before highlights are rolled off."""
        return self._replace(scale=self.scale * gain[:, None])

    def log_gain(self, x: Tensor) -> Tensor:
        """Natural logarithm of the curve's slope, not of what it clips: how far noise is amplified at x."""
        gamma, scale = _plane(self.gamma, x), _plane(self.scale, x)
        whole = (1 + FLOOR) ** gamma - FLOOR**gamma
        return (scale * gamma / whole).log() + (gamma - 1) * (x + FLOOR).log()


def stretch_of(band: Tensor, mean: Tensor) -> Tensor:
    """[B]: natural logarithm of the wanted mean over the picture's own, 0 where nothing is to change."""
    own = band.mean(dim=(1, 2, 3))
    return ((mean + FLOOR) / (own + FLOOR)).log().clamp(*_STRETCH)


class Anchor(nn.Module):
    """Chooses the curve from statistics of the dark picture and the wanted mean: the identity where that is its own.

    A stretch L = log(wanted / own mean) gives gamma_c = exp(-L s_c) and a white balance exp(L u_c), s and u bounded
    outputs of a small network; a common gain is then solved for, so that the mean of the curve's picture is as wanted.
    """

    def __init__(self, hidden: int = 48):
        super().__init__()
        first, middle, last = nn.Linear(STATISTICS + 2, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 6)
        self.net = nn.Sequential(
            first,
            nn.SiLU(),
            middle,
            nn.SiLU(),
            last,
        )
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([-0.6] * 3 + [0.0] * 3))

    def forward(self, band: Tensor, mean: Tensor, statistics: Tensor) -> Curve:
        """band: [B, 3, h, w] means of the whole dark picture. mean: [B] in (0, 1). statistics: band_statistics."""
        stretch = stretch_of(band, mean)
        told = torch.cat([statistics, stretch[:, None], 4 * (mean[:, None] - 0.4)], dim=1)
        steepness, balance = self.net(told.to(next(self.net.parameters()).dtype)).to(band.dtype).chunk(2, dim=1)
        gamma = (-stretch[:, None] * 0.6 * steepness.sigmoid()).exp()
        balance = 0.3 * balance.tanh()
        balance = (stretch[:, None] * (balance - balance.mean(dim=1, keepdim=True))).exp()
        knee = 1 - _SHOULDER * stretch[:, None].clamp(min=0).tanh()
        return _as_bright(Curve(gamma, balance, knee), band, mean)


def _as_bright(curve: Curve, band: Tensor, mean: Tensor) -> Curve:
    """The curve times the gain that brings the mean of its picture to the wanted one, as far as clipping allows."""

    def nearer(gain: Tensor) -> Tensor:
        reached = curve.brightened(gain)(band).mean(dim=(1, 2, 3))
        return (gain * mean / reached.clamp(min=1e-6)).clamp(1 / _MOST_GAIN, _MOST_GAIN)

    with torch.no_grad():
        gain = torch.ones_like(mean)
        for _ in range(_ROUNDS):
            gain = nearer(gain)
    # one more round that gradients pass through
    return curve.brightened(nearer(gain))


def _plane(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype)[:, :, None, None]


def automatic_mean(band: Tensor, wanted: Tensor | None = None) -> Tensor:
    """[B]: the mean that pictures with these dark means [B, 3, h, w] get by themselves.

    wanted: [B], what an exposure head wants. Without one a constant, less where the brightest hundredth stands out: a
    night with lamps is dark elsewhere. In either case never less than the picture's own; and what has highlights
    already is exposed as it should be, so that a small lift is left undone.
    """
    own = band.mean(dim=(1, 2, 3)).clamp(min=1e-4)
    highlights = torch.quantile(band.amax(dim=1).flatten(1).float(), 0.99, dim=1).to(band.dtype)
    if wanted is None:
        wanted = _MOST_OF_HIGHLIGHTS * ((own + FLOOR) / (highlights + FLOOR)).sqrt()
        wanted = wanted.clamp(max=AUTOMATIC_MEAN)
    lift = torch.log((own**24 + wanted**24) ** (1 / 24) / own)  # a smooth maximum
    share = ((highlights - _EXPOSED[0]) / (_EXPOSED[1] - _EXPOSED[0])).clamp(0, 1)
    return own * (lift**4 / (lift**3 + _RELUCTANCE * share * share * (3 - 2 * share) + 1e-9)).exp()


def stops_to_mean(picture: Tensor, stops: Tensor) -> Tensor:
    """[B]: the mean of pictures [B, 3, h, w] after a gain of 2^stops in linear light, between 0.005 and 0.98."""
    return exposed(picture, stops).mean(dim=(1, 2, 3)).clamp(0.005, 0.98)
