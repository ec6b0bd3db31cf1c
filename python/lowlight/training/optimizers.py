"""The optimisers a configuration may name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .config import TrainConfig


def make_optimizer(config: TrainConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of the configuration; the loop sets its learning rate before every step.

    Raises ValueError where Lion's package is not installed.
    """
    settings: dict[str, Any] = {"lr": config.stages[0].learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, **settings)
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, **settings)
    settings["betas"] = tuple(config.betas or ())
    if config.optimizer == "lion":
        try:
            from lion_pytorch import Lion
        except ImportError:
            raise ValueError("optimizer lion needs lion-pytorch: pip install 'lowlight-ext[train]'") from None
        return Lion(parameters, **settings)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[config.optimizer](parameters, **settings)
