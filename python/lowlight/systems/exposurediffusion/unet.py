"""ExposureDiffusion's U-Net: five levels, two convolutions each, no normalisation.

Wang et al., "ExposureDiffusion: Learning to Expose for Low-light Image Enhancement", ICCV 2023. Parameter names are
those of the published checkpoints.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext import Conv3x3

from ..tiling import in_strips

_LEVELS = 5
# rows beyond its own that a strip needs, both ends on a multiple of 16: two convolutions on each level of the way down
# and up see 94
_HALO = 96
# values of the full-size features that one strip may hold, 256 MiB of float32, about a fifth of all that it needs
_STRIP = 2**26


class ExposureUNet(nn.Module):
    """[B, in, H, W] -> [B, out, H, W]; H and W multiples of `multiple`. width: channels at full size.

    Without gradients a large picture is done in strips of rows, exact but for the rounding of convolutions.
    """

    multiple = 2 ** (_LEVELS - 1)
    conv1_1: nn.Conv2d

    def __init__(self, in_channels: int, out_channels: int, width: int = 32):
        super().__init__()
        widths = [width * 2**i for i in range(_LEVELS)]
        for i, w in enumerate(widths, start=1):
            self._add_pair(i, in_channels if i == 1 else widths[i - 2], w)
        # published numbers: levels 6 to 9 are the way up, 10 the output
        for i, w in enumerate(reversed(widths[:-1]), start=_LEVELS + 1):
            setattr(self, f"upv{i}", nn.ConvTranspose2d(2 * w, w, 2, stride=2))
            self._add_pair(i, 2 * w, w)
        self.conv10_1 = nn.Conv2d(width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        # gradients keep all features anyway
        return self._whole(x) if torch.is_grad_enabled() else in_strips(self._whole, x, self._rows(x), _HALO)

    def _rows(self, x: Tensor) -> int:
        """Of a strip without its halo, a multiple of `multiple`; never so few that most of the work is halo."""
        rows = _STRIP // (x.shape[0] * x.shape[-1] * self.conv1_1.out_channels) - 2 * _HALO
        return max(rows // self.multiple * self.multiple, 2 * _HALO)

    def _whole(self, x: Tensor) -> Tensor:
        skips = []
        for i in range(1, _LEVELS + 1):
            x = self._pair(i, x)
            if i < _LEVELS:
                skips.append(x)
                x = F.max_pool2d(x, 2)
        for i in range(_LEVELS + 1, 2 * _LEVELS):
            x = self._pair(i, getattr(self, f"upv{i}")(x), skips.pop())
        return self.conv10_1(x)

    def _add_pair(self, level: int, in_channels: int, out_channels: int) -> None:
        setattr(self, f"conv{level}_1", Conv3x3(in_channels, out_channels))
        setattr(self, f"conv{level}_2", Conv3x3(out_channels, out_channels))

    def _pair(self, level: int, *parts: Tensor) -> Tensor:
        """Two convolutions of the parts side by side, a leaky ReLU behind each."""
        return getattr(self, f"conv{level}_2")(getattr(self, f"conv{level}_1")(*parts, slope=0.2), slope=0.2)
