"""Load `lowlight serve` with 1, 8 and 64 clients: `python bench/serving.py`.

Every client posts a picture of its own, again as soon as it is answered; answers are checked to be each client's own.
One thread computes. Seconds are the clock's, so other busy processes lengthen them; "cpu" is the processor's time that
the server spent on a request, and "direct" what the same picture takes without a server.
"""

import argparse
import hashlib
import http.client
import re
import subprocess
import sys
import threading
import time
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from records import machine, save

from lowlight import load
from lowlight.files.pictures import encode, read_picture
from lowlight.systems.brighten import enhance_picture


def picture(number: int, width: int, height: int) -> bytes:
    """A JPEG that no other number has."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 90, (6, 8, 3), dtype=np.uint8))
    stream = BytesIO()
    coarse.resize((width, height), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
    return stream.getvalue()


class Client(threading.Thread):
    """Posts its picture until the time is over, at least once."""

    def __init__(self, port: int, data: bytes, end: float):
        super().__init__()
        self.port, self.data, self.end = port, data, end
        self.seconds: list[float] = []
        self.answers: set[str] = set()
        self.failures: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
        while not self.seconds or time.perf_counter() < self.end:
            began = time.perf_counter()
            connection.request("POST", "/enhance", self.data)
            answer = connection.getresponse()
            body = answer.read()
            self.seconds.append(time.perf_counter() - began)
            if answer.status != 200:
                self.failures.append(f"{answer.status} {body[:100]!r}")
            self.answers.add(hashlib.sha256(body).hexdigest())


def cpu_seconds(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return float(re.search(r"^process_cpu_seconds_total (\S+)", text, re.MULTILINE)[1])


def loaded(port: int, clients: int, seconds: float, size: tuple[int, int]) -> dict:
    """One row: requests a second and the percentiles of their seconds."""
    spent, began = cpu_seconds(port), time.perf_counter()
    crowd = [Client(port, picture(number, *size), began + seconds) for number in range(clients)]
    for client in crowd:
        client.start()
    for client in crowd:
        client.join()
    took, times = time.perf_counter() - began, [s for client in crowd for s in client.seconds]
    failures = [failure for client in crowd for failure in client.failures]
    if failures:
        raise SystemExit(f"{len(failures)} requests failed: {failures[0]}")
    answers = [client.answers for client in crowd]
    if any(len(own) != 1 for own in answers) or len(set().union(*answers)) != clients:
        raise SystemExit("answers were mixed up")
    p50, p99 = np.percentile(times, (50, 99))
    return {
        "clients": clients, "size": f"{size[0]}x{size[1]}", "requests": len(times),
        "requests_per_s": round(len(times) / took, 3), "p50_ms": round(p50 * 1e3, 1), "p99_ms": round(p99 * 1e3, 1),
        "cpu_ms": round((cpu_seconds(port) - spent) / len(times) * 1e3, 1),
    }  # fmt: skip


def direct(size: tuple[int, int], count: int = 8) -> float:
    """Milliseconds of the processor for a picture without a server."""
    system, times = load("default", device="cpu"), []
    for number in range(count + 1):
        began = time.process_time()
        encode(enhance_picture(system, read_picture("p", picture(number, *size))), "JPEG")
        times.append(time.process_time() - began)
    # the first warms up
    return round(float(np.median(times[1:])) * 1e3, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--size", type=int, nargs=2, default=(300, 200), metavar=("W", "H"))
    parser.add_argument("--seconds", type=float, default=20.0, help="at least, of each number of clients")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = tuple(options.size)
    alone = direct(size)
    command = "import torch; torch.set_num_threads(1); from lowlight.cli import main; main()"
    arguments = ["serve", "--port", "0", "--device", "cpu", "--timeout", "900", "--queue", "64"]
    server = subprocess.Popen([sys.executable, "-c", command, *arguments], stdout=subprocess.PIPE, text=True)
    rows = []
    try:
        port = int(re.search(r":(\d+) ", server.stdout.readline())[1])
        loaded(port, 1, 0, size)
        print(f"{'clients':>7}{'requests':>10}{'a second':>10}{'p50 ms':>10}{'p99 ms':>10}{'cpu ms':>9}{'direct':>9}")
        for clients in options.clients:
            row = {**loaded(port, clients, options.seconds, size), "direct_cpu_ms": alone}
            rows.append(row)
            print(f"{clients:>7}{row['requests']:>10}{row['requests_per_s']:>10}{row['p50_ms']:>10}{row['p99_ms']:>10}"
                  f"{row['cpu_ms']:>9}{alone:>9}", flush=True)  # fmt: skip
    finally:
        server.terminate()
        server.wait(60)
    print(save(rows, machine(torch.device("cpu"), 1), "-serving", ("clients", "size", "threads")))


if __name__ == "__main__":
    main()
