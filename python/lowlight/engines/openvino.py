"""Networks as OpenVINO's graphs: made once and kept on disk, compiled for the sizes that come."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import threading
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..exporting import export_program
from ..systems.calls import Call
from .cache import version_of

_SIZES = 8  # of which compiled graphs are kept in memory
_PRECISION = {"exact": "f32", "fast": "bf16"}


def missing() -> str | None:
    """Why OpenVINO cannot run here, or None."""
    if importlib.util.find_spec("openvino") is None:
        return "needs openvino: pip install 'lowlight-ext[openvino]'"
    return None


class Graph:
    """A network's graph; called with its tensors, on the CPU in float32, it gives the network's output."""

    def __init__(self, file: Path, call: Call, precision: str, varied: bool):
        """file: where the graph is kept, .xml; made of the call where it is not there. varied: one for all sizes."""
        self._model = _kept(file, call)
        self._varied, self._precision = varied, _PRECISION[precision]
        self._compiled: OrderedDict[tuple, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor) -> Tensor:
        arrays = [x.detach().contiguous().numpy() for x in inputs]
        sizes = () if self._varied else tuple(x.shape for x in arrays)
        # a request does one thing at a time
        with self._lock:
            request = self._request(sizes)
            return torch.from_numpy(request.infer(arrays, share_inputs=True)[0])

    def _request(self, sizes: tuple) -> Any:
        threads = torch.get_num_threads()
        key = (threads, sizes)
        if key not in self._compiled:
            self._compiled[key] = _compiled(self._model, sizes, self._precision, threads)
        self._compiled.move_to_end(key)
        if len(self._compiled) > _SIZES:
            self._compiled.popitem(last=False)
        return self._compiled[key]


def _compiled(model: Any, sizes: tuple, precision: str, threads: int) -> Any:
    import openvino

    if sizes:
        model = model.clone()
        model.reshape(dict(zip(model.inputs, map(list, sizes), strict=True)))
    wanted = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # the caller may have said where the process runs
        "ENABLE_CPU_PINNING": False,
    }
    return openvino.Core().compile_model(model, "CPU", wanted).create_infer_request()


def graph_file(folder: Path, key: str, name: str) -> Path:
    """Where the graph of a system's network is kept, for the versions that made it."""
    made_by = f"torch{version_of('torch')}-openvino{version_of('openvino')}"
    return folder / key / made_by / f"{name}.xml"


def _kept(file: Path, call: Call) -> Any:
    """The graph of a file, made first where there is none."""
    import openvino

    if not file.is_file():
        logging.getLogger("lowlight").warning("openvino: making the graph of %s, once", file.stem)
        model = openvino.convert_model(export_program(call))
        try:
            _keep(model, file)
        except OSError as error:
            warnings.warn(
                f"openvino: its graph cannot be kept ({error}); LOWLIGHT_CACHE names another folder", stacklevel=2
            )
            return model
    return openvino.Core().read_model(file)


def _keep(model: Any, file: Path) -> None:
    """Write it, a file of numbers beside it, under other names first: with its .xml a graph is whole."""
    import openvino

    part = file.parent / f".{secrets.token_hex(4)}.part"
    part.mkdir(parents=True)
    try:
        openvino.save_model(model, part / file.name, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            os.replace((part / file.name).with_suffix(suffix), file.with_suffix(suffix))
    finally:
        shutil.rmtree(part, ignore_errors=True)
