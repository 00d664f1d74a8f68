"""Deep Residual Learning for Image Recognition (He, Zhang, Ren, Sun, CVPR 2016): the net of 18 layers.

A block (figure 2) learns what to add to its input. Where it halves the size, a 1x1 convolution fits the input to the sum:

    x -> 3x3 -> ReLU -> 3x3 -> (+) -> ReLU
    |                           |
    +----- x, or 1x1 of x ------+

Table 1's column "18-layer" as stages of an encoder; batch norm follows every convolution:

    image -> [7x7 64] -> [pool, block 64, block 64] -> [block 128, block 128] -> [256, 256] -> [512, 512] -> mean -> classes
      stride       2                             4                         8           16           32

As published ``ResNet18()``, for ImageNet: 11,689,512 parameters and 1,814,073,344 multiply-adds at 224 x 224 (the paper
prints 1.8 billion). For a laptop: ``ResNet18(3, 10, width=0.25)``.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..autograd import Tensor
from ..functional import relu
from .blocks import Encoder, paces
from .classifier import Classifier, check_count, check_output_stride, check_width

STEM = 64
STAGES = ((64, 64), (128, 128), (256, 256), (512, 512))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, added to their input (section 3.2, figure 2; its option B for the shortcut).

    Parameters
    ----------
    in_channels, out_channels : of the block
    stride : of the first convolution
    dilations : of the two convolutions; each keeps the size but for the stride

    Input (N, in_channels, H, W), output (N, out_channels, OH, OW).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, dilations: tuple[int, int] = (1, 1)):
        super().__init__()
        first, second = dilations
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, first, first, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, 1, second, second, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Any) -> Tensor:
        """Return the block of (N, in_channels, H, W)."""
        return relu(self.layers(x) + self.shortcut(x))


class ResNetEncoder(Encoder):
    """ResNet-18's stages: features at strides 2, 4, 8, 16 and 32.

    Parameters
    ----------
    in_channels : channels of the image, C
    width : every layer has this times the published channels
    output_stride : 32 as published; with 16 or 8 the later stages dilate instead of striding
    """

    def __init__(self, in_channels: int = 3, width: float = 1.0, output_stride: int = 32):
        name = type(self).__name__
        check_count(name, in_channels=in_channels)
        check_width(name, width)
        check_output_stride(name, output_stride)
        before = max(1, round(STEM * width))
        stem = [nn.Conv2d(in_channels, before, 7, 2, 3, bias=False), nn.BatchNorm2d(before), nn.ReLU()]
        stages, channels = [nn.Sequential(*stem)], [before]
        steps = paces(1 + len(STAGES), output_stride)
        for level, (blocks, pace) in enumerate(zip(STAGES, steps[1:], strict=True)):
            layers: list[nn.Module] = [] if level else [nn.MaxPool2d(3, 2, 1)]
            stride, dilation = (pace.stride, pace.dilation) if level else (1, 1)  # the pool has strided
            for published in blocks:
                after = max(1, round(published * width))
                layers.append(BasicBlock(before, after, stride, (dilation, pace.after)))
                before, stride, dilation = after, 1, pace.after
            stages.append(nn.Sequential(*layers))
            channels.append(before)
        super().__init__(stages, channels, [pace.total for pace in steps])


class ResNet18(Classifier):
    """ResNet-18, on images of any size.

    Parameters
    ----------
    in_channels, num_classes : channels of the image, scores an image
    width : every layer has this times the published channels

    Input (N, C, H, W) float32, output (N, K) scores.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0):
        super().__init__(ResNetEncoder(in_channels, width), in_channels, num_classes)
        self.config = {"in_channels": in_channels, "num_classes": num_classes, "width": width}
