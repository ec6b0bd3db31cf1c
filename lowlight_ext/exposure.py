"""Raw space: the noise of a sensor, and the exposure process of ExposureDiffusion (ICCV 2023).

| paper | code | meaning |
|---|---|---|
| K | K | system gain: digital numbers an electron |
| S | saturation | white level less black level, 15583 for every camera |
| ratio | ratio | how many times longer the clean exposure is |
| photons(x, r) | x / r / K S | what the sensor counted of an image in [0, 1] that is r times brighter |
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lowlight_ext import checks, reference
from lowlight_ext.common import Source
from lowlight_ext.noise import seed_of, source_of
from lowlight_ext.pictures import check_noise, check_picture, widest
from lowlight_ext.poisson import MOST_LAMBDA, MOST_MEAN
from lowlight_ext.reference.exposure import PARTS
from lowlight_ext.registry import PLACE, asked, gradients_fake, plain_thread, register

SATURATION = 15583.0
CHANNELS = 4
COLUMNS = ("K", "ratio", "g_scale", "G_scale", "G_shape", "R_scale")


def _column(op: str, name: str, value: float | Tensor, batch: int, device: torch.device) -> Tensor:
    """A number, or one a sample, as float64 [1] or [B]."""
    if not isinstance(value, Tensor):
        return torch.full((1,), float(value), dtype=torch.float64, device=device)
    if value.dim() > 1 or value.numel() not in (1, batch):
        raise checks.fail(op, name, f"a number or a tensor of shape ({batch},)", tuple(value.shape))
    if value.requires_grad:
        raise ValueError(f"{op}: {name} must not require a gradient, none is computed")
    return value.to(device=device, dtype=torch.float64).reshape(-1)


def _table(columns: list[Tensor]) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*columns), dim=-1)


def _home(*values: float | Tensor) -> torch.device:
    """Where a table of them is formed: on the CPU, where no GPU is waited for, but for values that lie elsewhere."""
    # a list: torch 2.6 does not compile `next` with a default
    elsewhere = [v.device for v in values if isinstance(v, Tensor) and v.device.type != "cpu"]
    return elsewhere[0] if elsewhere else torch.device("cpu")


def _brought(op: str, rows: Tensor, device: torch.device) -> Tensor:
    """The rows on the pictures' device; where a CUDA graph is recorded, by value, as an int seed."""
    if rows.device == device or not torch.cuda.is_current_stream_capturing():
        return checks.brought(op, "parameters", rows, device)
    # fills, which unlike copies from the host a graph can keep
    values = [torch.full((), v, dtype=rows.dtype, device=device) for v in rows.flatten().tolist()]
    return torch.stack(values).reshape(rows.shape)


@dataclass(frozen=True, eq=False)
class RawNoiseParameters:
    """What `raw_noise` adds: a draw of a camera's calibration, in digital numbers; numbers, or tensors of one a sample.

    Tensors may lie on the pictures' device or on the CPU, whose values are checked without waiting for a GPU.

    model: the parts, joined by "+": u (rounding, uniform in +-1/2, clipped at 0), P (photons, Poisson) or p (photons,
    Gaussian), r (rows), g (read noise, normal) or G (read noise, Tukey lambda). Published: g, P+g, p+g, P+G+r+u (ELD).
    K: system gain, above 0. ratio: of the exposures, above 0. g_scale, R_scale: deviations of g and r. G_scale and
    G_shape: scale and lambda of G. saturation: white level less black level.
    """

    K: float | Tensor
    ratio: float | Tensor
    model: str = "P+g"
    g_scale: float | Tensor = 0.0
    G_scale: float | Tensor = 0.0
    G_shape: float | Tensor = 0.0
    R_scale: float | Tensor = 0.0
    saturation: float = SATURATION

    def parts(self) -> int:
        """The model as bits, reference.exposure.PARTS."""
        names = self.model.split("+")
        wrong = [name for name in names if name not in PARTS]
        both = {"P", "p"} <= set(names) or {"g", "G"} <= set(names)
        if wrong or both or len(set(names)) != len(names):
            expected = "parts of u, P or p, r, g or G, each once, joined by '+'"
            raise checks.fail("raw_noise", "model", expected, repr(self.model))
        return sum(PARTS[name] for name in names)

    def rows(self, batch: int, device: torch.device) -> Tensor:
        """float64 [1 or B, 6]: K, ratio, g_scale, G_scale, G_shape, R_scale."""
        return _table([_column("raw_noise", name, getattr(self, name), batch, device) for name in COLUMNS])


def _check_raw(clean: Tensor, rows: Tensor, parts: int, saturation: float, clip: bool, source: Source) -> None:
    op = "raw_noise"
    check_picture(op, "clean", clean)
    if clean.shape[1] != CHANNELS:
        raise checks.fail(op, "clean", "packed raw of 4 channels R, G1, B, G2, [B, 4, H, W]", tuple(clean.shape))
    _check_rows(op, "parameters", clean, rows, 6)
    check_noise(op, clean, None, source)


def _check_raw_values(rows: Tensor, parts: int, saturation: float) -> None:
    op = "raw_noise"
    if not 0 < saturation < float("inf"):
        raise checks.fail(op, "saturation", "finite and above 0", saturation)
    if not checks.readable(rows):
        return
    # one copy and no more waiting
    rows = rows.cpu()
    checks.finite(op, "parameters", rows)
    for name, column, low, high in (
        ("K", rows[:, 0], 1e-6, 1e6),
        ("ratio", rows[:, 1], 1e-3, 1e6),
        ("g_scale, G_scale", rows[:, 2:4], 0.0, 1e6),
        ("G_shape", rows[:, 4], -MOST_LAMBDA, MOST_LAMBDA),
        ("R_scale", rows[:, 5], 0.0, 1e6),
    ):
        if column.numel() and not ((column >= low) & (column <= high)).all():
            raise checks.fail(op, name, f"in [{low:g}, {high:g}]", column.flatten().tolist())
    if (
        rows.numel()
        and parts & PARTS["P"]
        and (most := (saturation / rows[:, 0] / rows[:, 1]).max().item()) > MOST_MEAN
    ):
        raise checks.fail(op, "K and ratio", f"such that white is at most {MOST_MEAN:g} photons", most)


def _raw_prepared(
    clean: Tensor, rows: Tensor, parts: int, saturation: float, clip: bool, source: Source
) -> tuple[Any, ...]:
    # the sensor has two rows for each of the packed picture's
    checks.place("raw_noise", (1, 1, 2 * clean.shape[2], 1), source._replace(y0=2 * source.y0, x0=0, plane=0))
    _check_raw_values(rows, parts, saturation)
    return clean, _brought("raw_noise", rows, clean.device), parts, saturation, clip, source


_raw_noise_op = register(
    f"raw_noise(Tensor clean, Tensor rows, int parts, float saturation, bool clip, {PLACE}) -> Tensor",
    _check_raw,
    lambda clean, *rest: clean.new_empty(clean.shape),
    prepare=_raw_prepared,
)


def raw_noise(
    clean: Tensor,
    parameters: RawNoiseParameters,
    seed: int | Tensor,
    *,
    clip: bool = True,
    stream: int = 0,
    origin: tuple[int, int] = (0, 0),
    plane: int = 0,
) -> Tensor:
    """The short exposure of a clean long one: y S / ratio in digital numbers; u, P or p, r, g or G; then ratio / S.

    clean: packed raw [B, 4, H, W] or [4, H, W] (R, G1, B, G2) in [0, 1]; float32, float64, float16 or bfloat16. u, as
    published before P, lifts black by 1/8; P draws K Poisson(y / K) (y below 0 counts as 0), p adds
    sqrt(max(K y, 1e-10)) z; r adds one z R_scale to each row of the unpacked sensor: R and G1 share one, B and G2 the
    next. clip: the result to [0, 1], as published. seed, stream, origin (in packed pixels), plane: as `normal`. Every
    part has words of its own, P those of `poisson`, G those of `tukey_lambda` of the same stream; a tile is a part of
    the whole. Computes in float32 (float64 for float64); counts are the same on every backend. NaN stays. No gradients.
    Raises TypeError on arguments of another kind, ValueError on a shape, dtype, seed, place or parameter that does not
    fit, and where clean wants a gradient. While a CUDA graph is recorded values on its device cannot be looked at: the
    picture of a sample with wrong ones is then NaN. Those on the CPU are recorded by value.
    """
    op = "raw_noise"
    checks.tensor(op, "clean", clean)
    if not isinstance(parameters, RawNoiseParameters):
        raise TypeError(f"{op}: parameters must be RawNoiseParameters, got {type(parameters).__name__}")
    if clean.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{op}: clean must not require a gradient, none is computed")
    picture = clean[None] if clean.dim() == 3 else clean
    home = _home(*(getattr(parameters, name) for name in COLUMNS))
    rows = parameters.rows(picture.shape[0] if picture.dim() else 1, home)
    source = Source(seed_of(op, seed), stream, *origin, plane)
    out = _raw_noise_op(picture, rows, parameters.parts(), float(parameters.saturation), clip, source)
    return out.reshape(clean.shape)


def _exposure_rows(op: str, batch: int, values: dict[str, float | Tensor], saturation: float) -> Tensor:
    """float64 [1 or B, 3]: photons of white, measured photons of white, image a photon; see reference.exposure."""
    tensors = [value for value in values.values() if isinstance(value, Tensor)]
    numbers: list[Any] = [value if isinstance(value, Tensor) else float(value) for value in values.values()]
    ratio, after, K = numbers
    # the same arithmetic on numbers, a tenth of the time; what would divide by 0 gets torch's infinities
    if not tensors and ratio and after and K and saturation:
        # a tensor takes longer to make than to look up; where a mode watches or traces it is made there
        return (_known_row if plain_thread() else _row)(ratio, after, K, saturation)
    home = _home(*values.values())
    ratio, after, K = [_column(op, name, value, batch, home) for name, value in values.items()]
    return _table(list(_exposure_columns(ratio, after, K, saturation)))


def _row(ratio: float, after: float, K: float, saturation: float) -> Tensor:
    return torch.tensor([_exposure_columns(ratio, after, K, saturation)], dtype=torch.float64, device="cpu")


@functools.lru_cache(maxsize=256)
def _known_row(ratio: float, after: float, K: float, saturation: float) -> Tensor:
    # inference mode's tensors can not be saved for a gradient later
    with torch.inference_mode(False):
        return _row(ratio, after, K, saturation)


def _exposure_columns(ratio: Any, after: Any, K: Any, saturation: float) -> tuple[Any, Any, Any]:
    return (after - 1) / ratio / K * saturation, saturation / ratio / K, ratio * K / (saturation * after)


def _check_rows(op: str, argument: str, x: Tensor, rows: Tensor, columns: int) -> None:
    checks.table(op, argument, rows, x.device)
    if rows.dim() != 2 or rows.shape[0] not in (1, x.shape[0]) or rows.shape[1] != columns:
        raise checks.fail(op, argument, f"[1 or {x.shape[0]}, {columns}]", tuple(rows.shape))


def _check_exposure(
    output: Tensor, original: Tensor, rows: Tensor, counts: Tensor | None, source: Source | None
) -> None:
    op = "exposure_step"
    check_picture(op, "output", output)
    checks.matching(op, "output", output, original=original, counts=counts)
    _check_rows(op, "ratio, ratio_next, K", output, rows, 3)
    if counts is not None and source is not None:
        raise ValueError(f"{op}: takes counts or seed, got both")
    check_noise(op, output, None, source)


def _exposure_prepared(output: Tensor, original: Tensor, rows: Tensor, *rest: Any) -> tuple[Any, ...]:
    if not checks.within(rows, 0.0, MOST_MEAN) and checks.readable(rows):
        expected = "finite, ratio, K and saturation above 0, ratio_next at least 1, photons of white at most 1e7"
        got = f"rows of photons, measured photons and image a photon {rows.tolist()}"
        raise checks.fail("exposure_step", "ratio, ratio_next, K and saturation", expected, got)
    return output, original, _brought("exposure_step", rows, output.device), *rest


def _exposure_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    out, original, rows, counts, _ = inputs
    if counts is not None and counts.requires_grad:
        raise ValueError("exposure_step: counts must not require a gradient, it goes to output, straight through them")
    ctx.save_for_backward(out, original, rows)


def _exposure_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needed = ctx.needs_input_grad[:2]
    # a second derivative goes through the definition, whose PyTorch operators have one
    call = reference.exposure_step_backward if torch.is_grad_enabled() else _exposure_backward_op
    output, original, rows = ctx.saved_tensors
    gradients = call(grad, output, original, _brought("exposure_step", rows, grad.device), needed)
    return *asked(gradients, needed), None, None, None


def _check_exposure_backward(
    grad: Tensor, output: Tensor, original: Tensor, rows: Tensor, needed: Sequence[bool]
) -> None:
    op = "exposure_step_backward"
    check_picture(op, "grad", grad)
    checks.matching(op, "grad", grad, output=output, original=original)
    _check_rows(op, "rows", grad, rows, 3)
    checks.beside(op, "grad", grad, rows=rows)
    checks.needed(op, needed, 2)


_exposure_op = register(
    f"exposure_step(Tensor output, Tensor original, Tensor rows, Tensor? counts, {PLACE}) -> Tensor",
    _check_exposure,
    lambda output, *rest: output.new_empty(output.shape),
    prepare=_exposure_prepared,
    backward=_exposure_backward,
    context=_exposure_context,
)
_exposure_backward_op = register(
    "exposure_step_backward(Tensor grad, Tensor output, Tensor original, Tensor rows, bool[] needed) "
    "-> (Tensor, Tensor)",
    _check_exposure_backward,
    gradients_fake,
)


def exposure_step(
    output: Tensor,
    original: Tensor,
    ratio: float | Tensor,
    ratio_next: float | Tensor,
    K: float | Tensor,
    seed: int | Tensor | None,
    *,
    counts: Tensor | None = None,
    saturation: float = SATURATION,
    stream: int = 0,
    origin: tuple[int, int] = (0, 0),
    plane: int = 0,
) -> Tensor:
    """One step of the exposure process: x = (photons(original, ratio) + n) / ratio_next ratio K / S, n ~ Poisson(m).

    m = photons(output, ratio / (ratio_next - 1)), what the longer exposure adds as the network sees it, and
    photons(v, r) = clamp(v, 0, 1) / r / K S. output (with its illuminance gain, if there is one), original:
    [B, C, H, W] or [C, H, W], float32, float64, float16 or bfloat16 (under autocast the widest of them). ratio and K
    above 0, ratio_next at least 1: numbers, or tensors of one a sample on output's device or on the CPU, whose values
    are checked without waiting for a GPU. seed None: n = counts where given, else the mean m itself, without noise.
    seed, stream, origin, plane: as `poisson`, whose counts of m these are. Returns x like output, contiguous, not
    clipped. Computes in float32 (float64 for float64); bit-equal on all backends. NaN stays NaN.
    Gradients: output (straight through the counts, dn / dm = 1) and original; 0 where the clamp acts.
    Raises TypeError on a picture that is no tensor, ValueError on a shape, dtype, device, seed, place or value that
    does not fit, and on counts given beside a seed. While a CUDA graph is recorded values on its device cannot be
    looked at: wrong ones then give NaN. Those on the CPU are recorded by value.
    """
    op = "exposure_step"
    pictures: Mapping[str, Any] = {"output": output, "original": original, "counts": counts}
    for name, x in pictures.items():
        if name != "counts" or x is not None:
            checks.tensor(op, name, x)
    shape, pictures = output.shape, widest(pictures, output)
    if output.dim() == 3:
        pictures = {name: None if x is None else x[None] for name, x in pictures.items()}
    output, original, counts = pictures.values()
    batch = output.shape[0] if output.dim() else 1
    rows = _exposure_rows(op, batch, {"ratio": ratio, "ratio_next": ratio_next, "K": K}, float(saturation))
    out = _exposure_op(output, original, rows, counts, source_of(op, seed, stream, origin, plane))
    return out if out.dim() == len(shape) else out.reshape(shape)
