"""The convolution that networks are made of, with fewer multiplications where a loop of C++ does it."""

from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowlight_ext.inplace import plus
from lowlight_ext.kept import Kept
from lowlight_ext.winograd import Around, convolved, serves, winograd_weight


class Conv3x3(nn.Conv2d):
    """nn.Conv2d of 3 x 3 that keeps the size: the same parameters, the same result but for rounding.

    padding_mode: zeros or reflect. Under torch.no_grad(), for channels_last pictures of 16 channels or more on a CPU
    with AVX2, by Winograd's F(4 x 4, 3 x 3): a quarter of the multiplications, the same bits for every number of
    threads, and what is asked for before and after it is no pass over memory of its own. In float32 within 1e-5 of the
    largest number, and 3e-5 of enlarged pictures. In bfloat16, on a CPU with AVX512-BF16, within 3e-2, and 8e-2: what
    is multiplied is rounded, the sums are float32. It keeps the transform of the weights, four times their memory. In
    all other cases PyTorch's convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        padding_mode: Literal["zeros", "reflect"] = "zeros",
        dilation: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, 3, padding=dilation, dilation=dilation, padding_mode=padding_mode)
        self._transformed, self._transformed_twice = Kept(winograd_weight), Kept(partial(winograd_weight, twice=True))
        self._folded = Kept(folded_weight)

    def forward(
        self,
        x: Tensor,
        beside: Tensor | None = None,
        *,
        twice: bool = False,
        scale: Tensor | None = None,
        shift: Tensor | None = None,
        plus: Tensor | None = None,
        slope: float | None = None,
    ) -> Tensor:
        """leaky_relu(convolution * scale + shift + plus, slope), each where it is given.

        x: [B, C, H, W]. beside: [B, D, H, W], the channels of the input behind those of x. twice: the input is enlarged
        to 2H x 2W first, nearest neighbours; with zeros for padding and dilation 1. scale, shift: [B, O] or [1, O]; no
        scale without a shift. plus: like the result. Gradients to all of them.
        """
        if twice and (self.padding_mode != "zeros" or self.dilation[0] != 1):
            raise ValueError("Conv3x3: twice takes a padding_mode of zeros and a dilation of 1")
        if scale is not None and shift is None:
            raise ValueError("Conv3x3: scale takes a shift beside it")
        around = Around(beside, twice, scale, shift, plus, slope)
        # first of all: a compiler that traces this function reads no further
        if torch.compiler.is_compiling() or torch.is_grad_enabled() or not serves(self, x, around):
            return self._in_pytorch(x, around)
        transformed = self._transformed_twice if twice else self._transformed
        return convolved(self, x, transformed(self.weight), around)

    def _in_pytorch(self, x: Tensor, around: Around) -> Tensor:
        """The same by PyTorch, one step after the other, and in place where no gradient is wanted."""
        if around.beside is not None:
            x = torch.cat([x, around.beside], dim=1)
        if around.twice:
            y = F.conv_transpose2d(x, self._folded(self.weight), self.bias, stride=2, padding=1)
        else:
            y = super().forward(x)
        scale, shift = (each if each is None else each[:, :, None, None] for each in (around.scale, around.shift))
        if shift is not None and scale is not None:
            y = torch.addcmul(shift, y, scale)
        elif shift is not None:
            y = plus(y, shift)
        if around.plus is not None:
            y = plus(y, around.plus)
        if around.slope is None:
            return y
        in_place = not torch.is_grad_enabled()
        return F.leaky_relu(y, around.slope, in_place) if around.slope else F.relu(y, in_place)


def folded_weight(weight: Tensor) -> Tensor:
    """conv3x3 [O, I, 3, 3] after nearest x2 as a transposed conv4x4 [I, O, 4, 4]: 4/9 of the multiplications.

    A result pixel sees two rows: on one lies one row of the kernel, on the other the sum of two; so with columns.
    """
    for dim in (2, 3):
        first, second, third = weight.unbind(dim)
        weight = torch.stack([third, second + third, first + second, first], dim=dim)
    return weight.transpose(0, 1)
