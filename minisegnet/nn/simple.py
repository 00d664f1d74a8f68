"""Layers without parameters: activations, dropout, flatten, borders."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..autograd import Tensor
from .module import Module


class Identity(Module):
    """Returns its input."""

    def forward(self, input: Any) -> Any:
        """Return ``input``."""
        return input


class ReLU(Module):
    """max(0, x)."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        """Apply to any shape."""
        return F.relu(input)


class ReLU6(Module):
    """min(max(0, x), 6)."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        """Apply to any shape."""
        return F.relu6(input)


class LeakyReLU(Module):
    """x where it is positive, negative_slope * x elsewhere."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Any) -> Tensor:
        """Apply to any shape."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input: Any) -> Tensor:
        """Apply to any shape."""
        return F.sigmoid(input)


class Softmax(Module):
    """Probabilities over one axis."""

    def __init__(self, dim: int = 1):
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        """Apply over axis ``dim``."""
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"dim={self.dim}"


class Dropout(Module):
    """Single numbers set to 0 with probability p while training."""

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p must be a probability between 0 and 1, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Any) -> Tensor:
        """Apply to any shape."""
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"p={self.p}"


class Dropout2d(Dropout):
    """Whole channels set to 0 with probability p while training."""

    def forward(self, input: Any) -> Tensor:
        """Apply to (N, C, H, W)."""
        return F.dropout2d(input, self.p, self.training)


class Flatten(Module):
    """The axes from start_dim to end_dim joined into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Any) -> Tensor:
        """Join axes."""
        return F.flatten(input, self.start_dim, self.end_dim)


class ChannelShuffle(Module):
    """Channels dealt out anew between grouped convolutions, which would else never mix the groups. See ``F.channel_shuffle``."""

    def __init__(self, groups: int):
        super().__init__()
        if not isinstance(groups, int) or groups < 1:
            raise ValueError(f"ChannelShuffle: groups must be a positive integer, got {groups!r}")
        self.groups = groups

    def forward(self, input: Any) -> Tensor:
        """Shuffle the channels of (N, C, ...)."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"groups={self.groups}"


class _Pad2d(Module):
    """A border given as one number or (left, right, top, bottom)."""

    mode = "constant"

    def __init__(self, padding: int | tuple[int, int, int, int]):
        super().__init__()
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != 4:
            raise ValueError(
                f"{type(self).__name__}: padding must be one number or (left, right, top, bottom), got {padding}"
            )

    def forward(self, input: Any) -> Tensor:
        """Pad (..., H, W)."""
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.padding}"


class ZeroPad2d(_Pad2d):
    """A border of zeros."""


class ReflectionPad2d(_Pad2d):
    """A border that mirrors the image; the outermost pixel is the mirror."""

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """A border that repeats the outermost pixel."""

    mode = "replicate"
