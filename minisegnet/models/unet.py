"""U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger, Fischer, Brox, MICCAI 2015).

``forward`` reads like the paper's figure 1, from the upper left down to the bottom and up to the right:

    image -> [3x3, 3x3] ------------------- copy ------------------> [3x3, 3x3] -> 1x1 -> one score a class
                 | pool                                                  ^ up 2x2
             [3x3, 3x3] --------------- copy --------------> [3x3, 3x3] -+
                 | pool                                          ^ up 2x2
                 +------------------> [3x3, 3x3] ----------------+

As published: ``UNet(1, 2, padding="valid", norm=None)`` has 31,030,658 parameters and turns 572 x 572 pixels into 388 x 388.
As used today (the default): same padding, batch norm, output as large as the input.

The lecture's way to it is three words here: ``skips=None`` is the hourglass, ``skips="add"`` adds the copied features,
``skips="concatenate"`` stacks them, the U-Net; ``convolution="separable"`` makes each 3x3 convolution depthwise separable.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..autograd import Tensor
from ..functional import cat
from .blocks import conv_block, crop_to, he_initialization, separable
from .dense import DensePrediction


class UNet(DensePrediction):
    """The U-Net, of any width and depth.

    Parameters
    ----------
    in_channels : channels of the image, C
    num_classes : scores a pixel, K
    base_channels : channels of the first level; they double with each level down
    depth : how many times the image is halved
    padding : "same" (output as large as the input) or "valid" (as published: each 3x3 convolution takes a pixel off every side)
    norm : "batch" (batch norm after each 3x3 convolution, which then has no bias) or None (as published)
    dropout : probability of dropout at the end of the contracting path (paper, section 3.1)
    skips : what happens to the copied features: "concatenate" (as published), "add", or None (an hourglass without skips)
    convolution : "full", or "separable": depthwise separable 3x3 convolutions, except on the image itself

    Input (N, C, H, W) float32, output (N, K, H, W) scores; with "valid" H and W shrink, see ``output_size``.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        base_channels: int = 64,
        depth: int = 4,
        padding: str = "same",
        norm: str | None = "batch",
        dropout: float = 0.0,
        skips: str | None = "concatenate",
        convolution: str = "full",
    ):
        super().__init__()
        settings = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "base_channels": base_channels,
            "depth": depth,
        }
        for name, value in settings.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"UNet: {name} must be a positive integer, got {value!r}")
        if padding not in ("same", "valid"):
            raise ValueError(f'UNet: padding must be "same" or "valid", got {padding!r}')
        if norm not in ("batch", None):
            raise ValueError(f'UNet: norm must be "batch" or None, got {norm!r}')
        if skips not in ("concatenate", "add", None):
            raise ValueError(f'UNet: skips must be "concatenate", "add" or None, got {skips!r}')
        if convolution not in ("full", "separable"):
            raise ValueError(f'UNet: convolution must be "full" or "separable", got {convolution!r}')
        self.config = {**settings, "padding": padding, "norm": norm, "dropout": dropout}
        self.config |= {"skips": skips, "convolution": convolution}
        self.in_channels, self.num_classes, self.depth, self.padding = in_channels, num_classes, depth, padding
        self.skips = skips
        conv = separable if convolution == "separable" else nn.Conv2d

        widths = [base_channels * 2**level for level in range(depth + 1)]  # 64, 128, 256, 512, 1024
        self.encoder, self.pool = nn.ModuleList(), nn.MaxPool2d(2)
        for before, width in zip([in_channels, *widths], widths[:-1], strict=False):
            self.encoder.append(conv_block(before, width, 2, padding, norm, conv))
        if (
            convolution == "separable"
        ):  # three colours are too few to be filtered one by one (Howard et al., 2017, table 1)
            pad = 1 if padding == "same" else 0
            self.encoder[0][0] = nn.Conv2d(in_channels, base_channels, 3, padding=pad, bias=norm is None)
        self.bottleneck = conv_block(widths[-2], widths[-1], 2, padding, norm, conv)
        self.dropout = nn.Dropout(dropout)
        self.upsample, self.decoder = nn.ModuleList(), nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.upsample.append(nn.ConvTranspose2d(2 * width, width, 2, stride=2))
            stacked = 2 * width if skips == "concatenate" else width
            self.decoder.append(conv_block(stacked, width, 2, padding, norm, conv))
        self.head = nn.Conv2d(base_channels, num_classes, 1)
        self.apply(he_initialization)

    def forward(self, x: Any) -> Tensor:
        """Return one score a class and pixel, (N, K, H', W'), of images (N, C, H, W)."""
        self.check_input(x)
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.dropout(self.bottleneck(x))
        for up, block in zip(self.upsample, self.decoder, strict=True):
            x = up(x)
            skip = crop_to(skips.pop(), x)
            if self.skips == "concatenate":
                x = cat([skip, x], dim=1)
            elif self.skips == "add":
                x = skip + x
            x = block(x)
        return self.head(x)

    @property
    def stride(self) -> int:
        """The total stride: shifting the image by so many pixels shifts the prediction, by fewer changes it."""
        return 2**self.depth

    def output_size(self, size: int) -> int | None:
        """Return the output size for one side of the input, derived layer by layer; None where a size does not work."""
        lost = 4 if self.padding == "valid" else 0  # by two 3x3 convolutions
        skips = []
        for _ in range(self.depth):
            size -= lost
            if size < 2 or size % 2:
                return None
            skips.append(size)
            size //= 2
        size -= lost
        for skip in reversed(skips):
            size *= 2
            if size < 1 or (skip - size) % 2:
                return None
            size -= lost
        return size if size > 0 else None
