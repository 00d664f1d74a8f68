"""DeconvNet: Learning Deconvolution Network for Semantic Segmentation (Noh, Hong, Han, ICCV 2015).

``forward`` reads like the paper's figure 2: VGG16 down to a single pixel, and the same way up again, mirrored:

    224 -> [64 64] pool                                                        unpool [64 64] -> 1x1 -> one score a class
                | 112                                                              ^ 224
             [128 128] pool - - - - - - - - - - switches - - - - - - - -> unpool [128 64]
                | 56                                                               ^ 112
             [256 256 256] pool - - - - - - - - switches - - - - - - -> unpool [256 256 128]
                | 28                                                               ^ 56
             [512 512 512] pool - - - - - - - - switches - - - - - - -> unpool [512 512 256]
                | 14                                                               ^ 28
             [512 512 512] pool - - - - - - - - switches - - - - - - -> unpool [512 512 512]
                | 7                                                                ^ 14
                +-> fc6 7x7 -> 1 -> fc7 1x1 -> 1 -> fc6-deconv 7x7 -> 7 -----------+

A pool remembers where its maxima were, the switches; the unpooling of the same size puts values back at those places and zeros
elsewhere; the 3x3 layers behind it fill the holes. Batch norm follows every convolution: without it, the authors report, training
ends in a poor optimum (section 4.1).

The paper calls the layers on the way up *deconvolutions*. They are transposed convolutions: a deconvolution would undo a
convolution, which these do not; they only have the shape of its backward pass. At stride 1 they are plain convolutions with
the kernel turned by 180 degrees.

As published: ``DeconvNet(3, 21)``, 251,805,653 parameters (251,772,245 without batch norm's scale and shift), of which fc6, fc7
and fc6-deconv hold 88%. For a laptop: ``DeconvNet(3, 2, widths=(16, 32, 64), convs=(2, 2, 2), fc_channels=128, fc_kernel=3)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..autograd import Tensor
from .blocks import he_initialization
from .dense import DensePrediction
from .vgg import CONVS, WIDTHS, SwitchDecoder, SwitchEncoder, check_stages


class DeconvNet(DensePrediction):
    """Down to a point and up again by the switches, as published or smaller.

    Parameters
    ----------
    in_channels : channels of the image, C
    num_classes : scores a pixel, K
    widths, convs : channels, and how many 3x3 convolutions, of each stage of the encoder; the decoder mirrors them
    fc_channels, fc_kernel : of the layers at the bottom: channels, and kernel size of fc6 and fc6-deconv
    norm : "batch" (as published) or None

    Input (N, C, H, W) float32, output (N, K, H, W) scores. H and W are multiples of the total stride (32), and at least
    ``fc_kernel`` times it (224, where fc6 returns a single pixel).
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] = CONVS,
        fc_channels: int = 4096,
        fc_kernel: int = 7,
        norm: str | None = "batch",
    ):
        super().__init__()
        check_stages("DeconvNet", widths, convs, norm)
        numbers = {"in_channels": in_channels, "num_classes": num_classes}
        numbers |= {"fc_channels": fc_channels, "fc_kernel": fc_kernel}
        for name, value in numbers.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"DeconvNet: {name} must be a positive integer, got {value!r}")
        self.config = {**numbers, "widths": list(widths), "convs": list(convs), "norm": norm}
        self.in_channels, self.num_classes = in_channels, num_classes

        self.encoder = SwitchEncoder(in_channels, widths, convs, norm, bias=True)
        self.bottleneck = nn.Sequential(
            *_activated(nn.Conv2d(widths[-1], fc_channels, fc_kernel), norm),  # fc6
            *_activated(nn.Conv2d(fc_channels, fc_channels, 1), norm),  # fc7
            *_activated(nn.ConvTranspose2d(fc_channels, widths[-1], fc_kernel), norm),  # fc6-deconv
        )
        self.decoder = SwitchDecoder(widths, convs, norm, bias=True, convolution=nn.ConvTranspose2d)
        self.head = nn.Conv2d(widths[0], num_classes, 1)
        self.apply(he_initialization)

    def forward(self, x: Any) -> Tensor:
        """Return one score a class and pixel, (N, K, H, W), of images (N, C, H, W)."""
        self.check_input(x)
        x, switches = self.encoder(x)
        x = self.bottleneck(x)
        x = self.decoder(x, switches)
        return self.head(x)

    @property
    def stride(self) -> int:
        """The total stride: input sizes work in steps of it."""
        return self.encoder.strides[-1]

    def output_size(self, size: int) -> int | None:
        """Return ``size`` where it is a multiple of the stride and fc6 fits on what the last pool leaves, else None."""
        least = self.stride * self.config["fc_kernel"]
        return size if size >= least and size % self.stride == 0 else None


def _activated(layer: nn.Conv2d | nn.ConvTranspose2d, norm: str | None) -> list[nn.Module]:
    """Return a layer, (batch norm,) ReLU."""
    return [layer, *([nn.BatchNorm2d(layer.out_channels)] if norm == "batch" else []), nn.ReLU()]
