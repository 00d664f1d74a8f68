"""Right answers to the exercises of lesson 09, each in two styles."""

from fractions import Fraction

import numpy as np

import minisegnet as ms
import minisegnet.functional as F
from minisegnet.shapes import CoordinateMap, crop_offset


def _crop_by_coordinate_maps(layers, reference):
    maps = []
    for chain in (layers, reference):
        place = CoordinateMap()
        for way, *numbers in chain:
            rule = CoordinateMap.convolution if way == "down" else CoordinateMap.transposed
            place = place.after(rule(*numbers))
        maps.append(place)
    return crop_offset(*maps)


def _crop_by_walking_back(layers, reference):
    def to_image(place, layers):
        place = Fraction(place)
        for way, kernel, stride, padding in reversed(layers):
            middle = Fraction(kernel - 1, 2) - padding
            place = place * stride + middle if way == "down" else (place - middle) / stride
        return place

    goal = to_image(0, reference)
    first, second = to_image(0, layers), to_image(1, layers)
    return int((goal - first) / (second - first))


def _add_by_padding_back(coarse, up, skip, crop):
    coarse, skip = (x if isinstance(x, ms.Tensor) else ms.Tensor(x) for x in (coarse, skip))
    raised = F.conv_transpose2d(coarse, up, None, 2)
    end = [crop + n for n in raised.shape[2:]]
    return skip[:, :, crop : end[0], :][:, :, :, crop : end[1]] + raised


def _add_by_zeros_between(coarse, up, skip, crop):
    coarse, up, skip = (x if isinstance(x, ms.Tensor) else ms.Tensor(x) for x in (coarse, up, skip))
    one = np.ones((coarse.shape[1], 1, 1, 1), coarse.dtype)
    apart = F.conv_transpose2d(coarse, one, stride=2, groups=coarse.shape[1])
    turned = up.transpose(0, 1)[:, :, ::-1, ::-1]
    raised = F.conv2d(apart, turned, padding=3)
    h, w = raised.shape[2:]
    return raised + skip[:, :, crop:, crop:][:, :, :h, :w]


RIGHT = {
    "crop-offset": (_crop_by_coordinate_maps, _crop_by_walking_back),
    "add-skip": (_add_by_padding_back, _add_by_zeros_between),
}
