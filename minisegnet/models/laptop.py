"""Every system of the lecture in the size of a laptop, side by side: the ideas as published, an eighth of the channels.

``SYSTEMS`` names them in the order of the lecture. Each entry builds a network by (in_channels, num_classes), and by a width
if another is wanted: ``SYSTEMS["U-Net"](3, 2)`` begins with 8 channels, ``SYSTEMS["U-Net"](3, 2, 16)`` with 16. The published
nets begin with 64, the patch classifier with 48; a MobileNet or ShuffleNet has ``b / 32`` of its published channels.

All take images whose sides are multiples of 32, and return as many pixels; DeconvNet, which goes down to a point, from 64
pixels on. All have batch norm, also where the authors began with the weights of a trained VGG16 instead: so they learn
from nothing, in less than a minute.
"""

from __future__ import annotations

from collections.abc import Callable

from .deconvnet import DeconvNet
from .dense import DensePrediction
from .dilated import DeepLab, DilatedNet
from .fcn import FCN
from .fully_convolutional import dilate_instead_of_stride, to_fully_convolutional
from .mobilenet import MobileNetUNet
from .rtseg import RTSeg
from .segnet import SegNet
from .sliding_window import PatchClassifier
from .unet import UNet

BASE_CHANNELS = 8


def sliding_window(in_channels: int, num_classes: int, b: int = BASE_CHANNELS) -> DensePrediction:
    """Return a classifier of 45 x 45 patches that slides by itself: a score for every pixel, each of them trained at once."""
    widths, kernels = (b, 2 * b, 4 * b), (4, 4, 4)
    classifier = PatchClassifier(in_channels, num_classes, 45, widths, kernels, hidden=(8 * b,), norm="batch")
    return dilate_instead_of_stride(to_fully_convolutional(classifier), border="reflect")


def fcn(in_channels: int, num_classes: int, stride: int, b: int = BASE_CHANNELS) -> DensePrediction:
    """Return an FCN on five stages, as VGG16 has, so that 32s, 16s and 8s mean what they say.

    By a 3x3 fc6 and 33 pixels of padding a score belongs to the middle of each 32 x 32 pixels, and none to the border.
    """
    widths, convs = (b, 2 * b, 4 * b, 8 * b, 8 * b), (2, 2, 2, 2, 2)
    return FCN(
        in_channels, num_classes, stride, widths, convs, 16 * b, fc_kernel=3, padding=33, dropout=0, norm="batch"
    )


def deconvnet(in_channels: int, num_classes: int, b: int = BASE_CHANNELS) -> DensePrediction:
    """Return a DeconvNet that goes down to a single pixel for an image of 64 x 64, as the published one does for 224 x 224."""
    return DeconvNet(in_channels, num_classes, (b, 2 * b, 4 * b, 8 * b), (2, 2, 2, 2), 16 * b, fc_kernel=4)


def segnet(in_channels: int, num_classes: int, b: int = BASE_CHANNELS) -> DensePrediction:
    """Return a SegNet of four stages."""
    return SegNet(in_channels, num_classes, (b, 2 * b, 4 * b, 8 * b), (2, 2, 2, 2))


def dilated(in_channels: int, num_classes: int, b: int = BASE_CHANNELS) -> DensePrediction:
    """Return five stages of which the last two dilate instead of pooling, and the context module on their scores."""
    widths, convs = (b, 2 * b, 4 * b, 8 * b, 8 * b), (2, 2, 2, 2, 2)
    return DilatedNet(
        in_channels, num_classes, widths, convs, 16 * b, fc_kernel=3, padding="same", norm="batch", dropout=0
    )


def deeplab(in_channels: int, num_classes: int, b: int = BASE_CHANNELS) -> DensePrediction:
    """Return DeepLab v3 on a MobileNet that stays at stride 8."""
    return DeepLab(in_channels, num_classes, "mobilenet", width=b / 32, output_stride=8, channels=4 * b)


SYSTEMS: dict[str, Callable[..., DensePrediction]] = {
    # each pixel by the patch around it
    "sliding window": sliding_window,
    # a score at every 32nd pixel, upsampled; with the scores of finer pools added
    "FCN-32s": lambda c, k, b=BASE_CHANNELS: fcn(c, k, 32, b),
    "FCN-16s": lambda c, k, b=BASE_CHANNELS: fcn(c, k, 16, b),
    "FCN-8s": lambda c, k, b=BASE_CHANNELS: fcn(c, k, 8, b),
    # up again by the switches of the pools
    "DeconvNet": deconvnet,
    "SegNet": segnet,
    # fewer pools, and windows with holes
    "dilated": dilated,
    "DeepLab": deeplab,
    # four times down and up: without skips, with features added, with features stacked; with cheaper convolutions
    "hourglass": lambda c, k, b=BASE_CHANNELS: UNet(c, k, b, skips=None),
    "U-Net, added skips": lambda c, k, b=BASE_CHANNELS: UNet(c, k, b, skips="add"),
    "U-Net": lambda c, k, b=BASE_CHANNELS: UNet(c, k, b),
    "U-Net, separable": lambda c, k, b=BASE_CHANNELS: UNet(c, k, b, convolution="separable"),
    "MobileNet-U-Net": lambda c, k, b=BASE_CHANNELS: MobileNetUNet(c, k, width=b / 32, depth=4),
    # the two that the lecture's reference, RTSeg, recommends
    "SkipNet-MobileNet": lambda c, k, b=BASE_CHANNELS: RTSeg(c, k, "mobilenet", "skipnet", width=b / 32),
    "SkipNet-ShuffleNet": lambda c, k, b=BASE_CHANNELS: RTSeg(c, k, "shufflenet", "skipnet", width=b / 32),
}

FAMILIES: dict[str, tuple[str, ...]] = {
    "patch by patch": ("sliding window",),
    "FCN": ("FCN-32s", "FCN-16s", "FCN-8s"),
    "by switches": ("DeconvNet", "SegNet"),
    "dilated": ("dilated", "DeepLab"),
    "hourglass to U-Net": ("hourglass", "U-Net, added skips", "U-Net"),
    "depthwise separable": ("U-Net, separable", "MobileNet-U-Net", "SkipNet-MobileNet", "SkipNet-ShuffleNet"),
}
