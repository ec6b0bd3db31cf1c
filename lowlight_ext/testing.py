"""Sample inputs, tolerances and the comparison with the reference: what tests and benches of an operator share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

import lowlight_ext
from lowlight_ext.backends import NAMES, OPERATORS, use_backend, why_not
from lowlight_ext.common import memory_format
from lowlight_ext.testing_norm import NORMS, norm_arguments

Shape = tuple[int, int, int, int]
Device = torch.device | str
# a small one, the smallest, one around a block's edge, odd quotients, none at all
SHAPES = ((2, 3, 6, 10), (1, 1, 2, 2), (1, 3, 254, 258), (3, 2, 14, 22), (0, 3, 4, 6))
# for operators that take any size: primes, one pixel, a row beyond a block
ODD_SHAPES = ((2, 3, 7, 13), (1, 1, 1, 1), (1, 2, 3, 1031))
RAW = ("poisson", "tukey_lambda", "raw_noise", "exposure_step")
EVEN_ONLY = ("haar_dwt2d", "haar_idwt2d")
LAYOUTS = ("contiguous", "channels_last", "slice", "transposed", "strided")
DIFFERENTIABLE = (
    *("haar_dwt2d", "haar_idwt2d", "diffusion_step", "anchored_q_sample", "poisson", "exposure_step"),
    *NORMS,
    "tone_curve",
)
# set by --slow: the interpreter takes every size
thorough = False
# where a backend is tested; triton without a GPU in its interpreter
DEVICES = {"reference": "cpu", "cpp": "cpu", "cuda": "cuda", "triton": "cuda" if torch.cuda.is_available() else "cpu"}


@dataclass(frozen=True)
class Sample:
    """One call of a public operator: op(*args, **kwargs)."""

    op: str
    name: str
    args: tuple
    kwargs: dict = field(default_factory=dict)

    def __call__(self) -> tuple[Tensor, ...]:
        out = getattr(lowlight_ext, self.op)(*self.args, **self.kwargs)
        return out if isinstance(out, tuple) else (out,)

    def tensors(self) -> list[Tensor]:
        """All that are among the arguments."""
        return [v for v in (*self.args, *self.kwargs.values()) if isinstance(v, Tensor)]

    def with_tensors(self, tensors: Sequence[Tensor]) -> "Sample":
        """The same call of other tensors, in the order of `tensors()`."""
        others = iter(tensors)
        args = tuple(next(others) if isinstance(v, Tensor) else v for v in self.args)
        kwargs = {k: next(others) if isinstance(v, Tensor) else v for k, v in self.kwargs.items()}
        return replace(self, args=args, kwargs=kwargs)


@dataclass(frozen=True)
class Tolerance:
    rtol: float
    atol: float
    reason: str


ULP = {torch.float64: 2.0**-52, torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}

EXACT = Tolerance(0.0, 0.0, "the same operations in the same order, none of them contracted")


def tolerance(sample: Sample, dtype: torch.dtype) -> Tolerance:
    """How far a compiled backend may be from the reference on this sample: the only table of tolerances."""
    if sample.op == "simple_gate":
        return EXACT
    if sample.op in NORMS:
        # results of about 1; where a pixel's few channels nearly agree, their deviation divides the mean's rounding
        ulps, reason = (1024, "few channels") if sample.op == "layer_norm2d" else (128, "sums in another order")
        if dtype in (torch.float32, torch.float64):
            return Tolerance(8 * ULP[dtype], ulps * ULP[dtype], reason)
        return Tolerance(2 * ULP[dtype], ulps * ULP[torch.float32], f"{reason}, and the rounding to neighbours")
    if sample.op == "tone_curve":
        # the rounding of gamma ln u counts as often as it is large, up to 6 here; near black 1 + x / floor rounds
        if dtype in (torch.float32, torch.float64):
            return Tolerance(16 * ULP[dtype], 2 * ULP[dtype], "ln and exp from other polynomials, 16 ulp")
        return Tolerance(2 * ULP[dtype], 2 * ULP[torch.float32], "as float32, and the rounding to neighbours")
    drawn = sample.op in ("normal", "tukey_lambda", "raw_noise") or sample.kwargs.get("seed") is not None
    if not drawn or sample.op == "uniform":
        return EXACT
    if sample.op == "tukey_lambda":
        rtol = 1e-6 if dtype in (torch.float32, torch.float64) else 2 * ULP[dtype]
        return Tolerance(rtol, 1e-6, "two powers from float32 polynomials, whose difference is 0 at u = 1/2")
    if sample.op == "raw_noise":
        # counts are equal, and so is everything from K n on but the read noise of a part of the white level
        rtol = 2e-6 if dtype in (torch.float32, torch.float64) else 2 * ULP[dtype]
        return Tolerance(rtol, 2e-6, "normals and powers from float32 polynomials, as a part of the white level")
    # near zero as elsewhere: the errors are of the factors of r cos(2 pi u)
    wide = Tolerance(4 * ULP[torch.float32], 0.0, "normals: float32 polynomials against float64 rounded once, 4 ulp")
    if sample.op == "normal":
        if dtype in (torch.float32, torch.float64):
            return wide
        return Tolerance(2 * ULP[dtype], 0.0, "normals that differ by an ulp of float32 may round to neighbours")
    if dtype in (torch.float32, torch.float64):
        return Tolerance(wide.rtol, 6 * wide.rtol, "as normals, which reach 6, in a sum of terms of about 1")
    return Tolerance(2 * ULP[dtype], 6 * wide.rtol, "sums that differ by an ulp of float32 may round to neighbours")


def gradient_tolerance(sample: Sample, dtype: torch.dtype) -> Tolerance:
    """As `tolerance`, of gradients: none of them is drawn; those of the normalisations are sums."""
    if sample.op not in NORMS:
        return EXACT
    return Tolerance(64 * ULP[dtype], 1024 * min(ULP[dtype], ULP[torch.float32]), "sums in another order")


def arranged(x: Tensor, layout: str) -> Tensor:
    """The values of x [B, C, H, W] in another memory layout."""
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "slice":
        larger = x.new_zeros(*x.shape[:2], x.shape[2] + 3, x.shape[3] + 5)
        larger[..., 1:-2, 2:-3] = x
        return larger[..., 1:-2, 2:-3]
    if layout == "transposed":
        return x.mT.contiguous().mT
    if layout == "strided":
        larger = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 3 * x.shape[3])
        larger[..., ::2, 1::3] = x
        return larger[..., ::2, 1::3]
    return x


def _pictures(count: int, shape: Shape, dtype: torch.dtype, device: Device, layout: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(len(shape) + sum(shape))
    values = (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(count))
    return [arranged(v.to(device, dtype), layout) for v in values]


def _rows(count: int, device: Device) -> Tensor:
    """Coefficients of an ordinary size: p near 1, q below 0, the rest in [-1, 1], s in [0, 1]."""
    rows = torch.linspace(-1, 1, 8 * count, dtype=torch.float64).sin().reshape(count, 8)
    rows[:, 0], rows[:, 1], rows[:, 7] = 1.1, -0.4, rows[:, 7].abs()
    return rows.to(device)


def _step_samples(op: str, shape: Shape, dtype: torch.dtype, device: Device, layout: str) -> Iterator[Sample]:
    x_t, eps, center, previous, noise = _pictures(5, shape, dtype, device, layout)
    batch = shape[0]
    rows = _rows(5, device)
    t = torch.arange(batch, device=device) % 5
    seeds = torch.arange(batch, device=device) - 2**62
    if op == "anchored_q_sample":
        table = torch.linspace(0.99, 0.01, 5, dtype=torch.float64, device=device)
        yield Sample(op, "noise", (x_t, t - 1, table), {"noise": noise, "center": center, "return_noise": True})
        yield Sample(op, "plain", (x_t, t, table.float()), {"noise": noise})
        yield Sample(op, "seed", (x_t, t, table), {"seed": 7, "stream": 3, "origin": (5, 6), "plane": 2})
        yield Sample(op, "seeds", (x_t, t, table), {"seed": seeds, "center": center, "return_noise": True})
        return
    still = rows[1].clone()
    still[-1] = 0
    every = {"center": center, "x0_previous": previous, "clip": (-0.5, 0.75), "return_x0": True}
    yield Sample(op, "one row", (x_t, eps, still), {})
    yield Sample(op, "noise", (x_t, eps, rows[2].float()), {"noise": noise, "return_x0": True})
    yield Sample(op, "table", (x_t, eps, rows), {"t": t, "noise": noise, **every})
    yield Sample(op, "seed", (x_t, eps, rows[2]), {"seed": 7, "stream": 3, "origin": (5, 6), "plane": 2})
    yield Sample(op, "seeds", (x_t, eps, rows), {"t": t, "seed": seeds, **every})
    yield Sample(op, "rows", (x_t, eps, rows[t]), {"seed": 7, "center": center})


def _raw_samples(op: str, shape: Shape, dtype: torch.dtype, device: Device, layout: str) -> Iterator[Sample]:
    seeds = torch.arange(shape[0], device=device) * 3 - 2**40
    place = {"stream": 3, "origin": (5, 6), "plane": 2}
    if op == "tukey_lambda":
        like = {"dtype": dtype, "device": device}
        for lam in (0.0, 0.14, -0.3, 2.0, 1e-7):
            yield Sample(op, f"lambda {lam}", (shape, -3, lam), {**place, **like})
        yield Sample(op, "seeds", (shape, seeds, 0.1), like)
        return
    if op == "raw_noise":
        shape = (shape[0], 4, *shape[2:])
    out, original = ((v + 1) / 2 for v in _pictures(2, shape, dtype, device, layout))
    per_sample = torch.linspace(0.5, 2, shape[0], dtype=torch.float64, device=device)
    if op == "poisson":
        for scale in (0.2, 9.0, 40.0, 60000.0):
            yield Sample(op, f"means to {scale}", (arranged(out * scale, layout), 7), place)
        yield Sample(op, "seeds", (arranged(out.pow(6) * 1000, layout), seeds))
    elif op == "raw_noise":
        scales: dict[str, Any] = {"g_scale": 3.0, "G_scale": per_sample, "G_shape": 0.12, "R_scale": 0.9}
        for model in ("g", "P+g", "p+g", "P+G+r+u", "u+p+r+G", "P"):
            parameters = lowlight_ext.RawNoiseParameters(per_sample, 150.0, model, **scales)
            yield Sample(op, model, (out, parameters, 7), place)
        parameters = lowlight_ext.RawNoiseParameters(0.4, 50 * per_sample, "P+G+r+u", **scales)
        yield Sample(op, "seeds", (out, parameters, seeds), {"clip": False})
    else:
        yield Sample(op, "seed", (out * 1.5 - 0.2, original, 100.0, 34.0, 0.8, 7), place)
        yield Sample(op, "seeds", (out, original, 100 * per_sample, 20.0, per_sample, seeds))
        yield Sample(op, "counts", (out, original, 100.0, 34.0, 0.8, None), {"counts": (300 * out).floor()})
        yield Sample(op, "mean", (out, original, 250.0, 34.0, 0.8, None))


def _tone_samples(op: str, shape: Shape, dtype: torch.dtype, device: Device, layout: str) -> Iterator[Sample]:
    """Dark pictures, of three channels, that become bright, too bright, and darker still."""
    (x,) = _pictures(1, (shape[0], 3, *shape[2:]), dtype, device, "contiguous")
    # between black and white, which are there as well where the picture is more than a pixel
    x = (0.75 * x + 0.5).clamp(0, 1)
    batch = torch.arange(3.0 * shape[0], device=device).reshape(-1, 3)
    gamma, scale = 0.45 + 0.1 * (batch % 5), 1.0 + 0.1 * (batch % 7)
    knee = 0.8 + 0.05 * (batch[:, :1] % 2)
    yield Sample(op, "bright", (arranged(x.pow(3), layout), gamma, scale, knee))
    yield Sample(op, "clipped", (arranged(x, layout), gamma.double(), 3 * scale.double(), 0 * knee.double() + 1))
    darker = (gamma.to(dtype) + 1.5, scale.to(dtype) / 2, knee.to(dtype))
    yield Sample(op, "darker", (arranged(x, layout), *darker), {"floor": 0.02, "share": 0.0})


def sample_inputs(
    op: str,
    shape: Shape = SHAPES[0],
    dtype: torch.dtype = torch.float32,
    device: Device = "cpu",
    layout: str = "contiguous",
) -> Iterator[Sample]:
    """Calls of `op` that cover its arguments, on pictures of this shape [B, C, H, W], H and W even."""
    if op not in OPERATORS:
        raise ValueError(f"sample_inputs: op must be one of {', '.join(OPERATORS)}, got {op!r}")
    if op in ("normal", "uniform"):
        like = {"dtype": dtype, "device": device}
        seeds = torch.arange(shape[0], device=device) + 2**40
        yield Sample(op, "seed", (shape, -3), {"stream": 9, **like})
        yield Sample(op, "place", (shape, 2**63 + 1), {"origin": (3, 2**33 + 1), "plane": 2**31, **like})
        yield Sample(op, "seeds", (shape, seeds), {"origin": (0, 2), **like})
        yield Sample(op, "row", (shape[2:], 5), {"origin": (1, 3), **like})
    elif op == "philox":
        words = torch.arange(shape[0] * 60, device=device).reshape(-1, 6) * 0x9E3779B9 % 2**32
        yield Sample(op, "words", (words[:, :4], words[:, 4:]))
    elif op == "haar_dwt2d":
        (x,) = _pictures(1, shape, dtype, device, layout)
        yield Sample(op, "plain", (x,))
        yield Sample(op, "normalise", (x,), {"normalise": True})
    elif op == "haar_idwt2d":
        bands = torch.stack(_pictures(4, shape, dtype, device, "contiguous"))
        bands = bands if layout == "contiguous" else bands.transpose(-1, -2).contiguous().transpose(-1, -2)
        yield Sample(op, "plain", (bands,))
        yield Sample(op, "denormalise", (bands,), {"denormalise": True})
    elif op in NORMS:
        (x,) = _pictures(1, shape, dtype, device, "contiguous")
        for name, (picture, *others), kwargs in norm_arguments(op, x):
            yield Sample(op, name, (arranged(picture, layout), *others), kwargs)
    elif op == "tone_curve":
        yield from _tone_samples(op, shape, dtype, device, layout)
    elif op in RAW:
        yield from _raw_samples(op, shape, dtype, device, layout)
    else:
        yield from _step_samples(op, shape, dtype, device, layout)


def implementations(op: str) -> dict[tuple[str, str], str | None]:
    """(backend, device type) -> None where it can be tested on this machine, or the reason why not."""
    assert set(DEVICES) == set(NAMES)
    return {(backend, device): why_not(backend, op, device) for backend, device in DEVICES.items()}


def interpreted(backend: str) -> bool:
    """Whether the backend's kernels run in triton's interpreter, a hundredth as fast: a tenth of a second a plane."""
    return (backend, DEVICES[backend]) == ("triton", "cpu")


def shapes(op: str, backend: str) -> tuple[Shape, ...]:
    """Those that `op` is tested on; an interpreter gets small ones, of its slowest operators the smallest."""
    every = SHAPES if op in EVEN_ONLY else SHAPES + ODD_SHAPES
    if not interpreted(backend):
        return every
    if op in RAW:
        return tuple(shape for shape in every if torch.Size(shape).numel() <= 4)
    small = tuple(shape for shape in every if torch.Size(shape).numel() <= 1000)
    return small if thorough else small[:1] + small[-2:-1]


def layout_shapes(op: str, backend: str) -> tuple[Shape, ...]:
    """Those that `op` is tested on in every layout."""
    if not interpreted(backend):
        return SHAPES[0], SHAPES[3]
    if op in RAW:
        return (SHAPES[1],)
    return (SHAPES[0], SHAPES[3]) if thorough else SHAPES[:1]


def compare(sample: Sample, backend: str, dtype: torch.dtype) -> None:
    """AssertionError where `backend` is further from the reference than the table allows."""
    with use_backend("reference"):
        expected = sample()
    with use_backend(backend):
        results = sample()
    allowed = tolerance(sample, dtype)
    for result, wanted in zip(results, expected, strict=True):
        # the norms keep channels_last; the reference of all others is contiguous
        assert result.is_contiguous(memory_format=memory_format(wanted)), (
            f"{sample.op} ({sample.name}): {backend} gave strides {result.stride()}"
        )
        torch.testing.assert_close(
            result,
            wanted,
            rtol=allowed.rtol,
            atol=allowed.atol,
            equal_nan=True,
            msg=lambda text: f"{sample.op} ({sample.name}): {backend} and reference differ; {allowed.reason}\n{text}",
        )
