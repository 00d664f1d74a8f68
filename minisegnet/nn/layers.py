"""Layers with PyTorch's names, arguments, parameter shapes and initial weights. Each keeps its settings and calls F."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional as F
from ..autograd import Tensor
from ..kernels.contract import check_algorithm
from ..shapes import Size, SizeLike, pair
from . import init
from .module import Module, Parameter


def _reset(weight: Parameter, bias: Parameter | None) -> None:
    """Start as PyTorch does: He's uniform rule with a = sqrt(5), which is a bound of 1 / sqrt(fan in) for both."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(init._fans(weight)[0])
        init.uniform_(bias, -bound, bound)


def _channels(in_channels: int, out_channels: int, groups: int, what: str) -> None:
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{what}: {name} must be a positive integer, got {value!r}")
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{what}: in_channels and out_channels must be multiples of groups={groups}, got {in_channels} and {out_channels}"
        )


class Conv2d(Module):
    """Convolution: weight (out_channels, in_channels // groups, KH, KW), bias (out_channels,). See ``F.conv2d``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: SizeLike,
        stride: SizeLike = 1,
        padding: SizeLike | str = 0,
        dilation: SizeLike = 1,
        groups: int = 1,
        bias: bool = True,
        algorithm: str = "auto",
    ):
        super().__init__()
        _channels(in_channels, out_channels, groups, "Conv2d")
        self.algorithm = check_algorithm(algorithm)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride, self.dilation = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
        self.padding = padding if isinstance(padding, str) else pair(padding, "padding")
        self.weight = Parameter(np.empty((out_channels, in_channels // groups, *self.kernel_size), np.float32))
        self.register_parameter("bias", Parameter(np.empty(out_channels, np.float32)) if bias else None)
        _reset(self.weight, self.bias)

    def forward(self, input: Any) -> Tensor:
        """Convolve (N, in_channels, H, W)."""
        return self.convolve(input, F.conv2d)

    def convolve(self, input: Any, function: Callable[..., Tensor], *weights: Any) -> Tensor:
        """Call ``function``, ``F.conv2d`` or one that does more, with what this layer holds, or with other weights."""
        weight, bias = weights or (self.weight, self.bias)
        return function(input, weight, bias, self.stride, self.padding, self.dilation, self.groups, self.algorithm)

    def extra_repr(self) -> str:
        """Return the settings."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if self.padding not in ((0, 0), "valid") else ""
        text += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        text += f", algorithm={self.algorithm!r}" if self.algorithm != "auto" else ""
        return text + ("" if self.bias is not None else ", bias=False")


class DepthwiseSeparableConv2d(Module):
    """A convolution in two halves: one kernel a channel (depthwise), then sums over channels (pointwise, 1x1).

    For O output channels and kernels of K x K it costs 1/O + 1/K^2 of the full convolution (Howard et al., 2017, section 3.1).

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation : as in ``Conv2d``; space is the depthwise half's
    bias : whether both halves have one
    between : a module between the halves (MobileNet: batch norm and ReLU), or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: SizeLike,
        stride: SizeLike = 1,
        padding: SizeLike | str = 0,
        dilation: SizeLike = 1,
        bias: bool = True,
        between: Module | None = None,
    ):
        super().__init__()
        _channels(in_channels, out_channels, 1, "DepthwiseSeparableConv2d")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.depthwise = Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, dilation, groups=in_channels, bias=bias
        )
        self.between = between
        self.pointwise = Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, input: Any) -> Tensor:
        """Convolve (N, in_channels, H, W), each channel by itself, and mix the channels."""
        x = self.depthwise(input)
        return self.pointwise(x if self.between is None else self.between(x))


class ConvTranspose2d(Module):
    """Transposed convolution: weight (in_channels, out_channels // groups, KH, KW). See ``F.conv_transpose2d``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: SizeLike,
        stride: SizeLike = 1,
        padding: SizeLike = 0,
        output_padding: SizeLike = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: SizeLike = 1,
        algorithm: str = "auto",
    ):
        super().__init__()
        _channels(in_channels, out_channels, groups, "ConvTranspose2d")
        self.algorithm = check_algorithm(algorithm)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride, self.dilation = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
        self.padding, self.output_padding = pair(padding, "padding"), pair(output_padding, "output_padding")
        self.weight = Parameter(np.empty((in_channels, out_channels // groups, *self.kernel_size), np.float32))
        self.register_parameter("bias", Parameter(np.empty(out_channels, np.float32)) if bias else None)
        _reset(self.weight, self.bias)

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        """Upsample (N, in_channels, H, W); ``output_size`` chooses the output_padding by itself."""
        extra = (
            self.output_padding
            if output_size is None
            else self._output_padding(input, pair(output_size[-2:], "output_size"))
        )
        return F.conv_transpose2d(
            *(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation),
            algorithm=self.algorithm,
        )

    def _output_padding(self, input: Any, wanted: Size) -> Size:
        extra = []
        for n, m, k, s, p, d in zip(
            input.shape[-2:], wanted, self.kernel_size, self.stride, self.padding, self.dilation, strict=True
        ):
            least = (n - 1) * s - 2 * p + d * (k - 1) + 1
            if not least <= m < least + max(s, d):
                raise ValueError(
                    f"ConvTranspose2d: output_size must be between {least} and {least + max(s, d) - 1} for {n} pixels, got {m}"
                )
            extra.append(m - least)
        return extra[0], extra[1]

    def extra_repr(self) -> str:
        """Return the settings."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding}" if self.padding != (0, 0) else ""
        text += f", algorithm={self.algorithm!r}" if self.algorithm != "auto" else ""
        return text + ("" if self.bias is not None else ", bias=False")


class BatchNorm2d(Module):
    """Batch normalization with running statistics (Ioffe and Szegedy, 2015). See ``F.batch_norm``."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.register_parameter("weight", Parameter(np.ones(num_features, np.float32)) if affine else None)
        self.register_parameter("bias", Parameter(np.zeros(num_features, np.float32)) if affine else None)
        self.register_buffer("running_mean", np.zeros(num_features, np.float32) if track_running_stats else None)
        self.register_buffer("running_var", np.ones(num_features, np.float32) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64) if track_running_stats else None)

    def forward(self, input: Any) -> Tensor:
        """Normalize (N, num_features, H, W): by the batch when training, by the running statistics otherwise."""
        return self.normalize(input, F.batch_norm)

    def normalize(self, input: Any, function: Callable[..., Tensor]) -> Tensor:
        """Call ``function``, ``F.batch_norm`` or one that does more, with what this layer holds; count the batch."""
        if len(input.shape) != 4:
            raise ValueError(f"BatchNorm2d: input must have 4 axes (N, C, H, W), got shape {tuple(input.shape)}")
        momentum = self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.data += 1
            momentum = 1 / int(self.num_batches_tracked.data) if momentum is None else momentum
        return function(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            momentum or 0.0,
            self.eps,
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class Linear(Module):
    """A fully connected layer: weight (out_features, in_features), bias (out_features,)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        self.register_parameter("bias", Parameter(np.empty(out_features, np.float32)) if bias else None)
        _reset(self.weight, self.bias)

    def forward(self, input: Any) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class MaxPool2d(Module):
    """The largest value of each window. See ``F.max_pool2d``."""

    def __init__(
        self,
        kernel_size: SizeLike,
        stride: SizeLike | None = None,
        padding: SizeLike = 0,
        dilation: SizeLike = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Any) -> Any:
        """Pool (N, C, H, W)."""
        return F.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, ceil_mode={self.ceil_mode}"
        )


class MaxUnpool2d(Module):
    """Values back at the places where pooling found its maxima. See ``F.max_unpool2d``."""

    def __init__(self, kernel_size: SizeLike, stride: SizeLike | None = None, padding: SizeLike = 0):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Tensor:
        """Unpool (N, C, OH, OW) with the indices of the pooling."""
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """The mean of each window. See ``F.avg_pool2d``."""

    def __init__(
        self,
        kernel_size: SizeLike,
        stride: SizeLike | None = None,
        padding: SizeLike = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, input: Any) -> Tensor:
        """Pool (N, C, H, W)."""
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Means over windows that give the output this size, whatever the input's."""

    def __init__(self, output_size: SizeLike):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Tensor:
        """Pool (N, C, H, W) to (N, C, *output_size)."""
        return F.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"output_size={self.output_size}"


class Upsample(Module):
    """Images made larger by rule. See ``F.interpolate``."""

    def __init__(
        self,
        size: SizeLike | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        super().__init__()
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, input: Any) -> Tensor:
        """Resize (N, C, H, W)."""
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        target = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return f"{target}, mode={self.mode!r}"
