"""`lowlight info`: versions, what was compiled, and which backends run here."""

from __future__ import annotations

import platform
from importlib import metadata

from .terminal import Json, echo_json


def info(json: Json = False) -> None:
    """Show versions, what was compiled, GPUs, and for every backend whether it runs here or why not."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    sections = {"versions": _versions(), "build": _build(), "gpus": _gpus(), "backends": _backends()}
    sections["engines"] = _engines()
    if json:
        echo_json({title: {name.strip(): value for name, value in rows} for title, rows in sections.items()}, 1)
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for section in sections.values():
        for name, value in section:
            table.add_row(name, Text(value))
        table.add_row()
    console = Console()
    if not console.is_terminal:
        # a pipe has no width: one line a fact
        console = Console(width=1000)
    console.print(table)


def _versions() -> list[tuple[str, str]]:
    rows = [
        ("lowlight-ext", _version("lowlight-ext")),
        ("Python", f"{platform.python_version()}, {platform.platform()}"),
    ]
    return rows + [(name, _version(name)) for name in ("torch", "numpy", "pillow", "safetensors")]


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed (run from a folder)"


def _build() -> list[tuple[str, str]]:
    from lowlight_ext import build_info

    facts = build_info()
    built = ", ".join(facts["built"]) or "nothing"
    rows = [("compiled", f"{built} (asked for: {facts['requested'] or 'nothing, not installed by setup.py'})")]
    rows += [(f"  no {part}", reason) for part, reason in facts["reason"].items()]
    if not facts["loaded"]:
        return [*rows, ("  not loaded", str(facts["import_error"]))]
    rows += [("  compiler", facts["compiler"])]
    rows += [("  CPU level", f"{facts['cpu_level']} (this machine runs {facts['cpu_levels']})")]
    rows += [("  threads", f"{facts['threads']}{'' if facts['openmp'] else ' (built without OpenMP)'}")]
    if "cuda_runtime" in facts:
        rows += [("  CUDA", f"runtime {facts['cuda_runtime']}, driver for {facts['cuda_driver']}")]
    return rows


def _gpus() -> list[tuple[str, str]]:
    import torch

    if not torch.cuda.is_available():
        return [("GPU", "none" if torch.version.cuda else "none seen: this torch is built for the CPU")]
    rows = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        memory = facts.total_memory / 2**30
        rows.append((f"GPU {index}", f"{facts.name}, {memory:.0f} GiB, compute capability {facts.major}.{facts.minor}"))
    return rows


def _backends() -> list[tuple[str, str]]:
    from lowlight_ext import backends, gpu_choice

    rows = [(f"backend {name}", reason or "available") for name, reason in backends().items()]
    return rows + [(f"  {op} on a GPU", f"{name} ({reason})") for op, (name, reason) in gpu_choice().items()]


def _engines() -> list[tuple[str, str]]:
    import torch

    from ..engines.choices import choices
    from ..engines.openvino import missing

    rows = [
        ("engine torch", "available"),
        ("engine openvino", missing() or f"available, {_version('openvino')}"),
        ("engine cudagraph", "available" if torch.cuda.is_available() else "needs an NVIDIA GPU"),
    ]
    measured = choices()
    if not measured:
        return [*rows, ("engine auto", "torch: nothing measured on this machine (`lowlight tune`)")]
    for choice in measured:
        times = ", ".join(f"{name} {each:.0f} ms" for name, each in choice.milliseconds.items())
        width, height = choice.size
        # a name of its own for each: --json has them as keys
        name = f"  auto, {choice.precision}, {choice.model}"
        rows.append((name, f"{choice.engine} ({width}x{height}: {times})"))
    return rows
