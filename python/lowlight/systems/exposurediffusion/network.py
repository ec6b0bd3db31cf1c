"""What ExposureDiffusion's networks see, and how a picture is made of what they say.

Wang et al., "ExposureDiffusion: Learning to Expose for Low-light Image Enhancement", ICCV 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from .nafnet import NAFNet
from .unet import ExposureUNet

CHANNELS = 4  # R, G1, B, G2
# published NAFNets: blocks of (encoder, middle, decoder)
NAFNETS = {
    "naf": ((), 1, ()),
    "naf2": ((2, 2, 4, 4), 12, (2, 2, 2, 2)),
    "naf3": ((1, 1, 1, 1), 1, (1, 1, 1, 1)),
    "naf4": ((), 8, ()),
}


@dataclass(frozen=True)
class ExposureDiffusionConfig:
    """What an ExposureDiffusion is made of; the defaults are the published U-Net.

    network: "unet", or "naf" with encoder, middle and decoder blocks (NAFNETS has the published counts).
    width: channels at full size (published: 32, naf 16). with_photon: the network sees the photons so far beside the
    picture; concat_origin: and the original input; with_gain, not published: and a plane that says how many photons
    make a brightness, so that it knows how noisy what it sees must be. adaptive: it mixes a picture and a residual
    by a mask (adaptive_res_and_x0). resid: a unet without adaptive predicts the noise, not the picture.
    camera: whose noise it was trained on, for the system gain K of a photograph. iter_num: network calls less one, as
    published checkpoints say it; everywhere else they are `steps`.
    """

    network: str = "unet"
    width: int = 32
    encoder: tuple[int, ...] = ()
    middle: int = 0
    decoder: tuple[int, ...] = ()
    with_photon: bool = True
    concat_origin: bool = False
    with_gain: bool = False
    adaptive: bool = True
    resid: bool = False
    camera: str | None = None
    iter_num: int = 2

    def __post_init__(self):
        for name in ("encoder", "decoder"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        blocks = (*self.encoder, self.middle, *self.decoder)
        if self.network not in ("unet", "naf"):
            raise ValueError(f"ExposureDiffusionConfig: network must be 'unet' or 'naf', got {self.network!r}")
        if self.width < 1 or self.iter_num < 0:
            raise ValueError(
                "ExposureDiffusionConfig: width must be 1 or more and iter_num 0 or more, "
                f"got {self.width} and {self.iter_num}"
            )
        if self.network == "unet" and any(blocks):
            raise ValueError(f"ExposureDiffusionConfig: encoder, middle and decoder are for 'naf', got {blocks}")
        if self.network == "naf" and (len(self.encoder) != len(self.decoder) or min(blocks) < 1):
            raise ValueError(
                "ExposureDiffusionConfig: encoder and decoder must have as many levels, and each level and the middle "
                f"a block, got {self.encoder}, {self.middle} and {self.decoder}"
            )
        if self.resid and (self.adaptive or self.network != "unet"):
            raise ValueError("ExposureDiffusionConfig: resid is for a unet without adaptive")

    @property
    def steps(self) -> int:
        """Network calls."""
        return self.iter_num + 1

    @property
    def in_channels(self) -> int:
        """4, 8 or 12, and 1 more with the gain."""
        return CHANNELS * (1 + self.with_photon + self.concat_origin) + self.with_gain

    @property
    def out_channels(self) -> int:
        """4 or, with a mask, 9."""
        return 2 * CHANNELS + 1 if self.adaptive else CHANNELS


def published(network: str, **fields) -> ExposureDiffusionConfig:
    """The configuration of a published network: "unet" or one of NAFNETS; fields: what differs from the defaults."""
    if network == "unet":
        return ExposureDiffusionConfig(**fields)
    if network not in NAFNETS:
        raise ValueError(f"published: network must be unet or one of {', '.join(NAFNETS)}, got {network!r}")
    encoder, middle, decoder = NAFNETS[network]
    shape: dict[str, Any] = {"network": "naf", "width": 16, "encoder": encoder, "middle": middle, "decoder": decoder}
    return ExposureDiffusionConfig(**shape | fields)


def make_network(config: ExposureDiffusionConfig) -> ExposureUNet | NAFNet:
    """The network, with `multiple`: what the sides of its input must be multiples of."""
    channels = (config.in_channels, config.out_channels, config.width)
    if config.network == "unet":
        return ExposureUNet(*channels)
    return NAFNet(*channels, config.encoder, config.middle, config.decoder)


class Parts(NamedTuple):
    """What an adaptive network mixes; the auxiliary loss looks at them."""

    out: Tensor  # [B, 4, h, w], the picture, not clipped
    out_by_resid: Tensor  # [B, 4, h, w] in [0, 1], the input plus the residual
    mask: Tensor  # [B, 1, h, w], the share of `out`


def predict(network: nn.Module, config: ExposureDiffusionConfig, inputs: Tensor) -> tuple[Tensor, Parts | None]:
    """Picture [B, 4, h, w] in [0, 1] of the inputs [B, in_channels, h, w], whose first four are the picture so far.

    The parts are those of an adaptive network. Computes the mix in the inputs' dtype, whatever the network's.
    """
    said = network(inputs.to(next(network.parameters()).dtype)).to(inputs.dtype)
    x = inputs[:, :CHANNELS]
    if config.adaptive:
        mask, out, resid = said.split([1, CHANNELS, CHANNELS], dim=1)
        parts = Parts(out, (resid + x).clamp(0, 1), mask.sigmoid())
        return out.clamp(0, 1) * parts.mask + parts.out_by_resid * (1 - parts.mask), parts
    if config.network == "naf":
        said = said + x
    elif config.resid:
        said = x - said
    return said.clamp(0, 1), None
