"""torch.func on the operators: vmap gives what a loop does, what has no derivative says so instead of giving zero."""

import pytest
import torch
from torch.func import grad, jvp, vmap

import lowlight_ext

X = torch.randn(3, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
OPERATORS = {
    "haar_dwt2d": lowlight_ext.haar_dwt2d,
    "simple_gate": lowlight_ext.simple_gate,
    "mish_instance_norm": lowlight_ext.mish_instance_norm,
    "group_norm_silu": lambda x: lowlight_ext.group_norm_silu(x, 2, torch.ones(4), torch.zeros(4)),
    "layer_norm2d": lambda x: lowlight_ext.layer_norm2d(x, torch.ones(4), torch.zeros(4)),
}


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_vmap_is_a_loop(op):
    assert torch.equal(vmap(OPERATORS[op])(X), torch.stack([OPERATORS[op](x) for x in X]))


@pytest.mark.parametrize("op", OPERATORS)
def test_a_tangent_is_refused_and_not_lost(op):
    with pytest.raises(NotImplementedError, match=rf"{op}: forward-mode derivatives \(jvp\) are not there"):
        jvp(OPERATORS[op], (X[0],), (torch.ones_like(X[0]),))


def test_gradients_of_functions_are_refused_by_torch():
    with pytest.raises(RuntimeError, match="functorch transforms"):
        grad(lambda x: lowlight_ext.simple_gate(x).sum())(X[0])
