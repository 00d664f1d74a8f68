"""Operations on tensors with PyTorch's names: ``import minisegnet.functional as F``.

Forward and backward are written once here, over whichever kernels serve the arrays (``minisegnet.backend``).
"""

from . import arithmetic
from .activation import dropout, dropout2d, leaky_relu, log_softmax, relu, relu6, sigmoid, softmax, tanh
from .arithmetic import clamp
from .arrangement import cat, channel_shuffle, flatten, mean, permute, reshape, stack, sum, transpose
from .convolution import conv2d, conv_transpose2d
from .linear import linear
from .loss import binary_cross_entropy_with_logits, cross_entropy, mse_loss, nll_loss
from .normalization import batch_norm
from .padding import pad
from .pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d, max_unpool2d
from .resampling import interpolate

__all__ = [
    "adaptive_avg_pool2d",
    "arithmetic",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "cat",
    "channel_shuffle",
    "clamp",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "dropout2d",
    "flatten",
    "interpolate",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "max_unpool2d",
    "mean",
    "mse_loss",
    "nll_loss",
    "pad",
    "permute",
    "relu",
    "relu6",
    "reshape",
    "sigmoid",
    "softmax",
    "stack",
    "sum",
    "tanh",
    "transpose",
]
