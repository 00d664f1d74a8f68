"""Right answers to the exercises of lesson 02, each in two styles, and what the network says of those it is given."""

import numpy as np


def conv_by_loops(input, weight, stride):
    n, _, h, w = input.shape
    o, _, kh, kw = weight.shape
    output = np.zeros((n, o, (h - kh) // stride[0] + 1, (w - kw) // stride[1] + 1), input.dtype)
    for i in range(output.shape[2]):
        for j in range(output.shape[3]):
            y, x = i * stride[0], j * stride[1]
            for k in range(o):
                output[:, k, i, j] = (input[:, :, y : y + kh, x : x + kw] * weight[k]).sum(axis=(1, 2, 3))
    return output


def _conv_by_matrix(input, weight, stride):
    n, c, h, w = input.shape
    o, _, kh, kw = weight.shape
    rows, columns = range(0, h - kh + 1, stride[0]), range(0, w - kw + 1, stride[1])
    patches = np.stack([input[:, :, y : y + kh, x : x + kw].reshape(n, -1) for y in rows for x in columns], axis=2)
    return (weight.reshape(o, c * kh * kw) @ patches).reshape(n, o, len(rows), len(columns))


def _size_by_counting(n, kernel, padding, stride):
    return len(range(0, n + 2 * padding - kernel + 1, stride))


def _size_by_walking(n, kernel, padding, stride):
    places, first = 0, -padding
    while first + kernel <= n + padding:
        places, first = places + 1, first + stride
    return places


RIGHT = {"conv2d": (conv_by_loops, _conv_by_matrix), "output-size": (_size_by_counting, _size_by_walking)}
PLACED = {"conv2d": ("conv2d=conv_by_loops", "2 times", "`conv2d_grad_input` and `conv2d_grad_weight`")}
