"""The networks as their papers say them, one PyTorch call a step: what systems.py races and the tests compare with.

`with plain_networks():` puts them in the place of the blocks' own forward; the modules, weights and results (but for
rounding) are the same. No operator, nothing in place, nothing folded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight.systems import blocks
from lowlight.systems.anlightendiff import network as anlightendiff
from lowlight.systems.diffll import network as diffll
from lowlight.systems.exposurediffusion import unet
from lowlight.systems.wavelet_anchored import network as wavelet_anchored
from lowlight_ext import Conv3x3, NAFBlock, NAFDown, NAFUp
from lowlight_ext.nn import LayerNorm2d


def resnet_block(self, x: Tensor, temb: Tensor) -> Tensor:
    h = self.conv1(F.silu(self.norm1(x)))
    h = h + self.temb_proj(F.silu(temb))[:, :, None, None]
    h = self.conv2(self.dropout(F.silu(self.norm2(h))))
    return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


def attention(self, x: Tensor) -> Tensor:
    h = self.norm(x)
    q, k, v = (conv(h).flatten(2).mT.contiguous().unsqueeze(1) for conv in (self.q, self.k, self.v))
    h = F.scaled_dot_product_attention(q, k, v)
    return x + self.proj_out(h.squeeze(1).transpose(1, 2).reshape(x.shape))


def upsample(self, x: Tensor) -> Tensor:
    return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def conv_pair(self, level: int, *parts: Tensor) -> Tensor:
    x = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
    for part in (1, 2):
        x = F.leaky_relu(getattr(self, f"conv{level}_{part}")(x), 0.2, inplace=True)
    return x


def dilated_block(self, x: Tensor) -> Tensor:
    return x + self.model(x)


def scaled_block(self, x: Tensor, told: Tensor, slope: float | None = None) -> Tensor:
    scale, shift = self.told(told)[:, :, None, None].chunk(2, dim=1)
    h = x + self.conv2(F.relu(self.conv1(x) * (1 + scale) + shift))
    return h if slope is None else F.leaky_relu(h, slope)


def cross_attention(self, query: Tensor, context: Tensor) -> Tensor:
    q, k, v = (z.permute(0, 2, 1, 3) for z in (self.query(query), self.key(context), self.value(context)))
    return (torch.softmax(q @ k.mT * self.scale, dim=-1) @ v).permute(0, 2, 1, 3)


def cross_bands(self, bands: Tensor) -> Tensor:
    hl, lh, hh = self.conv_head(bands).chunk(3, dim=0)
    joined = torch.cat([self.cross_attention0(lh, hh), self.cross_attention1(hl, hh)], dim=1)
    hl, lh, hh = self.dilated_block_HL(hl), self.dilated_block_LH(lh), self.dilated_block_HH(self.conv_HH(joined))
    return self.conv_tail(torch.cat([hl, lh, hh], dim=0)) + bands


def group_norm_silu(norm: nn.GroupNorm, x: Tensor, activation: bool = True) -> Tensor:
    return F.silu(norm(x)) if activation else norm(x)


def mish_block(self, *parts: Tensor, temb: Tensor | None = None) -> Tensor:
    x = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
    h = F.instance_norm(F.mish(self.block1(x)))
    if temb is not None:
        h = h + self.mlp(temb)[:, :, None, None]
    h = F.instance_norm(F.mish(self.block2(h)))
    return h + (self.res_conv(x) if hasattr(self, "res_conv") else x)


def layer_norm(self, x: Tensor) -> Tensor:
    mean = x.mean(dim=1, keepdim=True)
    variance = (x - mean).square().mean(dim=1, keepdim=True)
    y = (x - mean) / (variance + 1e-6).sqrt()
    return self.weight.view(1, -1, 1, 1) * y + self.bias.view(1, -1, 1, 1)


def naf_block(self, x: Tensor) -> Tensor:
    a, b = self.conv2(self.conv1(self.norm1(x))).chunk(2, dim=1)
    h = a * b
    x = x + self.conv3(h * self.sca(h)) * self.beta
    a, b = self.conv4(self.norm2(x)).chunk(2, dim=1)
    return x + self.conv5(a * b) * self.gamma


def naf_up(self, x: Tensor, skip: Tensor) -> Tensor:
    return self[1](self[0](x)) + skip


PLAIN: list[tuple[object, str, Callable]] = [
    (Conv3x3, "forward", nn.Conv2d.forward),
    (blocks.ResnetBlock, "forward", resnet_block),
    (blocks.AttnBlock, "forward", attention),
    (blocks.Upsample, "forward", upsample),
    (diffll, "normalised", group_norm_silu),
    (diffll.DilatedBlock, "forward", dilated_block),
    (diffll.CrossAttention, "forward", cross_attention),
    (diffll.HFRM, "forward", cross_bands),
    (unet.ExposureUNet, "_pair", conv_pair),
    (wavelet_anchored.ResidualBlock, "forward", scaled_block),
    (anlightendiff.ResidualBlock, "forward", mish_block),
    (LayerNorm2d, "forward", layer_norm),
    (NAFBlock, "forward", naf_block),
    (NAFDown, "forward", nn.Conv2d.forward),
    (NAFUp, "forward", naf_up),
]


@contextmanager
def plain_networks() -> Iterator[None]:
    own = [getattr(place, name) for place, name, _ in PLAIN]
    try:
        for place, name, function in PLAIN:
            setattr(place, name, function)
        yield
    finally:
        for (place, name, _), function in zip(PLAIN, own, strict=True):
            setattr(place, name, function)
