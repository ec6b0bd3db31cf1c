"""Conv3x3: Winograd's transform where it serves, against PyTorch's convolution in float64; else PyTorch's own."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lowlight_ext
from lowlight_ext import Conv3x3
from lowlight_ext.kernels_compiled.call import missing
from lowlight_ext.kernels_compiled.convolution import winograd
from lowlight_ext.winograd import Around, convolved, winograd_weight

needs_cpp = pytest.mark.skipif(bool(missing("cpu")), reason=f"cpp: {missing('cpu')}")
needs_avx2 = pytest.mark.skipif(
    lowlight_ext.build_info().get("cpu_level") not in ("avx2", "avx512"),
    reason="the loop serves from the level avx2 on",
)
# batch, channels in and out, height, width: whole tiles, parts of tiles, half a panel, more tiles than a block has;
# channels that vectors do not divide
SIZES = (
    *((1, 16, 32, 16, 16), (2, 16, 48, 7, 9), (1, 48, 16, 5, 31), (3, 32, 64, 2, 30), (1, 128, 32, 45, 50)),
    *((2, 18, 32, 6, 10), (1, 35, 18, 9, 9), (1, 16, 55, 4, 50)),
    # of dilation 2 the last grid has 22 tiles and the first 36, more than a block of 24
    (2, 128, 16, 17, 89),
)

KINDS = {"zeros": {}, "reflect": {"padding_mode": "reflect"}, "2": {"dilation": 2}, "3": {"dilation": 3}}


def convolution(inputs, outputs, kind="zeros"):
    torch.manual_seed(inputs + outputs)
    return Conv3x3(inputs, outputs, **KINDS[kind]).to(memory_format=torch.channels_last).requires_grad_(False)


def pictures(batch, channels, height, width):
    x = torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(height))
    return x.contiguous(memory_format=torch.channels_last)


def exact(module, x, beside=None, twice=False, scale=None, shift=None, plus=None, slope=None):
    """The definition, in float64."""
    x, beside, scale, shift, plus = (v if v is None else v.double() for v in (x, beside, scale, shift, plus))
    x = x if beside is None else torch.cat([x, beside], dim=1)
    x = F.interpolate(x, scale_factor=2.0, mode="nearest") if twice else x
    y = nn.Conv2d.forward(copy.deepcopy(module).double(), x)
    y = y if scale is None else y * scale[:, :, None, None]
    y = y if shift is None else y + shift[:, :, None, None]
    y = y if plus is None else y + plus
    return y if slope is None else torch.where(y > 0, y, slope * y)


def around(module, x, *names):
    """Arguments of these names for a call of the module."""
    make, (batch, _, height, width), channels = torch.Generator().manual_seed(7), x.shape, module.out_channels
    size = 2 if "twice" in names else 1
    last = {"memory_format": torch.channels_last}
    values = {
        "twice": True,
        "slope": 0.2,
        "scale": 1 + torch.randn(batch, channels, generator=make),
        "shift": torch.randn(batch, channels, generator=make),
        "plus": torch.randn(batch, channels, size * height, size * width, generator=make).contiguous(**last),
        "beside": torch.randn(batch, module.in_channels - x.shape[1], height, width, generator=make).contiguous(**last),
    }
    return {name: values[name] for name in names}


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
    assert (made - expected).abs().max() < 1e-5 * expected.abs().max()


# what goes before and after: one by one, and together
AROUND = (
    *(("slope",), ("plus",), ("shift",), ("scale", "shift"), ("beside",), ("twice",)),
    *(("beside", "scale", "shift", "plus", "slope"), ("twice", "beside", "shift", "plus", "slope")),
)


@needs_cpp
@pytest.mark.parametrize("names", AROUND, ids="-".join)
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_before_and_after_in_the_loop(size, names):
    batch, inputs, outputs, height, width = size
    module, x = convolution(inputs + 17 * ("beside" in names), outputs), pictures(batch, inputs, height, width)
    given = around(module, x, *names)
    expected = exact(module, x, **given)
    made = convolved(module, x, winograd_weight(module.weight, "twice" in names), Around(**given))
    assert (made - expected).abs().max() < 3e-5 * expected.abs().max()


@pytest.mark.parametrize("names", AROUND, ids="-".join)
@pytest.mark.parametrize("gradients", [False, True])
def test_before_and_after_in_pytorch(names, gradients):
    module = convolution(20 if "beside" in names else 3, 5)
    x = pictures(2, 3, 5, 6)
    given = around(module, x, *names)
    with torch.set_grad_enabled(gradients):
        made = module(x, **given)
    torch.testing.assert_close(made.double(), exact(module, x, **given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("names", AROUND[-2:], ids="-".join)
def test_gradients_to_all_that_is_given(names):
    module, x = convolution(4, 2).double(), pictures(1, 2, 3, 3).double()
    given = around(module, x, *names)
    tensors = {name: value.double() for name, value in given.items() if isinstance(value, torch.Tensor)}
    inputs = [x.requires_grad_(), *(value.requires_grad_() for value in tensors.values())]
    call = lambda x, *values: module(x, **{**given, **dict(zip(tensors, values, strict=True))})  # noqa: E731
    assert torch.autograd.gradcheck(call, inputs)


SERVED = [(kind, names) for kind in KINDS for names in ((), AROUND[-2])] + [("zeros", AROUND[-1])]


def same_bits_alone(module, x, given, made):
    """One picture after the other, on one thread and on several."""
    threads = torch.get_num_threads()

    def alone(i):
        return {key: v[i : i + 1] if isinstance(v, torch.Tensor) else v for key, v in given.items()}

    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert torch.cat([module(x[i : i + 1], **alone(i)) for i in range(len(x))]).equal(made)
    finally:
        torch.set_num_threads(threads)


@needs_avx2
@torch.no_grad()
def test_threads_share_the_channels_of_a_small_map():
    module, x = convolution(64, 147), pictures(2, 64, 7, 10)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = module(x[:1])
        for count in (2, 4, 9):
            torch.set_num_threads(count)
            assert module(x[:1]).equal(alone)
            assert module(x)[:1].equal(alone)
    finally:
        torch.set_num_threads(threads)


@needs_avx2
@pytest.mark.parametrize(("kind", "names"), SERVED, ids=str)
@torch.no_grad()
def test_it_serves_and_says_the_same_bits(kind, names):
    module, x = convolution(145 if names else 128, 48, kind), pictures(3, 128, 45, 50)
    given = around(module, x, *names)
    with lowlight_ext.use_backend("reference"):
        plain = module(x, **given)
    made = module(x, **given)
    assert not made.equal(plain)
    torch.testing.assert_close(made, plain, rtol=0, atol=3e-5 * plain.abs().max().item())
    same_bits_alone(module, x, given, made)


@needs_avx2
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
    yield "float64", copy.deepcopy(module).double(), x.double()
    yield "few channels", convolution(8, 16), pictures(1, 8, 20, 20)
    yield "few results", convolution(16, 40), pictures(1, 16, 20, 20)
    yield "few tiles", module, pictures(1, 16, 4, 12)
    yield "few tiles in a batch", module, pictures(9, 16, 4, 12)
    for mode in ("replicate", "circular"):
        yield mode, Conv3x3(16, 16, mode).requires_grad_(False), x


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_autocast_is_pytorchs(dtype):
    """In its type, with gradients or without."""
    module, x = convolution(16, 16).to(dtype), pictures(1, 16, 20, 20).to(dtype)
    given = {"plus": pictures(1, 16, 20, 20)}
    with torch.autocast("cpu", torch.bfloat16):
        assert module(x).equal(nn.Conv2d.forward(module, x))
        made = module(x, **given)
        with torch.enable_grad():
            assert made.equal(module(x, **given))
    assert made.dtype == torch.float32


@torch.no_grad()
def test_vmap_over_what_comes_after():
    """A sum in place has no room for what is there several times."""
    module, x = convolution(16, 16), pictures(1, 16, 20, 20)
    plus, shift = torch.randn(3, 1, 16, 20, 20), torch.randn(3, 1, 16)
    made = torch.vmap(lambda plus, shift: module(x, plus=plus, shift=shift))(plus, shift)
    expected = torch.stack([exact(module, x, plus=p, shift=s) for p, s in zip(plus, shift, strict=True)])
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_model_of_several_weights_enlarges():
    """torch.func's ensembles: what is made of weights is not kept there."""
    modules, x = [convolution(16, 16) for _ in range(2)], pictures(1, 16, 20, 20)
    modules[1].weight.neg_()
    weights, _ = torch.func.stack_module_state(modules)
    made = torch.vmap(lambda each: torch.func.functional_call(modules[0], each, x, {"twice": True}))(weights)
    expected = torch.stack([exact(module, x, twice=True) for module in modules])
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=1e-4)


def test_a_picture_of_other_channels_is_refused():
    with pytest.raises(RuntimeError, match="channels"):
        convolution(16, 16)(pictures(1, 32, 20, 20))


@needs_avx2
@torch.no_grad()
def test_vectors_of_one_row_serve_all_samples():
    module, x = convolution(16, 32), pictures(2, 16, 20, 20)
    scale, shift = (torch.randn(1, 32, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    made = module(x, scale=scale, shift=shift)
    assert made.equal(module(x, scale=scale.expand(2, -1), shift=shift.expand(2, -1)))
    torch.testing.assert_close(made.double(), exact(module, x, scale=scale, shift=shift), rtol=0, atol=1e-4)


@torch.no_grad()
def test_another_layout_of_what_is_added_is_the_same():
    module, x = convolution(16, 32), pictures(2, 16, 20, 20)
    plus = around(module, x, "plus")["plus"]
    assert module(x, plus=plus.contiguous()).equal(module(x, plus=plus))


def test_bad_arguments_are_refused():
    module, x = convolution(16, 16), pictures(1, 16, 20, 20)
    with pytest.raises(ValueError, match="scale takes a shift"):
        module(x, scale=torch.ones(1, 16))
    for kind in ("reflect", "2"):
        with pytest.raises(ValueError, match="twice takes a padding_mode of zeros"):
            convolution(16, 16, kind)(x, twice=True)
    with torch.no_grad():
        for wrong in ({"plus": x[:, :, 1:]}, {"shift": torch.ones(2, 7)}, {"beside": x}):
            with pytest.raises(RuntimeError):
                module(x, **wrong)


@pytest.mark.parametrize("names", [(), *AROUND[-2:]], ids="-".join)
def test_compiles_whole(names):
    """With PyTorch's convolution: no break of the graph, with gradients or without."""
    module, x = convolution(33 if names else 16, 32), pictures(1, 16, 16, 16)
    given = around(module, x, *names)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(compiled(x, **given).double(), exact(module, x, **given), rtol=1e-4, atol=1e-4)
    program = torch.export.export(module, (x,), given)
    torch.testing.assert_close(program.module()(x, **given).double(), exact(module, x, **given), rtol=1e-4, atol=1e-4)
