"""The operators of gradients, called by themselves: nothing that does not fit reaches a kernel."""

import pytest
import torch

import lowlight_ext  # noqa: F401  (defines the operators)
from lowlight_ext.backends import OPERATORS

X = torch.rand(2, 4, 6, 8, generator=torch.Generator().manual_seed(1))
HALF, WEIGHT, TIMES = X[:, :2].clone(), torch.ones(4), torch.tensor([1, 0])
THREE = [True, True, True]
# operator -> its arguments by name; what they are named by in a message is the schema's name
CALLS = {
    "diffusion_step_backward": {
        "grad": X,
        "grad_x0": X,
        "x_t": X,
        "eps": X,
        "rows": torch.rand(5, 8),
        "t": TIMES,
        "lo": -1.0,
        "hi": 1.0,
        "needed": [True] * 4,
    },
    "anchored_q_sample_backward": {"grad": X, "grad_noise": X, "t": TIMES, "alpha_bar": torch.rand(5), "needed": THREE},
    "exposure_step_backward": {
        "grad": X,
        "output": X,
        "original": X,
        "rows": torch.rand(2, 3, dtype=torch.float64),
        "needed": [True] * 2,
    },
    "group_norm_silu_backward": {
        "grad": X,
        "x": X,
        "stats": torch.rand(2, 2, 2),
        "weight": WEIGHT,
        "bias": WEIGHT,
        "groups": 2,
        "activation": True,
        "needed": THREE,
    },
    "mish_instance_norm_backward": {"grad": X, "x": X, "stats": torch.rand(2, 2, 4)},
    "layer_norm2d_backward": {
        "grad": X,
        "x": X,
        "stats": torch.rand(2, 2, 48),
        "weight": WEIGHT,
        "bias": WEIGHT,
        "needed": THREE,
    },
    "simple_gate_backward": {"grad": HALF, "x": X},
}
TENSORS = [(op, name) for op, call in CALLS.items() for name, v in call.items() if isinstance(v, torch.Tensor)]
# what one tensor becomes: a part of itself where C++ would read beyond the end, and other kinds
WRONG = {
    "first axis": lambda v: v[: v.shape[0] // 2],
    "last axis": lambda v: v[..., : v.shape[-1] // 2] if v.dim() > 1 else v[None],
    "one number": lambda v: v.flatten()[0],
    "dtype": lambda v: v.to(torch.int32 if v.dtype == torch.int64 else torch.float16),
    "device": lambda v: v.to("meta"),
    "layout": lambda v: v.to_sparse(),
}
# the length of these tables is free, and a table of one sample serves all
FREE = {
    ("diffusion_step_backward", "rows", "first axis"),
    ("anchored_q_sample_backward", "alpha_bar", "first axis"),
    ("exposure_step_backward", "rows", "first axis"),
}
# the one that the others are compared with: they are named where it is the odd one
LEADS = {"group_norm_silu_backward": "x", "mish_instance_norm_backward": "x", "layer_norm2d_backward": "x"}
LEADS["simple_gate_backward"] = "x"
CASES = [(op, name, wrong) for op, name in TENSORS for wrong in WRONG if (op, name, wrong) not in FREE]


def called(op: str, **others: object):
    return getattr(torch.ops.lowlight_ext, op)(*(CALLS[op] | others).values())


def test_every_backward_operator_is_here():
    names = {f"{op}_backward" for op in OPERATORS}
    assert set(CALLS) == {name for name in names if hasattr(torch.ops.lowlight_ext, name)}
    for op, call in CALLS.items():
        schema = getattr(torch.ops.lowlight_ext, op).default._schema
        assert [argument.name for argument in schema.arguments] == list(call)


@pytest.mark.parametrize("op", CALLS)
def test_what_fits_is_taken(op):
    results = called(op)
    for result in results if isinstance(results, tuple) else (results,):
        assert result.isfinite().all()


@pytest.mark.parametrize(("op", "name", "wrong"), CASES)
def test_what_does_not_fit_raises(op, name, wrong):
    value = WRONG[wrong](CALLS[op][name])
    with pytest.raises(ValueError, match=rf"^{op}: ") as caught:
        called(op, **{name: value})
    # where the leading argument is the odd one, the next that differs from it is named
    assert name in str(caught.value) or name == LEADS.get(op, "grad")


@pytest.mark.parametrize("op", [op for op, call in CALLS.items() if "needed" in call])
def test_answers_are_counted(op):
    needed = CALLS[op]["needed"]
    for count in (0, len(needed) - 1, len(needed) + 1):
        with pytest.raises(ValueError, match=f"^{op}: needed must be {len(needed)} answers"):
            called(op, needed=[True] * count)


@pytest.mark.parametrize("op", ["group_norm_silu_backward", "layer_norm2d_backward"])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_no_gradient_of_what_is_absent(op, name):
    with pytest.raises(ValueError, match=f"^{op}: needed must be False for a weight or bias that is absent"):
        called(op, **{name: None})


@pytest.mark.parametrize("groups", [0, -1, 3, 4])
def test_groups(groups):
    with pytest.raises(ValueError, match=r"^group_norm_silu_backward: (groups|stats) must be"):
        called("group_norm_silu_backward", groups=groups)


@pytest.mark.parametrize("clip", [(None, 1.0), (0.0, None), (1.0, -1.0), (float("nan"), 1.0)])
def test_clip(clip):
    with pytest.raises(ValueError, match=r"^diffusion_step_backward: clip must be"):
        called("diffusion_step_backward", lo=clip[0], hi=clip[1])
