"""Conv3x3 in bfloat16, by the products of AVX512-BF16: against float64 of the same rounded weights and pictures."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from test_convolution import AROUND, KINDS, SERVED, SIZES, around, convolution, exact, pictures, same_bits_alone
from torch import nn

import lowlight_ext
from lowlight_ext.kernels_compiled.call import missing
from lowlight_ext.kernels_compiled.convolution import winograd
from lowlight_ext.winograd import Around, convolved, winograd_weight

needs_cpp = pytest.mark.skipif(bool(missing("cpu")), reason=f"cpp: {missing('cpu')}")
needs_bfloat16 = pytest.mark.skipif(
    not lowlight_ext.build_info().get("cpu_bfloat16"), reason="this CPU, or the level in use, is without AVX512-BF16"
)
# of the largest number, white noise: measured 2.3e-2, and 6.3e-2 with the points of enlarged pictures
BOUND, BOUND_OF_TWICE = 3e-2, 8e-2
EVEN = [size for size in SIZES if size[1] % 2 == 0]


def half(value):
    return value.bfloat16() if isinstance(value, torch.Tensor) else value


def given_to(module, x, *names):
    """A module, its picture and what else a call is given, in bfloat16."""
    given = {name: half(value) for name, value in around(module, x, *names).items()}
    return copy.deepcopy(module).bfloat16(), half(x), given


@needs_bfloat16
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", EVEN)
def test_the_loop(size, kind):
    batch, inputs, outputs, height, width = size
    module, x, _ = given_to(convolution(inputs, outputs, kind), pictures(batch, inputs, height, width))
    weight, bias = winograd_weight(module.weight), module.bias.float()
    made = winograd(x, weight, bias, kind == "reflect", module.dilation[0])
    expected = exact(module, x)
    assert made.dtype == torch.bfloat16
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert (made - expected).abs().max() < BOUND * expected.abs().max()


@needs_bfloat16
@pytest.mark.parametrize("names", AROUND, ids="-".join)
@pytest.mark.parametrize("size", EVEN)
@torch.no_grad()
def test_before_and_after_in_the_loop(size, names):
    batch, inputs, outputs, height, width = size
    twice = "twice" in names
    plain = convolution(inputs + 18 * ("beside" in names), outputs)
    module, x, given = given_to(plain, pictures(batch, inputs, height, width), *names)
    expected = exact(module, x, **given)
    made = convolved(module, x, winograd_weight(module.weight, twice), Around(**given))
    assert (made - expected).abs().max() < (BOUND_OF_TWICE if twice else BOUND) * expected.abs().max()


@needs_bfloat16
@pytest.mark.parametrize(("kind", "names"), SERVED, ids=str)
@torch.no_grad()
def test_it_serves_and_says_the_same_bits(kind, names):
    plain = convolution(146 if names else 128, 48, kind)
    module, x, given = given_to(plain, pictures(3, 128, 45, 50), *names)
    with lowlight_ext.use_backend("reference"):
        pytorchs = module(x, **given)
    made = module(x, **given)
    assert made.dtype == torch.bfloat16
    assert not made.equal(pytorchs)
    same_bits_alone(module, x, given, made)


@torch.no_grad()
def test_all_else_is_pytorchs():
    module, x, _ = given_to(convolution(16, 16), pictures(1, 16, 20, 20))
    odd, of_odd, _ = given_to(convolution(17, 16), pictures(1, 17, 20, 20))
    for other, picture in ((module, x.contiguous()), (odd, of_odd)):
        assert other(picture).equal(nn.Conv2d.forward(other, picture))
    with pytest.raises(RuntimeError, match="type"):
        module(x.float())


WITHOUT = """
import torch
from torch import nn
from lowlight_ext import Conv3x3, build_info
from lowlight_ext.kernels_compiled.convolution import winograd
from lowlight_ext.winograd import winograd_weight
module = Conv3x3(16, 16).bfloat16().requires_grad_(False)
x = torch.randn(1, 16, 20, 20).bfloat16().contiguous(memory_format=torch.channels_last)
assert build_info()["cpu_bfloat16"] is False
with torch.no_grad():
    assert module(x).equal(nn.Conv2d.forward(module, x))
winograd(x, winograd_weight(module.weight), module.bias.float())
"""


@needs_cpp
def test_without_the_instructions_it_is_pytorchs(tmp_path):
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "LOWLIGHT_EXT_CPU_LEVEL": "baseline", "PYTHONPATH": path}
    # from another folder, or the sources in this one would be imported
    command = [sys.executable, "-c", WITHOUT]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("RuntimeError: this CPU, or the level in use, is without AVX512-BF16")
