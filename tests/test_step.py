"""The diffusion step and the anchored forward process: rows of published samplers, diffusers, tiles, errors."""

import diffusers
import pytest
import torch
from step_rows import ALPHA_BAR, BETAS, ddim_row, ddpm_row, pictures

from lowlight_ext import anchored_q_sample, diffusion_step, normal, use_backend

OPERATOR = "diffusion_step"
OPS = ("diffusion_step", "anchored_q_sample")


def scheduler(kind, **options):
    made = kind(num_train_timesteps=200, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", **options)
    # diffusers forms its table in float32
    made.alphas_cumprod = ALPHA_BAR.clone()
    made.alphas, made.betas = 1 - BETAS, BETAS.clone()
    made.one, made.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    return made


@pytest.mark.parametrize("clip", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("t", [199, 57, 1, 0])
def test_ddpm_is_diffusers(implementation, t, clip):
    backend, device = implementation
    theirs = scheduler(diffusers.DDPMScheduler, variance_type="fixed_small", clip_sample=clip is not None)
    x_t, eps = pictures(2, 2, 3, 4, 6)
    expected = theirs.step(eps, t, x_t, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(1), dtype=x_t.dtype)
    with use_backend(backend):
        out, x0 = diffusion_step(
            *(v.to(device) for v in (x_t, eps, ddpm_row(t))), noise=noise.to(device), clip=clip, return_x0=True
        )
    torch.testing.assert_close(x0.cpu(), expected.pred_original_sample, rtol=1e-12, atol=1e-12)
    # diffusers keeps the variance above 1e-20, so its last step has noise of 1e-10
    torch.testing.assert_close(out.cpu(), expected.prev_sample, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("t", [190, 100, 0])
def test_ddim_is_diffusers(implementation, t, eta):
    backend, device = implementation
    theirs = scheduler(diffusers.DDIMScheduler, clip_sample=False, set_alpha_to_one=True)
    theirs.set_timesteps(20)
    x_t, eps, noise = pictures(3, 2, 3, 4, 6)
    expected = theirs.step(eps, t, x_t, eta=eta, variance_noise=noise).prev_sample
    with use_backend(backend):
        values = (v.to(device) for v in (x_t, eps, ddim_row(t, t - 10 if t else -1, eta)))
        out = diffusion_step(*values, noise=noise.to(device))
    torch.testing.assert_close(out.cpu(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("make", [lambda t: ddpm_row(t, True), lambda t: ddim_row(t, t - 1, 0.5, True)])
def test_anchored_rows_are_the_shifted_process(make):
    """Moved by the anchor, x -> x - phi and x0 -> x0 - phi, the anchored process is the plain one."""
    t = 120
    x0, center, noise, z = pictures(4, 2, 3, 4, 6)
    phi = 2 * center - 1
    x_t, anchored = anchored_q_sample(
        x0, torch.tensor([t, t]), ALPHA_BAR, center=center, noise=noise, return_noise=True
    )
    plain = anchored_q_sample(x0 - phi, torch.tensor([t, t]), ALPHA_BAR, noise=noise)
    torch.testing.assert_close(x_t - phi, plain)
    stepped = diffusion_step(x_t, anchored, make(t), center=center, noise=z)
    rows = make(t)
    rows[4] = 0
    torch.testing.assert_close(stepped - phi, diffusion_step(plain, noise, rows, noise=z))


def test_forward_process_by_hand(implementation):
    backend, device = implementation
    x0, center, noise = (v.to(device) for v in pictures(3, 3, 1, 2, 4))
    t = torch.tensor([150, -1, 0], device=device)
    noise[1, 0, 0, 0] = torch.inf
    with use_backend(backend):
        x_t, n = anchored_q_sample(x0, t, ALPHA_BAR.to(device), center=center, noise=noise, return_noise=True)
    for b, step in ((0, 150), (2, 0)):
        ab = ALPHA_BAR[step]
        k = (1 - ab.sqrt()) / (1 - ab).sqrt()
        torch.testing.assert_close(n[b], noise[b] + k * (2 * center[b] - 1))
        torch.testing.assert_close(x_t[b], ab.sqrt() * x0[b] + (1 - ab).sqrt() * n[b])
    assert torch.equal(x_t[1], x0[1])


def test_alpha_bar_of_one_keeps_the_picture(implementation):
    backend, device = implementation
    x0, center, noise = (v.to(device) for v in pictures(3, 1, 1, 2, 2))
    with use_backend(backend):
        table, t = torch.ones(1, dtype=torch.float64, device=device), torch.tensor([0], device=device)
        x_t, n = anchored_q_sample(x0, t, table, center=center, noise=noise, return_noise=True)
    assert torch.equal(x_t, x0)
    assert torch.equal(n, noise)


def test_step_by_hand(implementation):
    """Every term, a table of rows and clamping, against the formula in float64."""
    backend, device = implementation
    x_t, eps, center, previous, noise = (v.to(device) for v in pictures(5, 3, 2, 4, 6))
    table = pictures(1, 6, 8, seed=3)[0].to(device)
    table[:, :2] = torch.tensor([1.1, -0.4])
    t = torch.tensor([5, 0, 2], device=device)
    with use_backend(backend):
        out, x0 = diffusion_step(
            x_t, eps, table, t=t, center=center, x0_previous=previous, noise=noise, clip=(-0.3, 0.6), return_x0=True
        )
    for sample in range(3):
        p, q, a, b, c, d, e, s = table[t[sample]].tolist()
        estimate = (p * x_t[sample] + q * eps[sample]).clamp(-0.3, 0.6)
        assert (estimate == -0.3).any()
        assert (estimate == 0.6).any()
        expected = a * estimate + b * x_t[sample] + c * (2 * center[sample] - 1)
        expected += d * eps[sample] + e * previous[sample] + s * noise[sample]
        torch.testing.assert_close(x0[sample], estimate)
        torch.testing.assert_close(out[sample], expected)


@pytest.mark.parametrize("op", OPS)
def test_a_seed_is_the_noise_of_normal(implementation, op):
    backend, device = implementation
    x, eps = (v.to(device) for v in pictures(2, 3, 2, 5, 9, dtype=torch.float32))
    place = {"stream": 8, "origin": (2, 7), "plane": 4}
    t = torch.tensor([3, 100, 7], device=device)
    table = ALPHA_BAR.to(device)
    with use_backend(backend):
        for seed in (11, torch.tensor([1, -2, 2**60], device=device)):
            z = normal(x.shape, seed, **place, device=device)
            if op == "diffusion_step":
                rows = ddpm_row(50).to(device)
                drawn, given = (diffusion_step(x, eps, rows, **k) for k in ({"seed": seed, **place}, {"noise": z}))
            else:
                drawn, given = (anchored_q_sample(x, t, table, **k) for k in ({"seed": seed, **place}, {"noise": z}))
            assert torch.equal(drawn, given)


def test_tiles_and_parts_of_a_batch(implementation):
    backend, device = implementation
    x, eps = (v.to(device) for v in pictures(2, 3, 2, 14, 18, dtype=torch.float32))
    rows = ddpm_row(50).to(device)
    with use_backend(backend):
        whole = diffusion_step(x, eps, rows, seed=4, stream=2)
        tile = diffusion_step(x[..., 3:9, 5:12], eps[..., 3:9, 5:12], rows, seed=4, stream=2, origin=(3, 5))
        assert torch.equal(tile, whole[..., 3:9, 5:12])
        assert torch.equal(diffusion_step(x[2:], eps[2:], rows, seed=4, stream=2, plane=4), whole[2:])
        assert not torch.equal(diffusion_step(x, eps, rows, seed=4, stream=3), whole)


def test_threads_do_not_matter(implementation):
    backend, device = implementation
    x, eps = (v.to(device) for v in pictures(2, 1, 3, 300, 400, dtype=torch.float32))
    rows = ddpm_row(50).to(device)
    before = torch.get_num_threads()
    try:
        with use_backend(backend):
            torch.set_num_threads(1)
            alone = diffusion_step(x, eps, rows, seed=4)
            torch.set_num_threads(5)
            assert torch.equal(diffusion_step(x, eps, rows, seed=4), alone)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(3, 4, 6), (4,), (2, 5), (2, 3, 1, 2, 2)])
def test_other_shapes(implementation, shape):
    backend, device = implementation
    x, eps = (v.to(device) for v in pictures(2, *shape))
    rows = ddpm_row(50).to(device)
    with use_backend(backend):
        z = normal(shape, 9, stream=1, dtype=x.dtype, device=device)
        expected = diffusion_step(x.reshape(1, 1, 1, -1), eps.reshape(1, 1, 1, -1), rows, noise=z.reshape(1, 1, 1, -1))
        assert torch.equal(diffusion_step(x, eps, rows, seed=9, stream=1), expected.reshape(shape))
        batch = 1 if len(shape) == 3 else shape[0]
        t = torch.full((batch,), 50, device=device)
        noisy = anchored_q_sample(x, t, ALPHA_BAR.to(device), seed=9, stream=1)
        assert torch.equal(noisy, anchored_q_sample(x, t, ALPHA_BAR.to(device), noise=z))


def step_arguments(device):
    x_t, eps, center, previous, noise = (
        v.to(device).requires_grad_() for v in pictures(5, 2, 3, 4, 6, dtype=torch.float32)
    )
    rows, t = torch.stack([ddpm_row(i) for i in (50, 90)]).to(device), torch.tensor([1, 0], device=device)
    seeds = torch.tensor([3, 4], device=device)
    place = (1, 2, 3, 4)
    yield "diffusion_step", (x_t, eps, rows, t, center, previous, None, seeds, *place, -0.5, 0.5, True)
    yield "diffusion_step", (x_t, eps, rows[:1], None, None, None, noise, None, *place, None, None, False)
    yield "anchored_q_sample", (x_t, t, ALPHA_BAR.to(device), center, noise, None, *place, True)
    yield "anchored_q_sample", (x_t, t, ALPHA_BAR.to(device), None, noise, None, *place, True)
    x_t, eps, center, noise = (v.detach() for v in (x_t, eps, center, noise))
    some = [True, False, True, False]
    yield "diffusion_step_backward", (noise, center, x_t, eps, rows, t, -0.5, 0.5, some)
    yield "anchored_q_sample_backward", (noise, center, t, ALPHA_BAR.to(device), some[:3])


@pytest.mark.parametrize("case", range(6))
def test_opcheck(implementation, case):
    backend, device = implementation
    name, arguments = list(step_arguments(device))[case]
    with use_backend(backend):
        torch.library.opcheck(getattr(torch.ops.lowlight_ext, name).default, arguments)


def test_compiles_whole(implementation):
    backend, device = implementation
    table, alpha_bar = torch.stack([ddpm_row(i) for i in range(5)]).to(device), ALPHA_BAR.to(device)

    def walk(x, eps):
        x = anchored_q_sample(x, torch.tensor([3, 2], device=x.device), alpha_bar, center=eps, seed=5)
        for t in (4, 3):
            x = diffusion_step(x, eps * x, table[t], seed=7, stream=t, clip=(-1, 1))
        return x

    x, eps = (v.to(device).requires_grad_() for v in pictures(2, 2, 3, 4, 6, dtype=torch.float32))
    with use_backend(backend):
        expected = walk(x, eps)
        gradients = torch.autograd.grad(expected.sum(), (x, eps))
        result = torch.compile(walk, fullgraph=True, backend="aot_eager")(x, eps)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(torch.autograd.grad(result.sum(), (x, eps)), gradients)


def test_inductor_compiles_whole():
    """Through the whole compiler once: what it makes of strides, sizes and the eager pieces around the operator."""

    def step(x, eps, rows):
        return diffusion_step(x, eps.sin(), rows, seed=7).mT * 2

    x, eps = (v.to(memory_format=torch.channels_last) for v in pictures(2, 2, 3, 4, 6, dtype=torch.float32))
    rows = ddpm_row(50)
    torch.testing.assert_close(torch.compile(step, fullgraph=True)(x, eps, rows), step(x, eps, rows))


def test_autocast_takes_the_widest():
    x_t, eps = pictures(2, 1, 3, 4, 6, dtype=torch.float32)
    half = eps.bfloat16()
    with pytest.raises(ValueError, match=r"eps must be of x_t's dtype torch.float32, got torch.bfloat16"):
        diffusion_step(x_t, half, ddpm_row(50), seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        out = diffusion_step(x_t, half, ddpm_row(50), seed=1)
        noisy = anchored_q_sample(x_t, torch.tensor([5]), ALPHA_BAR, noise=half)
    assert out.dtype == noisy.dtype == torch.float32
    assert torch.equal(out, diffusion_step(x_t, half.float(), ddpm_row(50), seed=1))


def test_empty_batch(implementation):
    backend, device = implementation
    x = torch.zeros(0, 3, 4, 6, device=device, requires_grad=True)
    rows, t = ddpm_row(50).to(device), torch.zeros(0, dtype=torch.int64, device=device)
    with use_backend(backend):
        out, x0 = diffusion_step(x, x, rows, seed=1, return_x0=True)
        assert out.shape == x0.shape == x.shape
        assert diffusion_step(x, x, rows[None], t=t, seed=t).shape == x.shape
        noisy = anchored_q_sample(x, t, ALPHA_BAR.to(device), seed=1)
        (out + noisy).sum().backward()
    assert x.grad.shape == x.shape


X = torch.zeros(2, 3, 4, 6)
ROW = ddpm_row(50)
NAN = torch.where(torch.arange(8) == 3, torch.nan, ROW)
T = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: diffusion_step(X.numpy(), X, ROW), TypeError, "diffusion_step: x_t must be a tensor, got ndarray"),
        (lambda: diffusion_step(X, X, [0.0] * 8), TypeError, "coefficients must be a tensor, got list"),
        (lambda: diffusion_step(X, X, ROW[None], t=1), TypeError, "t must be a tensor, got int"),
        (lambda: diffusion_step(X.int(), X.int(), ROW), ValueError, "x_t must be float32, .* got torch.int32"),
        (
            lambda: diffusion_step(X, X[:1], ROW),
            ValueError,
            r"eps must be of x_t's shape \(2, 3, 4, 6\), got \(1, 3, 4, 6\)",
        ),
        (
            lambda: diffusion_step(X, X, ROW, center=X.double()),
            ValueError,
            "center must be of x_t's dtype torch.float32",
        ),
        (lambda: diffusion_step(X, X, ROW, x0_previous=X[..., 1:]), ValueError, "x0_previous"),
        (
            lambda: diffusion_step(X, X, ROW.half()),
            ValueError,
            "coefficients must be float32 or float64, got torch.float16",
        ),
        (lambda: diffusion_step(X, X, ROW[:7]), ValueError, r"coefficients must be rows of 8, .* got \(1, 7\)"),
        (
            lambda: diffusion_step(X, X, ROW.expand(3, 8)),
            ValueError,
            r"\[8\], \[2, 8\] or a table with t, got \(3, 8\)",
        ),
        (
            lambda: diffusion_step(X, X, NAN, seed=1),
            ValueError,
            "coefficients must be finite, got 1 values that are NaN",
        ),
        (lambda: diffusion_step(X, X, ROW), ValueError, "noise or seed must be given"),
        (lambda: diffusion_step(X, X, ROW, seed=1, noise=X), ValueError, "takes noise or seed, got both"),
        (
            lambda: diffusion_step(X, X, ROW[None], t=T, seed=1),
            ValueError,
            "t must be at least 0 and below .* 1, got .* 0 to 1",
        ),
        (lambda: diffusion_step(X, X, ROW[None], t=T - 1, seed=1), ValueError, "t .* from -1 to 0"),
        (lambda: diffusion_step(X, X, ROW[None], t=T[:1], seed=1), ValueError, r"t must be of shape \(2,\)"),
        (lambda: diffusion_step(X, X, ROW[None], t=T.int(), seed=1), ValueError, "t must be int64"),
        (lambda: diffusion_step(X, X, ROW, seed=1, clip=(1, -1)), ValueError, r"clip must be .* got \(1.*, -1.*\)"),
        (lambda: diffusion_step(X, X, ROW, seed=1, clip=(float("nan"), 1)), ValueError, "clip must be"),
        (lambda: diffusion_step(X, X, ROW, seed=T[:1].repeat(3)), ValueError, r"seed .* got \(3,\)"),
        (lambda: diffusion_step(X, X, ROW, seed=1, stream=70000), ValueError, "stream"),
        (lambda: diffusion_step(X[0, 0, 0, 0], X[0, 0, 0, 0], ROW, seed=1), ValueError, "x_t must be of shape"),
        (
            lambda: diffusion_step(X.clone().requires_grad_(), X, ROW.clone().requires_grad_(), seed=1),
            ValueError,
            "coefficients must not require a gradient",
        ),
        (lambda: anchored_q_sample(X, T, ALPHA_BAR), ValueError, "anchored_q_sample: takes noise or seed, got neither"),
        (lambda: anchored_q_sample(X, T, ALPHA_BAR[:1], seed=1), ValueError, "t must be below the table's length 1"),
        (lambda: anchored_q_sample(X, T, ALPHA_BAR + 1, seed=1), ValueError, r"alpha_bar must be in \[0, 1\]"),
        (lambda: anchored_q_sample(X, T, ALPHA_BAR * torch.nan, seed=1), ValueError, "alpha_bar .* not NaN"),
        (lambda: anchored_q_sample(X, T, ALPHA_BAR[None], seed=1), ValueError, r"a table of shape \[T\]"),
        (lambda: anchored_q_sample(X, T, ALPHA_BAR, noise=X[:1]), ValueError, "noise must be of x0's shape"),
        (lambda: anchored_q_sample(X, [0, 1], ALPHA_BAR, noise=X), TypeError, "t must be a tensor, got list"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_no_noise_is_right_where_s_is_zero():
    still = ddim_row(50, 40, 0.0)
    assert diffusion_step(X, X, still).shape == X.shape
    table = torch.stack((still, ROW))
    assert diffusion_step(X, X, table, t=torch.tensor([0, 0])).shape == X.shape
    with pytest.raises(ValueError, match="noise or seed must be given"):
        diffusion_step(X, X, table, t=torch.tensor([0, 1]))
