"""`lowlight export`: a model as a small file of weights, as an ONNX file, or as a program of torch.export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completion
from .seed_option import seed_option
from .terminal import Json, Quiet, Voice

_SUFFIXES = (".safetensors", ".onnx", ".pt2")


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A shipped model, last.pt of a training, or a published checkpoint.", autocompletion=completion.models
        ),
    ],
    output: Annotated[Path | None, typer.Argument(help="The file to write: .safetensors, .onnx or .pt2.")] = None,
    dtype: Annotated[str, typer.Option(help="Of weights: float16, bfloat16, float32 or int8.")] = "float16",
    out: Annotated[Path | None, typer.Option("-o", "--output", help="The same, as an option.")] = None,
    part: Annotated[
        str, typer.Option(help="Of a graph: network (one call), picture (all the way), or another network's name.")
    ] = "network",
    size: Annotated[tuple[int, int], typer.Option(help="Width and height of a picture's graph.")] = (600, 400),
    steps: Annotated[int | None, typer.Option(help="Network calls of a picture's graph.", min=1)] = None,
    seed: Annotated[int, seed_option("Of a picture's graph.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a checkpoint's averaged weights as a small safetensors file that holds nothing else.

    Or as a graph that runs without this package, in float32: OUTPUT.onnx for onnxruntime and others, OUTPUT.pt2 for
    torch.export.load. A network's takes any batch and size; a whole picture's is of one size. A DDPM's OUTPUT without
    extension is a folder that the diffusers library reads as a DDPMPipeline.
    """
    try:
        path = output or out
        if path is None or (output and out):
            raise ValueError("one file to write: export MODEL OUTPUT, or export MODEL -o OUTPUT")
        if path.suffix not in ("", *_SUFFIXES):
            raise ValueError(f"cannot export to '{path.suffix}' files; use one of {', '.join(_SUFFIXES)}")
        if path.resolve() == Path(model).resolve():
            raise ValueError(f"{path} is the model itself, and would be written over")
        if path.suffix in (".onnx", ".pt2"):
            notes = _graph(model, path, part, size, steps, seed)
        else:
            notes = _weights(model, path, dtype) if path.suffix else _pipeline(model, path)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    size_of = path.stat().st_size if path.is_file() else None
    voice = Voice(quiet, json=json)
    for line in (*notes, *([] if size_of is None else [f"{path}: {size_of / 1e6:.1f} MB"])):
        voice.tell(line)
    voice.answer({"path": str(path), "bytes": size_of, "notes": notes})


def _weights(model: str, path: Path, dtype: str) -> list[str]:
    import torch

    from ..checkpoints import load, parse_dtype, save_weights

    system = load(model, device="cpu")
    metadata = {"system": system.name, "config": system.config}
    if system.trained_on:
        metadata["split"] = system.trained_on
    kept = torch.int8 if dtype == "int8" else parse_dtype(dtype)
    assert kept is not None
    save_weights(path, system.state_dict(), metadata, kept)
    return []


def _pipeline(model: str, path: Path) -> list[str]:
    from ..checkpoints import load
    from ..systems.ddpm.checkpoint import save_diffusers
    from ..systems.ddpm.system import DDPM

    system = load(model, device="cpu")
    if not isinstance(system, DDPM):
        raise ValueError(f"{path}: a file of weights ends in .safetensors; a folder is for a DDPM, got a {system.name}")
    save_diffusers(system, path)
    return [f"{path}: a DDPMPipeline of the diffusers library"]


def _graph(model: str, path: Path, part: str, size: tuple[int, int], steps: int | None, seed: int) -> list[str]:
    """Writes it; -> what to say of it."""
    from ..checkpoints import load
    from ..exporting import write_onnx, write_program
    from ..systems.base import picture_system
    from ..systems.calls import calls, picture_call

    system = load(model, device="cpu")
    found = calls(system)
    if part == "picture":
        call = picture_call(picture_system(system), steps or system.config.steps, seed, *size)
    elif part in found:
        call = found[part]
    else:
        raise ValueError(f"--part of {system.name} must be one of {', '.join(found)}, picture, got {part!r}")
    inputs = ", ".join(f"{name} {list(x.shape)}" for name, x in call.inputs.items())
    if path.suffix == ".pt2":
        write_program(path, call)
        return [f"inputs as recorded: {inputs}"]
    distance = write_onnx(path, call)
    checked = "onnxruntime is not installed: not compared" if distance is None else f"from PyTorch's: {distance:.1e}"
    compared = f"onnxruntime's result, largest difference over largest number {checked}"
    return [f"inputs as recorded: {inputs}", compared]
