"""Every operator in Triton, with the signatures of lowlight_ext.reference. Imports triton: reach it through `backends`.

The float32 results are those of the C++ kernels to the bit, the normalisations' within a few ulp. Under
TRITON_INTERPRET=1 the same kernels take CPU tensors.
"""

import torch
import triton

from lowlight_ext.kernels_triton.anchored import anchored_q_sample, anchored_q_sample_backward
from lowlight_ext.kernels_triton.blocks import INTERPRETED, settled
from lowlight_ext.kernels_triton.exposure import exposure_step, exposure_step_backward, raw_noise
from lowlight_ext.kernels_triton.gate import simple_gate, simple_gate_backward
from lowlight_ext.kernels_triton.haar import haar_dwt2d, haar_idwt2d
from lowlight_ext.kernels_triton.layer_norm import layer_norm2d, layer_norm2d_backward
from lowlight_ext.kernels_triton.noise import normal, philox, uniform
from lowlight_ext.kernels_triton.norm import (
    group_norm_silu,
    group_norm_silu_backward,
    mish_instance_norm,
    mish_instance_norm_backward,
)
from lowlight_ext.kernels_triton.poisson import poisson
from lowlight_ext.kernels_triton.step import diffusion_step, diffusion_step_backward
from lowlight_ext.kernels_triton.tone import tone_curve
from lowlight_ext.kernels_triton.tukey import tukey_lambda


def available(device_type: str, op: str) -> str | None:
    """None where a Triton kernel of `op` serves tensors on this kind of device, or the reason why none does."""
    if op not in globals():
        return f"{op} has no Triton kernel yet"
    if not settled():
        return f"TRITON_INTERPRET changed after triton {triton.__version__} had been imported"
    if device_type == "cuda":
        if not torch.cuda.is_available():
            return "torch finds no CUDA device"
        capability = torch.cuda.get_device_capability()
        return None if capability >= (7, 0) else f"it needs compute capability 7.0 or newer, found {capability}"
    if device_type == "cpu":
        switch = "TRITON_INTERPRET=1 set before triton is imported"
        return None if INTERPRETED.value else f"Triton runs on CPU tensors in its interpreter only, with {switch}"
    return f"it takes tensors on cuda, not on {device_type}"
