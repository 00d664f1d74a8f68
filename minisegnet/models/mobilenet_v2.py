"""MobileNetV2: Inverted Residuals and Linear Bottlenecks (Sandler et al., CVPR 2018).

The block of figure 3 widens between two thin ends, and adds the thin ends (a ResNet's block narrows between two wide ones):

    c -> [1x1, t c] -> [depthwise 3x3, t c] -> [1x1, c'] -> (+)        ReLU6 after the first two, none after the last
    |                                                        |         (a ReLU would lose what a thin layer holds)
    +--------------------- where stride 1, c = c' -----------+

Table 2 as stages of an encoder, (t, c, n): expansion, channels, repetitions; the first block of a row may have stride 2:

    image -> [conv 32; 1, 16, 1] -> [6, 24, 2] -> [6, 32, 3] -> [6, 64, 4; 6, 96, 3] -> [6, 160, 3; 6, 320, 1] -> 1x1, 1280
      stride                  2             4             8                       16                        32

The table's classifier, ``MobileNetV2()``, is printed as 3.4 million parameters and 300 million multiply-adds at 224 x 224:
3,504,872 (with the biases and batch norm's scale and shift) and 300,774,272 by its layers.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..autograd import Tensor
from .blocks import Encoder, paces
from .classifier import Classifier, check_count, check_output_stride, check_width

STEM, LAST = 32, 1280
STAGES = (
    ((1, 16, 1),),
    ((6, 24, 2),),
    ((6, 32, 3),),
    ((6, 64, 4), (6, 96, 3)),
    ((6, 160, 3), (6, 320, 1)),
)


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow; add the input where it fits (section 3.3, figure 3b).

    Parameters
    ----------
    in_channels, out_channels : of the thin ends
    stride, dilation : of the depthwise 3x3 convolution; with stride 1 it keeps the size
    expansion : t, how many times wider the middle is than the input; 1 leaves the first 1x1 convolution out

    Input (N, in_channels, H, W), output (N, out_channels, OH, OW).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, expansion: int = 6, dilation: int = 1):
        super().__init__()
        check_count("InvertedResidual", stride=stride, expansion=expansion, dilation=dilation)
        wide = in_channels * expansion
        widen = _conv(in_channels, wide, 1) if expansion > 1 else []
        self.layers = nn.Sequential(
            *widen,
            *_conv(wide, wide, 3, stride, dilation, groups=wide),
            nn.Conv2d(wide, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Any) -> Tensor:
        """Return the block of (N, in_channels, H, W)."""
        return x + self.layers(x) if self.adds else self.layers(x)


class MobileNetV2Encoder(Encoder):
    """MobileNetV2's stages: features at strides 2, 4, 8, 16 and 32.

    Parameters
    ----------
    in_channels : channels of the image, C
    width : the width multiplier; channels are rounded to multiples of 8, see ``scaled``
    output_stride : 32 as published; with 16 or 8 the later stages dilate instead of striding
    last : whether the last feature goes through table 2's last 1x1 convolution, to 1280 channels or more
    """

    def __init__(self, in_channels: int = 3, width: float = 1.0, output_stride: int = 32, last: bool = False):
        name = type(self).__name__
        check_count(name, in_channels=in_channels)
        check_width(name, width)
        check_output_stride(name, output_stride)
        before = scaled(STEM, width)
        stages: list[nn.Module] = []
        steps = paces(len(STAGES), output_stride)
        for level, pace in enumerate(steps):
            layers = [] if level else _conv(in_channels, before, 3, 2)
            stride, dilation = (pace.stride, pace.dilation) if level else (1, 1)  # the stem has strided
            for expansion, channels, repetitions in STAGES[level]:
                for _ in range(repetitions):
                    after = scaled(channels, width)
                    layers.append(InvertedResidual(before, after, stride, expansion, dilation))
                    before, stride, dilation = after, 1, pace.after
            stages.append(nn.Sequential(*layers))
        outputs = [scaled(rows[-1][1], width) for rows in STAGES]
        if last:
            outputs[-1] = scaled(LAST, max(width, 1.0))  # thinner nets keep it (section 4)
            stages[-1] = nn.Sequential(*stages[-1], *_conv(before, outputs[-1], 1))
        super().__init__(stages, outputs, [pace.total for pace in steps])


class MobileNetV2(Classifier):
    """MobileNetV2, of any width and on images of any size.

    Parameters
    ----------
    in_channels, num_classes : channels of the image, scores an image
    width : the width multiplier (published: 0.35 to 1.4)
    dropout : probability of dropout before the last layer

    Input (N, C, H, W) float32, output (N, K) scores.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.2):
        super().__init__(MobileNetV2Encoder(in_channels, width, last=True), in_channels, num_classes, dropout)
        self.config = {"in_channels": in_channels, "num_classes": num_classes, "width": width, "dropout": dropout}


def scaled(channels: int, width: float, divisor: int = 8) -> int:
    """Return ``channels * width`` as the nearest multiple of 8, but never less than 90% of it (the authors' rule)."""
    wanted = channels * width
    rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded


def _conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution that keeps the size (but for its stride), batch norm and ReLU6."""
    padding = kernel_size // 2 * dilation
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    ]
