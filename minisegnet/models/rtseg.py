"""RTSeg: Real-time Semantic Segmentation Comparative Study (Siam et al., ICIP 2018, arXiv 1803.02758): encoders x decoders.

Four encoders hand out features at strides 2, 4, 8, 16 and 32: VGG16, ResNet18, MobileNet, ShuffleNet. Three decoders (figure 2)
make scores for all pixels of them:

    "skipnet"    32 -> 1x1 -> scores -> up 2 -> (+) -> up 2 -> (+) -> up 8         FCN-8s: sums and upsampling of scores
                          16 -> 1x1 -> scores ---+              |                  (bilinear to begin with, then learned)
                                     8 -> 1x1 -> scores --------+

    "unet"       32 -> up 2 -> (+) -> up 2 -> (+) -> up 2 -> (+) -> up 2 -> (+) -> up 2 -> 1x1 -> scores
                          16 ---+        8 ----+        4 ----+        2 ----+     features, added instead of stacked

    "dilation"   8 -> 1x1 -> scores -> up 8        the last two stages dilate by 2 and 4 instead of striding

What upsamples is a transposed 4x4 convolution of stride 2, 16x16 of stride 8. For Cityscapes the paper prints, in GFLOPs of
2 per multiply-accumulate at 360 x 640: SkipNet-MobileNet 6.2, SkipNet-ShuffleNet 2.0, 143 times less than SegNet's 286.03.
``RTSeg(3, 20)`` takes 6.14 by its convolutions, 6.2 with scale and shift of batch norm; ``RTSeg(3, 20, "shufflenet")`` 2.10
(the authors' first convolution has no border); ``SegNet(3, 20)`` 286.96. Of the first two 0.74 is the last upsampling,
which mixes all 20 channels of scores.

The authors' code goes other ways in three places. Its U-Net convolves twice after each sum; the paper, and this one, do not.
It dilates by two full 3x3 convolutions; here all layers of the encoder's last stages dilate, so that the strided encoder's
weights keep their meaning. Its VGG16 keeps fc6 and fc7; here it is the five stages, with batch norm, and removing pools 4
and 5 dilates stage 5 by 2, after which there is no layer left to dilate by 4.

Strided 3x3 convolutions read their pixels around the *first* pixel of each pair, transposed 4x4 convolutions write around the
middle: as in the authors' code, the decoder has that shift to learn.

For a laptop: ``RTSeg(3, 2, "mobilenet", "unet", width=0.25)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..autograd import Tensor
from .blocks import Encoder, he_initialization
from .classifier import check_count, check_width
from .dense import DensePrediction
from .mobilenet import MobileNetEncoder
from .resnet import ResNetEncoder
from .shufflenet import ShuffleNetEncoder
from .vgg import WIDTHS, VGGEncoder

ENCODERS = ("vgg16", "resnet18", "mobilenet", "shufflenet")
DECODERS = ("skipnet", "unet", "dilation")


class RTSeg(DensePrediction):
    """Any of the encoders with any of the decoders.

    Parameters
    ----------
    in_channels : channels of the image, C
    num_classes : scores a pixel, K
    encoder : "vgg16", "resnet18", "mobilenet" or "shufflenet"
    decoder : "skipnet", "unet" or "dilation"
    width : every layer of the encoder has this times the published channels

    Input (N, C, H, W) float32 of any size, output (N, K, H, W) scores.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        encoder: str = "mobilenet",
        decoder: str = "skipnet",
        width: float = 1.0,
    ):
        super().__init__()
        check_count("RTSeg", in_channels=in_channels, num_classes=num_classes)
        check_width("RTSeg", width)
        for name, value, known in (("encoder", encoder, ENCODERS), ("decoder", decoder, DECODERS)):
            if value not in known:
                raise ValueError(f"RTSeg: {name} must be one of {', '.join(known)}, got {value!r}")
        self.config = {"in_channels": in_channels, "num_classes": num_classes}
        self.config |= {"encoder": encoder, "decoder": decoder, "width": width}
        self.in_channels, self.num_classes = in_channels, num_classes

        self.encoder = _encoder(encoder, in_channels, width, output_stride=8 if decoder == "dilation" else 32)
        channels = self.encoder.channels
        self.decoder: nn.Module
        if decoder == "skipnet":
            self.decoder = SkipNetDecoder(channels[2:], num_classes)
        elif decoder == "unet":
            self.decoder = UNetDecoder(channels, num_classes)
        else:
            self.decoder = DilationDecoder(channels[-1], num_classes)
        self.encoder.apply(he_initialization)

    def forward(self, x: Any) -> Tensor:
        """Return one score a class and pixel, (N, K, H, W), of images (N, C, H, W)."""
        self.check_input(x)
        return self.decoder(self.encoder(x), size=x.shape[2:])

    @property
    def stride(self) -> int:
        """The total stride: shifting the image by it shifts the prediction, by fewer pixels changes it."""
        return self.encoder.strides[-1]

    def output_size(self, size: int) -> int | None:
        """Return ``size``: the encoders round up where they halve, what is upsampled is cropped, so any size works."""
        return size if size > 0 else None


class SkipNetDecoder(nn.Module):
    """Scores at strides 32, 16 and 8, added from coarse to fine, then upsampled by 8 (section 2.1).

    Parameters
    ----------
    channels : of the features at strides 8, 16 and 32
    num_classes : scores a pixel, K
    """

    def __init__(self, channels: Sequence[int], num_classes: int):
        super().__init__()
        fine, middle, coarse = channels
        self.head = nn.Conv2d(coarse, num_classes, 1)
        self.skip_heads = nn.ModuleList([nn.Conv2d(middle, num_classes, 1), nn.Conv2d(fine, num_classes, 1)])
        self.upsample = nn.ModuleList()
        for kernel, stride in ((4, 2), (4, 2), (16, 8)):
            self.upsample.append(nn.ConvTranspose2d(num_classes, num_classes, kernel, stride, stride // 2, bias=False))
        self.apply(he_initialization)
        for up in self.upsample:
            nn.init.bilinear_(up.weight)

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return scores (N, K, *size) of an encoder's features, fine to coarse."""
        *_, fine, middle, coarse = features
        x = self.head(coarse)
        *to_fuse, to_pixels = self.upsample
        for up, head, skip in zip(to_fuse, self.skip_heads, (middle, fine), strict=True):
            x = _cropped(up(x), skip.shape[2:]) + head(skip)
        return _cropped(to_pixels(x), size)


class UNetDecoder(nn.Module):
    """Features upsampled stage by stage, each added to the encoder's of the same size (section 2.1).

    Parameters
    ----------
    channels : of all features, fine to coarse
    num_classes : scores a pixel, K
    """

    def __init__(self, channels: Sequence[int], num_classes: int):
        super().__init__()
        finest = max(1, channels[0] // 2)  # of all pixels, where there is no feature to add
        self.stages = nn.ModuleList()
        for before, after in zip(channels[::-1], [*channels[-2::-1], finest], strict=True):
            self.stages.append(
                nn.Sequential(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
            )
        self.head = nn.Conv2d(finest, num_classes, 1)
        self.apply(he_initialization)

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return scores (N, K, *size) of an encoder's features, fine to coarse."""
        *skips, x = features
        *to_fuse, to_pixels = self.stages
        for stage in to_fuse:
            skip = skips.pop()
            x = _cropped(stage(x), skip.shape[2:]) + skip
        return self.head(_cropped(to_pixels(x), size))


class DilationDecoder(nn.Module):
    """Scores at stride 8, upsampled by 8: the work is the dilated encoder's (section 2.1).

    Parameters
    ----------
    channels : of the coarsest feature
    num_classes : scores a pixel, K
    """

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.head = nn.Conv2d(channels, num_classes, 1)
        self.upsample = nn.ConvTranspose2d(num_classes, num_classes, 16, 8, 4, bias=False)
        self.apply(he_initialization)
        nn.init.bilinear_(self.upsample.weight)

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return scores (N, K, *size) of an encoder's features, of which the last has stride 8."""
        return _cropped(self.upsample(self.head(features[-1])), size)


def _encoder(name: str, in_channels: int, width: float, output_stride: int) -> Encoder:
    """Return an encoder with features at strides 2, 4, 8, 16 and 32, or 2, 4, 8, 8 and 8."""
    if name == "vgg16":
        return _vgg16(in_channels, width, output_stride)
    if name == "resnet18":
        return ResNetEncoder(in_channels, width, output_stride)
    if name == "mobilenet":
        return MobileNetEncoder(in_channels, width, output_stride=output_stride)
    return ShuffleNetEncoder(in_channels, width=width, output_stride=output_stride)


def _vgg16(in_channels: int, width: float, output_stride: int) -> VGGEncoder:
    """Return VGG16's stages; without the last two pools if the stride shall be 8, stage 5 then dilated by 2."""
    encoder = VGGEncoder(in_channels, [max(1, round(c * width)) for c in WIDTHS], norm="batch", ceil_mode=True)
    if output_stride == 8:
        for stage in encoder[3:]:
            stage[-1] = nn.Identity()
        for layer in encoder[4]:
            if isinstance(layer, nn.Conv2d):
                layer.dilation = layer.padding = (2, 2)
        encoder.strides = (2, 4, 8, 8, 8)
    return encoder


def _cropped(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the first pixels of (N, K, H, W): what upsampling adds where halving had rounded up is at the end."""
    return x if x.shape[2:] == tuple(size) else x[:, :, : size[0], : size[1]]
