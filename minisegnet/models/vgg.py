"""VGG16's stages (Simonyan and Zisserman, 2015, configuration D): the trunk of FCN, DeconvNet, SegNet and RTSeg.

    image -> [3x3, 3x3] pool -> [3x3, 3x3] pool -> [3x3, 3x3, 3x3] pool -> [3x3, 3x3, 3x3] pool -> [3x3, 3x3, 3x3] pool
       channels  64                128                256                     512                     512
       stride         2                   4                     8                      16                      32

``VGGEncoder`` returns what each pool returned, fine to coarse. ``SwitchEncoder`` is the same trunk that also remembers where
the maxima were, its *switches*; ``SwitchDecoder`` is the trunk upside down, which puts values back at those places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import nn
from ..autograd import Tensor
from .blocks import Encoder, Layer, conv_block

WIDTHS = (64, 128, 256, 512, 512)
CONVS = (2, 2, 3, 3, 3)


def check_stages(name: str, widths: Sequence[int], convs: Sequence[int], norm: str | None) -> None:
    """Raise a ValueError, in the name of a network, unless these make stages: a positive integer each, equally many."""
    for argument, values in (("widths", widths), ("convs", convs)):
        if not isinstance(values, (tuple, list)) or not values or any(not isinstance(v, int) or v < 1 for v in values):
            raise ValueError(f"{name}: {argument} must be positive integers, one a stage, got {values!r}")
    if len(widths) != len(convs):
        raise ValueError(
            f"{name}: widths and convs must be equally long, one entry a stage, got {len(widths)} and {len(convs)}"
        )
    if norm not in ("batch", None):
        raise ValueError(f'{name}: norm must be "batch" or None, got {norm!r}')


class VGGEncoder(Encoder):
    """Stages of 3x3 convolutions, each ending in a 2x2 pool.

    Parameters
    ----------
    in_channels : channels of the image, C
    widths, convs : channels, and how many convolutions, of each stage
    norm : "batch" (batch norm after each convolution) or None (as published)
    bias : of the convolutions; by default only without batch norm
    padding : pixels around the image, of the first convolution alone; the others have 1
    ceil_mode : whether a pool keeps the last, partial window (Caffe does)
    """

    _switches = False

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] = CONVS,
        norm: str | None = None,
        bias: bool | None = None,
        padding: int = 1,
        ceil_mode: bool = False,
    ):
        check_stages(type(self).__name__, widths, convs, norm)
        stages = []
        for before, width, count in zip([in_channels, *widths], widths, convs, strict=False):
            pool = nn.MaxPool2d(2, ceil_mode=ceil_mode, return_indices=self._switches)
            stages.append(nn.Sequential(*conv_block(before, width, count, norm=norm, bias=bias), pool))
        stages[0][0].padding = (padding, padding)
        super().__init__(stages, widths, [2 ** (i + 1) for i in range(len(widths))])


class Switches(NamedTuple):
    """Where a pool found its maxima: the ``indices`` (N, C, OH, OW), flat in each plane, and the ``size`` (H, W) it pooled."""

    indices: Any
    size: tuple[int, int]


class SwitchEncoder(VGGEncoder):
    """VGG's stages for networks that unpool: ``forward`` returns the coarsest feature, and each pool's switches."""

    _switches = True

    def forward(self, x: Any) -> tuple[Tensor, list[Switches]]:  # type: ignore[override]
        """Return the last pool's maxima and, fine to coarse, where each pool found its own, of images (N, C, H, W)."""
        switches = []
        for stage in self:
            size = x.shape[2:]  # the convolutions keep it
            x, indices = stage(x)
            switches.append(Switches(indices, size))
        return x, switches


class SwitchDecoder(nn.Module):
    """VGG's stages upside down: each unpools by the switches of its twin on the way down, then convolves.

    The last convolution of a stage has the channels of the next finer one:
    [512, 512, 512], [512, 512, 256], [256, 256, 128], [128, 64], [64, 64].

    Parameters
    ----------
    widths, convs : the encoder's, fine to coarse; the finest stage may have no convolution
    norm, bias : as in ``VGGEncoder``
    convolution : makes the 3x3 layers, ``nn.Conv2d`` or ``nn.ConvTranspose2d``
    """

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] = CONVS,
        norm: str | None = "batch",
        bias: bool | None = None,
        convolution: Layer = nn.Conv2d,
    ):
        super().__init__()
        self.unpool, self.stages = nn.MaxUnpool2d(2), nn.ModuleList()
        finer = [widths[0], *widths]
        for level in reversed(range(len(widths))):
            options: dict[str, Any] = {"norm": norm, "bias": bias, "convolution": convolution}
            same = conv_block(widths[level], widths[level], max(convs[level] - 1, 0), **options)
            last = conv_block(widths[level], finer[level], min(convs[level], 1), **options)
            self.stages.append(nn.Sequential(*same, *last))

    def forward(self, x: Any, switches: Sequence[Switches]) -> Tensor:
        """Return (N, widths[0], H, W) of the coarsest feature and the encoder's switches, fine to coarse."""
        for stage, (indices, size) in zip(self.stages, reversed(switches), strict=True):
            x = stage(self.unpool(x, indices, output_size=size))
        return x
