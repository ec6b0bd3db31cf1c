"""The anchored wavelet diffusion as a system: from dark pictures of any size to bright ones, as bright as wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lowlight_ext import brought, normal, recording

from ..base import Noise, Number, check_pictures, seeds_of
from ..rows import PaddedRows, Rows, TensorRows
from .anchor import automatic_mean, band_statistics, stops_to_mean
from .process import Analysis, WaveletProcess
from .pyramid import read_pyramid

_BOUNDS = {"brightness": (-20, 20), "mean": (0, 1)}


class WaveletAnchored(WaveletProcess):
    """See process.py; `WaveletAnchoredConfig` says of which widths."""

    name = "wavelet_anchored"
    numbers = tuple(_BOUNDS)

    def enhance_tensor(
        self,
        low: Tensor,
        *,
        brightness: Number = 0.0,
        mean: Number | None = None,
        steps: int | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        sampler: str | None = None,
    ) -> Tensor:
        """Bright pictures of dark ones.

        low: [B, 3, H, W] in [0, 1], any size. brightness: stops against the automatic exposure, a number or [B]. mean:
        the wanted mean of the bright pictures in (0, 1), instead, a number or [B]. Another exposure is another call of
        the networks: they clean up what it shows.
        steps: network calls S (default: the configuration's). noise(stream, shape) replaces lowlight_ext's generator:
        stream T for x_T, t for the step from t. seed: an integer, the same noise for every picture, or one a picture
        [B]. sampler: "ddim" (eta = 0), "drds" (the anchored posterior) or "dpm++".
        Raises ValueError on another shape, sampler or number of steps, and for a mean outside (0, 1).
        """
        check_pictures(self, low)
        rows = TensorRows(low)
        self.enhance_rows(
            rows,
            brightness=brightness,
            mean=mean,
            steps=steps,
            noise=noise,
            seed=seed,
            sampler=sampler,
        )
        return rows.bright

    @torch.no_grad()
    def enhance_rows(self, rows: Rows, **options: Any) -> None:
        """As enhance_tensor, its arguments too, from pictures of any size in memory that hardly grows with them."""
        pyramid, analysis, estimates = self._begin(rows, **options)
        for band in estimates:
            last = band
        self._write(analysis, pyramid, last, rows)

    def enhance_steps(
        self,
        low: Tensor,
        *,
        brightness: Number = 0.0,
        mean: Number | None = None,
        steps: int | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        sampler: str | None = None,
    ) -> Iterator[Tensor]:
        """The bright pictures as estimated after each network call, the last as enhance_tensor's; its arguments."""
        check_pictures(self, low)
        with torch.no_grad():
            begun = self._begin(
                TensorRows(low),
                brightness=brightness,
                mean=mean,
                steps=steps,
                noise=noise,
                seed=seed,
                sampler=sampler,
            )
        return self._shown(*begun, low)

    @torch.no_grad()
    def _shown(
        self, pyramid: list[Tensor], analysis: Analysis, bands: Iterator[Tensor], low: Tensor
    ) -> Iterator[Tensor]:
        for band in bands:
            rows = TensorRows(low)
            self._write(analysis, pyramid, band, rows)
            yield rows.bright

    def _begin(
        self,
        rows: Rows,
        *,
        brightness: Number = 0.0,
        mean: Number | None = None,
        steps: int | None = None,
        noise: Noise | None = None,
        seed: int | Tensor = 0,
        sampler: str | None = None,
    ) -> tuple[list[Tensor], Analysis, Iterator[Tensor]]:
        """Dark means of level 1 and deeper, what is known of the pictures, the bright bands after each network call."""
        count, *size = rows.shape
        levels = self.levels(*size)
        pyramid, noise_told = read_pyramid(PaddedRows(rows, self.multiple(levels)), levels)
        band = pyramid.pop()
        seen = tuple(math.ceil(side / 2**levels) for side in size)
        wanted = self.wanted_mean(band[..., : seen[0], : seen[1]], brightness, mean)
        analysis = self.analyse(band, noise_told, wanted, seen)
        shape, stream = tuple(analysis.phi.shape), self.config.timesteps
        seeds = seeds_of(seed, count)
        if noise:
            x_T = noise(stream, shape)
        else:
            x_T = normal(shape, seeds, stream=stream, dtype=band.dtype, device=band.device)
        step_noise = None if noise is None else lambda t: noise(t, shape)
        start = self.start(analysis, x_T)
        estimates = self.generate(analysis, start, steps=steps, noise=step_noise, seed=seeds, sampler=sampler or "ddim")
        return pyramid, analysis, estimates

    def _write(self, analysis: Analysis, pyramid: list[Tensor], band: Tensor, rows: Rows) -> None:
        """Write the bright pictures of a deepest band and of the dark means above it, pyramid."""
        _, height, width = rows.shape
        dark = PaddedRows(rows, self.multiple(len(analysis.told)))
        half = self.decode(analysis, pyramid, band)
        for first, strip in self._restored(analysis, dark.read, half, 0):
            # what lies below the picture is padding, several strips of it below a large one
            if first >= height:
                break
            rows.write(first, strip[..., : height - first, :width])

    def wanted_mean(self, band: Tensor, brightness: Number = 0.0, mean: Number | None = None) -> Tensor:
        """[B]: the mean of the bright pictures of dark means `band`; brightness in stops against automatic, or `mean`.

        Raises ValueError for a mean outside (0, 1), and for numbers of them that are not one or one a picture.
        """
        self.check_numbers(band.shape[0], brightness=brightness, mean=mean)
        if mean is not None:
            return _of_each(band, mean)
        automatic = automatic_mean(band, None if self.exposure is None else self.exposure(band))
        if isinstance(brightness, Tensor):
            wished = recording() or bool(brightness.any())
        else:
            wished = brightness != 0
        if not wished:
            return automatic
        curve = self.anchor(band, automatic, band_statistics(band))
        return stops_to_mean(curve(band), _of_each(band, brightness))

    def check_numbers(self, count: int, **numbers: Number | None) -> None:
        for name, value in numbers.items():
            least, most = _BOUNDS[name]
            if value is None:
                continue
            if isinstance(value, Tensor):
                fits = value.dim() == 0 or value.shape in ((1,), (count,))
                fits = fits and (recording() or bool(((value > least) & (value < most)).all()))
            else:
                fits = least < value < most
            if not fits:
                wanted = f"a number between {least} and {most}, or one for each of {count} pictures"
                got = value.tolist() if isinstance(value, Tensor) else value
                raise ValueError(f"{type(self).__name__}: {name} must be {wanted}, got {got}")


def _of_each(band: Tensor, value: Number) -> Tensor:
    """[B] of a number for all pictures or of one for each."""
    values = torch.as_tensor(value, dtype=band.dtype, device=value.device if isinstance(value, Tensor) else "cpu")
    return brought(values.expand(band.shape[0]).contiguous(), band.device)
