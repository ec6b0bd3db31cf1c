"""What is made of weights follows every change of them: also those that neither an address nor a version tells of."""

import copy
import pickle

import pytest
import torch
from torch import nn

from lowlight_ext import Conv3x3, Kept, NAFBlock, NAFDown, NAFUp
from lowlight_ext.kernels_compiled import call
from lowlight_ext.kernels_compiled.call import missing

pytestmark = pytest.mark.skipif(bool(missing("cpu")), reason=f"cpp: {missing('cpu')}")


class Doubled(nn.Module):
    """Keeps twice its weight, and counts how often it made it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(0)))
        self.made = 0
        self.kept = Kept(self.double)

    def double(self, weight):
        self.made += 1
        return 2 * weight.detach()

    @torch.no_grad()
    def right(self):
        return self.kept(self.weight).equal(2 * self.weight)


def behind_a_vector(module):
    """Parameters that lie in a vector, which is changed later."""
    vector = nn.utils.parameters_to_vector(module.parameters()).detach()
    nn.utils.vector_to_parameters(vector, module.parameters())
    assert module.right()
    vector.mul_(3)


def fused(module):
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    module.weight.grad = torch.ones_like(module.weight)
    optimizer.step()


def turned(module):
    module.weight = nn.Parameter(module.weight.transpose(0, 1))


CHANGES = {
    "in place": lambda module: module.weight.detach().mul_(3),
    "data": lambda module: module.weight.data.mul_(3),
    "one number": lambda module: module.weight.data[1, 2, 0, 1].neg_(),
    "numpy": lambda module: module.weight.detach().numpy().fill(3),
    "another memory": lambda module: setattr(module.weight, "data", 3 * module.weight.data),
    "another view of it": turned,
    "load_state_dict": lambda module: module.load_state_dict({"weight": torch.ones(4, 4, 3, 3)}),
    "a vector": behind_a_vector,
    "a fused optimizer": fused,
    "in inference mode": torch.inference_mode()(lambda module: module.weight.mul_(3)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(change):
    module = Doubled()
    assert module.right()
    change(module)
    assert module.right()
    made = module.made
    assert module.right()
    assert module.made == made


def test_it_is_made_once():
    """Whoever asks, and in inference mode, where weights may have been made too."""
    module = Doubled()
    for _ in range(3):
        assert module.right()
    with torch.inference_mode():
        assert module.right()
        assert module.made == 1
        within = copy.deepcopy(module)
        assert within.right()
        assert within.right()
    assert within.made == 2


def test_large_weights_are_read_whole():
    """In pieces, on any number of threads."""
    weight, threads = torch.zeros(3 * 2**15 + 5), torch.get_num_threads()

    def found():
        return call._C.fingerprint(weight, 4 * len(weight))

    try:
        torch.set_num_threads(1)
        before = found()
        torch.set_num_threads(5)
        assert found() == before
    finally:
        torch.set_num_threads(threads)
    for place in (0, 2**15 - 1, 2**15, len(weight) - 1):
        weight.data[place] = 1
        assert found() != before
        weight.data[place] = 0
    assert found() == before


@torch.no_grad()
def test_any_of_several():
    made = []
    kept = Kept(lambda *weights: made.append(len(weights)) or sum(weights))
    one, two = torch.ones(3), torch.ones(3)
    for change in (lambda: None, lambda: two.add_(1), lambda: None, lambda: one.add_(1), lambda: two.add_(1)):
        change()
        assert kept(one, two).equal(one + two)
    assert kept(two, one).equal(one + two)
    assert made == [2, 2, 2, 2, 2]


@torch.no_grad()
def test_views_with_gaps_and_none_at_all():
    kept, numbers = Kept(lambda weight: weight.clone()), torch.arange(64.0).view(8, 8)
    for view in (numbers[:, 2:5], numbers[::3, 1::2], numbers.T[1:], numbers[:1].expand(4, 8), numbers[:0]):
        for _ in range(2):
            assert kept(view).equal(view)
            numbers += 1
    with pytest.raises(RuntimeError):
        torch.vmap(lambda each: kept(each).data_ptr())(numbers)


@torch.no_grad()
def test_what_cannot_be_read_is_made_each_time():
    class Own(torch.Tensor):
        pass

    made = []
    kept = Kept(lambda weight: made.append(1) or 2 * weight)
    for weight in (torch.ones(3).as_subclass(Own), torch.ones(3, device="meta"), torch.ones(3).to_sparse()):
        for _ in range(2):
            assert kept(weight).shape == (3,)
    assert torch.vmap(kept)(torch.ones(2, 3)).equal(torch.full((2, 3), 2.0))
    assert len(made) == 7


def test_copies_begin_anew():
    kept = Kept(torch.neg)
    with torch.no_grad():
        assert kept(torch.ones(2)).equal(-torch.ones(2))
        for again in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
            assert again._known == (None, None, None, None)
            assert again(torch.ones(2)).equal(-torch.ones(2))


USERS = {
    "Conv3x3": (lambda: Conv3x3(16, 16), {}),
    "Conv3x3 twice": (lambda: Conv3x3(16, 16), {"twice": True}),
    "NAFBlock": (lambda: NAFBlock(16), {}),
    "NAFDown": (lambda: NAFDown(16), {}),
    "NAFUp": (lambda: NAFUp(32), {"skip": True}),
}


@pytest.mark.parametrize("user", USERS)
def test_trained_by_a_fused_optimizer(user):
    """A picture between two steps, as validation makes one, does not hold the weights back."""
    torch.manual_seed(0)
    make, options = USERS[user]
    module = make()
    x = torch.randn(1, 32 if "skip" in options else 16, 12, 12).to(memory_format=torch.channels_last)
    if "skip" in options:
        options = {"skip": torch.randn(1, 16, 24, 24).to(memory_format=torch.channels_last)}
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1, fused=True)
    for _ in range(2):
        with torch.no_grad():
            before = module(x, **options)
        optimizer.zero_grad()
        module(x, **options).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            made = module(x, **options)
        assert not made.equal(before)
        torch.testing.assert_close(made, module(x, **options).detach(), rtol=0, atol=1e-4)
