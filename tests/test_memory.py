"""Freed memory that malloc keeps: counted in a process of its own by the pages that the system hands out."""

import os
import subprocess
import sys

import pytest

from lowlight.memory import _glibc

pytestmark = pytest.mark.skipif(_glibc() is None, reason="glibc's malloc alone is told to keep memory")

# pages handed out to 40 maps of 40 MB, one after the other, and the memory held when all are freed, in maps
COUNT = """
import resource, sys, threading
import torch
from lowlight.memory import give_back, keep_freed

def pages():
    for _ in range(40):
        torch.zeros(10_000_000)

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

print(keep_freed() if "keep" in sys.argv else None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=pages) if "thread" in sys.argv else None
thread.start() if thread else pages()
thread and thread.join()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / 40e6)
print(held() / 40e6)
give_back()
print(held() / 40e6)
"""


def counted(*words, **environment):
    own = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", COUNT, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=own | environment)
    kept, handed, held, after = done.stdout.split()
    return kept, float(handed), float(held), float(after)


@pytest.mark.parametrize("where", ["main", "thread"])
def test_pages_are_handed_out_once(where):
    kept, handed, held, after = counted("keep", where)
    _, fresh, *_ = counted(where)
    assert kept == "True"
    # a few times, until the pieces between them that malloc keeps for small things are used up
    assert handed < 20
    assert fresh > 36
    # kept until it is given back
    assert held > after + 0.9


def test_who_told_malloc_is_not_overruled():
    assert counted("keep", GLIBC_TUNABLES="glibc.malloc.arena_max=4")[0] == "False"
    assert counted("keep", MALLOC_TRIM_THRESHOLD_="100000")[0] == "False"
