"""What a seed may be, everywhere alike, and the seeds of the samples, pictures or scenes that are counted under one."""

from __future__ import annotations

import hashlib
from operator import index
from typing import Any, SupportsIndex

LAST_SEED = 2**64 - 1


def checked_seed(seed: Any, kinds: str = "an integer") -> int:
    """The seed. Raises TypeError for what is no whole number, ValueError for one outside of 0 to 2^64 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, SupportsIndex):
        raise TypeError(f"seed must be {kinds}, got {type(seed).__name__}")
    number = index(seed)
    if not 0 <= number <= LAST_SEED:
        raise ValueError(f"seed must be 0 to 2^64 - 1, got {number}")
    return number


def signed(seed: int) -> int:
    """The int64 of the same 64 bits, as tensors hold seeds and the generator takes them, modulo 2^64."""
    return seed - (seed >> 63 << 64)


def first_seed(seed: int, bits: int) -> int:
    """The int64 from which 2^bits samples count: seed * 2^bits where that is an int64, else from a hash of the seed.

    So samples of two seeds below 2^(63 - bits) never share one; others do by chance, one in 2^(64 - bits) seeds.
    """
    seed = checked_seed(seed)
    if seed >> (63 - bits) == 0:
        return seed << bits
    digest = hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=8).digest()
    return signed(int.from_bytes(digest, "little") >> bits << bits)
