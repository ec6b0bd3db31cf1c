"""Rows as records: what was timed, on what, by what; a rerun replaces the rows of the same key."""

import csv
import datetime
import json
import os
import platform
import re
import subprocess
from pathlib import Path

import torch

import lowlight_ext

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
KEY = ("op", "implementation", "shape", "dtype", "threads", "memory")


def processor() -> str:
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The commit of this tree, with a plus sign where files differ from it; "unknown" outside a repository."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine(device: torch.device, threads: int) -> dict:
    info = lowlight_ext.build_info()
    return {
        "cpu": processor(),
        "threads": threads,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu_level": info.get("cpu_level", info.get("level")),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
    }


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(text)
    os.replace(temporary, path)


def save(rows: list[dict], facts: dict, suffix: str = "", key: tuple[str, ...] = KEY) -> Path:
    """Write results/NAME.json and NAME.csv, NAME after the processor that computed; returns the JSON's path.

    A row replaces the one that is equal to it in all of `key`.
    """
    name = re.sub(r"[^a-z0-9]+", "-", (facts["gpu"] or facts["cpu"]).lower()).strip("-")
    path = RESULTS / f"{name}{suffix}.json"
    RESULTS.mkdir(exist_ok=True)
    kept = json.loads(path.read_text()) if path.exists() else []
    fresh = [{**row, **facts} for row in rows]
    keys = {tuple(row[k] for k in key) for row in fresh}
    merged = [row for row in kept if tuple(row.get(k) for k in key) not in keys] + fresh
    merged.sort(key=lambda row: tuple(str(row[k]) for k in key))
    _write(path, json.dumps(merged, indent=1) + "\n")
    with open(path.with_suffix(".csv.part"), "w", newline="") as file:
        # rows of an earlier version of the bench may lack some
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in merged for name in row)))
        writer.writeheader()
        writer.writerows(merged)
    os.replace(path.with_suffix(".csv.part"), path.with_suffix(".csv"))
    return path
