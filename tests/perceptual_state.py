"""Weights of LPIPS's networks for tests: random ones, for none may be on the disk."""

import math

import torch

from lowlight.metrics.lpips_trunks import TRUNKS


def random_state(net: str) -> dict[str, torch.Tensor]:
    """Random weights under torchvision's names, of its spread: features are neither dead nor huge."""
    generator, tensors = torch.Generator().manual_seed(1), {}
    for name, shape in TRUNKS[net].shapes.items():
        scale = 0.1 if len(shape) == 1 else (2 / math.prod(shape[1:])) ** 0.5
        tensors[name] = torch.randn(shape, generator=generator) * scale
    return tensors | {"classifier.6.bias": torch.zeros(1000)}
