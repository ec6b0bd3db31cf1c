"""Times of calls side by side: rounds in turn, inputs rotated beyond the cache, median and percentiles."""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lowlight.memory import keep_freed

_WARM_UP = 2


@dataclass(frozen=True)
class Timing:
    median_ms: float
    p20_ms: float
    p80_ms: float
    runs: int


Clock = Callable[[], float]  # seconds


def begin(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Clock]:
    """A parser's options, --threads and --shared among them, and the clock they ask for; torch set accordingly."""
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shared", action="store_true", help="count the process's own seconds; for --threads 1")
    options = parser.parse_args()
    if options.shared and options.threads != 1:
        parser.error("--shared counts the seconds of all threads together: it is for --threads 1")
    keep_freed()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    return options, time.process_time if options.shared else time.perf_counter


def cache_bytes(device: torch.device) -> int:
    """Size of the last cache of the processor that computes."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).L2_cache_size
    sizes = [p.read_text().strip() for p in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    units = {"K": 1 << 10, "M": 1 << 20}
    return max((int(s[:-1]) * units[s[-1]] for s in sizes if s[-1:] in units), default=32 << 20)


def rotations(input_bytes: int, device: torch.device) -> int:
    """How many sets of inputs it takes so that none is in the cache when its turn comes again."""
    return max(2, -(-4 * cache_bytes(device) // max(1, input_bytes)))


class Contender:
    """One call to time on rotated sets of inputs, in runs that are started from outside."""

    def __init__(
        self,
        function: Callable,
        inputs: Sequence[tuple],
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        # clock: time.process_time for one thread on a machine that others use too
        self.function, self.inputs, self.device, self.clock = function, inputs, device, clock
        self.turn, self.times = 0, []

    def _run_cpu(self, inputs: tuple) -> float:
        start = self.clock()
        result = self.function(*inputs)
        stop = self.clock()
        # freed outside the measured time, for every contender alike
        del result
        return 1e3 * (stop - start)

    def _run_cuda(self, inputs: tuple) -> float:
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        self.function(*inputs)
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop)

    def run(self) -> float:
        inputs = self.inputs[self.turn % len(self.inputs)]
        self.turn += 1
        return self._run_cuda(inputs) if self.device.type == "cuda" else self._run_cpu(inputs)

    def timing(self) -> Timing:
        tenths = statistics.quantiles(self.times, n=10, method="inclusive")
        return Timing(statistics.median(self.times), tenths[1], tenths[7], len(self.times))


def race(contenders: Sequence[Contender], seconds: float, rounds: int = 5) -> list[Timing]:
    """Every contender runs in every round, about seconds / rounds long, so that a machine's mood meets all of them."""
    expected = []
    for c in contenders:
        for _ in range(_WARM_UP):
            c.run()
        expected.append(c.run())
    for _ in range(rounds):
        for c, milliseconds in zip(contenders, expected, strict=True):
            count = max(1, min(200, int(1e3 * seconds / rounds / max(milliseconds, 1e-3))))
            c.times += [c.run() for _ in range(count)]
    return [c.timing() for c in contenders]


def copy_bandwidth(device: torch.device, seconds: float, clock: Clock = time.perf_counter) -> float:
    """GB/s, read and written, of copying a large float32 tensor into another that is there already."""
    elements = (512 << 20 if device.type == "cuda" else 96 << 20) // 4
    pairs = [tuple(torch.rand(elements, device=device) for _ in range(2)) for _ in range(2)]
    (timing,) = race([Contender(lambda source, target: target.copy_(source), pairs, device, clock)], seconds)
    return 8e-6 * elements / timing.median_ms


def matrix_rate(device: torch.device, seconds: float, clock: Clock = time.perf_counter) -> float:
    """GFLOP/s of a float32 matrix product: the arithmetic that this device is known to reach."""
    n = 8192 if device.type == "cuda" else 1024
    (timing,) = race([Contender(torch.mm, [tuple(torch.rand(2, n, n, device=device))], device, clock)], seconds)
    return 2e-6 * n**3 / timing.median_ms
