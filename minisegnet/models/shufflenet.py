"""ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices (Zhang, Zhou, Lin, Sun, CVPR 2018).

In a separable block nearly all the cost is in the 1x1 convolutions. Here these work in groups of channels, and a shuffle deals
the channels out anew in between, so that every group sees all others (figure 1). The units of figure 2, b and c:

    x -> 1x1 g -> ReLU -> shuffle -> 3x3 depthwise -> 1x1 g -> (+) -> ReLU        x -> 1x1 g -> ... 3x3 s2 ... 1x1 g -> cat -> ReLU
    |                                                           |                 |                                     |
    +-----------------------------------------------------------+                 +---------- mean 3x3, stride 2 -------+

Table 1 as stages of an encoder, for three groups; batch norm follows every convolution:

    image -> [3x3 24] -> [pool 3x3] -> [4 units of 240] -> [8 units of 480] -> [4 units of 960] -> mean -> classes
      stride       2             4                   8                  16                  32

With more groups a layer costs less, so that it may be wider: 144, 200, 240, 272, 384 channels for 1, 2, 3, 4, 8 groups, at
143, 140, 137, 133 and 137 million multiply-adds (table 1). As published ``ShuffleNet()``, three groups, for ImageNet.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from ..arrays import array_module
from ..autograd import Tensor
from ..functional import avg_pool2d, cat, conv2d, relu
from .blocks import Encoder, paces
from .classifier import Classifier, check_count, check_output_stride, check_width

STEM, UNITS = 24, (4, 8, 4)
CHANNELS = {
    1: 144,
    2: 200,
    3: 240,
    4: 272,
    8: 384,
}  # of the first stage with units, by groups; doubled by each of the next two


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; then added to the input, or stacked onto its means (figure 2).

    Parameters
    ----------
    in_channels, out_channels : of the unit; more out than in stacks, as many adds
    groups : of the 1x1 convolutions
    stride, dilation : of the 3x3 convolution and, when stacking, of the mean
    first_grouped : whether the first 1x1 convolution has groups; that of the first unit has not, its input is thin (section 3.2)

    Input (N, in_channels, H, W), output (N, out_channels, OH, OW).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        groups: int = 3,
        stride: int = 1,
        dilation: int = 1,
        first_grouped: bool = True,
    ):
        super().__init__()
        self.stacks, self.stride, self.dilation = out_channels > in_channels, stride, dilation
        if not self.stacks and (stride != 1 or in_channels != out_channels):
            raise ValueError(
                f"ShuffleUnit: out_channels must be in_channels={in_channels} to add with stride 1, or more to stack; "
                f"got {out_channels} with stride {stride}"
            )
        if out_channels % (4 * groups) or in_channels % (groups if first_grouped or self.stacks else 1):
            raise ValueError(
                f"ShuffleUnit: with groups={groups}, in_channels must be a multiple of {groups} and out_channels one of "
                f"{4 * groups} (the middle has a quarter of them), got {in_channels} and {out_channels}"
            )
        middle = out_channels // 4  # the bottleneck (section 3.2)
        branch = out_channels - in_channels if self.stacks else out_channels
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, middle, 1, groups=groups if first_grouped else 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.ChannelShuffle(groups),
            nn.Conv2d(middle, middle, 3, stride, dilation, dilation, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
            nn.Conv2d(middle, branch, 1, groups=groups, bias=False),
            nn.BatchNorm2d(branch),
        )

    def forward(self, x: Any) -> Tensor:
        """Return the unit of (N, in_channels, H, W)."""
        if self.stacks:
            return relu(cat([self._means(x), self.layers(x)], dim=1))
        return relu(x + self.layers(x))

    def _means(self, x: Tensor) -> Tensor:
        """Return the mean of each 3x3 window; dilated, that is a convolution with ninths."""
        if self.dilation == 1:
            return avg_pool2d(x, 3, self.stride, 1)
        channels = x.shape[1]
        ninths = Tensor(array_module(x.data).ones((channels, 1, 3, 3), x.dtype)) / 9  # made there: nothing is copied
        return conv2d(x, ninths, None, self.stride, self.dilation, self.dilation, channels)


class ShuffleNetEncoder(Encoder):
    """ShuffleNet's stages: features at strides 2, 4, 8, 16 and 32.

    Parameters
    ----------
    in_channels : channels of the image, C
    groups : of the 1x1 convolutions, 1, 2, 3, 4 or 8
    width : every layer has this times the published channels, rounded up so that they divide into the groups
    output_stride : 32 as published; with 16 or 8 the later stages dilate instead of striding
    """

    def __init__(self, in_channels: int = 3, groups: int = 3, width: float = 1.0, output_stride: int = 32):
        name = type(self).__name__
        check_count(name, in_channels=in_channels)
        check_width(name, width)
        check_output_stride(name, output_stride)
        if groups not in CHANNELS:
            raise ValueError(f"{name}: groups must be one of {', '.join(map(str, CHANNELS))}, got {groups!r}")
        before = _scaled(STEM, width, groups)
        stem = [nn.Conv2d(in_channels, before, 3, 2, 1, bias=False), nn.BatchNorm2d(before), nn.ReLU()]
        stages: list[nn.Module] = [nn.Sequential(*stem), nn.MaxPool2d(3, 2, 1)]
        channels = [before, before]
        steps = paces(2 + len(UNITS), output_stride)
        for level, (units, pace) in enumerate(zip(UNITS, steps[2:], strict=True)):
            after = _scaled(CHANNELS[groups], width, 4 * groups) * 2**level
            layers = [ShuffleUnit(before, after, groups, pace.stride, pace.dilation, first_grouped=level > 0)]
            layers += [ShuffleUnit(after, after, groups, dilation=pace.after) for _ in range(units - 1)]
            stages.append(nn.Sequential(*layers))
            channels.append(after)
            before = after
        super().__init__(stages, channels, [pace.total for pace in steps])


class ShuffleNet(Classifier):
    """ShuffleNet v1, of any published number of groups and any width, on images of any size.

    Parameters
    ----------
    in_channels, num_classes : channels of the image, scores an image
    groups : of the 1x1 convolutions, 1, 2, 3, 4 or 8
    width : the paper's s in "ShuffleNet s x" (table 2: 1.0, 0.5, 0.25)

    Input (N, C, H, W) float32, output (N, K) scores.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000, groups: int = 3, width: float = 1.0):
        super().__init__(ShuffleNetEncoder(in_channels, groups, width), in_channels, num_classes)
        self.config = {"in_channels": in_channels, "num_classes": num_classes, "groups": groups, "width": width}


def _scaled(channels: int, width: float, divisor: int) -> int:
    """Return ``channels * width``, rounded up to a multiple of ``divisor``."""
    return int(np.ceil(channels * width / divisor)) * divisor
