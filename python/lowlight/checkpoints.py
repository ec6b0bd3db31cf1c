"""Weights and the systems they belong to: the shipped ones, this project's files, checkpoints of published systems."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from .engines.use import check_engine, use_engine
from .files.atomic import write_atomically
from .files.int8 import SCALE, to_int8
from .files.tensors import CheckpointError, read_checkpoint, short_list, with_checksum
from .shipped import DEFAULT_MODEL, card_text, shipped_models
from .systems.base import System
from .systems.ddpm.checkpoint import is_diffusers_folder, read_diffusers
from .systems.fields import network_config
from .systems.registry import SYSTEMS, Row, recognised

# in the folders of hub.py and of trainings
WEIGHTS_NAME, LAST = "model.safetensors", "last.pt"


def load(
    name_or_path: str | Path = "default",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    engine: str = "torch",
    precision: str | None = None,
    **options: Any,
) -> System:
    """A system with its weights, ready to enhance (in evaluation mode).

    name_or_path: a shipped name (`shipped_models()`; "default" is the best of them), a .safetensors file written by
    `save_weights`, or a checkpoint file of a published system (DiffLL; AnlightenDiff, one-step or two-step;
    ExposureDiffusion), whose averaged weights are taken where it has them; a folder that hub.save_pretrained or a
    training wrote (its last.pt), or one of the diffusers library with a DDPM's UNet2DModel. What a file without this
    project's metadata holds is told from the names and shapes of its tensors; those that are no part of the system are
    named in a warning.
    device: default the first GPU, or the CPU where there is none. dtype: of the weights, float32 (default), bfloat16,
    float16 or float64, as torch has it or by name.
    engine: what computes the networks: torch, openvino (the extra [openvino]; on the CPU), cudagraph (sRGB pictures
    replayed on a GPU) or auto, the one that `lowlight tune` found to be fastest. precision: exact (default), float32,
    within 1e-3 of torch's picture; or fast, bfloat16 where the processor has it, at least 45 dB from it.
    options: what the file of an ExposureDiffusion may not say: resid, whether its network predicts the noise, needed
    for a unet of 4 outputs; with_photon, whether it sees the photons (True, most) or the original input beside the
    picture, needed for one of 8 inputs; camera, whose noise it was trained on. Of an AnlightenDiff: the switches of the
    published ablations, use_center ... without, as AnlightenDiffConfig has them.
    Raises FileNotFoundError, TypeError on another option, ValueError for a device, a dtype, an engine or a precision
    that cannot be had here, and CheckpointError for a file that is no usable checkpoint; no code in a file is run.
    """
    device, dtype = parse_device(device) or usual_device(), parse_dtype(dtype)
    check_engine(engine, precision, device, dtype)
    path = _find(name_or_path)
    state, metadata = (read_diffusers if is_diffusers_folder(path) else read_checkpoint)(path)
    system = _build(path, state, metadata, options)
    system.trained_on = metadata.get("split") or _card_split(path.with_suffix(".md"))
    system = system.to(device=device, dtype=dtype or torch.float32).eval().requires_grad_(False)
    return use_engine(system, engine, precision)


def chosen_system(
    model: str | os.PathLike | System,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    engine: str = "torch",
    precision: str | None = None,
) -> System:
    """What enhance, enhance_raw and enhance_video work with; raises as load_system, TypeError for what is no model,
    ValueError for a loaded one with any of these."""
    if isinstance(model, str | os.PathLike):
        return load_system(model, device=device, dtype=dtype, engine=engine, precision=precision)
    if not hasattr(model, "enhance_tensor"):
        kind = type(model).__name__
        raise TypeError(f"model must be a shipped name, a checkpoint's path or what lowlight.load returned, got {kind}")
    if device is None and dtype is None and precision is None and engine == "torch":
        return model
    raise ValueError(
        "device, dtype, engine and precision are for a model given by name or path; this one is already loaded"
    )


def load_system(
    model: str | os.PathLike,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    engine: str = "torch",
    precision: str | None = None,
    **options: Any,
) -> System:
    """lowlight.load; keeps the last two, so that a loop of calls loads once.

    options: as load takes them, None to leave one out. Raises what load raises.
    """
    path = _in_folder(Path(model))
    # a file written anew under the same name is another model
    version = path.stat().st_mtime_ns if path.is_file() else 0
    given = {name: value for name, value in options.items() if value is not None}
    told = {"engine": engine, "precision": precision, **given}
    return _load(os.fspath(model), version, parse_device(device), parse_dtype(dtype), **told)


@lru_cache(maxsize=2)
def _load(model: str, version: int, device: torch.device | None, dtype: torch.dtype | None, **options: Any) -> System:
    return load(model, device=device, dtype=dtype, **options)


def usual_device() -> torch.device:
    """Where nobody names one: the first GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def parse_device(device: str | torch.device | None) -> torch.device | None:
    """A torch device from its name; raises ValueError if this torch has no such device."""
    if device is None:
        return None
    try:
        parsed = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device: no such device {device!r} ({str(error).splitlines()[0]})") from None
    if parsed.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: {device} asked for, but torch {torch.__version__} sees no GPU")
    if parsed.type == "cuda" and (parsed.index or 0) >= (count := torch.cuda.device_count()):
        raise ValueError(f"device: {device} asked for, but torch sees {count} GPUs, cuda:0 to cuda:{count - 1}")
    return parsed


def parse_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """A floating-point torch dtype from its name; raises ValueError for any other."""
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
    if dtype is None or (isinstance(dtype, torch.dtype) and dtype in names.values()):
        return dtype
    if not isinstance(dtype, str) or dtype not in names:
        raise ValueError(f"dtype: expected one of {', '.join(names)}, got {dtype!r}")
    return names[dtype]


def save_weights(
    path: str | Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> None:
    """Write a safetensors file that `load` reads, under a temporary name first: there is never half a file at `path`.

    state: tensors by name; floating ones are stored as `dtype`, torch.int8 meaning what `files/int8.py` makes of the
    large ones and float16 for the others. metadata: "system" and "config" (a dataclass or a
    dict) at least; what is not a string is stored as JSON.
    Raises ValueError where "system" or "config" is missing or a weight is not finite in `dtype`.
    """
    if not {"system", "config"} <= metadata.keys():
        raise ValueError(f"save_weights: metadata needs 'system' and 'config', got {sorted(metadata)}")
    if dtype == torch.int8:
        state, dtype = to_int8(state), torch.float16
    tensors = {name: tensor if name.endswith(SCALE) else _stored(tensor, dtype) for name, tensor in state.items()}
    bad = _not_finite(tensors)
    if bad:
        raise ValueError(f"save_weights: not finite as {dtype}: {short_list(bad)}")
    text = {key: value if isinstance(value, str) else json.dumps(_plain(value)) for key, value in metadata.items()}
    write_atomically(path, save(tensors, metadata=with_checksum(tensors, text)), durable=True)


def _find(name_or_path: str | Path) -> Path:
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(f"load: expected a name or a path, got {type(name_or_path).__name__}")
    models = {model.name: model.path for model in shipped_models()}
    name = DEFAULT_MODEL if name_or_path == "default" else str(name_or_path)
    if name in models:
        return models[name]
    path = Path(name_or_path).expanduser()
    if name_or_path != "default" and path.exists():
        return _in_folder(path)
    known = f"the shipped models are {', '.join(models)}" if models else "no models are shipped in this installation"
    raise FileNotFoundError(f"load: {str(name_or_path)!r} is neither a shipped model nor a file; {known}")


def _in_folder(path: Path) -> Path:
    """The weights in a folder of the hub's form or of a training; else the path."""
    names = (WEIGHTS_NAME, LAST) if path.is_dir() else ()
    return next((path / name for name in names if (path / name).is_file()), path)


def _row_of(path: Path, state: Mapping[str, Tensor], named: str | None) -> Row:
    """That of the system which the metadata names, else of the one that the tensors' names tell."""
    name = recognised(state) if named is None else named
    if not isinstance(name, str) or name not in SYSTEMS:
        what = f"a system {name!r}" if name else f"an unknown network ({short_list(state)})"
        raise CheckpointError(f"{path} holds {what}; known systems: {', '.join(SYSTEMS)}")
    return SYSTEMS[name]


def _build(path: Path, state: Mapping[str, Tensor], metadata: dict[str, Any], options: dict[str, Any]) -> System:
    """The system that a file holds, with its weights."""
    row = _row_of(path, state, metadata.get("system"))
    unknown = options.keys() - set(row.options)
    if unknown:
        known = ", ".join(row.options) or "none"
        raise TypeError(f"load: options of {row.title} are {known}; got {', '.join(sorted(unknown))}")
    try:
        weights, told, ignored = row.prepare(state)
        fields = metadata["config"] if "config" in metadata else row.detect(weights) | told
        if not isinstance(fields, Mapping):
            raise ValueError(f"expected keys and values, got a {type(fields).__name__}")
        config = network_config(row.config, row.complete(fields, **options))
        # without memory first: a configuration may promise any size
        with torch.device("meta"):
            promised = row.system(config)
    except KeyError as error:
        raise CheckpointError(f"{path} looks like {row.title}, but has no {error.args[0]}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path} looks like {row.title}, but {error}") from error
    # tensors of other shapes than a network's make those who look at them raise nearly anything
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: its configuration does not make {row.title} ({error})") from error
    _fit(path, promised, weights)
    system = row.system(config)
    system.load_state_dict(weights)
    if ignored:
        warnings.warn(
            f"{path}: {len(ignored)} tensors are no part of {row.title} and were ignored: {short_list(ignored)}",
            stacklevel=3,
        )
    return system


def _fit(path: Path, system: System, state: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError where the weights' names, shapes or values are not the system's."""
    own = system.state_dict()
    wrong_shape = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    for problem, names in (
        ("lacks", [name for name in own if name not in state]),
        ("has too many weights,", [name for name in state if name not in own]),
        ("has weights of another shape,", wrong_shape),
        ("has weights that are not finite,", _not_finite(state)),
    ):
        if names:
            raise CheckpointError(f"{path} {problem} {short_list(names)}")


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.detach().cpu()
    # a copy of its own: safetensors refuses tensors that share memory
    return tensor.to(dtype if tensor.is_floating_point() else tensor.dtype, copy=True).contiguous()


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _not_finite(state: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]


def _card_split(card: Path) -> str | None:
    """What a model card says in a line "Training split: NAME"."""
    found = re.search(r"^Training split: *([\w-]+)", card_text(card), re.MULTILINE)
    return found[1] if found else None
