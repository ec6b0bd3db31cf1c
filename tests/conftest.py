"""Shared by all tests: poisoned memory, a line on what ran and one on what was skipped, slow tests on request only."""

import math
import os
from collections import Counter

import pytest

# workers of `pytest -n` share the cores: torch, and what tests start, must not take them all in each
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

import torch

# without a GPU the Triton kernels run interpreted on CPU tensors, which triton decides when it is imported
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from lowlight_ext import testing
from lowlight_ext.backends import NAMES, OPERATORS, backends
from lowlight_ext.testing import DEVICES, implementations, interpreted

# the normalisations have kernels of their own for channels_last; to the others it is a copy like any layout
QUICK_LAYOUTS = ("contiguous", "channels_last")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config, items):
    testing.thorough = config.getoption("--slow")
    if testing.thorough:
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="marked slow: run with --slow"))
        elif takes_an_interpreter_long(item):
            item.add_marker(pytest.mark.skip(reason="triton interpreted, more than small float32: run with --slow"))


def takes_an_interpreter_long(item):
    """Triton's interpreter takes a hundred times a kernel's time: small float32 pictures in two layouts, no network, or
    --slow.

    test_triton.py has a pass of every half-precision number, and of float64's bounds.
    """
    params = item.callspec.params if hasattr(item, "callspec") else {}
    if "triton" not in (params.get("implementation"), params.get("compiled")) or not interpreted("triton"):
        return False
    return (
        item.get_closest_marker("network") is not None
        or params.get("dtype", torch.float32) != torch.float32
        or params.get("layout", "contiguous") not in QUICK_LAYOUTS
        or math.prod(params.get("shape", ())) > 1000
    )


@pytest.fixture(autouse=True, scope="session")
def poisoned_memory():
    """Uninitialised memory is filled with NaN, so that a forgotten write shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=NAMES)
def implementation(request):
    """-> (backend, device): one test for each backend; visibly skipped, with the reason, where it is missing.

    The test's `op` parameter, where it has one, says of which operator.
    """
    return served(request)


@pytest.fixture(params=NAMES[1:])
def compiled(request):
    """As `implementation`, without the reference: for what is compared with it."""
    return served(request)


def served(request):
    backend = request.param
    op = request.node.callspec.params.get("op") or getattr(request.module, "OPERATOR", "haar_dwt2d")
    reason = implementations(op)[backend, DEVICES[backend]]
    if reason:
        pytest.skip(f"{backend}: {reason}")
    # for the summary, which may be another process's
    request.node.user_properties.append(("implementation", backend))
    return backend, DEVICES[backend]


def pytest_terminal_summary(terminalreporter):
    slowest(terminalreporter)
    ran = Counter(
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "implementation"
    )
    words = []
    for backend in NAMES:
        words.append(f"{backend} ran {ran[backend]}" if ran[backend] else f"{backend} did not run")
        if backend == "triton" and ran[backend] and DEVICES[backend] == "cpu":
            words[-1] += " interpreted"
        if reason := backends()[backend]:
            words[-1] += f" ({reason})"
        elif missing := [op for op in OPERATORS if backends(op)[backend]]:
            words[-1] += f" (lacks {', '.join(missing)})"
    terminalreporter.write_line("implementations: " + ", ".join(words))
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        words = [f"{count} ({reason})" for reason, count in reasons.most_common()]
        terminalreporter.write_line(f"skipped {sum(reasons.values())}: " + ", ".join(words))


def slowest(terminalreporter, count=10):
    """The tests that took longest, whatever --durations says."""
    seconds = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds[report.nodeid] += report.duration
    if seconds:
        words = [f"{time:.1f} s {name}" for name, time in seconds.most_common(count)]
        terminalreporter.write_line(f"the {len(words)} slowest: " + ", ".join(words))
