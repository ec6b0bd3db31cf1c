"""Files of weights and configurations that are damaged, mislabelled or made up: the library's own error, and soon."""

import json
import struct
import time

import numpy as np
import pytest
import torch
from damage import SECONDS, foreign
from safetensors.torch import save_file
from torch import nn

from lowlight.checkpoints import CheckpointError, load, read_checkpoint, save_weights, shipped_models
from lowlight.systems.diffll.network import DiffLLConfig
from lowlight.systems.diffll.system import DiffLL
from lowlight.training.config_files import load_config
from lowlight_ext import testing

SMALL = DiffLLConfig(ch=16, ch_mult=(1, 2), num_res_blocks=1, attention_level=1, norm_groups=8, hfrm_width=8, levels=1)
CONFIG = {"ch": 16, "ch_mult": [1, 2], "num_res_blocks": 1, "attention_level": 1, "norm_groups": 8, "hfrm_width": 8,
          "levels": 1}  # fmt: skip


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return DiffLL(SMALL).state_dict()


def write(path, state, config=CONFIG):
    """A file of weights whose configuration nobody has checked."""
    save_file(
        dict(state), path, {"system": "diffll", "config": config if isinstance(config, str) else json.dumps(config)}
    )
    return path


def flipped(data, rng):
    """One bit of it is another."""
    copy, bit = bytearray(data), int(rng.integers(0, 8 * len(data)))
    copy[bit // 8] ^= 1 << bit % 8
    return bytes(copy)


@pytest.mark.parametrize("kind", ["safetensors", "int8", "zip"])
def test_a_flipped_bit_is_an_error_or_changes_nothing(tmp_path, state, kind):
    path, rng = tmp_path / "file", np.random.default_rng(0)
    if kind == "zip":
        torch.save({"model": state, "config": {"system": "diffll", "network": CONFIG}}, path)
    else:
        dtype = torch.int8 if kind == "int8" else torch.float16
        save_weights(path, state, {"system": "diffll", "config": SMALL}, dtype)
    expected, data = read_checkpoint(path), path.read_bytes()
    caught, tries = 0, 1000 if testing.thorough else 100
    for _ in range(tries):
        path.write_bytes(flipped(data, rng))
        try:
            found, metadata = read_checkpoint(path)
        except CheckpointError:
            caught += 1
            continue
        assert found.keys() == expected[0].keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected[0].items())
        assert metadata["config"] == expected[1]["config"]
    # a zip has gaps between its parts
    assert caught > (0.3 if kind == "zip" else 0.95) * tries


def test_every_shipped_file_carries_a_checksum():
    for model in shipped_models():
        with open(model.path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        assert len(header["__metadata__"].get("checksum", "")) == 64, model.name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "is a Git LFS pointer, .*git lfs pull",
        ),
        (b"\n<!DOCTYPE html><html><title>Sign in</title>", "is a web page"),
        (b"<HTML><body>404</body></html>", "is a web page"),
    ],
)
def test_what_a_download_may_be(tmp_path, content, message):
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "model.pth")


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "module.module.", "_orig_mod.module."]
)
def test_wrappers_prefixes_and_leftovers(tmp_path, state, prefix):
    """DataParallel, DDP and torch.compile of the whole or of a part; thop's counters; an average's; numpy's numbers."""
    wrapped = {prefix + name.replace("Unet.", "Unet._orig_mod."): tensor for name, tensor in state.items()}
    wrapped |= {prefix + "Unet.total_ops": torch.zeros(1), prefix + "total_params": torch.zeros(1)}
    wrapped["n_averaged"] = torch.tensor(3)
    config = {"system": "diffll", "network": CONFIG}
    beside = {"best": np.float64(0.5), "step": np.int64(7), "flag": np.bool_(True), "psnr": [np.float32(20.0)]}
    torch.save({"model": wrapped, "config": config} | beside, tmp_path / "a.pth")
    save_file(wrapped, tmp_path / "a.safetensors", {"system": "diffll", "config": json.dumps(CONFIG)})
    for name in ("a.pth", "a.safetensors"):
        system = load(tmp_path / name, device="cpu")
        assert all(torch.equal(system.state_dict()[key], tensor) for key, tensor in state.items())


def test_a_compiled_model_as_it_is_saved(tmp_path, state):
    torch.manual_seed(0)
    wrapped = nn.DataParallel(torch.compile(DiffLL(SMALL)))
    torch.save(
        {"state_dict": wrapped.state_dict(), "config": {"system": "diffll", "network": CONFIG}}, tmp_path / "a.pth"
    )
    assert torch.equal(load(tmp_path / "a.pth", device="cpu").Unet.conv_in.weight, state["Unet.conv_in.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ch": 2_000_000}, "ch must be at most 65536, got 2000000"),
        ({"ch": 4096}, "has weights of another shape"),
        ({"ch": 65536, "ch_mult": [65536, 65536]}, "its configuration does not make a DiffLL .*overflow"),
        ({"num_res_blocks": 10**9}, "num_res_blocks must be at most 64"),
        ({"num_res_blocks": 64}, "lacks Unet"),
        ({"ch_mult": [1] * 1000}, "ch_mult must have at most 16 entries, got 1000"),
        ({"ch_mult": ["1", "2"]}, "ch_mult.0 must be of type int, got '1'"),
        ({"ch_mult": 7}, "ch_mult must be of type tuple"),
        ({"timesteps": 10**12}, "timesteps must be at most 100000"),
        ({"steps": 1.5}, "steps must be of type int, got 1.5"),
        ({"steps": True}, "steps must be of type int, got True"),
        ({"beta_end": "Infinity"}, "beta_end must be at most 65536, got inf"),
        ({"beta_end": float("inf")}, "beta_end must be at most 65536, got inf"),
        ({"ch": 10**5000}, "ch must be at most|not JSON"),
        ([CONFIG], "expected keys and values"),
        ("[" * 100_000, "is not JSON"),
        ("null", "expected keys and values"),
    ],
)
def test_a_configuration_is_checked_before_anything_is_allocated(tmp_path, state, changes, message):
    if isinstance(changes, dict) and changes.get("ch") == 10**5000:
        config = json.dumps(CONFIG).replace('"ch": 16', '"ch": 1' + "0" * 5000)
    else:
        config = CONFIG | changes if isinstance(changes, dict) else changes
    begun = time.perf_counter()
    with pytest.raises(CheckpointError, match=message) as info:
        load(write(tmp_path / "a.safetensors", state, config), device="cpu")
    assert time.perf_counter() - begun < SECONDS
    assert "a.safetensors" in str(info.value)
    assert len(str(info.value)) < 1000


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(1, 1).expand(1 << 20, 1 << 20), torch.zeros(3, 4, device="meta"), torch.eye(3).to_sparse(),
     torch.zeros(2, dtype=torch.complex64)],
    ids=["expanded", "meta", "sparse", "complex"],
)  # fmt: skip
def test_tensors_that_are_no_weights(tmp_path, state, tensor):
    torch.save({"model": {**state, "Unet.conv_in.weight": tensor}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"what is no weight .*: Unet.conv_in.weight|no checkpoint, or a damaged"):
        load(tmp_path / "a.pth", device="cpu")


def made_up(rng, depth=0):
    """A value as nobody would write it."""
    odd = [
        None,
        True,
        -1,
        0,
        1.5,
        10**12,
        10**400,
        float("inf"),
        float("nan"),
        "",
        "x",
        "1e-3",
        "1" * 5000,
        [],
        {},
        -(2**63),
    ]
    kind = rng.integers(0, 4 if depth < 2 else 2)
    if kind == 2:
        return [made_up(rng, depth + 1) for _ in range(rng.integers(0, 4))]
    if kind == 3:
        return {str(rng.choice(["ch", "steps", "l1", "x"])): made_up(rng, depth + 1) for _ in range(rng.integers(0, 3))}
    return odd[rng.integers(len(odd))]


KEYS = ["seed", "stages", "stages.0", "stages.0.batch", "stages.0.crop", "stages.0.losses", "stages.1.iterations",
        "network", "network.ch", "network.ch_mult", "network.steps", "objective", "weights", "weights.noise", "betas",
        "system", "optimizer", "clip_norm", "stages.0.learning_rate", "stages.0.schedule", "base", "data"]  # fmt: skip


def test_made_up_settings(tmp_path):
    """Overrides and files of YAML, thousands with --slow."""
    rng, wrong = np.random.default_rng(0), {}
    texts = ["[" * 100_000, "{a: " * 5000, "!!python/name:os.system x", "!!timestamp x", "!!float ''", "!!int x",
             "? [a]\n: b", "2020-13-45", "a: &a [*a]", "\x00", "1" * 5000, "&a [&b [&c [*a, *b]]]"]  # fmt: skip
    values = texts + [json.dumps(made_up(rng)) for _ in range(5000 if testing.thorough else 300)]
    for number, value in enumerate(values):
        name = str(
            rng.choice(["diffll_small", "anlightendiff_small", "exposurediffusion_small", "wavelet_anchored_small"])
        )
        key = str(rng.choice(KEYS))
        if fault := foreign(lambda: load_config(name, [f"{key}={value}"]), (ValueError, FileNotFoundError)):  # noqa: B023
            wrong[f"{name} {key}={value[:60]}"] = fault
        path = tmp_path / "a.yaml"
        path.write_text(f"base: {name}\n{key}: {value}\n" if number % 2 else value)
        if fault := foreign(lambda: load_config(str(path)), (ValueError, FileNotFoundError)):  # noqa: B023
            wrong[f"file {name} {key}: {value[:60]}"] = fault
    path.write_bytes(b"\xff\xfe\x00")
    assert foreign(lambda: load_config(str(path)), (ValueError,)) is None
    assert not wrong


def test_made_up_configurations_of_weights(tmp_path, state):
    rng, wrong = np.random.default_rng(1), {}
    for _ in range(2000 if testing.thorough else 60):
        key = str(rng.choice(list(CONFIG)))
        config = CONFIG | {key: made_up(rng)}
        try:
            path = write(tmp_path / "a.safetensors", state, config)
        except ValueError:
            continue
        if fault := foreign(lambda: load(path, device="cpu"), (CheckpointError,)):  # noqa: B023
            wrong[f"{key}: {config[key]}"[:100]] = fault
    assert not wrong
