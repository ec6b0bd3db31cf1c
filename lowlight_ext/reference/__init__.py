"""The definition: every operator in plain PyTorch, for any device and dtype; the backends are tested against it."""

from lowlight_ext.reference.anchored import anchored_q_sample, anchored_q_sample_backward
from lowlight_ext.reference.exposure import exposure_step, exposure_step_backward, raw_noise
from lowlight_ext.reference.haar import haar_dwt2d, haar_idwt2d, haar_wavedec2d, haar_waverec2d
from lowlight_ext.reference.noise import normal, philox, uniform
from lowlight_ext.reference.norm import (
    group_norm_silu,
    group_norm_silu_backward,
    group_statistics,
    layer_norm2d,
    layer_norm2d_backward,
    layer_statistics,
    mish_instance_norm,
    mish_instance_norm_backward,
    mish_statistics,
    simple_gate,
    simple_gate_backward,
)
from lowlight_ext.reference.poisson import poisson, tukey_lambda
from lowlight_ext.reference.step import diffusion_step, diffusion_step_backward
from lowlight_ext.reference.tone import tone_curve, tone_curve_backward
