"""Layers and networks with PyTorch's names: ``from minisegnet import nn``."""

from typing import Any

from . import init
from .containers import ModuleList, Sequential
from .layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    DepthwiseSeparableConv2d,
    Linear,
    MaxPool2d,
    MaxUnpool2d,
    Upsample,
)
from .module import Module, Parameter
from .simple import (
    ChannelShuffle,
    Dropout,
    Dropout2d,
    Flatten,
    Identity,
    LeakyReLU,
    ReflectionPad2d,
    ReLU,
    ReLU6,
    ReplicationPad2d,
    Sigmoid,
    Softmax,
    ZeroPad2d,
)

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm2d",
    "ChannelShuffle",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "DepthwiseSeparableConv2d",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "Identity",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "MaxUnpool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "ReLU6",
    "ReflectionPad2d",
    "ReplicationPad2d",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Upsample",
    "ZeroPad2d",
    "init",
]


def __getattr__(name: str) -> Any:
    """Import the losses that PyTorch keeps in its ``nn`` when they are first asked for."""
    if name in ("BCEWithLogitsLoss", "CrossEntropyLoss"):
        from .. import losses

        return getattr(losses, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
