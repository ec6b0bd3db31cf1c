"""Conv3x3: Winograd's transform where it serves, against PyTorch's convolution in float64; else PyTorch's own."""

import copy
import pickle

import pytest
import torch
from torch import nn

import lowlight_ext
from lowlight_ext import Conv3x3
from lowlight_ext.convolution import winograd_weight
from lowlight_ext.kernels_compiled.call import missing
from lowlight_ext.kernels_compiled.convolution import winograd

needs_cpp = pytest.mark.skipif(bool(missing("cpu")), reason=f"cpp: {missing('cpu')}")
needs_avx512 = pytest.mark.skipif(
    lowlight_ext.build_info().get("cpu_level") != "avx512", reason="the loop serves at the level avx512 alone"
)
# batch, channels in and out, height, width: whole tiles, parts of tiles, half a panel, more tiles than a block has
SIZES = ((1, 16, 32, 16, 16), (2, 16, 48, 7, 9), (1, 48, 16, 5, 31), (3, 32, 64, 2, 30), (1, 128, 32, 45, 50))


KINDS = {"zeros": {}, "reflect": {"padding_mode": "reflect"}, "2": {"dilation": 2}, "3": {"dilation": 3}}


def convolution(inputs, outputs, kind="zeros"):
    torch.manual_seed(inputs + outputs)
    return Conv3x3(inputs, outputs, **KINDS[kind]).to(memory_format=torch.channels_last).requires_grad_(False)


def pictures(batch, channels, height, width):
    x = torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(height))
    return x.contiguous(memory_format=torch.channels_last)


def exact(module, x):
    return nn.Conv2d.forward(copy.deepcopy(module).double(), x.double())


@needs_cpp
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_the_loop_on_every_level(size, kind):
    """The function of the level in use; LOWLIGHT_EXT_CPU_LEVEL names another."""
    batch, inputs, outputs, height, width = size
    module, x = convolution(inputs, outputs, kind), pictures(batch, inputs, height, width)
    made = winograd(x, winograd_weight(module.weight), module.bias, kind == "reflect", module.dilation[0])
    expected = exact(module, x)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert (made - expected).abs().max() < 3e-5 * expected.abs().max()


@needs_avx512
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_it_serves_and_says_the_same_bits(kind):
    module, x = convolution(128, 32, kind), pictures(3, 128, 45, 50)
    plain, made = nn.Conv2d.forward(module, x), module(x)
    assert not made.equal(plain)
    torch.testing.assert_close(made, plain, rtol=0, atol=3e-5 * plain.abs().max().item())
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert torch.cat([module(one.unsqueeze(0)) for one in x]).equal(made)
    finally:
        torch.set_num_threads(threads)


@needs_avx512
@torch.no_grad()
def test_it_follows_the_weights():
    module, x = convolution(16, 16), pictures(1, 16, 20, 20)
    other = convolution(16, 16)
    other.weight.neg_()
    for change in (lambda: None, lambda: module.weight.mul_(2), lambda: module.load_state_dict(other.state_dict())):
        change()
        assert (module(x) - exact(module, x)).abs().max() < 1e-4
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert again(x).equal(module(x))


def otherwise():
    """Calls that PyTorch's convolution takes: a name, a module, its input."""
    module, x = convolution(16, 16), pictures(1, 16, 20, 20)
    yield "NCHW", module, x.contiguous()
    yield "bfloat16", copy.deepcopy(module).bfloat16(), x.bfloat16()
    yield "float64", copy.deepcopy(module).double(), x.double()
    yield "few channels", convolution(8, 16), pictures(1, 8, 20, 20)
    yield "few tiles", module, pictures(1, 16, 8, 8)


@pytest.mark.parametrize("case", list(otherwise()), ids=lambda case: case[0])
@torch.no_grad()
def test_all_else_is_pytorchs(case):
    _, module, x = case
    assert module(x).equal(nn.Conv2d.forward(module, x))


def test_gradients_the_reference_and_a_graph_are_pytorchs():
    module, x = convolution(16, 16), pictures(1, 16, 20, 20)
    assert module(x).equal(nn.Conv2d.forward(module, x))
    with torch.no_grad(), lowlight_ext.use_backend("reference"):
        assert module(x).equal(nn.Conv2d.forward(module, x))
    targets = {str(node.target) for node in torch.export.export(module, (x,)).graph.nodes}
    assert "aten.conv2d.default" in targets


def test_a_picture_of_other_channels_is_refused():
    with pytest.raises(RuntimeError, match="channels"):
        convolution(16, 16)(pictures(1, 32, 20, 20))


def test_compiles_whole():
    """With PyTorch's convolution: no break of the graph, with gradients or without."""
    module, x = convolution(16, 32), pictures(1, 16, 16, 16)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(compiled(x), nn.Conv2d.forward(module, x))
