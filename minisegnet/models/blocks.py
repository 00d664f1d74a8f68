"""The parts that several papers share: a block of convolutions, an encoder that hands out its features, a crop, He's weights.

The vocabulary of every model file here, in the order of the data:

    stage       layers between two changes of size
    encoder     the stages on the way down; its *features* are what each stage returns, fine to coarse
    bottleneck  the stage at the coarsest size
    skip        a feature that the decoder uses again
    decoder     the stages on the way up
    head        the last convolution: one score a class
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..autograd import Tensor

Layer = Callable[..., nn.Module]


def conv_block(
    in_channels: int,
    out_channels: int,
    convs: int = 2,
    padding: str = "same",
    norm: str | None = "batch",
    convolution: Layer = nn.Conv2d,
    bias: bool | None = None,
) -> nn.Sequential:
    """Return ``convs`` times 3x3 convolution, (batch norm,) ReLU: a blue box pair of the U-Net, a stage of VGG.

    Parameters
    ----------
    padding : "same" keeps the size, "valid" loses a pixel on every side with each convolution
    norm : "batch" or None
    convolution : makes the layer, ``nn.Conv2d``, ``nn.ConvTranspose2d`` or ``separable``
    bias : of the convolutions; by default only without batch norm, which would take it away again (DeconvNet and SegNet have both)
    """
    bias = norm is None if bias is None else bias
    layers: list[nn.Module] = []
    for channels in ([in_channels] + [out_channels] * (convs - 1))[:convs]:
        layers.append(convolution(channels, out_channels, 3, padding=1 if padding == "same" else 0, bias=bias))
        if norm == "batch":
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def separable(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    bias: bool = False,
) -> nn.DepthwiseSeparableConv2d:
    """Return a depthwise separable convolution as in MobileNet: batch norm (without bias) and ReLU between its two halves."""
    between = nn.ReLU() if bias else nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU())
    return nn.DepthwiseSeparableConv2d(
        in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias, between=between
    )


class Encoder(nn.ModuleList):
    """Stages from the image down. ``forward`` returns the features: what each stage returned, fine to coarse.

    Attributes
    ----------
    channels : channels of each feature
    strides : total stride of each feature, pixels of the image
    """

    def __init__(self, stages: Sequence[nn.Module], channels: Sequence[int], strides: Sequence[int]):
        super().__init__(stages)
        if not len(stages) == len(channels) == len(strides):
            raise ValueError(
                f"Encoder: {len(stages)} stages need as many channels and strides, got {channels} and {strides}"
            )
        self.channels, self.strides = tuple(channels), tuple(strides)

    def forward(self, x: Any) -> list[Tensor]:
        """Return one feature a stage of images (N, C, H, W)."""
        features = []
        for stage in self:
            x = stage(x)
            features.append(x)
        return features


class Pace(NamedTuple):
    """How a stage goes on: ``stride`` and ``dilation`` of its first layer, the dilation ``after`` it, the ``total`` stride then."""

    stride: int
    dilation: int
    after: int
    total: int


def paces(depth: int, output_stride: int) -> list[Pace]:
    """Return how each of ``depth`` stages halves the size, or, once the stride is ``output_stride``, dilates instead.

    A stage that does not halve keeps all pixels, and from its first layer on each tap reaches twice as far. So every
    second pixel of it is what halving would have given, with the same weights (Yu and Koltun, 2016; "a trous").
    """
    result, total, rate = [], 1, 1
    for _ in range(depth):
        if total < output_stride:
            total *= 2
            result.append(Pace(2, rate, rate, total))
        else:
            result.append(Pace(1, rate, 2 * rate, total))
            rate *= 2
    return result


def crop_to(skip: Tensor, x: Tensor) -> Tensor:
    """Return the middle of ``skip`` that is as large as ``x``: the crop of the copy arrows (4, 16, 40, 88 pixels a side)."""
    (h, w), (height, width) = x.shape[2:], skip.shape[2:]
    if (h, w) == (height, width):
        return skip
    top, left = (height - h) // 2, (width - w) // 2
    return skip[:, :, top : top + h, left : left + w]


def he_initialization(module: nn.Module) -> None:
    """He et al. (2015): standard deviation sqrt(2 / fan in); for ``model.apply``."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.ConvTranspose2d):
        # how many products meet in one output pixel: the input channels times the stamps that overlap there
        taps = np.prod([max(k / s, 1) for k, s in zip(module.kernel_size, module.stride, strict=True)])
        fan = module.weight.shape[0] / module.groups * taps
        nn.init.normal_(module.weight, 0.0, float(np.sqrt(1 / fan)))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
