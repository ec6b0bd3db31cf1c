"""Files of a DDPM's weights: this project's, and folders of the diffusers library with a UNet2DModel inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from ...files.atomic import write_atomically
from ...files.tensors import CheckpointError, count_of, read_checkpoint
from .config import DDPMConfig
from .system import DDPM

_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
# fields of a UNet2DModel's configuration, by the name of ours
_FIELDS = {
    "widths": "block_out_channels", "layers": "layers_per_block", "head_width": "attention_head_dim",
    "norm_groups": "norm_num_groups", "norm_eps": "norm_eps", "cosine_first": "flip_sin_to_cos",
    "frequency_shift": "freq_shift", "downsample_padding": "downsample_padding",
}  # fmt: skip
# what a UNet2DModel may say beside them, and the only values that this network has
_FIXED = {
    "in_channels": 3, "out_channels": 3, "act_fn": "silu", "time_embedding_type": "positional",
    "center_input_sample": False, "resnet_time_scale_shift": "default", "mid_block_scale_factor": 1,
    "add_attention": True, "dropout": 0.0, "attn_norm_num_groups": None, "class_embed_type": None,
    "num_class_embeds": None, "downsample_type": "conv", "upsample_type": "conv",
    "mid_block_type": "UNetMidBlock2D",
}  # fmt: skip
_PROCESS = {
    "timesteps": "num_train_timesteps", "schedule": "beta_schedule", "beta_start": "beta_start",
    "beta_end": "beta_end", "zero_terminal_snr": "rescale_betas_zero_snr", "prediction": "prediction_type",
    "variance": "variance_type", "clip": "clip_sample_range", "spacing": "timestep_spacing",
}  # fmt: skip
_PIPELINE = {
    "_class_name": "DDPMPipeline",
    "unet": ["diffusers", "UNet2DModel"],
    "scheduler": ["diffusers", "DDPMScheduler"],
}
_DOWN, _UP = ("DownBlock2D", "AttnDownBlock2D"), ("UpBlock2D", "AttnUpBlock2D")


def looks_like_ddpm(names: Mapping[str, Any]) -> bool:
    """Whether the names are those of a UNet2DModel, or of this project's file of one."""
    roots = {name.removeprefix("unet.").split(".")[0] for name in names}
    return {"conv_in", "time_embedding", "down_blocks", "mid_block", "up_blocks", "conv_norm_out", "conv_out"} == roots


def ddpm_weights(state: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], dict[str, Any], list[str]]:
    """The weights by this project's names."""
    bare = not any(name.startswith("unet.") for name in state)
    return {f"unet.{name}": tensor for name, tensor in state.items()} if bare else state, {}, []


def detect_ddpm(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of DDPMConfig that names and shapes tell; groups, heads and process leave no trace in them.

    Raises KeyError on a missing name.
    """
    levels = range(count_of(state, r"unet\.down_blocks\.(\d+)\."))
    return {
        "widths": tuple(state[f"unet.down_blocks.{i}.resnets.0.conv1.weight"].shape[0] for i in levels),
        "layers": count_of(state, r"unet\.down_blocks\.0\.resnets\.(\d+)\."),
        "attention_levels": tuple(i for i in levels if f"unet.down_blocks.{i}.attentions.0.to_q.weight" in state),
    }


def is_diffusers_folder(path: Path) -> bool:
    """Whether a folder is what the diffusers library saves of a UNet2DModel or of a pipeline with one."""
    places = (path, path / "unet")
    return any((folder / "config.json").is_file() and not (folder / "model.safetensors").exists() for folder in places)


def read_diffusers(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and metadata, as files.tensors.read_checkpoint gives them, of such a folder.

    The process is that of scheduler/scheduler_config.json, or the tutorial's where there is none. Raises
    CheckpointError where the network or the process is one that this project's DDPM cannot be.
    """
    folder = path / "unet" if (path / "unet").is_dir() else path
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise CheckpointError(f"{folder} has no {' or '.join(_WEIGHTS)}")
    fields = _network(_json(folder / "config.json"), folder)
    scheduler = path / "scheduler" / "scheduler_config.json"
    if scheduler.is_file():
        fields |= _process(_json(scheduler), scheduler)
    fields["start"] = min(DDPMConfig.start, fields.get("timesteps", DDPMConfig.timesteps) - 1)
    return read_checkpoint(weights)[0], {"system": "ddpm", "config": fields}


def save_diffusers(system: DDPM, folder: Path) -> None:
    """Write a folder that diffusers' DDPMPipeline.from_pretrained(folder) reads, its UNet2DModel in unet/.

    Every file under a temporary name first. Raises ValueError for an anchored process or another spacing.
    """
    config = system.config
    if config.anchor or config.spacing in ("inner", "published"):
        what = "anchored process" if config.anchor else f"spacing {config.spacing!r}"
        raise ValueError(f"save_diffusers: the diffusers library has no {what}")
    values = asdict(config)
    attention = [i in config.attention_levels for i in range(len(config.widths))]
    unet = {theirs: values[ours] for ours, theirs in _FIELDS.items()} | _FIXED
    unet |= {
        "_class_name": "UNet2DModel",
        "down_block_types": [_DOWN[there] for there in attention],
        "up_block_types": [_UP[there] for there in reversed(attention)],
    }
    process = {theirs: values[ours] for ours, theirs in _PROCESS.items()}
    process |= {"_class_name": "DDPMScheduler", "clip_sample": config.clip is not None}
    process["clip_sample_range"] = config.clip or 1.0
    state = {name.removeprefix("unet."): tensor.cpu().contiguous() for name, tensor in system.state_dict().items()}
    for name, data in {
        f"unet/{_WEIGHTS[0]}": save(state, metadata={"format": "pt"}),
        "unet/config.json": json.dumps(unet, indent=1).encode(),
        "scheduler/scheduler_config.json": json.dumps(process, indent=1).encode(),
        "model_index.json": json.dumps(_PIPELINE, indent=1).encode(),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, data)


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold keys and values")
    return values


def _network(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    other = {name: values[name] for name, only in _FIXED.items() if values.get(name, only) not in (only, None)}
    down, up = values.get("down_block_types", ()), values.get("up_block_types", ())
    attention = tuple(i for i, kind in enumerate(down) if kind == _DOWN[1])
    if not set(down) <= set(_DOWN) or [_UP[kind == _DOWN[1]] for kind in reversed(down)] != list(up):
        other["down_block_types, up_block_types"] = f"{', '.join(down)}; {', '.join(up)}"
    if other:
        listed = "; ".join(f"{name} = {value}" for name, value in other.items())
        raise CheckpointError(f"{folder}: not the U-Net of a plain DDPM: {listed}")
    told = {ours: values[theirs] for ours, theirs in _FIELDS.items() if theirs in values}
    return told | {"attention_levels": attention}


def _process(values: dict[str, Any], path: Path) -> dict[str, Any]:
    if values.get("trained_betas") is not None or values.get("thresholding"):
        raise CheckpointError(f"{path}: trained_betas and thresholding are not supported")
    told = {ours: values[theirs] for ours, theirs in _PROCESS.items() if theirs in values}
    if not values.get("clip_sample", True):
        told["clip"] = None
    return told
