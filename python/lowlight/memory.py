"""What becomes of memory that is freed: the pages of large maps, which are wanted again in the next layer."""

from __future__ import annotations

import ctypes
import os
import sys

# mallopt's names for them, from malloc.h
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed() -> bool:
    """Have malloc keep what is freed for what comes next, as a GPU's allocator does. Returns whether it will.

    glibc by itself gives a map of 32 MB or more back to the system when it is freed, and the system zeroes every page
    of the next one: up to a third of the time of a large picture. Kept, the process's peak is up to half higher.
    Other C libraries are left alone, and so is a malloc that the environment tells what to do (GLIBC_TUNABLES,
    MALLOC_...).
    """
    libc = _glibc()
    told = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if libc is None or told:
        return False
    # no maps of their own, no end of the heap given back, and one heap: those of threads hold 64 MB, and map the rest
    told_now = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))
    return all(libc.mallopt(name, value) == 1 for name, value in told_now)


def give_back() -> None:
    """Give what is kept back to the system, for a process that waits now."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
