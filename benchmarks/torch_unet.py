"""``models.UNet`` written in PyTorch: same layers, same names, so that a state dict moves in both directions.

    python benchmarks/torch_unet.py     # both nets, one state dict, one batch: the largest difference of their scores

Line by line as in ``minisegnet/models/unet.py``; read them side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


class UNet(nn.Module):
    """The U-Net of ``minisegnet.models``: arguments, attributes and state-dict keys are the same."""

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
        self.skips = skips
        widths = [base_channels * 2**level for level in range(depth + 1)]
        self.encoder, self.pool = nn.ModuleList(), nn.MaxPool2d(2)
        for before, width in zip([in_channels, *widths], widths[:-1], strict=False):
            self.encoder.append(double_conv(before, width, padding, norm, convolution))
        if convolution == "separable":
            pad = 1 if padding == "same" else 0
            self.encoder[0][0] = nn.Conv2d(in_channels, base_channels, 3, padding=pad, bias=norm is None)
        self.bottleneck = double_conv(widths[-2], widths[-1], padding, norm, convolution)
        self.dropout = nn.Dropout(dropout)
        self.upsample, self.decoder = nn.ModuleList(), nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.upsample.append(nn.ConvTranspose2d(2 * width, width, 2, stride=2))
            stacked = 2 * width if skips == "concatenate" else width
            self.decoder.append(double_conv(stacked, width, padding, norm, convolution))
        self.head = nn.Conv2d(base_channels, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores (N, K, H', W') of images (N, C, H, W)."""
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
                x = torch.cat([skip, x], dim=1)
            elif self.skips == "add":
                x = skip + x
            x = block(x)
        return self.head(x)


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, batch norm (without bias) and ReLU between them."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int, bias: bool):
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, padding=padding, groups=in_channels, bias=bias
        )
        self.between = nn.ReLU() if bias else nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU())
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, O, H', W') of (N, C, H, W)."""
        return self.pointwise(self.between(self.depthwise(x)))


def double_conv(in_channels: int, out_channels: int, padding: str, norm: str | None, convolution: str) -> nn.Sequential:
    """Return twice 3x3 convolution, (batch norm,) ReLU."""
    layers: list[nn.Module] = []
    layer = Separable if convolution == "separable" else nn.Conv2d
    for channels in (in_channels, out_channels):
        layers.append(layer(channels, out_channels, 3, padding=1 if padding == "same" else 0, bias=norm is None))
        if norm == "batch":
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def crop_to(skip: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the middle of ``skip`` that is as large as ``x``."""
    (h, w), (height, width) = x.shape[2:], skip.shape[2:]
    top, left = (height - h) // 2, (width - w) // 2
    return skip[:, :, top : top + h, left : left + w]


def from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return a state dict of ours as one of PyTorch's (copies)."""
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def to_arrays(state: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return a state dict of PyTorch's as one of ours (copies)."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in state.items()}


def twin_of(model: Any) -> UNet:
    """Return the PyTorch net with the configuration and the weights of a ``minisegnet.models.UNet``."""
    twin = UNet(**model.config)
    twin.load_state_dict(from_arrays(model.state_dict()))
    return twin.train(model.training)


if __name__ == "__main__":
    import minisegnet as ms
    from minisegnet import models

    ours = models.UNet(3, 2, base_channels=8).eval()
    x = np.random.default_rng(0).random((2, 3, 128, 128), dtype=np.float32)
    with torch.no_grad(), ms.no_grad():
        difference = np.abs(ours(ms.Tensor(x)).numpy() - twin_of(ours)(torch.from_numpy(x)).numpy()).max()
    print(f"{sum(p.numel() for p in twin_of(ours).parameters()):,} parameters, largest difference {difference:.2e}")
