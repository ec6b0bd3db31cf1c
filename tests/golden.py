"""Outputs of the published networks, and the weights and inputs they belong to, which a hash makes from names."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data"


def keys(system: str) -> dict[str, list[int]]:
    """Shapes of a published network's tensors by name."""
    return json.loads((DATA / f"{system}_keys.json").read_text())


def outputs(system: str) -> dict[str, np.ndarray]:
    """What the published code gave."""
    with np.load(DATA / f"{system}.npz") as file:
        return dict(file)


def weights(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """The weights of those names, float32."""
    return {name: _weight(name, shape) for name, shape in shapes.items()}


def uniform01(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """float32 in [0, 1)."""
    return torch.from_numpy(_uniform(name, shape).astype(np.float32))


def normal(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal, float32; Box-Muller in float64 on the float32 uniforms."""
    a, b = (uniform01(f"{name}/{part}", shape).double() for part in "ab")
    return ((-2 * a.clamp(min=2.0**-24).log()).sqrt() * (2 * math.pi * b).cos()).float()


def _weight(name: str, shape: list[int]) -> torch.Tensor:
    v = (2 * _uniform(name, shape) - 1) * math.sqrt(3)
    if name.endswith("weight_g") or (len(shape) == 1 and name.endswith("weight")):
        v = 1 + 0.1 * v
    elif len(shape) >= 2:
        v = v / math.sqrt(math.prod(shape[1:]))
    else:
        v = 0.1 * v
    return torch.from_numpy(v.astype(np.float32))


def _uniform(name: str, shape) -> np.ndarray:
    """splitmix64 of (crc32(name) << 32) + flat index, its upper 53 bits as a float64 in [0, 1)."""
    with np.errstate(over="ignore"):
        z = np.arange(math.prod(shape), dtype=np.uint64) + (np.uint64(zlib.crc32(name.encode())) << np.uint64(32))
        z += np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)) * 2.0**-53).reshape(shape)
