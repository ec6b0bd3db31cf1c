"""The compiled kernels, C++ on CPU tensors and CUDA on GPU tensors, with the signatures of lowlight_ext.reference.

One half for both: what differs is in call.py. The operators have checked the arguments.
"""

import functools
import platform

from lowlight_ext.kernels_compiled.anchored import anchored_q_sample, anchored_q_sample_backward
from lowlight_ext.kernels_compiled.call import build_info, missing, recorded
from lowlight_ext.kernels_compiled.exposure import (
    exposure_step,
    exposure_step_backward,
    poisson,
    raw_noise,
    tukey_lambda,
)
from lowlight_ext.kernels_compiled.haar import haar_dwt2d, haar_idwt2d, haar_wavedec2d, haar_waverec2d
from lowlight_ext.kernels_compiled.noise import normal, philox, uniform
from lowlight_ext.kernels_compiled.norm import (
    group_norm_silu,
    group_norm_silu_backward,
    layer_norm2d,
    layer_norm2d_backward,
    mish_instance_norm,
    mish_instance_norm_backward,
    simple_gate,
    simple_gate_backward,
)
from lowlight_ext.kernels_compiled.step import diffusion_step, diffusion_step_backward
from lowlight_ext.kernels_compiled.tone import tone_curve


def available(device_type: str, op: str) -> str | None:
    """None where a compiled kernel of `op` serves tensors on this kind of device, or the reason why none does."""
    return missing(device_type) if op in globals() else f"{op} has no compiled kernel yet"


@functools.cache
def slower(op: str) -> bool:
    """Whether the C++ of `op` is known to be slower than PyTorch at this CPU level, and serves only who asks for it."""
    # x86-64 without AVX2 has no fused multiply-add: each is eight operations in float64
    if op != "tone_curve" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return build_info().get("cpu_level") == "baseline"
