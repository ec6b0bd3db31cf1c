"""Haar wavelets against PyWavelets, textbook numbers, their own inverse, and backend against reference."""

import numpy as np
import pytest
import pywt
import torch
from torch.autograd import gradcheck, gradgradcheck

import lowlight_ext
from lowlight_ext import haar_dwt2d, haar_idwt2d, haar_wavedec2d, haar_waverec2d, use_backend

OPS = ("haar_dwt2d", "haar_idwt2d")


def picture(*shape, dtype=torch.float64, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def pywt_details(details):
    """PyWavelets' (cH, cV, cD) in our order HL, LH, HH."""
    horizontal, vertical, diagonal = details
    return np.stack((-vertical, -horizontal, diagonal))


def test_bands_of_a_square():
    # by hand: x1 .. x4 = (even, even), (odd, even), (even, odd), (odd, odd) = 1, 3, 2, 8
    bands = haar_dwt2d(torch.tensor([[1.0, 2.0], [3.0, 8.0]]))
    assert bands.flatten().tolist() == [7.0, 3.0, 4.0, 2.0]


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (2, 3, 6, 10), (3, 34, 62)])
def test_dwt_is_pywavelets(implementation, shape):
    backend, device = implementation
    x = picture(*shape)
    ll, details = pywt.dwt2(x.numpy(), "haar")
    with use_backend(backend):
        bands = haar_dwt2d(x.to(device)).cpu().numpy()
    np.testing.assert_allclose(bands[0], ll, rtol=0, atol=1e-14)
    np.testing.assert_allclose(bands[1:], pywt_details(details), rtol=0, atol=1e-14)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_wavedec_is_pywavelets(implementation, levels):
    backend, device = implementation
    x = picture(2, 3, 16, 40)
    expected = pywt.wavedec2(x.numpy(), "haar", level=levels)
    with use_backend(backend):
        ours = haar_wavedec2d(x.to(device), levels)
        back = haar_waverec2d(ours)
    assert len(ours) == levels + 1
    np.testing.assert_allclose(ours[0].cpu(), expected[0], rtol=0, atol=1e-13)
    for mine, theirs in zip(ours[1:], expected[1:], strict=True):
        np.testing.assert_allclose(mine.cpu(), pywt_details(theirs), rtol=0, atol=1e-13)
    torch.testing.assert_close(back.cpu(), x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_levels_are_the_reference(implementation, levels, normalise):
    backend, device = implementation
    x = picture(2, 3, 32, 112, dtype=torch.float32).to(device)
    with use_backend("reference"):
        expected = haar_wavedec2d(x, levels, normalise=normalise)
        expected_back = haar_waverec2d(expected, denormalise=normalise)
    with use_backend(backend):
        ours = haar_wavedec2d(x, levels, normalise=normalise)
        back = haar_waverec2d(ours, denormalise=normalise)
    for mine, theirs in zip([*ours, back], [*expected, expected_back], strict=True):
        assert torch.equal(mine, theirs)


# the error of a sum of four numbers of about 1, rounded to the dtype after either transform
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-15), (torch.float32, 5e-7), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)]
)
def test_round_trip(implementation, dtype, atol):
    backend, device = implementation
    x = (picture(2, 3, 30, 26) * 2 - 1).to(device, dtype)
    with use_backend(backend):
        torch.testing.assert_close(haar_idwt2d(haar_dwt2d(x)), x, rtol=0, atol=atol)
        image = (x + 1) / 2
        there = haar_dwt2d(image, normalise=True)
        torch.testing.assert_close(haar_idwt2d(there, denormalise=True), image, rtol=0, atol=atol)


def test_affine_and_clamp(implementation):
    backend, device = implementation
    x = picture(1, 2, 6, 8).to(device)
    with use_backend(backend):
        torch.testing.assert_close(haar_dwt2d(x, normalise=True), haar_dwt2d(2 * x - 1))
        levels = haar_wavedec2d(x[..., :4, :], 2, normalise=True)
        torch.testing.assert_close(levels, haar_wavedec2d(2 * x[..., :4, :] - 1, 2))
        torch.testing.assert_close(haar_waverec2d(levels, denormalise=True), x[..., :4, :])
        bands = 3 * haar_dwt2d(2 * x - 1)
        y = (haar_idwt2d(bands) + 1) / 2
        assert (y < 0).any()
        assert (y > 1).any()
        torch.testing.assert_close(haar_idwt2d(bands, denormalise=True), y.clamp(0, 1))


def test_nan_stays_in_its_square(implementation):
    backend, device = implementation
    x = picture(1, 1, 4, 6).to(device)
    x[0, 0, 1, 3] = torch.nan
    with use_backend(backend):
        bands = haar_dwt2d(x)
        back = haar_idwt2d(bands, denormalise=True)
    assert bands.isnan().sum() == 4
    assert bands[:, 0, 0, 0, 1].isnan().all()
    assert back.isnan().sum() == 4


def test_batch_stacked_layout_is_a_view():
    bands = haar_dwt2d(picture(2, 3, 4, 4))
    stacked = bands.flatten(0, 1)
    assert stacked.shape == (8, 3, 2, 2)
    assert stacked.data_ptr() == bands.data_ptr()
    assert bands.is_contiguous()


@pytest.mark.parametrize("affine", [False, True])
def test_gradients(implementation, affine):
    backend, device = implementation
    # Triton's interpreter takes a millisecond a call: random projections of the Jacobian there
    projected = backend == "triton"
    x = picture(1, 2, 4, 6).to(device).requires_grad_()
    # some pixels beyond the clamp, none on its bounds
    bands = (4 * picture(4, 1, 2, 2, 3, seed=1) - 2).to(device).requires_grad_()
    with use_backend(backend):
        for call, value in (
            (lambda v: haar_dwt2d(v, normalise=affine), x),
            (lambda v: haar_idwt2d(v, denormalise=affine), bands),
            (lambda v: haar_wavedec2d(v, 2, normalise=affine), picture(1, 1, 4, 8).to(device).requires_grad_()),
            (lambda v: haar_wavedec2d(v, 1, normalise=affine)[0], x),
            (lambda v: haar_waverec2d([v[0], v[1:]], denormalise=affine), bands),
            (lambda v: haar_waverec2d([v[0], v[1:], v[1:].repeat(1, 1, 1, 2, 2)], denormalise=affine), bands),
        ):
            assert gradcheck(call, (value,), fast_mode=projected)
            assert gradgradcheck(lambda v, call=call: [o**2 for o in as_list(call(v))], (value,), fast_mode=projected)


def as_list(value):
    return value if isinstance(value, list) else [value]


def test_clamp_passes_the_gradient_on_its_bounds(implementation):
    backend, device = implementation
    # the inverse is 1, -1, 3, -3: after (y + 1) / 2 exactly 1, exactly 0, above and below
    image = torch.tensor([[1.0, -1.0], [3.0, -3.0]], device=device, dtype=torch.float64)
    bands = haar_dwt2d(image).requires_grad_()
    with use_backend(backend):
        haar_idwt2d(bands, denormalise=True).sum().backward()
    # our own promise: torch.clamp passes it on its bounds up to 2.13 only
    assert haar_idwt2d(bands.grad).tolist() == [[0.5, 0.5], [0.0, 0.0]]


def test_gradient_is_the_adjoint():
    x = picture(2, 3, 6, 8).requires_grad_()
    bands = haar_dwt2d(x)
    weight = picture(*bands.shape, seed=2)
    (gradient,) = torch.autograd.grad((bands * weight).sum(), x)
    torch.testing.assert_close(gradient, haar_idwt2d(weight), rtol=0, atol=0)


@pytest.mark.parametrize("op", OPS)
def test_opcheck(implementation, op):
    backend, device = implementation
    shape = (2, 3, 4, 6) if op == "haar_dwt2d" else (4, 2, 3, 4, 6)
    x = picture(*shape, dtype=torch.float32).to(device).requires_grad_()
    with use_backend(backend):
        for affine in (False, True):
            torch.library.opcheck(getattr(torch.ops.lowlight_ext, op).default, (x, affine))


def test_opcheck_of_levels(implementation):
    backend, device = implementation
    x = picture(2, 3, 8, 12, dtype=torch.float32).to(device).requires_grad_()
    with use_backend(backend):
        coefficients = [c.detach().requires_grad_() for c in haar_wavedec2d(x, 2)]
        for affine in (False, True):
            torch.library.opcheck(torch.ops.lowlight_ext.haar_wavedec2d.default, (x, 2, affine))
            torch.library.opcheck(torch.ops.lowlight_ext.haar_waverec2d.default, (coefficients, affine))


def test_compiles_whole(implementation):
    backend, device = implementation

    def there_and_back(x):
        coefficients = haar_wavedec2d(x, 2, normalise=True)
        return haar_waverec2d([coefficients[0].sin(), *coefficients[1:]], denormalise=True)

    x = picture(1, 3, 8, 12, dtype=torch.float32).to(device).requires_grad_()
    with use_backend(backend):
        expected = there_and_back(x)
        (gradient,) = torch.autograd.grad(expected.sum(), x)
        result = torch.compile(there_and_back, fullgraph=True, backend="aot_eager")(x)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(torch.autograd.grad(result.sum(), x)[0], gradient)


def test_keeps_dtype_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert haar_dwt2d(picture(1, 1, 4, 4, dtype=torch.float32)).dtype == torch.float32


def test_empty_batch():
    x = torch.zeros(0, 3, 4, 6, requires_grad=True)
    bands = haar_dwt2d(x)
    assert bands.shape == (4, 0, 3, 2, 3)
    assert haar_idwt2d(bands).shape == x.shape
    haar_idwt2d(bands).sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: haar_dwt2d(np.zeros((2, 2))), TypeError, "haar_dwt2d: x must be a tensor, got ndarray"),
        (lambda: haar_dwt2d(torch.zeros(2, 3)), ValueError, r"haar_dwt2d: x .* divisible by 2, got \(2, 3\)"),
        (lambda: haar_dwt2d(torch.zeros(3, 2)), ValueError, r"divisible by 2, got \(3, 2\)"),
        (lambda: haar_dwt2d(torch.zeros(4)), ValueError, "at least two dimensions"),
        (lambda: haar_dwt2d(torch.zeros(2, 2, dtype=torch.uint8)), ValueError, "x must be float32, .* got torch.uint8"),
        (lambda: haar_dwt2d(torch.eye(2).to_sparse()), ValueError, "dense"),
        (lambda: haar_idwt2d(torch.zeros(3, 2, 2)), ValueError, r"bands must be of shape \[4, ..., h, w\], got \(3, 2"),
        (lambda: haar_idwt2d(torch.zeros(4, 2)), ValueError, r"got \(4, 2\)"),
        (lambda: haar_wavedec2d(torch.zeros(6, 8), 2), ValueError, "haar_wavedec2d: x .* divisible by 4"),
        (lambda: haar_wavedec2d(torch.zeros(6, 8), 0), ValueError, r"levels must be in \[1, 62\], got 0"),
        (lambda: haar_wavedec2d(torch.zeros(0, 8), 2**40), ValueError, "levels must be .* got 1099511627776"),
        (lambda: haar_waverec2d([torch.zeros(2, 2)]), ValueError, "haar_waverec2d: coefficients must be"),
        (
            lambda: haar_waverec2d([torch.zeros(2, 2), torch.zeros(3, 2, 3)]),
            ValueError,
            r"coefficients\[1\] must be of shape \(3, 2, 2\)",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.slow
def test_more_than_two_gigabytes(implementation):
    backend, device = implementation
    # 2^31 + 2^16 bytes of float16: byte offsets leave 32 bits
    x = torch.zeros(1, 1, 1 << 15, (1 << 15) + 2, dtype=torch.float16, device=device)
    x[0, 0, -2:, -2:] = torch.tensor([[1.0, 2.0], [3.0, 8.0]])
    with use_backend(backend):
        bands = lowlight_ext.haar_dwt2d(x)
    assert bands[:, 0, 0, -1, -1].tolist() == [7.0, 3.0, 4.0, 2.0]
