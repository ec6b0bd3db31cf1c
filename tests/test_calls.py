"""The short way past the dispatcher: taken where nothing in it would act, and nowhere else."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from lowlight_ext import haar_dwt2d, registry, simple_gate
from lowlight_ext.registry import no_mode, plain

X = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(1))


class Seen(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class Own(torch.Tensor):
    pass


def test_plain_calls_go_past_the_dispatcher():
    assert registry._AVAILABLE
    assert no_mode()
    assert plain((X, None, 3)) == (True, False)
    assert plain((X, torch.nn.Parameter(X))) == (True, True)
    with torch.inference_mode():
        assert no_mode()
        assert plain((X + 1,)) == (True, False)


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
    assert plain((x,)) == (False, False)


def test_modes_go_through_it():
    with Seen() as seen:
        haar_dwt2d(X)
    assert "lowlight_ext.haar_dwt2d.default" in seen.names
    for mode in (torch.device("cpu"), torch.profiler.profile(), forward_ad.dual_level()):
        with mode:
            assert not no_mode()
    assert torch.vmap(lambda x: x * no_mode())(X).any().item() is False
    assert no_mode()


def test_both_ways_give_the_same(monkeypatch):
    def results(x):
        x = x.detach().requires_grad_()
        y = simple_gate(x) * haar_dwt2d(x).sum()
        (to_x,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y.detach(), to_x.detach(), torch.autograd.grad(to_x.square().sum(), x)[0]

    short = results(X)
    monkeypatch.setattr(registry, "_AVAILABLE", False)
    assert not no_mode()
    for a, b in zip(short, results(X), strict=True):
        assert torch.equal(a, b)


def test_negated_values_are_read_as_they_are():
    x = torch.complex(X, X).conj().imag
    assert torch.equal(haar_dwt2d(x), haar_dwt2d(-X))
