"""Small tables of the host on the device of the pictures, also for a CUDA graph, which keeps addresses."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

Tables = dict[Any, Tensor]
_tables: ContextVar[Tables | None] = ContextVar("tables", default=None)


@contextmanager
def tables_kept(tables: Tables) -> Iterator[None]:
    """Within it each table that goes from the host to a device is kept in `tables`, and found there the next time.

    For a CUDA graph of calls with tables on the CPU: call once within it, then record within it. The graph reads what
    `tables` holds, which must live as long as the graph and not be changed.
    """
    token = _tables.set(tables)
    try:
        yield
    finally:
        _tables.reset(token)


def recording() -> bool:
    """Whether this is within `tables_kept`: then nothing may look at what tensors hold."""
    return _tables.get() is not None


def brought(table: Tensor, device: torch.device) -> Tensor:
    """A small table on a device: itself where it lies there; the host does not wait for a copy.

    Raises ValueError where a CUDA graph is recorded outside `tables_kept`: it would read the table where it was.
    """
    if table.device == device:
        return table
    tables = None if torch.compiler.is_compiling() or not table.is_cpu else _tables.get()
    if tables is None and device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise ValueError(
            f"must be on {device} while a CUDA graph is recorded, which keeps addresses, got {table.device}"
        )
    if tables is None:
        return table.to(device, non_blocking=True)
    # numpy knows no bfloat16
    numbers = table.double() if table.is_floating_point() else table
    key = (device, table.dtype, table.shape, numbers.numpy().tobytes())
    if key not in tables:
        tables[key] = table.to(device)
    return tables[key]
