"""On a GPU: the bits of cpp, CUDA graphs, streams, a second device, no waiting, sizes beyond 32 bits."""

import dataclasses

import pytest
import torch
from test_engines import trained
from test_export import small

import lowlight_ext
from lowlight.engines.cuda_graph import replay_pictures
from lowlight_ext import (
    RawNoiseParameters,
    anchored_q_sample,
    backends,
    checks,
    diffusion_step,
    exposure_step,
    kernels_compiled,
    normal,
    poisson,
    raw_noise,
    tables_kept,
    testing,
    use_backend,
)
from lowlight_ext.checks import DTYPES
from lowlight_ext.common import Source

OPERATORS = (
    *("normal", "uniform", "philox", "haar_dwt2d", "haar_idwt2d", "diffusion_step", "anchored_q_sample"),
    *("poisson", "tukey_lambda", "raw_noise", "exposure_step"),
    "tone_curve",
)
SHAPES = (*testing.SHAPES, (2, 3, 4, 32), (1, 2, 6, 24), (2, 70, 2, 2), (1, 1, 2, 4100), (2, 3, 512, 640))
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@pytest.fixture(autouse=True)
def cuda():
    if reason := backends()["cuda"]:
        pytest.skip(f"cuda: {reason}")
    with use_backend("cuda"):
        yield


def same_bits(results, expected):
    for a, b in zip(results, expected, strict=True):
        integers = INTEGERS[a.element_size()]
        assert torch.equal(a.cpu().view(integers), b.cpu().view(integers))


def on_gpu(sample):
    """The same call with its tensors, and what it makes, on the GPU."""

    def moved(value):
        return value.to("cuda") if isinstance(value, torch.Tensor) else value

    kwargs = {name: moved(value) for name, value in sample.kwargs.items()}
    kwargs |= {"device": "cuda"} if "device" in kwargs else {}
    return dataclasses.replace(sample, args=tuple(map(moved, sample.args)), kwargs=kwargs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPERATORS)
def test_the_bits_of_cpp(op, dtype):
    if reason := backends(op)["cpp"]:
        pytest.skip(f"cpp: {reason}")
    for shape in SHAPES:
        for sample in testing.sample_inputs(op, shape, dtype):
            with use_backend("cpp"):
                expected = sample()
            same_bits(on_gpu(sample)(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_have_the_bits_of_cpp(dtype):
    results = []
    for backend, device in (("cpp", "cpu"), ("cuda", "cuda")):
        pictures = testing._pictures(4, (2, 3, 34, 66), dtype, device, "slice")
        x_t, eps, center, noise = (v.requires_grad_() for v in pictures)
        rows, t = testing._rows(3, device), torch.arange(2, device=device)
        with use_backend(backend):
            out, x0 = diffusion_step(x_t, eps, rows, t=t, center=center, seed=3, clip=(-0.4, 0.5), return_x0=True)
            table = torch.linspace(0.9, 0.1, 3).to(device)
            noisy, n = anchored_q_sample(x_t, t - 1, table, center=center, noise=noise, return_noise=True)
            # outside the operators there are sums of two gradients only, which round alike on both devices
            outputs = (out, x0, noisy, n)
            ones = [torch.ones_like(v) for v in outputs]
            results.append(torch.autograd.grad(outputs, (x_t, eps, center, noise), ones))
    same_bits(*results)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exposure_gradients_have_the_bits_of_cpp(dtype):
    results = []
    for backend, device in (("cpp", "cpu"), ("cuda", "cuda")):
        output, original = (v.requires_grad_() for v in testing._pictures(2, (2, 4, 34, 66), dtype, device, "slice"))
        with use_backend(backend):
            out = exposure_step(output, original, 100.0, 34.0, 0.8, 7)
            results.append((out, *torch.autograd.grad(out, (output, original), torch.ones_like(out))))
    same_bits(*results)


def test_a_million_counts_have_the_bits_of_cpp():
    """Means from 0.01 to a million: every way through inversion and rejection, the rare ones too."""
    means = 10 ** (torch.rand(1, 1, 1000, 1000, generator=torch.Generator().manual_seed(3)) * 8 - 2)
    counts = poisson(means.cuda(), 3)
    with use_backend("cpp"):
        same_bits([counts], [poisson(means, 3)])


@pytest.mark.parametrize("op", OPERATORS)
def test_a_graph_records_and_replays(op):
    """Also with other values in the same memory: pictures, seeds, rows and times are read when the graph runs."""
    for sample in testing.sample_inputs(op, (2, 3, 34, 64), device="cuda"):
        given = [v for v in (*sample.args, *sample.kwargs.values()) if isinstance(v, torch.Tensor)]
        sample()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = sample()
        for _ in range(2):
            for v in given:
                # another order of samples, seeds, times and rows; the columns of a single row have to stay
                if v.dim() > 1 or not v.is_floating_point():
                    v.copy_(v.flip(0).clone())
            graph.replay()
            same_bits(results, sample())


def test_a_graph_draws_anew_from_other_seeds():
    seeds = torch.tensor([1, 2], device="cuda")
    shape = (2, 3, 16, 20)
    normal(shape, seeds, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        z = normal(shape, seeds, device="cuda")
    graph.replay()
    first = z.clone()
    seeds += 2
    graph.replay()
    assert not torch.equal(z, first)
    assert torch.equal(z, normal(shape, torch.tensor([3, 4]), device="cuda"))


def test_what_a_graph_can_not_check_gives_nan():
    x, rows = torch.rand(2, 3, 4, 8, device="cuda"), testing._rows(2, "cuda")
    t = torch.tensor([0, 1], device="cuda")
    diffusion_step(x, x, rows, t=t, seed=1)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = diffusion_step(x, x, rows, t=t, seed=1)
    t += 1
    graph.replay()
    assert not out[0].isnan().any()
    assert out[1].isnan().all()


def test_parameters_and_means_that_a_graph_can_not_check_give_nan():
    x, gains = torch.rand(2, 4, 6, 8, device="cuda"), torch.ones(2, dtype=torch.float64, device="cuda")

    def calls():
        return (
            raw_noise(x, RawNoiseParameters(gains, 100.0, "P+G+r", G_scale=1.0, G_shape=0.1, R_scale=1.0), 3),
            exposure_step(x, x, 100.0, 34.0, gains, 3),
            poisson(x * gains.float()[:, None, None, None], 3),
        )

    calls()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = calls()
    gains[1] = -1.0
    graph.replay()
    for out in results:
        assert not out[0].isnan().any()
        assert out[1].isnan().all()


@pytest.mark.parametrize("op", OPERATORS)
def test_runs_on_the_current_stream(op, monkeypatch):
    """Inputs that are written late on a side stream are read after that, and not before."""
    # the checks of values would wait for the stream
    monkeypatch.setattr(checks, "readable", lambda value: False)
    stream = torch.cuda.Stream()
    for sample in testing.sample_inputs(op, (2, 3, 34, 64), device="cuda"):
        expected = sample()
        given = [v for v in (*sample.args, *sample.kwargs.values()) if isinstance(v, torch.Tensor)]
        kept = [v.clone() for v in given]
        for v in given:
            v.zero_()
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(20_000_000)
            for v, values in zip(given, kept, strict=True):
                v.copy_(values)
            results = sample()
        stream.synchronize()
        same_bits(results, expected)


@pytest.mark.parametrize("op", OPERATORS)
def test_a_second_device(op):
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU only")
    for first, second in zip(*(testing.sample_inputs(op, device=f"cuda:{i}") for i in (0, 1)), strict=True):
        results = second()
        assert all(r.device.index == 1 for r in results)
        assert torch.cuda.current_device() == 0
        same_bits(results, first())


def test_a_launch_waits_for_nothing():
    """No copy to the host between the call and the launch, which torch would report as an error here."""
    x, t, seeds = torch.rand(2, 3, 8, 16, device="cuda"), torch.tensor([0, 1], device="cuda"), torch.arange(2).cuda()
    rows, table, place = testing._rows(2, "cuda"), torch.tensor([0.9, 0.5], device="cuda"), (1, 2, 3, 4)
    noise_rows, photon_rows = (torch.ones(2, n, device="cuda") for n in (6, 3))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for s in (seeds, torch.tensor([5]), 5):
            source = Source(s, *place)
            kernels_compiled.normal(x.shape, source, torch.float32, "cuda")
            kernels_compiled.diffusion_step(x, x, rows, t, x, x, None, source, -1.0, 1.0, True)
            kernels_compiled.anchored_q_sample(x, t, table, x, None, source, True)
            kernels_compiled.poisson(x * 50, source)
            kernels_compiled.tukey_lambda(x.shape, source, 0.1, torch.float32, "cuda")
            kernels_compiled.raw_noise(x, noise_rows, 11, 15583.0, True, source)
            kernels_compiled.exposure_step(x, x, photon_rows, None, source)
        kernels_compiled.exposure_step_backward(x, x, x, photon_rows)
        kernels_compiled.diffusion_step_backward(x, x, x, x, rows, t, -1.0, 1.0)
        kernels_compiled.anchored_q_sample_backward(x, x, t, table)
        kernels_compiled.haar_idwt2d(kernels_compiled.haar_dwt2d(x))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_wrong_values_are_errors_outside_graphs():
    x, rows = torch.rand(2, 3, 4, 8, device="cuda"), testing._rows(2, "cuda")
    with pytest.raises(ValueError, match=r"t must be at least 0 and below .* 2, got .* 1 to 2"):
        diffusion_step(x, x, rows, t=torch.tensor([1, 2], device="cuda"), seed=1)
    with pytest.raises(ValueError, match="noise or seed must be given"):
        diffusion_step(x, x, rows)
    with pytest.raises(ValueError, match="exposure_step: ratio, ratio_next, K and saturation must be finite"):
        exposure_step(x, x, 100.0, 0.5, 1.0, 1)
    with pytest.raises(ValueError, match=r"raw_noise: K must be in \[1e-06, 1e\+06\], got \[0.0\]"):
        raw_noise(torch.rand(1, 4, 6, 8, device="cuda"), RawNoiseParameters(0.0, 100.0), 1)


def test_tables_on_the_cpu_make_no_waiting():
    """The whole public call, its value checks among it; the results are those of tables on the device."""
    x = torch.rand(2, 3, 8, 16, device="cuda", requires_grad=True)
    rows, t, table = testing._rows(2, "cpu"), torch.tensor([1, 0]), torch.tensor([0.9, 0.5])

    def calls(*tables):
        rows, t, table = tables
        out = diffusion_step(x, x, rows, t=t, seed=1) + anchored_q_sample(x, t, table, seed=2)
        return out, *torch.autograd.grad(out.sum(), x)

    expected = calls(rows.cuda(), t.cuda(), table.cuda())
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = calls(rows, t, table)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    same_bits(results, expected)


def test_numbers_and_parameters_on_the_cpu_make_no_waiting():
    x = torch.rand(2, 4, 6, 8, device="cuda", requires_grad=True)
    gains = torch.tensor([0.5, 2.0])

    def calls(gains):
        parameters = RawNoiseParameters(gains, 100.0, "P+G+r", G_scale=1.0, G_shape=0.1, R_scale=1.0)
        out = exposure_step(x, x, 100.0, 34.0, gains, 3)
        return out, raw_noise(x.detach(), parameters, 3), *torch.autograd.grad(out.sum(), x)

    for kind in (gains, 0.5):
        expected = calls(torch.as_tensor(kind).expand(2).cuda())
        torch.cuda.set_sync_debug_mode("error")
        try:
            results = calls(kind)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        same_bits(results, expected)


def test_a_graph_takes_no_tables_from_the_cpu():
    x, rows = torch.rand(2, 3, 4, 8, device="cuda"), testing._rows(2, "cpu")
    with torch.cuda.graph(torch.cuda.CUDAGraph()), pytest.raises(ValueError, match="while a CUDA graph is recorded"):
        diffusion_step(x, x, rows, seed=1)
    with torch.cuda.graph(torch.cuda.CUDAGraph()), pytest.raises(ValueError, match="while a CUDA graph is recorded"):
        normal((2, 3, 4, 8), torch.tensor([1, 2]), device="cuda")


def test_a_graph_takes_tables_that_are_kept():
    x, rows, seeds = torch.rand(2, 3, 4, 8, device="cuda"), testing._rows(2, "cpu"), torch.tensor([1, 2])
    graph, tables = torch.cuda.CUDAGraph(), {}
    with tables_kept(tables):
        expected = diffusion_step(x, x, rows, seed=seeds)
        with torch.cuda.graph(graph):
            result = diffusion_step(x, x, rows, seed=seeds)
    graph.replay()
    same_bits([result], [expected])


@pytest.mark.parametrize("name", ["diffll", "anlightendiff", "wavelet_anchored", "ddpm"])
def test_whole_pictures_are_replayed(name):
    system, plain = trained(small(name)).cuda(), trained(small(name)).cuda()
    replay_pictures(system)
    for picture, seed in ((1, 5), (2, 6), (2, 2**63 + 1)):
        low = 0.3 * torch.rand(1, 3, 34, 40, generator=torch.Generator().manual_seed(picture)).cuda()
        result, wanted = (each.enhance_tensor(low, seed=seed, steps=2) for each in (system, plain))
        # convolutions may be chosen anew
        torch.testing.assert_close(result, wanted, rtol=0, atol=1e-3)


@pytest.mark.slow
def test_more_elements_than_32_bits_count():
    height, width = 1 << 15, (1 << 16) + 8
    z = normal((1, 1, height, width), 3, dtype=torch.float16, device="cuda")
    corner = normal((1, 1, 4, 16), 3, origin=(height - 4, width - 16), dtype=torch.float16, device="cuda")
    assert torch.equal(z[..., -4:, -16:], corner)
    row = testing._rows(1, "cuda")[0]
    stepped = diffusion_step(z, z, row, seed=5)
    part = z[..., -4:, -16:]
    assert torch.equal(
        stepped[..., -4:, -16:], diffusion_step(part, part, row, seed=5, origin=(height - 4, width - 16))
    )
    assert lowlight_ext.haar_dwt2d(z).shape == (4, 1, 1, height // 2, width // 2)
