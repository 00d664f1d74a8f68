"""The peephole: neighbours in a ``Sequential`` that one kernel computes together, reading and writing each image once less.

    BatchNorm2d, ReLU            one kernel, forward and backward
    Conv2d, ReLU                 ReLU is taken while the convolution's output is still at hand
    Conv2d, BatchNorm2d (, ReLU) when predicting: the batch norm goes into the weights ("folding"; Jacob et al., 2018, section 3.2)

It is off where anybody could see the difference: where a layer is of another class, is watched by a hook or has a forward of
its own, and where a kernel that would be bypassed is replaced by ``use_kernels``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd import Tensor, is_grad_enabled, unwrap
from ..backend import kernels_for
from ..functional.convolution import conv2d, conv2d_relu
from ..functional.normalization import batch_norm_relu, folded
from .layers import BatchNorm2d, Conv2d
from .module import Module
from .simple import ReLU

BYPASSED = {  # by what comes together: the kernels of the layers by themselves
    (BatchNorm2d, ReLU): {"batch_norm", "batch_norm_grad", "channel_affine"},
    (Conv2d, ReLU): {"conv2d"},
    (Conv2d, BatchNorm2d): {"channel_affine", "channel_affine_relu"},
    (Conv2d, BatchNorm2d, ReLU): {"conv2d", "channel_affine", "channel_affine_relu"},
}


def apply_first(modules: Sequence[Module], input: Any) -> tuple[int, Any]:
    """Apply the first module, or as many as go together with it; return how many, and what comes out."""
    for count in (3, 2):
        together = tuple(modules[:count])
        kinds = tuple(type(module) for module in together)
        if len(together) == count and kinds in BYPASSED and not any(_is_watched(module) for module in together):
            if BYPASSED[kinds] & kernels_for(unwrap(input)).replaced.keys():
                continue
            if kinds[:2] == (Conv2d, BatchNorm2d):
                if _may_fold(together[0], together[1], input):
                    return count, _fold(together[0], together[1], count == 3, input)
            elif kinds[0] is Conv2d:
                return count, together[0].convolve(input, conv2d_relu)
            else:
                return count, together[0].normalize(input, batch_norm_relu)
    return 1, modules[0](input)


def _is_watched(module: Module) -> bool:
    return any(module.__dict__.get(name) for name in ("forward", "_forward_hooks", "_forward_pre_hooks"))


def _may_fold(conv: Any, norm: Any, input: Any) -> bool:
    """Return whether nothing learns, shapes fit (else the layers themselves say what is wrong), and scaling the weights is
    less work than scaling the output."""
    if is_grad_enabled() or norm.training or norm.running_mean is None or norm.num_features != conv.out_channels:
        return False
    pixels = unwrap(input)
    return pixels.ndim == 4 and conv.weight.data.size < pixels.size and conv.weight.dtype == pixels.dtype


def _fold(conv: Any, norm: Any, relu: bool, input: Any) -> Any:
    named = {"bias": conv.bias, "gamma": norm.weight, "beta": norm.bias, "weight": conv.weight}
    named |= {"running_mean": norm.running_mean, "running_var": norm.running_var}
    arrays = {name: None if value is None else unwrap(value) for name, value in named.items()}
    weights = (Tensor(array) for array in folded(**arrays, eps=norm.eps))  # where the layer is
    return conv.convolve(input, conv2d_relu if relu else conv2d, *weights)
