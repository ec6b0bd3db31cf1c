"""As test_cuda_code.py, of the normalisations: their sums may round as nvcc likes to add them, but do not."""

import re

import pytest
import test_cuda_code
import torch
from test_cuda_code import ptx  # noqa: F401 (a fixture)

from lowlight_ext import kernels_compiled
from lowlight_ext.kernels_compiled import call

FILES = ("norm", "norm_gradient", "layer_norm", "layer_norm_gradient", "gate")
# kernels of small sums: their tensors are not pictures
SMALL = ("MergeMoments", "MergeSums", "ParameterSums")


@pytest.mark.parametrize("file", FILES)
def test_every_rounding_is_written_down(ptx, file):  # noqa: F811
    test_cuda_code.test_every_rounding_is_written_down(ptx, file)


@pytest.mark.parametrize("file", FILES)
def test_no_thread_needs_local_memory(ptx, file):  # noqa: F811
    """What is kept from the first sum to the result lies in registers: every loop over it was unrolled."""
    test_cuda_code.test_no_thread_needs_local_memory(ptx, file)


@pytest.mark.parametrize("file", FILES)
def test_spills_are_named(ptx, file):  # noqa: F811
    test_cuda_code.test_spills_are_named(ptx, file)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [75, 80, 100, 120])
@pytest.mark.parametrize("file", FILES)
def test_spills_are_few(ptx, file, architecture, tmp_path):  # noqa: F811
    test_cuda_code.test_spills_are_few(ptx, file, architecture, tmp_path)


def is_aligned(kernel):
    """None of a kernel that reads no pictures."""
    if any(name in kernel for name in SMALL):
        return None
    types = r"(?:f|d|NS_4HalfE|NS_8BFloat16E)"
    found = re.search(rf"(?:GroupILi\dE|(?:Moments|Sums|Body)I{types})Lb([01])E", kernel)
    return found[1] == "1"


@pytest.mark.parametrize("file", FILES)
def test_aligned_vectors_move_16_bytes(ptx, file):  # noqa: F811
    """Pictures are read, and written, by nothing else; statistics and parameters are single numbers as well."""
    seen = set()
    for kernel, code in ptx(file).items():
        wide = {kind: re.findall(rf"\b{kind}\.global\S*\.v[24]\S*", code) for kind in ("ld", "st")}
        narrow = re.findall(r"\bld\.global(?!\S*\.v[24])\.\S*?([bsuf]\d+)\b", code)
        aligned = is_aligned(kernel)
        seen.add(aligned)
        if not aligned:
            assert not wide["ld"] or aligned is None, kernel
            continue
        assert wide["ld"], kernel
        # sums of a row are written by one thread, number by number
        assert wide["st"] or "RowSums" in kernel, kernel
        # no half is read by itself
        assert not any(kind.endswith(("8", "16")) for kind in narrow), f"{kernel}: {narrow}"
    assert {True, False} <= seen


@pytest.mark.parametrize("file", ["norm", "norm_gradient", "layer_norm", "layer_norm_gradient"])
def test_sums_go_through_warps_and_barriers(ptx, file):  # noqa: F811
    """Two barriers a sum that passes from warp to warp, none in the loops of single elements; no atomics anywhere."""
    for kernel, code in ptx(file).items():
        assert not re.search(r"\b(atom|red)\.", code), kernel
        together = "lowlight_kernel_of_crews" in kernel
        assert ("shfl.sync.bfly" in code) == together, kernel
        barriers = len(re.findall(r"\bbar(?:rier)?\.(?:cta\.)?sync", code))
        assert barriers % 2 == 0, kernel
        assert (barriers > 0) == together, kernel


def test_bindings_take_what_python_gives(monkeypatch):
    module = call._C
    if not hasattr(module, "cuda_norm"):
        pytest.skip("built without CUDA")
    if module.cuda_device_count():
        pytest.skip("there is a device: test_cuda_norm.py runs the kernels")
    monkeypatch.setattr(call, "on_gpu", lambda x: True)
    monkeypatch.setattr(call, "launch", lambda kernel, device, arguments: kernel(*arguments, 0, 0))
    x, weight = torch.rand(2, 6, 4, 8), torch.rand(6)
    stats = torch.rand(2, 2, 3)
    for picture in (x, x.contiguous(memory_format=torch.channels_last), torch.rand(1, 6, 300, 200)[:, :, ::2]):
        b, n = picture.shape[0], picture[0, 0].numel()
        group, pixel = stats[:, :b], torch.rand(2, b, n)
        calls = (
            lambda p=picture: kernels_compiled.group_norm_silu(p, 3, weight, None, 1e-5, True),
            lambda p=picture, s=group: kernels_compiled.group_norm_silu_backward(p, p, s, weight, weight, 3, True),
            lambda p=picture: kernels_compiled.mish_instance_norm(p, 1e-5),
            lambda p=picture: kernels_compiled.layer_norm2d(p, None, weight, 1e-6),
            lambda p=picture, s=pixel: kernels_compiled.layer_norm2d_backward(p, p, s, weight, weight),
            lambda p=picture: kernels_compiled.simple_gate(p),
            lambda p=picture: kernels_compiled.simple_gate_backward(p[:, :3], p),
        )
        for each in calls:
            with pytest.raises(RuntimeError, match=r" on CUDA: .*(driver|device)"):
                each()
