"""Whole pictures replayed from CUDA graphs: one launch for a thousand, which take longer than their work."""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lowlight_ext import tables_kept

from ..systems.base import PictureSystem, seeds_of
from ..systems.rows import Rows, TensorRows

MOST_PIXELS = 2 << 20  # of a batch; beyond them launches are nothing beside the work, and a graph keeps its memory
_GRAPHS = 8  # kept of one system

Recorded = Callable[..., Tensor]


def recorded(function: Callable[..., Tensor], *inputs: Tensor) -> Recorded:
    """The function as a CUDA graph, which takes other inputs of these shapes, dtypes and this device.

    Raises RuntimeError where the function asks the GPU for a number, or allocates beside torch.
    """
    held, tables, graph = [x.contiguous().clone() for x in inputs], {}, torch.cuda.CUDAGraph()  # type: ignore[var-annotated]
    with torch.cuda.device(held[0].device), tables_kept(tables):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # kernels are loaded, convolutions chosen, and tables brought before what is recorded
            for _ in range(3):
                function(*held)
        torch.cuda.current_stream().wait_stream(stream)
        # other threads read and write pictures meanwhile
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            out = function(*held)

    def replay(*given: Tensor) -> Tensor:
        for own, x in zip(held, given, strict=True):
            own.copy_(x)
        graph.replay()
        return out.clone()

    # the graph reads them where they are
    replay.tables = tables  # type: ignore[attr-defined]
    return replay


def replay_pictures(system: PictureSystem, record: Callable[..., Recorded] = recorded) -> None:
    """Have the system's enhance_tensor, and its enhance_rows, replay pictures of up to MOST_PIXELS."""
    rows = getattr(system, "enhance_rows", None)
    signature = inspect.signature(system.enhance_tensor)

    def whole(low: Tensor, **options: Any) -> Tensor:
        copied = TensorRows(low)
        rows(copied, **options)  # type: ignore[misc]
        return copied.bright

    replayed = Replayed(system, system.enhance_tensor if rows is None else whole, record)
    # options are told by it
    replayed.__signature__ = signature  # type: ignore[attr-defined]

    def by_rows(read: Rows, **options: Any) -> None:
        count, height, width = read.shape
        if count * height * width > MOST_PIXELS:
            rows(read, **options)  # type: ignore[misc]
        else:
            read.write(0, replayed(read.read(0, height), **options))

    system.enhance_tensor = replayed  # type: ignore[method-assign]
    if rows is not None:
        system.enhance_rows = by_rows  # type: ignore[assignment]


class Replayed:
    """enhance_tensor from graphs, one for each shape and options; other pictures, seeds and numbers go into it."""

    def __init__(self, system: PictureSystem, own: Callable[..., Tensor], record: Callable[..., Recorded]):
        self._system, self._own, self._record = system, own, record
        self._graphs: OrderedDict[tuple, Recorded] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, low: Tensor, *, seed: int | Tensor = 0, noise: Any = None, **options: Any) -> Tensor:
        if noise is not None or low.dim() != 4 or low.shape[0] * low.shape[-2] * low.shape[-1] > MOST_PIXELS:
            return self._own(low, seed=seed, noise=noise, **options)
        count, numbers = low.shape[0], {name: options.pop(name, None) for name in self._system.numbers}
        # a graph can look at none
        self._system.check_numbers(count, **numbers)
        # 0 is the system's own way, which is another one; looked at where it lies, which is on the host as a rule
        wished = {name: x for name, x in numbers.items() if (x.any() if isinstance(x, Tensor) else x)}
        told = {
            name: torch.as_tensor(x, dtype=torch.float32, device=low.device).expand(count) for name, x in wished.items()
        }
        key = (low.shape, low.dtype, *told, *sorted((name, x) for name, x in options.items() if x is not None))
        inputs = (low, seeds_of(seed, count).to(low.device), *told.values())

        def whole(low: Tensor, seeds: Tensor, *numbers: Tensor) -> Tensor:
            return self._own(low, seed=seeds, **dict(zip(told, numbers, strict=True)), **options)

        # a graph has one memory
        with self._lock, torch.no_grad():
            if key not in self._graphs:
                self._graphs[key] = self._record(whole, *inputs)
            self._graphs.move_to_end(key)
            while len(self._graphs) > _GRAPHS:
                self._graphs.popitem(last=False)
            return self._graphs[key](*inputs)
