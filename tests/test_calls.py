"""The short way past the dispatcher: taken where nothing in it would act, and nowhere else."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from lowlight_ext import exposure_step, haar_dwt2d, normal, registry, simple_gate
from lowlight_ext.common import Source
from lowlight_ext.kernels_compiled import call
from lowlight_ext.registry import DIFFERENTIABLE, DISPATCHED, PLAIN, way

pytestmark = pytest.mark.skipif(call._C is None, reason="without the compiled module every call is dispatched")
X = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(1))


class Seen(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def kind(*arguments):
    return way(arguments)[0]


class Own(torch.Tensor):
    pass


def test_plain_calls_go_past_the_dispatcher():
    assert registry._AVAILABLE
    assert way(()) == (PLAIN, ())
    assert kind(X, None, 3, 0.5, torch.float32, X.device, (True, False)) == PLAIN
    assert kind(None, torch.nn.Parameter(X)) == DIFFERENTIABLE
    assert kind(X, Source(torch.tensor([3])), X.clone().requires_grad_(), X) == DIFFERENTIABLE
    with torch.inference_mode():
        assert kind(X + 1) == PLAIN


@pytest.mark.parametrize(
    "x",
    [
        X.as_subclass(Own),
        X.to_sparse(),
        X.to("meta"),
        torch.complex(X, X).conj().imag,
        torch._efficientzerotensor(X.shape),
    ],
    ids=["subclass", "sparse", "meta", "negated", "zeros"],
)
def test_other_tensors_go_through_it(x):
    assert kind(X, x) == kind(x, X.clone().requires_grad_()) == kind(X, Source(x)) == DISPATCHED


def test_modes_go_through_it():
    with Seen() as seen:
        haar_dwt2d(X)
    assert "lowlight_ext.haar_dwt2d.default" in seen.names
    for mode in (torch.device("cpu"), torch.profiler.profile(), forward_ad.dual_level()):
        with mode:
            assert kind(X) == DISPATCHED
    assert torch.vmap(lambda x: x * kind(X))(X).any().item() is False
    assert kind(X) == PLAIN


def test_both_ways_give_the_same(monkeypatch):
    def results(x):
        x = x.detach().requires_grad_()
        y = simple_gate(x) * haar_dwt2d(x).sum()
        (to_x,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y.detach(), to_x.detach(), torch.autograd.grad(to_x.square().sum(), x)[0]

    short = results(X)
    monkeypatch.setattr(registry, "_AVAILABLE", False)
    assert kind(X) == DISPATCHED
    for a, b in zip(short, results(X), strict=True):
        assert torch.equal(a, b)


def test_negated_values_are_read_as_they_are():
    x = torch.complex(X, X).conj().imag
    assert torch.equal(haar_dwt2d(x), haar_dwt2d(-X))


def test_an_int_seed_is_a_tensor_of_one_seed():
    """It reaches the kernels as it is, and the dispatcher as a tensor."""
    expected = normal((2, 1, 2, 4), -3, stream=1, origin=(2, 3), plane=4)
    flat = (torch.tensor([-3]), 1, 2, 3, 4, torch.float32, X.device)
    assert torch.equal(torch.ops.lowlight_ext.normal((2, 1, 2, 4), *flat), expected)
    with Seen():
        assert torch.equal(normal((2, 1, 2, 4), 2**64 - 3, stream=1, origin=(2, 3), plane=4), expected)


def test_what_was_checked_once_is_checked_again_where_anything_differs():
    """Of arguments that a check sees: shape, dtype, number, absence; and where noise is drawn, in every call."""
    first = (X, None, 3, Source(7))
    others = [(X[..., :2], *first[1:]), (X.double(), *first[1:]), (None, X, *first[2:]), (*first[:2], 4, first[3])]
    others += [(*first[:3], Source(torch.tensor([7]))), (*first[:3], None), (X, X, *first[2:])]
    for same in (first, (X.mT, *first[1:]), (*first[:3], Source(-1, 5, 6))):
        assert way(same) == way(first)
    assert len({way(arguments)[1] for arguments in [first, *others]}) == 8
    simple_gate(X)
    with pytest.raises(ValueError, match="even number of channels"):
        simple_gate(X[:, :1])
    normal((1, 1, 2, 4), 3)
    with pytest.raises(ValueError, match="stream must be"):
        normal((1, 1, 2, 4), 3, stream=-1)
    with pytest.raises(ValueError, match="origin must be"):
        normal((1, 1, 2, 4), 3, origin=(-1, 0))


def test_a_row_of_numbers_that_is_remembered_is_no_mode_s():
    def run(x):
        return exposure_step(x, x, 99.0, 33.0, 0.7, None)

    with torch.inference_mode():
        first = run(X + 0)
    with FakeTensorMode():
        assert isinstance(run(torch.rand(1, 2, 4, 4)), FakeTensor)
    # remembered in inference mode, saved for a gradient
    x = X.clone().requires_grad_()
    again = run(x)
    again.sum().backward()
    assert torch.equal(first, again)
    assert torch.isfinite(x.grad).all()
    assert not torch.equal(first, exposure_step(X, X, 99.0, 33.0, 0.8, None))
