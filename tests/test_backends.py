"""Which backend serves which call: choice, reasons, registration, and no silent fallback."""

import threading
import types

import pytest
import torch

import lowlight_ext
from lowlight_ext import backends, build_info, haar_dwt2d, kernels_compiled, use_backend
from lowlight_ext.backends import NAMES, OPERATORS, select
from lowlight_ext.kernels_compiled import call

X = torch.arange(16.0).reshape(1, 1, 4, 4)


@pytest.fixture
def calls(monkeypatch):
    """Names of the modules whose haar_dwt2d is called, in order."""
    seen = []
    for name in ("reference", "kernels_compiled"):
        module = getattr(lowlight_ext, name)

        def spy(*args, name=name, original=module.haar_dwt2d):
            seen.append(name)
            return original(*args)

        monkeypatch.setattr(module, "haar_dwt2d", spy)
    return seen


@pytest.fixture
def nothing_compiled(monkeypatch):
    """The package as it is where no compiler was at hand."""
    reason = "switched off at build time"
    monkeypatch.setattr(kernels_compiled, "available", lambda device_type, op: reason)
    return reason


def test_every_backend_is_named():
    assert tuple(backends()) == NAMES
    assert backends()["reference"] is None
    for op in OPERATORS:
        for reason in backends(op).values():
            assert reason is None or len(reason) > 10


def test_reasons_are_of_the_operator():
    if not torch.cuda.is_available():
        assert backends()["cuda"]
        assert backends("haar_dwt2d")["cuda"] == kernels_compiled.available("cuda", "haar_dwt2d")


def test_build_info_describes_the_build():
    info = build_info()
    assert {"requested", "built", "reason", "loaded"} <= set(info)
    assert (backends()["cpp"] is None) == info["loaded"]


def test_a_choice_reaches_the_kernel(calls):
    with use_backend("reference"):
        haar_dwt2d(X)
    haar_dwt2d(X)
    assert calls == ["reference", "reference" if backends("haar_dwt2d")["cpp"] else "kernels_compiled"]


def test_setter_and_context_manager_restore():
    before = use_backend("auto").previous
    try:
        use_backend("reference")
        assert select("haar_dwt2d", "cpu") == "reference"
        with use_backend("auto"), pytest.raises(KeyError), use_backend("reference"):
            raise KeyError
        assert select("haar_dwt2d", "cpu") == "reference"
        seen = []
        thread = threading.Thread(target=lambda: seen.append(select("haar_dwt2d", "cpu")))
        thread.start()
        thread.join()
        assert seen == ["reference"]
    finally:
        use_backend(before)


def test_nothing_compiled_serves_the_reference(calls, nothing_compiled):
    haar_dwt2d(X)
    assert calls == ["reference"]
    assert backends()["cpp"] == nothing_compiled


def test_forced_and_missing_raises_the_reason(nothing_compiled):
    with use_backend("cpp"), pytest.raises(RuntimeError, match=rf"haar_dwt2d: backend 'cpp' .* {nothing_compiled}"):
        haar_dwt2d(X)
    with use_backend("cuda"), pytest.raises(RuntimeError, match=r"'cuda' .* takes tensors on cuda, not on cpu"):
        haar_dwt2d(X)


@pytest.mark.parametrize("call", [lambda: use_backend("CUDA"), lambda: backends("haar")])
def test_unknown_names(call):
    with pytest.raises(ValueError, match=r"must be one of .*, got"):
        call()


def test_backward_and_compiled_graphs_obey(calls):
    compiled = torch.compile(haar_dwt2d, fullgraph=True, backend="aot_eager")
    x = X.clone().requires_grad_()
    compiled(x)
    calls.clear()
    with use_backend("reference"):
        compiled(x)
        lowlight_ext.haar_idwt2d(torch.ones(4, 1, 1, 2, 2, requires_grad=True)).sum().backward()
    assert calls == ["reference", "reference"]


def test_a_compiled_function_may_not_choose():
    def choose(x):
        with use_backend("reference"):
            return haar_dwt2d(x)

    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(choose, fullgraph=True, backend="eager")(X)


@pytest.mark.parametrize("problem", [None, "no kernel image is available for execution on the device"])
def test_a_gpu_that_the_kernels_do_not_run_on(problem, monkeypatch):
    built = types.SimpleNamespace(
        cuda_noise=None,
        cuda_problem=lambda device: problem if device == 1 else None,
        cuda_runtime_version=lambda: 13000,
        cuda_driver_version=lambda: 12080,
    )
    gpus = {"is_available": lambda: True, "device_count": lambda: 2, "get_device_name": lambda device: "GPU A"}
    for name, value in gpus.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=0: (6, 1))
    monkeypatch.setattr(call, "_C", built)
    call.missing.cache_clear()
    try:
        reason = backends("normal")["cuda"]
        assert (reason is None) == (problem is None)
        if problem:
            assert "GPU A, compute capability 6.1 (CUDA runtime 13.0, driver 12.8): no kernel image" in reason
            # triton does not take it either
            assert select("normal", "cuda") == "reference"
        else:
            assert select("normal", "cuda") == "cuda"
    finally:
        call.missing.cache_clear()


def test_other_devices_are_refused_by_name():
    meta = torch.zeros(1, 1, 4, 4, device="meta")
    with pytest.raises(ValueError, match="eps must be on x_t's device meta, got cpu"):
        lowlight_ext.diffusion_step(meta, X, torch.zeros(8, device="meta"))
    assert haar_dwt2d(meta).shape == (4, 1, 1, 2, 2)


def test_every_public_name_is_documented():
    for name in lowlight_ext.__all__:
        assert getattr(lowlight_ext, name).__doc__, name
    for op in OPERATORS:
        assert op in lowlight_ext.__all__
        assert hasattr(torch.ops.lowlight_ext, op)
