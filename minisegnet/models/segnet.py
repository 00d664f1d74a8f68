"""SegNet: A Deep Convolutional Encoder-Decoder Architecture (Badrinarayanan, Kendall, Cipolla, 2015; PAMI 2017).

``forward`` reads like the paper's figure 2: VGG16's thirteen convolutions, and thirteen more on the way up, mirrored:

    image -> [64 64] pool - - - - - - - - - - - switches - - - - - - - - -> unpool [64 head] -> one score a class
                | 1/2                                                          ^
             [128 128] pool - - - - - - - - - - switches - - - - - - -> unpool [128 64]
                | 1/4                                                          ^
             [256 256 256] pool - - - - - - - - switches - - - - - -> unpool [256 256 128]
                | 1/8                                                          ^
             [512 512 512] pool - - - - - - - - switches - - - - - -> unpool [512 512 256]
                | 1/16                                                         ^
             [512 512 512] pool - - - - - - - - switches - - - - - -> unpool [512 512 512]
                | 1/32                                                         ^
                +--------------------------------------------------------------+

The idea is DeconvNet's, without its fully connected layers: a ninth of the parameters, and images of any size. What the decoder
gets from the encoder is where the maxima were, which takes far less memory than the features that a U-Net copies (section 3).

As published for CamVid: ``SegNet(3, 11)`` has 29,449,355 parameters. Its images of 480 x 360 are no multiple of 32: pools
keep the last, partial window (360, 180, 90, 45, 23, 12) and each unpooling returns to the size that was pooled.
For a laptop: ``SegNet(3, 2, widths=(16, 32, 64), convs=(2, 2, 2))``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..autograd import Tensor
from .blocks import he_initialization
from .dense import DensePrediction
from .vgg import CONVS, WIDTHS, SwitchDecoder, SwitchEncoder, check_stages


class SegNet(DensePrediction):
    """Stages of convolutions down and, by the switches, up again, as published or smaller.

    Parameters
    ----------
    in_channels : channels of the image, C
    num_classes : scores a pixel, K
    widths, convs : channels, and how many 3x3 convolutions, of each stage of the encoder; the decoder mirrors them
    norm : "batch" (as published: batch norm after each convolution, which has a bias too) or None

    Input (N, C, H, W) float32 of any size, output (N, K, H, W) scores.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] = CONVS,
        norm: str | None = "batch",
    ):
        super().__init__()
        check_stages("SegNet", widths, convs, norm)
        numbers = {"in_channels": in_channels, "num_classes": num_classes}
        for name, value in numbers.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"SegNet: {name} must be a positive integer, got {value!r}")
        self.config = {**numbers, "widths": list(widths), "convs": list(convs), "norm": norm}
        self.in_channels, self.num_classes = in_channels, num_classes

        self.encoder = SwitchEncoder(in_channels, widths, convs, norm, bias=True, ceil_mode=True)
        without_head = [convs[0] - 1, *convs[1:]]  # the last convolution gives the scores
        self.decoder = SwitchDecoder(widths, without_head, norm, bias=True)
        self.head = nn.Conv2d(widths[0], num_classes, 3, padding=1)
        self.apply(he_initialization)

    def forward(self, x: Any) -> Tensor:
        """Return one score a class and pixel, (N, K, H, W), of images (N, C, H, W)."""
        self.check_input(x)
        x, switches = self.encoder(x)
        x = self.decoder(x, switches)
        return self.head(x)

    @property
    def stride(self) -> int:
        """The total stride: shifting the image by it shifts the prediction, by fewer pixels changes it."""
        return self.encoder.strides[-1]

    def output_size(self, size: int) -> int | None:
        """Return ``size``: the pools keep partial windows, the unpoolings return to what was pooled, so any size works."""
        return size if size > 0 else None
