"""Right answers to the exercises of lesson 08, each in two styles, and what the network says of those it is given."""

import numpy as np


def _up_by_taps(input, weight, stride):
    (n, _, h, w), (_, o, kh, kw) = input.shape, weight.shape
    output = np.zeros((n, o, (h - 1) * stride[0] + kh, (w - 1) * stride[1] + kw), input.dtype)
    for y in range(kh):
        for x in range(kw):
            rows, columns = (
                slice(y, y + (h - 1) * stride[0] + 1, stride[0]),
                slice(x, x + (w - 1) * stride[1] + 1, stride[1]),
            )
            output[:, :, rows, columns] += np.einsum("nchw,co->nohw", input, weight[:, :, y, x])
    return output


def _up_by_zeros_between(input, weight, stride):
    (n, c, h, w), (kh, kw) = input.shape, weight.shape[2:]
    apart = np.zeros((n, c, (h - 1) * stride[0] + 1, (w - 1) * stride[1] + 1), input.dtype)
    apart[:, :, :: stride[0], :: stride[1]] = input
    around = np.pad(apart, ((0, 0), (0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (kh, kw), axis=(2, 3))
    return np.einsum("nchwyx,coyx->nohw", windows, weight[:, :, ::-1, ::-1])


def _size_by_stamps(n, kernel, stride, padding, output_padding):
    covered = {i * stride + k for i in range(n) for k in range(kernel)} | set(range((n - 1) * stride + kernel))
    return len(covered) - padding - (padding - output_padding)


def _size_by_going_down(n, kernel, stride, padding, output_padding):
    smallest = next(
        m for m in range(1, 10_000) if m + 2 * padding >= kernel and (m + 2 * padding - kernel) // stride + 1 == n
    )
    return smallest + output_padding


def _library(input, weight, stride):
    from minisegnet.kernels.convolution.reference import conv2d_grad_input

    sizes = zip(input.shape[2:], weight.shape[2:], stride, strict=True)
    return conv2d_grad_input(input, weight, tuple((n - 1) * s + k for n, k, s in sizes), stride)


RIGHT = {
    "transposed-conv": (_up_by_taps, _up_by_zeros_between),
    "size-up": (_size_by_stamps, _size_by_going_down),
}
PLACED = {
    "transposed-conv": ("conv2d_grad_input=_up_by_taps", "2 times", "`conv2d` and `conv2d_grad_weight`"),
}
LIBRARY = {"transposed-conv": _library}
