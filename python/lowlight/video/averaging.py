"""What stands still in a video is averaged over time; what moves is left as it comes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_NOISE = 0.5 / 255  # what rounding to 8 bits leaves uncertain
_ENERGY = (5, 1.6, 3.1)  # window; differences' mean square, times that of noise, that are noise and that are motion
_DRIFT = (7, 4.0, 9.0)  # the same of a window's sum, squared, a pixel: what is weaker than the noise but has one sign
_GROWTH = 5  # pixels around a motion that are taken for moving too


class StillAverage:
    """A recursive mean of frames: at each pixel over the last frames in which nothing moved there, at most `most`.

    Frame after frame goes in, [3, H, W] in [0, 1] with noise of about one strength in sRGB; the mean comes out. Motion
    is what differs from the mean by more than noise does, whose strength is measured in every frame: in energy within
    5 x 5 pixels, or in the mean of 7 x 7. Correlated noise, as a codec leaves it, counts as motion sooner.
    """

    def __init__(self, most: int):
        """Raises ValueError where most is below 1; with 1 frames pass as they are."""
        if most < 1:
            raise ValueError(f"the average must be over at least 1 frame, got {most}")
        self._most = most
        self.mean: Tensor | None = None  # [3, H, W]
        self.count: Tensor | None = None  # [1, H, W]: of how many frames the mean is

    def __call__(self, frame: Tensor) -> Tensor:
        if self._most == 1:
            return frame
        if self.mean is None or self.count is None or self.mean.shape != frame.shape:
            self.mean, self.count = frame.clone(), torch.ones_like(frame[:1])
            return self.mean
        moving = motion(frame, self.mean, self.count)
        # 1 where something moves, one more elsewhere
        self.count = torch.lerp((self.count + 1).clamp(max=self._most), torch.ones_like(self.count), moving)
        self.mean = self.mean + (frame - self.mean) / self.count
        return self.mean


def motion(frame: Tensor, mean: Tensor, count: Tensor) -> Tensor:
    """[1, H, W] from 0, nothing moves, to 1: how surely a frame [3, H, W] differs from a mean of `count` frames."""
    noise = noise_level(frame)[:, None, None] * (1 + 1 / count).sqrt()
    difference = (frame - mean) / noise
    energy = _sum(difference.square().mean(dim=0, keepdim=True), _ENERGY[0]) / _sum(torch.ones_like(count), _ENERGY[0])
    drift = _sum(difference, _DRIFT[0]).square().mean(dim=0, keepdim=True) / _sum(torch.ones_like(count), _DRIFT[0])
    moving = torch.maximum(_over(energy, *_ENERGY[1:]), _over(drift, *_DRIFT[1:]))
    return F.max_pool2d(moving[None], _GROWTH, 1, _GROWTH // 2)[0]


def noise_level(frame: Tensor) -> Tensor:
    """[3]: standard deviation of a frame's noise, by the median of its finest diagonal Haar band."""
    frame = frame[:, : frame.shape[1] // 2 * 2, : frame.shape[2] // 2 * 2]
    if not frame.numel():
        return torch.full((3,), LEAST_NOISE, device=frame.device)
    left, right = frame[:, :, ::2], frame[:, :, 1::2]
    diagonal = (left[:, ::2] - left[:, 1::2] - right[:, ::2] + right[:, 1::2]) / 2
    # the median of |normal noise| is 0.6745 of its deviation
    return (diagonal.abs().flatten(1).median(dim=1).values / 0.6745).clamp(min=LEAST_NOISE)


def _over(value: Tensor, noise: float, motion: float) -> Tensor:
    return ((value - noise) / (motion - noise)).clamp(0, 1)


def _sum(planes: Tensor, side: int) -> Tensor:
    """Over windows, of which less lies in the frame at its edges."""
    return F.avg_pool2d(planes[None], side, 1, side // 2, divisor_override=1)[0]
