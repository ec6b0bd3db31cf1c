"""The exposure head: a mean for the bright picture, as the truths of the scenes it was trained on had it.

A dark picture hardly tells how bright it should be, so this is a memory of scenes, for benchmarks whose test pictures
show scenes of the training set; weights for everybody's pictures have none and take a constant (anchor.py).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .anchor import FLOOR

SIDE = 16  # of the means that it sees


class ExposureHead(nn.Module):
    """[B, 3, h, w] means of whole dark pictures in [0, 1] -> [B] in (0, 1); blind to a gain of the whole picture."""

    def __init__(self, width: int = 32):
        super().__init__()
        last = nn.Linear(64, 1)
        self.net = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(2 * width * (SIDE // 4) ** 2, 64),
            nn.SiLU(),
            last,
        )
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, band: Tensor) -> Tensor:
        logs = (F.adaptive_avg_pool2d(band.float(), SIDE) + FLOOR).log()
        logs = logs - logs.mean(dim=(1, 2, 3), keepdim=True)
        return self.net(logs.to(next(self.net.parameters()).dtype))[:, 0].sigmoid().to(band.dtype)
