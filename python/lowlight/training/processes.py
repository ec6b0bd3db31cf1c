"""The processes that share a training: one alone, or several that torchrun or `accelerate launch` started."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

# where torchrun and accelerate, then MPI's kinds say how many processes they started
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


class Alone:
    """One process: nothing to share."""

    rank, count = 0, 1

    def __init__(self, device: torch.device):
        self.device = device

    def wrap(self, module: nn.Module, partial: bool = False) -> nn.Module:
        """The module whose backward pass leaves the mean gradient over all processes.

        partial: it does not give every parameter a gradient every time.
        """
        return module

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return self.mean(torch.tensor(float(flag), device=self.device)).item() > 0

    def close(self) -> None:
        """The last call of a process, which has let go of the wrapped module. All must come here."""


class Several(Alone):
    """One of several processes, each with its share of every batch, through accelerate: gloo on CPUs, NCCL on GPUs."""

    def __init__(self, device: torch.device):
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs
        except ImportError:
            raise ValueError(
                "training in several processes needs accelerate: pip install 'lowlight-ext[train]'"
            ) from None
        # "no": the objective sets its own precision, so that one process and several do the same
        self._settings = DistributedDataParallelKwargs()
        self._accelerator = Accelerator(
            cpu=device.type == "cpu", mixed_precision="no", kwargs_handlers=[self._settings]
        )
        super().__init__(self._accelerator.device)
        self.rank, self.count = self._accelerator.process_index, self._accelerator.num_processes

    def wrap(self, module: nn.Module, partial: bool = False) -> nn.Module:
        self._settings.find_unused_parameters = partial
        return self._accelerator.prepare_model(module)

    def mean(self, values: Tensor) -> Tensor:
        return self._accelerator.reduce(values, reduction="mean")

    def close(self) -> None:
        self._accelerator.wait_for_everyone()
        # the wrapped module goes first: where it drops the last reference to a group of gloo's that is already
        # destroyed, the process waits for ever about every twentieth time (torch 2.13)
        self._accelerator.free_memory()
        self._accelerator.end_training()


def join_processes(device: torch.device) -> Alone:
    """This process among those that the environment names."""
    started = max(int(os.environ.get(name) or 1) for name in _SIZES)
    return Several(device) if started > 1 else Alone(device)
