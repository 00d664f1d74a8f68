"""MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications (Howard et al., 2017).

Each 3x3 convolution but the first is depthwise separable: one kernel a channel, then a 1x1 convolution over the channels, each
with batch norm and ReLU. That costs 1/N + 1/9 of the full convolution to N channels. The layers of table 1, by stages:

    image -> [conv 32, 64] -> [128, 128] -> [256, 256] -> [512, 512, 512, 512, 512, 512] -> [1024, 1024] -> mean -> classes
      stride            2            4             8                                 16              32

The first layer of each stage has stride 2. Table 1 prints stride 2 for the last depthwise layer too; with it the sizes of
its own rows do not come out (7 x 7 in and out): it is 1. Table 2 prints 1.19% of the multiply-adds for the first
convolution: it takes 1.91%, and only so do the shares of the table add up.

As published ``MobileNet()``, for ImageNet: 4,231,976 parameters, 568,740,352 multiply-adds at 224 x 224. ``width`` 0.75, 0.5
and 0.25 thin every layer. ``MobileNetUNet`` is a U-Net whose way down is this net, and whose way up is separable too:

    image -> stage 1 ------------------------- copy ----------------> [sep, sep] -> up 2 -> [sep, sep] -> 1x1 -> scores
               stage 2 ------------- copy ------------> [sep, sep] -> up 2
                 stage 3 ----- copy ------> [sep, sep] -> up 2
                   stage 4 ...         -> up 2

For a laptop: ``MobileNetUNet(3, 2, width=0.25, depth=3)``.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..autograd import Tensor
from ..functional import cat
from .blocks import Encoder, conv_block, he_initialization, paces, separable
from .classifier import Classifier, check_count, check_output_stride, check_width
from .dense import DensePrediction

STEM = 32
STAGES = ((64,), (128, 128), (256, 256), (512,) * 6, (1024, 1024))


class MobileNetEncoder(Encoder):
    """MobileNet's stages: features at strides 2, 4, 8, 16 and 32.

    Parameters
    ----------
    in_channels : channels of the image, C
    width : the width multiplier (section 3.3): every layer has this times the published channels
    depth : how many of the five stages
    output_stride : 32 as published; with 16 or 8 the later stages dilate instead of striding
    """

    def __init__(self, in_channels: int = 3, width: float = 1.0, depth: int = 5, output_stride: int = 32):
        name = type(self).__name__
        check_count(name, in_channels=in_channels, depth=depth)
        check_width(name, width)
        check_output_stride(name, output_stride)
        if depth > len(STAGES):
            raise ValueError(f"{name}: depth must be at most {len(STAGES)}, got {depth}")
        before = _scaled(STEM, width)
        stem = [nn.Conv2d(in_channels, before, 3, 2, 1, bias=False), nn.BatchNorm2d(before), nn.ReLU()]
        stages: list[nn.Module] = []
        steps = paces(depth, output_stride)
        for level, pace in enumerate(steps):
            layers: list[nn.Module] = [] if level else stem
            stride, dilation = (pace.stride, pace.dilation) if level else (1, 1)  # the stem has strided
            for channels in STAGES[level]:
                after = _scaled(channels, width)
                layers.append(_block(before, after, stride, dilation))
                before, stride, dilation = after, 1, pace.after
            stages.append(nn.Sequential(*layers))
        super().__init__(stages, [_scaled(s[-1], width) for s in STAGES[:depth]], [pace.total for pace in steps])


class MobileNet(Classifier):
    """MobileNet v1, of any width (table 6: 1.0, 0.75, 0.5, 0.25) and on images of any size (table 7: 224, 192, 160, 128).

    Parameters
    ----------
    in_channels, num_classes : channels of the image, scores an image
    width : the width multiplier
    dropout : probability of dropout before the last layer

    Input (N, C, H, W) float32, output (N, K) scores.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.0):
        super().__init__(MobileNetEncoder(in_channels, width), in_channels, num_classes, dropout)
        self.config = {"in_channels": in_channels, "num_classes": num_classes, "width": width, "dropout": dropout}


class MobileNetUNet(DensePrediction):
    """A U-Net with MobileNet as encoder, bilinear upsampling and separable convolutions on the way up.

    Parameters
    ----------
    in_channels : channels of the image, C
    num_classes : scores a pixel, K
    width : the width multiplier of the encoder; the decoder has the channels of the features that it meets
    depth : how many times the image is halved, 1 to 5

    Input (N, C, H, W) float32, H and W multiples of 2**depth; output (N, K, H, W) scores.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, depth: int = 5):
        super().__init__()
        check_count("MobileNetUNet", in_channels=in_channels, num_classes=num_classes, depth=depth)
        self.config = {"in_channels": in_channels, "num_classes": num_classes, "width": width, "depth": depth}
        self.in_channels, self.num_classes = in_channels, num_classes

        self.encoder = MobileNetEncoder(in_channels, width, depth)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.decoder = nn.ModuleList()
        *skips, before = self.encoder.channels
        for skip in reversed(skips):
            self.decoder.append(conv_block(before + skip, skip, convolution=separable))
            before = skip
        finest = _scaled(STEM, width)
        self.decoder.append(conv_block(before, finest, convolution=separable))  # of all pixels; no feature is as fine
        self.head = nn.Conv2d(finest, num_classes, 1)
        self.apply(he_initialization)

    def forward(self, x: Any) -> Tensor:
        """Return one score a class and pixel, (N, K, H, W), of images (N, C, H, W)."""
        self.check_input(x)
        *skips, x = self.encoder(x)
        *to_fuse, to_pixels = self.decoder
        for block in to_fuse:
            x = block(cat([skips.pop(), self.up(x)], dim=1))
        return self.head(to_pixels(self.up(x)))

    @property
    def stride(self) -> int:
        """The total stride: shifting the image by it shifts the prediction, by fewer pixels changes it."""
        return self.encoder.strides[-1]


def _block(in_channels: int, out_channels: int, stride: int, dilation: int) -> nn.Sequential:
    """Return a depthwise separable 3x3 convolution with batch norm and ReLU after both halves (figure 3)."""
    return nn.Sequential(
        separable(in_channels, out_channels, 3, stride, dilation, dilation),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


def _scaled(channels: int, width: float) -> int:
    """Return the channels of a thinner (or thicker) layer, at least one."""
    return max(1, round(channels * width))
