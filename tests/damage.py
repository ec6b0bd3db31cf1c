"""Damage as disks, networks and malice do it, to any file's bytes."""

import struct
import time

import numpy as np

SECONDS = 20  # that one file may take
_ODD = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damaged(data, count, seed=0):
    """`count` damaged copies of `data`, always the same ones of a seed."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            # half of the damage goes where files say what they are
            end = len(copy) if rng.random() < 0.5 else min(len(copy), 512)
            at = int(rng.integers(0, max(1, end)))
            kind = rng.integers(0, 6)
            if kind == 0:
                del copy[at:]
            elif kind == 1:
                copy[at : at + 1] = bytes([int(rng.integers(0, 256))])
            elif kind == 2:
                form = str(rng.choice(["<H", ">H", "<I", ">I"]))
                value = int(rng.choice(_ODD)) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
                copy[at : at + struct.calcsize(form)] = struct.pack(form, value)
            elif kind == 3:
                del copy[at : at + int(rng.integers(1, 64))]
            elif kind == 4:
                copy[at:at] = copy[at : at + int(rng.integers(1, 64))]
            else:
                copy[at : at + 16] = rng.integers(0, 256, 16).astype(np.uint8).tobytes()
        yield bytes(copy)


def foreign(call, allowed, says=""):
    """What is wrong with how a call ends, or None: with a result or, in one line that `says`, an allowed error, soon.

    Of Python's own kinds only the kind itself is allowed, not its subclasses, which come from elsewhere.
    """
    begun = time.perf_counter()
    try:
        call()
    except Exception as error:
        own = any(type(error) is kind if kind.__module__ == "builtins" else isinstance(error, kind) for kind in allowed)
        text = str(error).strip()
        if not own or says not in text or "\n" in text or len(text) > 3000:
            return f"{type(error).__name__}: {text}"[:300]
    seconds = time.perf_counter() - begun
    return f"took {seconds:.0f} s" if seconds > SECONDS else None
