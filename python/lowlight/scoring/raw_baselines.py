"""Classical denoisers of packed raw, to set scores of networks beside: told the noise, never the truth.

BM3D is not among them: the licence of its authors' package (`bm3d` on PyPI) is for non-commercial use only, which an
extra of an Apache-2.0 package must not bring in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from ..cameras.anscombe import stabilise, unbiased_inverse
from ..cameras.noise_models import photon_gain, read_deviation
from .raw import protocol_methods
from .raw_samples import Exposures
from .report import Method

# of non-local means: best of a few tried on training pictures at ratios 100 and 300, each channel by itself
PATCH_SIZE, PATCH_DISTANCE, STRENGTH = 5, 6, 0.6
NOTES = {
    "nlm": (
        f"nlm: non-local means (scikit-image, patches {PATCH_SIZE} x {PATCH_SIZE}, distance {PATCH_DISTANCE}, h "
        f"{STRENGTH:g}) of every packed channel after a generalised Anscombe transform with the exposure's own gain "
        "and read noise; its inverse is unbiased, clipping at black and white included."
    )
}
_NEEDS = "non-local means needs scikit-image: pip install 'lowlight-ext[eval]'"


def non_local_means(exposures: Exposures) -> Tensor:
    """The short exposure denoised, packed [4, h, w] float32 in [0, 1] (Buades et al. 2005; patches as squares).

    Raises ValueError without scikit-image, or where the noise holds neither photons nor read noise.
    """
    denoise = _denoise_nl_means()
    noise = exposures.noise
    gain, deviation = photon_gain(noise), read_deviation(noise)
    # the sensor's numbers, that the noise is of
    scale = noise.saturation / exposures.ratio
    flat = stabilise(exposures.short.double().cpu().numpy() * scale, gain, deviation)
    smooth = [
        denoise(channel, patch_size=PATCH_SIZE, patch_distance=PATCH_DISTANCE, h=STRENGTH, sigma=1.0, fast_mode=True)
        for channel in flat
    ]
    mean = unbiased_inverse(np.stack(smooth), gain, deviation, white=scale)
    return torch.from_numpy((mean / scale).astype(np.float32))


# the short exposure times the ratio with nothing done, and what denoises it
RAW_BASELINES: dict[str, Callable[[Exposures], Tensor]] = {
    "untouched": lambda exposures: exposures.short,
    "nlm": non_local_means,
}


def classical_methods(names: Sequence[str] | None, protocols: Sequence[str]) -> tuple[list[Method], list[str]]:
    """RAW_BASELINES under each protocol, and what to say of them. None: all, nlm where scikit-image is there.

    Raises ValueError for a name that is none, and for one whose package is missing.
    """
    missing = find_spec("skimage") is None
    wrong = [name for name in names or [] if name not in RAW_BASELINES]
    if wrong:
        raise ValueError(f"--method must be one of {', '.join(RAW_BASELINES)}, got {wrong[0]}")
    if names and "nlm" in names:
        _denoise_nl_means()
    chosen = list(dict.fromkeys(names or [name for name in RAW_BASELINES if not (name == "nlm" and missing)]))
    made = [method for name in chosen for method in protocol_methods(name, RAW_BASELINES[name], protocols)]
    notes = [NOTES[name] for name in chosen if name in NOTES]
    if not names and missing:
        notes.append(f"nlm left out: {_NEEDS}.")
    return made, notes


def _denoise_nl_means() -> Callable[..., np.ndarray]:
    try:
        from skimage.restoration import denoise_nl_means
    except ImportError:
        raise ValueError(_NEEDS) from None
    return denoise_nl_means
