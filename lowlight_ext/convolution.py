"""The convolution that networks are made of, with fewer multiplications where a loop of C++ does it."""

import functools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._device import DeviceContext

from lowlight_ext.backends import forced
from lowlight_ext.kept import Kept
from lowlight_ext.kernels_compiled import build_info
from lowlight_ext.kernels_compiled.convolution import PANEL, winograd
from lowlight_ext.registry import DISPATCHED, way

# one vector: what the loop takes of the channels at a time
_LANES = 16
# below so many tiles of 4 x 4 the weights' way through the memory takes longer than the products
_LEAST = 12
# of the transform, beside 0 and infinity (csrc/core/winograd.h, which says why and has the other two matrices)
_NEAR, _FAR = 11 / 16, 3 / 2


class Conv3x3(nn.Conv2d):
    """nn.Conv2d of 3 x 3 that keeps the size: the same parameters, the same result but for rounding.

    padding_mode: zeros or reflect. Under torch.no_grad(), for float32 channels_last pictures on a CPU with AVX-512 and
    both numbers of channels multiples of 16, by Winograd's F(4 x 4, 3 x 3): a quarter of the multiplications, within
    3e-5 of the largest number, the same bits for every number of threads. It keeps the transform of the weights, four
    times their memory. In all other cases PyTorch's convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        padding_mode: Literal["zeros", "reflect"] = "zeros",
        dilation: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, 3, padding=dilation, dilation=dilation, padding_mode=padding_mode)
        self._transformed = Kept(winograd_weight)

    def forward(self, x: Tensor) -> Tensor:
        if not self._fewer(x):
            return super().forward(x)
        assert self.bias is not None
        reflect, dilation = self.padding_mode == "reflect", self.dilation[0]
        return winograd(x, self._transformed(self.weight), self.bias, reflect, dilation)

    def _fewer(self, x: Tensor) -> bool:
        """Whether the loop can take the call, and is the faster one."""
        # first of all: a compiler that traces this function reads no further
        if torch.compiler.is_compiling() or torch.is_grad_enabled():
            return False
        if forced() not in ("auto", "cpp") or self.bias is None:
            return False
        # weights that are not kept (Kept) would be transformed in every call
        if _watched(x, self.weight, self.bias) or self.weight.is_inference():
            return False
        if x.dim() != 4 or not x.is_cpu or x.dtype != self.weight.dtype or not _taken(x.dtype):
            return False
        if self.in_channels % _LANES or self.out_channels % _LANES or x.shape[1] != self.in_channels:
            return False
        (batch, _, height, width), dilation = x.shape, self.dilation[0]
        # one pixel has nothing to reflect; PyTorch says so
        possible = self.padding_mode == "zeros" or (dilation == 1 and min(height, width) > 1)
        large = batch * -(-height // 4) * -(-width // 4) >= _LEAST * dilation**2
        return possible and large and x.is_contiguous(memory_format=torch.channels_last)


def _watched(*tensors: Tensor) -> bool:
    """Whether somebody traces, transforms or records the call; a default device, a mode of torch's, does not."""
    if way(tensors)[0] != DISPATCHED:
        return False
    modes = torch.overrides._get_current_function_mode_stack()
    if not modes or not all(isinstance(mode, DeviceContext) for mode in modes):
        return True
    with torch._C.DisableTorchFunction():
        return way(tensors)[0] == DISPATCHED


def winograd_weight(weight: Tensor) -> Tensor:
    """[O, C, 3, 3] -> [O / 32, 36, C, 32], G w G^T in float64 (Lavin, Gray 2016), zeros in the last panel's rest.

    In bfloat16 [O / 32, 36, C / 2, 32, 2]: two channels side by side, as its products take them.
    """
    out, channels = weight.shape[:2]
    matrix = torch.tensor(_matrix(_NEAR, _FAR), dtype=torch.float64, device=weight.device)
    points = torch.kron(matrix, matrix) @ weight.detach().double().flatten(2).permute(2, 1, 0).reshape(9, -1)
    panels = F.pad(points.to(weight.dtype).view(36, channels, out), (0, -out % PANEL)).unflatten(2, (-1, PANEL))
    if weight.dtype == torch.bfloat16:
        return panels.unflatten(1, (-1, 2)).permute(3, 0, 1, 4, 2).contiguous()
    return panels.permute(2, 0, 1, 3).contiguous()


def _matrix(near: float, far: float) -> list[list[float]]:
    """G: of each point p the weight's 1, p, p^2 over the product of its distances from the others."""
    rows = [[1 / (near * far) ** 2, 0, 0]]
    for point, other in ((near, far), (-near, far), (far, near), (-far, near)):
        distances = 2 * point**2 * (point**2 - other**2)
        rows.append([1 / distances, point / distances, point**2 / distances])
    return [*rows, [0, 0, 1]]


@functools.cache
def _taken(dtype: torch.dtype) -> bool:
    # with narrower vectors PyTorch's convolution is as fast
    if dtype == torch.float32:
        return build_info().get("cpu_level") == "avx512"
    return dtype == torch.bfloat16 and build_info().get("cpu_bfloat16", False)
