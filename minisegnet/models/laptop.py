"""Every system of the lecture in the size of a laptop, side by side: the same ideas as published, an eighth of the channels.

``SYSTEMS`` names them in the order of the lecture. Each entry builds a network by (in_channels, num_classes), and by a width
if another is wanted: ``SYSTEMS["U-Net"](3, 2)`` begins with 8 channels, ``SYSTEMS["U-Net"](3, 2, 16)`` with 16. The published
nets begin with 64 (MobileNet and ShuffleNet: with an eighth of their 32 and 24 channels for every channel here).

All take images whose sides are multiples of 32; DeconvNet, which goes down to a point, from 64 pixels on. All but the
FCNs, which the authors start from a trained VGG16, have batch norm: these train from nothing in a minute.
"""

from __future__ import annotations

from collections.abc import Callable

from .deconvnet import DeconvNet
from .dense import DensePrediction
from .fcn import FCN
from .mobilenet import MobileNetUNet
from .rtseg import RTSeg
from .segnet import SegNet
from .unet import UNet

BASE_CHANNELS = 8


def _fcn(stride: int, in_channels: int, num_classes: int, b: int) -> FCN:
    """Five stages as in VGG16, so that the names keep their meaning; a 3x3 fc6 needs less padding around the image."""
    widths, convs = (b, 2 * b, 4 * b, 8 * b, 8 * b), (2, 2, 2, 2, 2)
    options = {"widths": widths, "convs": convs, "fc_channels": 16 * b, "fc_kernel": 3, "padding": 18}
    options |= {"dropout": 0.0, "norm": "batch"}
    return FCN(in_channels, num_classes, stride, **options)


SYSTEMS: dict[str, Callable[..., DensePrediction]] = {
    # a score at every 32nd pixel, upsampled; then with the scores of finer pools added
    "FCN-32s": lambda c, k, b=BASE_CHANNELS: _fcn(32, c, k, b),
    "FCN-16s": lambda c, k, b=BASE_CHANNELS: _fcn(16, c, k, b),
    "FCN-8s": lambda c, k, b=BASE_CHANNELS: _fcn(8, c, k, b),
    # up again by the switches of the pools
    "DeconvNet": lambda c, k, b=BASE_CHANNELS: DeconvNet(
        c, k, widths=(b, 2 * b, 4 * b, 8 * b), convs=(2, 2, 2, 2), fc_channels=16 * b, fc_kernel=4
    ),
    "SegNet": lambda c, k, b=BASE_CHANNELS: SegNet(c, k, widths=(b, 2 * b, 4 * b, 8 * b), convs=(2, 2, 2, 2)),
    # four times down and up: without skips, with features added, stacked; with cheaper convolutions
    "hourglass": lambda c, k, b=BASE_CHANNELS: UNet(c, k, b, depth=4, skips=None),
    "U-Net, added skips": lambda c, k, b=BASE_CHANNELS: UNet(c, k, b, depth=4, skips="add"),
    "U-Net": lambda c, k, b=BASE_CHANNELS: UNet(c, k, b, depth=4),
    "U-Net, separable": lambda c, k, b=BASE_CHANNELS: UNet(c, k, b, depth=4, convolution="separable"),
    "MobileNet-U-Net": lambda c, k, b=BASE_CHANNELS: MobileNetUNet(c, k, width=b / 32, depth=4),
    # the two that the lecture's reference recommends
    "SkipNet-MobileNet": lambda c, k, b=BASE_CHANNELS: RTSeg(c, k, "mobilenet", "skipnet", width=b / 32),
    "SkipNet-ShuffleNet": lambda c, k, b=BASE_CHANNELS: RTSeg(c, k, "shufflenet", "skipnet", width=b / 32),
}
