"""Right answers to the exercises of lesson 03, each in two styles."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _by_loops(scores, labels):
    n, k = scores.shape
    grad = np.zeros_like(scores)
    for i in range(n):
        top = max(scores[i])
        rises = [math.exp(s - top) for s in scores[i]]
        for c in range(k):
            grad[i, c] = (rises[c] / sum(rises) - (c == labels[i])) / n
    return grad


def _by_one_hot(scores, labels):
    shifted = scores - scores.max(1)[:, None]
    log_p = shifted - np.log(np.exp(shifted).sum(1))[:, None]
    return ((np.exp(log_p) - np.eye(scores.shape[1])[labels]) / len(labels)).astype(scores.dtype)


def _handed_back_by_weights(grad_output, weight, input_size, stride):
    n, o, rows, columns = grad_output.shape
    grad = np.zeros((n, weight.shape[1], *input_size), grad_output.dtype)
    for y in range(weight.shape[2]):
        for x in range(weight.shape[3]):
            part = np.einsum("nohw,oc->nchw", grad_output, weight[:, :, y, x])
            bottom, right = y + (rows - 1) * stride[0] + 1, x + (columns - 1) * stride[1] + 1
            grad[:, :, y : bottom : stride[0], x : right : stride[1]] += part
    return grad


def _gathered(grad_output, weight, input_size, stride):
    n, o, rows, columns = grad_output.shape
    kh, kw = weight.shape[2:]
    apart = np.zeros((n, o, input_size[0] + kh - 1, input_size[1] + kw - 1), grad_output.dtype)
    bottom, right = kh - 1 + (rows - 1) * stride[0] + 1, kw - 1 + (columns - 1) * stride[1] + 1
    apart[:, :, kh - 1 : bottom : stride[0], kw - 1 : right : stride[1]] = grad_output
    windows = sliding_window_view(apart, (kh, kw), axis=(2, 3))
    return np.einsum("nohwyx,ocyx->nchw", windows, weight[:, :, ::-1, ::-1])


RIGHT = {
    "cross-entropy-grad": (_by_loops, _by_one_hot),
    "conv2d-grad-input": (_handed_back_by_weights, _gathered),
}
