"""What is timed in raw space: counts, sensor noise, the exposure step; on packed pictures [B, 4, H, W]."""

import rivals_raw
import torch
from case import Case, Setting

import lowlight_ext as e

GAIN, RATIO, AFTER = 0.8, 100.0, 34.0
SCALES = {"g_scale": 3.0, "G_scale": 2.0, "G_shape": 0.12, "R_scale": 0.7}
# a picture of the table has three channels, a packed raw four
UNIT = 4 / 3


def raw(on: Setting) -> list[Case]:
    batch, _, height, width = on.shape
    packed = (batch, 4, height, width)

    def dark(count):
        # most of a picture is dark
        return lambda: tuple(on.rand(*packed).pow(3) for _ in range(count))

    def noise(model, operations, goal=None):
        parameters = e.RawNoiseParameters(GAIN, RATIO, model, **SCALES)
        return Case(f"raw_noise {model}", "raw_noise", "test_exposure.py", 2 * UNIT, operations * UNIT, dark(1),
                    lambda x: e.raw_noise(x, parameters, 1),
                    lambda x: rivals_raw.raw_noise(x, GAIN, RATIO, model, SCALES), {}, goal)  # fmt: skip

    def counts(mean, operations):
        return Case(f"poisson, mean {mean:g}", "poisson", "test_poisson.py", 2 * UNIT, operations * UNIT,
                    lambda: (torch.full_like(on.rand(*packed), float(mean)),), lambda x: e.poisson(x, 1), None,
                    {"torch.poisson": (torch.poisson, lambda x: (x,))})  # fmt: skip

    return [
        counts(1, 60),
        counts(20, 120),
        counts(1000, 120),
        Case("tukey_lambda", "tukey_lambda", "test_poisson.py", UNIT, 90 * UNIT, tuple,
             lambda: e.tukey_lambda(packed, 1, 0.12, dtype=on.dtype, device=on.device),
             lambda: rivals_raw.tukey(on.rand(*packed), 0.12)),
        noise("P+g", 180),
        noise("P+G+r+u", 250, ("PyTorch", 1 / 8)),
        Case("exposure_step", "exposure_step", "test_exposure.py", 3 * UNIT, 130 * UNIT, dark(2),
             lambda x, y: e.exposure_step(x, y, RATIO, AFTER, GAIN, 1),
             lambda x, y: rivals_raw.exposure_step(x, y, RATIO, AFTER, GAIN), {}, ("PyTorch", 1 / 8)),
    ]  # fmt: skip
