"""Graphs of network calls: PyTorch's own operators alone, any size, and the same numbers in onnxruntime."""

import io
import os
from pathlib import Path

import pytest
import torch

import lowlight_ext
from lowlight.checkpoints import load
from lowlight.exporting import export_program, write_onnx
from lowlight.files.pictures import read_picture
from lowlight.systems.anlightendiff.network import AnlightenDiffConfig
from lowlight.systems.anlightendiff.system import AnlightenDiff
from lowlight.systems.calls import calls, picture_call
from lowlight.systems.ddpm.config import DDPMConfig
from lowlight.systems.ddpm.system import DDPM
from lowlight.systems.diffll.network import DiffLLConfig
from lowlight.systems.diffll.system import DiffLL
from lowlight.systems.exposurediffusion.network import ExposureDiffusionConfig
from lowlight.systems.exposurediffusion.system import ExposureDiffusion
from lowlight.systems.wavelet_anchored.network import WaveletAnchoredConfig
from lowlight.systems.wavelet_anchored.system import WaveletAnchored

SMALL = {"ch": 8, "ch_mult": (1, 2), "norm_groups": 4, "num_res_blocks": 1, "attention_level": 1, "steps": 2}
SYSTEMS = {
    "diffll": lambda: DiffLL(DiffLLConfig(**SMALL, hfrm_width=8, guide="gamma", statistics=True)),
    "anlightendiff": lambda: AnlightenDiff(AnlightenDiffConfig(widths=(4, 8))),
    "exposurediffusion": lambda: ExposureDiffusion(ExposureDiffusionConfig(width=2)),
    "ddpm": lambda: DDPM(DDPMConfig(widths=(8, 16), layers=1, attention_levels=(1,), norm_groups=4, start=1)),
    "wavelet_anchored": lambda: WaveletAnchored(WaveletAnchoredConfig(**SMALL, width=8, blocks=1, base=16)),
}


def small(name):
    torch.manual_seed(0)
    return SYSTEMS[name]().eval().requires_grad_(False)


def agrees(program, call, inputs, tolerance=1e-5):
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not [target for target in targets if target.startswith("lowlight")]
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*inputs), call.module(*inputs), rtol=1e-4, atol=tolerance)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_network_of_any_size(name):
    system = small(name)
    for call in calls(system).values():
        # one picture, and other sides than the graph was recorded with
        inputs = []
        for each, x in call.inputs.items():
            x = x[:1] if call.batch else x
            inputs.append(torch.cat([x, x], dim=-1) if each in call.multiples else x)
        agrees(export_program(call), call, inputs)


@pytest.mark.parametrize("name", ["diffll", "anlightendiff", "wavelet_anchored", "ddpm"])
def test_a_whole_picture(name):
    call = picture_call(small(name), 2, 5, 40, 34)
    # a pixel may lie on the other side of a histogram's or a clamp's bound
    agrees(export_program(call), call, [torch.rand(1, 3, 34, 40) * 0.3], 1e-3)


def test_an_own_module_with_an_operator():
    class Own(torch.nn.Module):
        def forward(self, x):
            return lowlight_ext.group_norm_silu(lowlight_ext.haar_dwt2d(x)[0], 2)

    x = torch.randn(1, 4, 8, 6)
    program = torch.export.export(Own(), (x,)).run_decompositions(lowlight_ext.decompositions())
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    torch.testing.assert_close(torch.export.load(buffer).module()(x), Own()(x))


def test_onnx(tmp_path):
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    call = calls(small("exposurediffusion"))["network"]
    distance = write_onnx(tmp_path / "net.onnx", call)
    assert distance is not None
    assert distance < 1e-5
    with pytest.raises(ValueError, match="of the largest number from PyTorch's"):
        write_onnx(tmp_path / "other.onnx", call._replace(module=Noisy(call.module)))
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(600, 400), (333, 250)])
def test_the_default_model_brightens_real_pictures_in_onnxruntime(tmp_path, size):
    for module in ("onnx", "onnxscript"):
        pytest.importorskip(module)
    onnxruntime = pytest.importorskip("onnxruntime")
    if not (folder := os.environ.get("LOWLIGHT_LOL")):
        pytest.skip("LOWLIGHT_LOL names no folder with LOL-v1")
    system, (width, height) = load("default", device="cpu"), size
    write_onnx(tmp_path / "picture.onnx", picture_call(system, system.config.steps, 0, width, height))
    session = onnxruntime.InferenceSession(tmp_path / "picture.onnx", providers=["CPUExecutionProvider"])
    for path in sorted((Path(folder) / "eval15" / "low").glob("*.png"))[:3]:
        low = torch.from_numpy(read_picture(path).rgb[:height, :width]).permute(2, 0, 1)[None].contiguous()
        (made,) = session.run(None, {"low": low.numpy()})
        assert (torch.from_numpy(made) - system.enhance_tensor(low)).abs().max() < 1e-3


class Noisy(torch.nn.Module):
    """Not the graph that was recorded."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *inputs):
        return self.module(*inputs) + (0 if torch.compiler.is_compiling() else 1)
