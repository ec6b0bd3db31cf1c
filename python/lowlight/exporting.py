"""Network calls as graphs that need no line of this package: torch.export's programs, and ONNX files."""

from __future__ import annotations

import importlib.util
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lowlight_ext

from .files.atomic import write_atomically
from .systems.calls import Call

KINDS = (".onnx", ".pt2")
_TOLERANCE = 1e-3  # of the largest number: another library's convolutions round in another order


def export_program(call: Call) -> torch.export.ExportedProgram:
    """The call as a graph of PyTorch's own operators, of any batch and any size that it takes (`multiples`)."""
    height, width = (torch.export.Dim(name, min=2, max=4096) for name in ("h", "w"))
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = []
    for name in call.inputs:
        multiple = call.multiples.get(name)
        own: dict[int, Any] = {0: batch} if call.batch else {}
        if multiple:
            own[2], own[3] = (side if multiple == 1 else multiple * side for side in (height, width))
        shapes.append(own)
    # under no_grad large pictures go in strips, whose number would be a constant of the graph
    with torch.set_grad_enabled(bool(call.multiples)), warnings.catch_warnings():
        # of torch about itself
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(
            call.module.eval(), tuple(call.inputs.values()), dynamic_shapes=(tuple(shapes),), strict=False
        )
        return program.run_decompositions(lowlight_ext.decompositions())


def write_program(path: Path, call: Call) -> None:
    """The graph as torch.export.load reads it."""
    buffer = io.BytesIO()
    torch.export.save(export_program(call), buffer)
    write_atomically(path, buffer.getvalue())


def write_onnx(path: Path, call: Call) -> float | None:
    """An ONNX file of the call, of its weights too; -> how far onnxruntime is from PyTorch, None where it is missing.

    The distance is the largest, over the largest number, on inputs of another size than the graph was recorded with.
    Raises ValueError without the extra, and where the distance is no rounding: then nothing is written.
    """
    for module in ("onnx", "onnxscript"):
        if importlib.util.find_spec(module) is None:
            raise ValueError(f"export to ONNX needs {module}: pip install 'lowlight-ext[onnx]'")
    program = export_program(call)
    try:
        written = torch.onnx.export(
            program, dynamo=True, input_names=list(call.inputs), output_names=[call.output], verbose=False
        )
    except torch.onnx.OnnxExporterError as error:
        cause = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(f"export: torch {torch.__version__} finds no ONNX form of {call.output} ({cause})") from error
    assert written is not None
    data = written.model_proto.SerializeToString()
    distance = None
    if importlib.util.find_spec("onnxruntime") is not None:
        distance = _distance(data, call)
        if not distance <= _TOLERANCE:
            raise ValueError(f"export: onnxruntime's result is {distance:.2g} of the largest number from PyTorch's")
    write_atomically(path, data)
    return distance


def _distance(data: bytes, call: Call) -> float:
    import onnxruntime

    inputs = {name: _other(name, x, call) for name, x in call.inputs.items()}
    with torch.no_grad():
        own = call.module(*inputs.values())
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {name: x.numpy() for name, x in inputs.items()})
    return ((torch.from_numpy(result) - own).abs().max() / own.abs().max()).item()


def _other(name: str, x: Tensor, call: Call) -> Tensor:
    """The example with a third of the rows more, where the graph takes other sizes."""
    multiple = call.multiples.get(name)
    return x if multiple is None else torch.cat([x, x[..., : x.shape[-2] // 3, :]], dim=-2)
