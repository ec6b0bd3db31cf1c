"""Tensors and metadata of checkpoint files of every kind.

Nothing that a file holds is ever run: safetensors have no code, and pickled checkpoints are read by PyTorch's
restricted unpickler, which knows tensors, plain containers and argparse.Namespace.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .int8 import from_int8

# where pickled checkpoints keep weights (published DiffLL and AnlightenDiff; this project's training; published
# ExposureDiffusion); averaged ones are preferred
_RAW, _AVERAGED = ("state_dict", "model", "netG"), ("ema_helper", "ema")
# what torch.compile, DataParallel and DDP put before names, and what counters of operations and averages leave beside
_WRAPPED = re.compile(r"^(?:module\.|_orig_mod\.)+|(?<=\.)_orig_mod\.")
_LEFT = ("total_ops", "total_params", "n_averaged")
_NO_WEIGHTS = (
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer, not the file it names: run `git lfs pull`"),
    (re.compile(rb"\s*<(?:!doctype|html|head|\?xml)", re.IGNORECASE), "a web page: what was saved is not the download"),
)
_CHECKSUM = "checksum"


class CheckpointError(ValueError):
    """A file that holds no weights this package can use; the message says why."""


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name (on the CPU, without the prefixes of wrappers) and the metadata of a checkpoint file of any kind.

    Raises CheckpointError; a checksum that the file carries (`checksum`, those of a zip) is checked.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, not a checkpoint file")
    with path.open("rb") as file:
        head = file.read(200)
    for pattern, what in _NO_WEIGHTS:
        if pattern.match(head):
            raise CheckpointError(f"{path} is {what}")
    if head[8:9] == b"{":
        state, metadata = _read_safetensors(path)
    else:
        payload = read_pickled(path, mmap=head.startswith(b"PK"))
        state, metadata = _tensors(path, payload), _metadata(payload)
    odd = [name for name, tensor in state.items() if not _is_plain(tensor)]
    if odd:
        raise CheckpointError(f"{path} holds what is no weight (sparse, complex, without values): {short_list(odd)}")
    return {_plain_name(name): tensor for name, tensor in state.items() if name.split(".")[-1] not in _LEFT}, metadata


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Of names, dtypes, shapes and values, and of the texts beside them: SHA-256, in hexadecimal."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def with_checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a file that `read_checkpoint` shall check."""
    return {**metadata, _CHECKSUM: checksum(tensors, metadata)}


def _plain_name(name: str) -> str:
    return _WRAPPED.sub("", name)


def _is_plain(tensor: Tensor) -> bool:
    """Dense, real, with values, and no larger than what the file holds of it."""
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_complex():
        return False
    # a view may repeat one number for ever
    return tensor.numel() * tensor.element_size() <= max(1 << 20, tensor.untyped_storage().nbytes())


def short_list(names: Iterable[str], limit: int = 4) -> str:
    names = list(names)
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest


def count_of(names: Iterable[str], pattern: str) -> int:
    """One more than the largest number that the pattern finds at the start of a name."""
    found = (re.match(pattern, name) for name in names)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it has no __iter__
    except SafetensorError as error:
        raise CheckpointError(f"{path} is a damaged or truncated safetensors file ({error})") from error
    if metadata.pop(_CHECKSUM, None) not in (None, checksum(stored, metadata)):
        raise CheckpointError(f"{path} is damaged: its tensors are not those that its checksum was taken of")
    try:
        state = from_int8(stored)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    try:
        if "config" in metadata:
            metadata["config"] = json.loads(metadata["config"])
    # no JSON, numbers of thousands of digits, brackets without end
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the configuration in its metadata is not JSON ({error})") from error
    return state, metadata


def read_pickled(path: Path, mmap: bool = False) -> dict[str, Any]:
    """Raises CheckpointError; the checksums that torch.save gives a zip's parts are checked."""
    try:
        _check_zip(path)
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            # a word on the pickle's version; what cannot be read raises
            warnings.simplefilter("ignore")
            payload = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap or None)
    # damaged files make the unpickler and the zip reader raise nearly anything
    except Exception as error:
        wanted = _wanted_global(path, str(error))
        if wanted:
            raise CheckpointError(
                f"{path} was refused: reading it would call {wanted}, which is no part of a set of weights"
            ) from None
        # the rest of torch's message advises to run the file's code
        detail = re.search(r"WeightsUnpickler error:\s*(.*)", str(error))
        reason = detail[1] if detail else re.split(r"\. |\n", str(error))[0]
        reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise CheckpointError(f"{path} is no checkpoint, or a damaged or truncated one ({reason})") from None
    if not isinstance(payload, dict):
        raise CheckpointError(f"{path} holds a {type(payload).__name__}, not weights by name")
    return payload


class _NumpyType:
    """numpy.dtype in a pickle, of which nothing is taken."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _numpy_scalar(dtype: _NumpyType, data: bytes) -> bytes:
    """A number that numpy left beside the weights, where nobody reads it."""
    return data


_HARMLESS: list[Any] = [
    argparse.Namespace,
    _NumpyType,
    (_NumpyType, "numpy.dtype"),
    *((_numpy_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]


def _check_zip(path: Path) -> None:
    """Raises zipfile.BadZipFile where a part is not what was written."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        # torch.save can be told to leave them out
        if any(part.CRC for part in file.infolist()) and (bad := file.testzip()):
            raise zipfile.BadZipFile(f"{bad} is not what was written")


def _wanted_global(path: Path, message: str) -> str | None:
    """The function or class that an unreadable pickle asks for: torch names it, but not in newer kinds of pickle."""
    found = re.search(r"GLOBAL ([\w.]+)", message)
    if found:
        return found[1]
    strings: list[str] = []
    try:
        with path.open("rb") as file:
            # reads the pickle's instructions and follows none
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "STACK_GLOBAL":
                    return ".".join(strings[-2:])
                if isinstance(argument, str):
                    strings.append(argument)
    except (ValueError, OverflowError, MemoryError):
        pass
    return None


def _tensors(path: Path, payload: dict[str, Any]) -> dict[str, Tensor]:
    """The weights in an unpickled checkpoint: averaged ones over the raw ones (which alone have buffers)."""
    parts = [payload[key] for key in _RAW + _AVERAGED if isinstance(payload.get(key), Mapping)]
    state = {
        _plain_name(name): tensor
        for part in parts or [payload]
        for name, tensor in part.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }
    if not state:
        places, found = ", ".join(_AVERAGED + _RAW), short_list(map(str, payload)) or "nothing"
        raise CheckpointError(
            f"{path} holds no weights by name, neither under {places} nor at its top; it holds {found}"
        )
    return state


def _metadata(payload: dict[str, Any]) -> dict[str, Any]:
    """System, configuration and split where this project's training wrote the checkpoint."""
    config = payload.get("config")
    if not (isinstance(config, dict) and {"system", "network"} <= config.keys()):
        return {}
    return {
        "system": config["system"],
        "config": config["network"],
        "split": payload.get("split") or config.get("split"),
    }
