"""What the encoders were made for: to say what is on an image. An encoder, the mean over all pixels, one linear layer."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..autograd import Tensor
from .base import Model
from .blocks import Encoder, he_initialization


def check_count(model: str, **counts: Any) -> None:
    """Raise a ValueError, in the name of a network, for a count that is not a positive integer."""
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{model}: {name} must be a positive integer, got {value!r}")


def check_width(model: str, width: Any) -> None:
    """Raise a ValueError, in the name of a network, for a width multiplier that is not a positive number."""
    if not isinstance(width, (int, float)) or not 0 < width <= 16:
        raise ValueError(f"{model}: width must be a number above 0 and at most 16, 1.0 as published, got {width!r}")


def check_output_stride(model: str, output_stride: Any) -> None:
    """Raise a ValueError, in the name of a network, for an output stride that its dilations cannot give."""
    if output_stride not in (8, 16, 32):
        raise ValueError(f"{model}: output_stride must be 8, 16 or 32, got {output_stride!r}")


class Classifier(Model):
    """One score a class for each image: (N, C, H, W) to (N, K), for images of any size.

    Parameters
    ----------
    encoder : its coarsest feature is looked at
    in_channels : channels of the image, C
    num_classes : scores an image, K
    dropout : probability of dropout before the last layer, while training
    """

    def __init__(self, encoder: Encoder, in_channels: int, num_classes: int, dropout: float = 0.0):
        super().__init__()
        check_count(type(self).__name__, in_channels=in_channels, num_classes=num_classes)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.channels[-1], num_classes)
        self.apply(he_initialization)

    def forward(self, x: Any) -> Tensor:
        """Return one score a class, (N, K), of images (N, C, H, W)."""
        if len(x.shape) != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__}: input must be (N, {self.in_channels}, H, W), got shape {tuple(x.shape)}"
            )
        *_, x = self.encoder(x)
        return self.head(self.dropout(x.mean((2, 3))))
