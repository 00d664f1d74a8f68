"""Size arithmetic where the facts of the lecture do not reach: examples in docstrings, and what is refused."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minisegnet.functional as F
from minisegnet import shapes
from minisegnet.shapes import CoordinateMap, crop_offset, overlap_count


def test_the_examples_in_the_docstrings_run():
    results = doctest.testmod(shapes)
    assert results.failed == 0
    assert results.attempted >= 4


LAYERS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2)), max_size=3)


@settings(deadline=None, derandomize=True)
@given(LAYERS, LAYERS, LAYERS)
def test_maps_compose_in_any_grouping(a, b, c):
    first, second, third = (CoordinateMap.through_layers(layers) for layers in (a, b, c))
    assert first.after(second).after(third) == first.after(second.after(third))
    assert first.after(second).after(third) == CoordinateMap.through_layers([*a, *b, *c])
    assert first.after(second).inverse() == second.inverse().after(first.inverse())


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 3), st.integers(0, 4), st.integers(1, 3))
def test_a_crop_by_the_offset_lays_pixels_on_pixels(stride, padding, half):
    """Down by a strided convolution with much padding and up again: after the crop a bright pixel is where it was."""
    kernel = 2 * half + 1
    down = CoordinateMap.convolution(kernel, stride, half + padding)
    up = down.after(CoordinateMap.transposed(kernel, stride, half))
    crop = crop_offset(up, CoordinateMap())
    assert crop == padding
    delta = np.zeros((1, 1, kernel, kernel))
    delta[0, 0, half, half] = 1
    image = np.zeros((1, 1, 19, 19))
    place = next(y for y in range(9, 19) if (y + padding) % stride == 0)  # one that the stride does not skip
    image[0, 0, place, place] = 1
    small = F.conv2d(image, delta, stride=stride, padding=half + padding)
    large = F.conv_transpose2d(small, delta, stride=stride, padding=half).data[0, 0, crop:, crop:]
    assert np.argwhere(large).tolist() == [[place, place]]


def test_thirds_stay_exact():
    third = CoordinateMap.transposed(2, 3)
    assert third.after(CoordinateMap.convolution(2, 3)) == CoordinateMap()
    chain = CoordinateMap()
    for _ in range(9):
        chain = chain.after(third)
    assert chain.scale * 3**9 == 1


def test_overlaps_of_an_impossible_layer():
    with pytest.raises(ValueError, match="nothing is left of the output"):
        overlap_count(1, 2, 1, padding=3)
    with pytest.raises(ValueError, match="output_padding must be smaller than stride or dilation"):
        overlap_count(3, 3, 2, output_padding=2)
