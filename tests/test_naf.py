"""NAFNet's parts: one call of C++ each where it serves, against their modules in float64; else the modules."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import lowlight_ext
from lowlight.systems.exposurediffusion.nafnet import NAFNet
from lowlight_ext import NAFBlock, NAFDown, NAFUp
from lowlight_ext.kernels_compiled.call import missing
from lowlight_ext.kernels_compiled.naf import naf_block, naf_down, naf_up, packed_block, packed_down, packed_up
from lowlight_ext.naf import EPS

needs_cpp = pytest.mark.skipif(bool(missing("cpu")), reason=f"cpp: {missing('cpu')}")
serves = pytest.mark.skipif(
    lowlight_ext.build_info().get("cpu_level") not in ("avx2", "avx512"), reason="the loop serves from avx2 on"
)
in_bfloat16 = pytest.mark.skipif(
    not lowlight_ext.build_info().get("cpu_bfloat16"), reason="the loop in bfloat16 needs AVX512-BF16"
)
# batch, channels, height, width: half a panel, some; rows of less than a group of pixels and of more than a strip
SIZES = (
    (1, 16, 20, 30),
    (2, 32, 7, 9),
    (1, 48, 1, 5),
    (3, 64, 13, 1),
    (1, 16, 3, 1500),
    (1, 256, 18, 12),
    (1, 16, 1, 2),
)


def block(channels):
    module = NAFBlock(channels)
    generator = torch.Generator().manual_seed(channels)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            spread = 0.5 if parameter.shape[0] == 1 else parameter[0].numel() ** -0.5
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator) + name.endswith("norm1.weight"))
    return module.to(memory_format=torch.channels_last).requires_grad_(False)


def pictures(batch, channels, height, width):
    x = torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(height))
    return x.contiguous(memory_format=torch.channels_last)


def modules(module, *inputs):
    """What its modules say, one after the other."""
    with lowlight_ext.use_backend("reference"):
        return module(*inputs)


def exact(module, x):
    return modules(copy.deepcopy(module).double(), x.double())


@needs_cpp
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_loop_on_every_level(size):
    """The function of the level in use; LOWLIGHT_EXT_CPU_LEVEL names another."""
    module, x = block(size[1]), pictures(*size)
    made, expected = naf_block(x, packed_block(*module._weights()), EPS), exact(module, x)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert (made - expected).abs().max() < 2e-6 * expected.abs().max()


@in_bfloat16
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_loop_in_bfloat16(size):
    """No further from float64 than the modules in bfloat16, which round after every step."""
    module, x = block(size[1]).bfloat16(), pictures(*size).bfloat16()
    expected = exact(module, x)
    made = module(x)
    assert made.dtype == torch.bfloat16
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert not made.equal(modules(module, x))
    assert (made - expected).square().mean() < (modules(module, x) - expected).square().mean()


@in_bfloat16
@torch.no_grad()
def test_bfloat16_says_the_same_bits():
    _same_bits(block(32).bfloat16(), pictures(3, 32, 45, 50).bfloat16())


@needs_cpp
@torch.no_grad()
def test_the_norm_of_a_level_far_from_zero():
    """The mean goes before the squares are summed."""
    module, x = block(32), pictures(1, 32, 6, 6) + 1000
    made, expected = naf_block(x, packed_block(*module._weights()), EPS), exact(module, x)
    assert (made - expected).abs().max() < 4 * (modules(module, x) - expected).abs().max()


def _same_bits(module, x):
    """Alone and in a batch, with any number of threads."""
    made, threads = module(x), torch.get_num_threads()
    try:
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            assert module(x).equal(made)
            assert torch.cat([module(one.unsqueeze(0)) for one in x]).equal(made)
    finally:
        torch.set_num_threads(threads)


@serves
@torch.no_grad()
def test_it_serves_and_says_the_same_bits():
    module, x = block(32), pictures(3, 32, 45, 50)
    assert not module(x).equal(modules(module, x))
    _same_bits(module, x)


@serves
@torch.no_grad()
def test_it_serves_under_a_default_device():
    """Also where the weights are packed there, and in inference mode."""
    module, x = block(16), pictures(1, 16, 9, 9)
    made = copy.deepcopy(module)(x)
    with torch.device("cpu"):
        assert module(x).equal(made)
    with torch.inference_mode():
        assert module(x.clone()).equal(made)
    assert not modules(module, x).equal(made)


@serves
@torch.no_grad()
def test_the_input_stays_what_it_was():
    module, x = block(16), pictures(1, 16, 9, 9)
    before = x.clone()
    module(x)
    assert x.equal(before)


@serves
@torch.no_grad()
def test_what_is_no_number_goes_where_the_modules_let_it():
    """A NaN reaches every pixel through the mean of the picture; the others of the batch do not see it."""
    module, x = block(16), pictures(2, 16, 9, 9)
    x[1, 3, 4, 5] = float("nan")
    made = module(x)
    assert made.isnan().equal(modules(module, x).isnan())
    assert made[1].isnan().all()
    assert made[0].equal(module(x[:1])[0])


@serves
@torch.no_grad()
def test_it_follows_every_weight():
    module, x = block(16), pictures(1, 16, 20, 20)
    changes = [lambda p=p: p.mul_(1.5) for p in module.parameters()]
    other = block(16)
    for parameter in other.parameters():
        parameter.neg_()
    for change in (*changes, lambda: module.load_state_dict(other.state_dict())):
        before = module(x)
        change()
        made = module(x)
        assert not made.equal(before)
        expected = exact(module, x)
        assert (made - expected).abs().max() < 2e-6 * expected.abs().max()
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert again(x).equal(module(x))


def otherwise():
    """Calls that the modules take: a name, a block, its input."""
    module, x = block(16), pictures(1, 16, 20, 20)
    yield "NCHW", module, x.contiguous()
    yield "float16", copy.deepcopy(module).half(), x.half()
    yield "float64", copy.deepcopy(module).double(), x.double()
    yield "few channels", block(24), pictures(1, 24, 20, 20)
    halved = copy.deepcopy(module)
    nn.utils.parametrize.register_parametrization(halved.conv1, "weight", nn.Hardtanh())
    yield "a part that computes its weight", halved, x
    for part in ("norm1", "conv1", "conv3"):
        pruned = copy.deepcopy(module)
        prune.l1_unstructured(getattr(pruned, part), "weight", 0.5)
        yield f"a part that prunes its weight, {part}", pruned, x
    scaled = copy.deepcopy(module)
    prune.l1_unstructured(scaled, "beta", 0.5)
    yield "a block that prunes its scale", scaled, x
    around = copy.deepcopy(module)
    around.conv2.padding_mode = "circular"
    yield "another edge", around, x
    wrapped = copy.deepcopy(module)
    wrapped.conv1 = nn.Sequential(wrapped.conv1)
    yield "a part in another module", wrapped, x


@pytest.mark.parametrize("case", list(otherwise()), ids=lambda case: case[0])
@torch.no_grad()
def test_all_else_is_the_modules(case):
    _, module, x = case
    tolerance = 1e-2 if x.dtype == torch.float16 else 1e-5
    assert (module(x).double() - exact(module, x)).abs().max() < tolerance * exact(module, x).abs().max()


def test_gradients_the_reference_and_a_graph_are_the_modules():
    module, x = block(16), pictures(1, 16, 8, 8).requires_grad_()
    torch.testing.assert_close(module(x), exact(module, x).float(), rtol=0, atol=1e-5)
    (gradient,) = torch.autograd.grad(module(x).sum(), x)
    (expected,) = torch.autograd.grad(exact(module, x).sum(), x)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-4)
    targets = {str(node.target) for node in torch.export.export(module, (x,)).graph.nodes}
    assert "aten.conv2d.default" in targets


@pytest.mark.parametrize("part", ["conv1", "conv2", "conv3", "conv5"])
def test_weights_that_hooks_make_are_trained(part):
    torch.manual_seed(0)
    module = block(16).requires_grad_()
    prune.l1_unstructured(getattr(module, part), "weight", 0.5)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4)
    for _ in range(2):
        optimizer.zero_grad()
        module(pictures(1, 16, 6, 6)).square().mean().backward()
        optimizer.step()
    assert getattr(module, part).weight_orig.grad.count_nonzero()
    with torch.no_grad():
        assert (module(pictures(1, 16, 6, 6)) - exact(module, pictures(1, 16, 6, 6))).abs().max() < 1e-5


@serves
@torch.no_grad()
def test_autocast_is_the_modules():
    module, x = block(16), pictures(1, 16, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert module(x).equal(modules(module, x))


@torch.no_grad()
def test_a_picture_of_other_channels_is_refused():
    with pytest.raises((RuntimeError, ValueError), match=r"channel|\(16,\)"):
        block(16)(pictures(1, 32, 20, 20))


def test_compiles_whole():
    """With the modules: no break of the graph, with gradients or without."""
    module, x = block(16), pictures(1, 16, 16, 16)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(compiled(x), exact(module, x).float(), rtol=0, atol=1e-5)


# batch, channels, height, width of what goes in
SCALED = ((1, 32, 18, 12), (2, 96, 4, 14), (1, 64, 2, 2), (3, 32, 10, 50))


def scaled(size):
    """A way down, a way up, what goes into both, and what is added on the way up."""
    batch, channels, height, width = size
    torch.manual_seed(channels)
    down, up = NAFDown(channels).requires_grad_(False), NAFUp(channels).requires_grad_(False)
    return down, up, pictures(*size), pictures(batch, channels // 2, 2 * height, 2 * width)


@needs_cpp
@pytest.mark.parametrize("size", SCALED)
def test_between_levels(size):
    """The functions of the level in use."""
    down, up, x, skip = scaled(size)
    made = naf_down(x, packed_down(down.weight, down.bias)), naf_up(x, skip, packed_up(up[0].weight))
    for part, inputs, got in ((down, (x,), made[0]), (up, (x, skip), made[1])):
        expected = copy.deepcopy(part).double()(*(each.double() for each in inputs))
        assert got.is_contiguous(memory_format=torch.channels_last)
        assert (got - expected).abs().max() < 2e-6 * expected.abs().max()


@serves
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=in_bfloat16)])
@torch.no_grad()
def test_between_levels_they_serve(dtype, monkeypatch):
    """The same bits with any number of threads; what they do not take goes to the modules."""
    served = []
    for loop in (naf_down, naf_up):
        monkeypatch.setattr(lowlight_ext.naf, loop.__name__, lambda *given, own=loop: served.append(own) or own(*given))
    down, up, *inputs = scaled(SCALED[-1])
    down, up, (x, skip) = down.to(dtype), up.to(dtype), (each.to(dtype) for each in inputs)
    limit = 2e-6 if dtype == torch.float32 else 1e-2
    odd = x[:, :, :-1].contiguous(memory_format=torch.channels_last)
    for part, given, other in ((down, (x,), (odd,)), (up, (x, skip), (x, skip.contiguous()))):
        made, exactly = part(*given), copy.deepcopy(part).double()
        assert len(served) == 1
        assert (made - exactly(*(each.double() for each in given))).abs().max() < limit * made.abs().max()
        assert part(*other).equal(modules(part, *(each.clone() for each in other)))
        assert len(served) == 1
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(3)
            assert part(*given).equal(made)
        finally:
            torch.set_num_threads(threads)
        next(part.parameters()).mul_(2)
        assert not part(*given).equal(made)
        served.clear()


@pytest.mark.parametrize("gradients", [False, True])
def test_a_network_of_them(gradients):
    """Sides that are padded, and every part in its place."""
    torch.manual_seed(0)
    network = NAFNet(4, 9, 16, (1, 2), 1, (1, 1)).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for parameter in network.parameters():
            # the blocks' scales begin at zero, and would hide a mistake
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = pictures(2, 4, 21, 31)
    with torch.set_grad_enabled(gradients):
        made, expected = network(x), copy.deepcopy(network).double()(x.double())
    assert (made - expected).abs().max() < 1e-5 * expected.abs().max()
    assert made.requires_grad == gradients
