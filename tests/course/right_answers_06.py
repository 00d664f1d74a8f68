"""Right answers to the exercises of lesson 06, each in two styles, and what the network says of those it is given."""

import numpy as np
from right_answers_02 import conv_by_loops


def _dilated_by_shifts(input, weight, dilation):
    oh, ow = (size - (k - 1) * d for size, k, d in zip(input.shape[2:], weight.shape[2:], dilation, strict=True))
    output = np.zeros((len(input), len(weight), oh, ow), input.dtype)
    for y in range(weight.shape[2]):
        for x in range(weight.shape[3]):
            top, left = y * dilation[0], x * dilation[1]
            part = input[:, :, top : top + oh, left : left + ow]
            output += np.einsum("nchw,oc->nohw", part, weight[:, :, y, x])
    return output


def _dilated_by_a_kernel_with_gaps(input, weight, dilation):
    o, c, kh, kw = weight.shape
    gaps = np.zeros((o, c, (kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1), weight.dtype)
    gaps[:, :, :: dilation[0], :: dilation[1]] = weight
    return conv_by_loops(input, gaps, (1, 1))


def _holes_by_polynomials(kernel, rates):
    paths = np.ones(1)
    for rate in rates:
        taps = np.zeros((kernel - 1) * rate + 1)
        taps[::rate] = 1
        paths = np.convolve(paths, taps)
    return int((paths == 0).sum())


def _holes_from_the_output_down(kernel, rates):
    def read(place, layers):
        if not layers:
            return [place]
        return [p for tap in range(kernel) for p in read(place + tap * layers[-1], layers[:-1])]

    places = read(0, list(rates))
    return len(set(range(min(places), max(places) + 1)) - set(places))


RIGHT = {
    "dilated-conv": (_dilated_by_shifts, _dilated_by_a_kernel_with_gaps),
    "dilation-holes": (_holes_by_polynomials, _holes_from_the_output_down),
}
PLACED = {"dilated-conv": ("conv2d=_dilated_by_shifts", "3 times", "`conv2d_grad_input` and `conv2d_grad_weight`")}
