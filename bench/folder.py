"""Pictures a second of `lowlight enhance FOLDER`: `python bench/folder.py [--data FOLDER] [--devices cpu,cpu]`.

One thing after another, and read, computed and written at once, in turn, from files to files; loading is not counted.
Beside it the seconds of a core that a picture costs, which other work on the machine changes little.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from lowlight.commands.enhancing import Request, reader_of
from lowlight.commands.jobs import Job
from lowlight.commands.pipeline import Read, run_all
from lowlight.commands.reports import Report
from lowlight.commands.workers import parse_devices, run_on
from lowlight.files.pictures import quantise
from lowlight.scenes.synthetic import darken, still_life


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of pictures, taken repeatedly (default: made still lifes)")
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--formats", nargs="+", default=["jpg", "png"], choices=("jpg", "png", "webp"))
    parser.add_argument("--size", type=int, nargs=2, default=(600, 400), metavar=("W", "H"), help="of made ones")
    parser.add_argument("--model", default="default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--devices", help="also by a process on each, loading counted apart: cpu,cpu, all ...")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def sources(options: argparse.Namespace) -> list[Image.Image]:
    if options.data is not None:
        paths = sorted(path for path in options.data.iterdir() if path.is_file())[: options.pictures]
        return [Image.open(path).convert("RGB") for path in paths]
    scenes = (darken(still_life(*options.size, seed=seed), seed=seed) for seed in range(4))
    return [Image.fromarray(quantise(scene, None, False, 8)) for scene in scenes]


def folder_of(pictures: list[Image.Image], format: str, count: int, root: Path) -> list[Job]:
    """Jobs on a folder of so many files, the pictures in turn."""
    inside, outside = root / format, root / "out"
    inside.mkdir()
    jobs = [Job(inside / f"{i:04}.{format}", outside / f"{i:04}.{format}") for i in range(count)]
    for i, job in enumerate(jobs):
        pictures[i % len(pictures)].save(job.source, quality=95)
    return jobs


def rate(jobs: list[Job], read: Read, overlap: bool) -> tuple[float, float]:
    """Pictures a second, and seconds of a core a picture. Raises RuntimeError where one failed."""
    start, spent = time.perf_counter(), time.process_time()
    run_all(jobs, read, checked, overlap=overlap)
    return len(jobs) / (time.perf_counter() - start), (time.process_time() - spent) / len(jobs)


def rate_on(devices: list[str], jobs: list[Job], request: Request) -> float:
    """Pictures a second from the first report on: what workers do before that is loading."""
    times: list[float] = []
    run_on(devices, jobs, request, 0, lambda one: times.append(checked(one)), print)
    return (len(jobs) - 1) / (times[-1] - times[0])


def checked(report: Report) -> float:
    if report.status != "enhanced":
        raise RuntimeError(str(report))
    return time.perf_counter()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    request = Request(model=options.model, device=options.device)
    read = reader_of(request, 0, options.pictures, print)
    pictures = sources(options)
    width, height = pictures[0].size
    print(f"{options.pictures} pictures of {width} x {height}, {options.model} on {options.device}, "
          f"{options.threads} threads, medians of {options.rounds}")  # fmt: skip
    for format in options.formats:
        with tempfile.TemporaryDirectory() as root:
            jobs = folder_of(pictures, format, options.pictures, Path(root))
            # what a first call sets up is not the folder's
            rate(jobs[:2], read, False)
            rates: dict[str, list[float]] = {}
            costs: dict[str, list[float]] = {}
            for _ in range(options.rounds):
                for name, overlap in (("serial", False), ("at once", True)):
                    found, spent = rate(jobs, read, overlap)
                    rates.setdefault(name, []).append(found)
                    costs.setdefault(name, []).append(spent)
                if options.devices:
                    found = rate_on(parse_devices(options.devices), jobs, request)
                    rates.setdefault(options.devices, []).append(found)
            print(f"{format}: {row(rates, 2)} pictures a second; {row(costs, 3)} core seconds a picture", flush=True)


def row(found: dict[str, list[float]], digits: int) -> str:
    return ", ".join(f"{name} {statistics.median(values):.{digits}f}" for name, values in found.items())


if __name__ == "__main__":
    main()
