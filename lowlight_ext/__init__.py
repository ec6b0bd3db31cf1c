"""lowlight_ext: fused operators for diffusion models that brighten dark photographs."""

from lowlight_ext.anchored import anchored_q_sample
from lowlight_ext.backends import backends, gpu_choice, use_backend
from lowlight_ext.haar import haar_dwt2d, haar_idwt2d, haar_wavedec2d, haar_waverec2d
from lowlight_ext.kernels_cpp import build_info
from lowlight_ext.noise import normal, philox, uniform
from lowlight_ext.step import diffusion_step

__all__ = [
    "anchored_q_sample",
    "backends",
    "build_info",
    "diffusion_step",
    "gpu_choice",
    "haar_dwt2d",
    "haar_idwt2d",
    "haar_wavedec2d",
    "haar_waverec2d",
    "normal",
    "philox",
    "uniform",
    "use_backend",
]
