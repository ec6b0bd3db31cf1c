"""lowlight_ext: fused operators for diffusion models that brighten dark photographs."""

from lowlight_ext.anchored import anchored_q_sample
from lowlight_ext.backends import backends, gpu_choice, use_backend
from lowlight_ext.convolution import Conv3x3
from lowlight_ext.exporting import decompositions
from lowlight_ext.exposure import RawNoiseParameters, exposure_step, raw_noise
from lowlight_ext.graphs import brought, recording, tables_kept
from lowlight_ext.haar import haar_dwt2d, haar_idwt2d, haar_wavedec2d, haar_waverec2d
from lowlight_ext.inplace import plus
from lowlight_ext.kept import Kept
from lowlight_ext.kernels_compiled import build_info
from lowlight_ext.naf import NAFBlock, NAFDown, NAFUp
from lowlight_ext.noise import normal, philox, uniform
from lowlight_ext.norm import group_norm_silu, layer_norm2d, mish_instance_norm, simple_gate
from lowlight_ext.poisson import poisson, tukey_lambda
from lowlight_ext.step import diffusion_step
from lowlight_ext.tone import tone_curve

__all__ = [
    "Conv3x3",
    "Kept",
    "NAFBlock",
    "NAFDown",
    "NAFUp",
    "RawNoiseParameters",
    "anchored_q_sample",
    "backends",
    "brought",
    "build_info",
    "decompositions",
    "diffusion_step",
    "exposure_step",
    "gpu_choice",
    "group_norm_silu",
    "haar_dwt2d",
    "haar_idwt2d",
    "haar_wavedec2d",
    "haar_waverec2d",
    "layer_norm2d",
    "mish_instance_norm",
    "normal",
    "philox",
    "plus",
    "poisson",
    "raw_noise",
    "recording",
    "simple_gate",
    "tables_kept",
    "tone_curve",
    "tukey_lambda",
    "uniform",
    "use_backend",
]


def __getattr__(name: str) -> str:
    # looked up when asked for: it takes as long as the operators' own import
    if name == "__version__":
        from importlib.metadata import version

        return version("lowlight-ext")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
