"""FACTS 2: the bilinear kernel, and the crop offsets of the FCN as they follow from coordinate maps."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minisegnet.functional as F
from minisegnet import nn
from minisegnet.shapes import CoordinateMap, ReceptiveField, conv_output_size, crop_offset, pool_output_size

# VGG16 as the FCN has it: padding 100 on the first convolution, 1 on the others.
POOL = (2, 2, 0)
STAGES = [[(3, 1, 100), (3, 1, 1)], [(3, 1, 1)] * 2, [(3, 1, 1)] * 3, [(3, 1, 1)] * 3, [(3, 1, 1)] * 3]
POOLS = [
    [layer for stage in STAGES[:n] for layer in (*stage, POOL)] for n in range(1, 6)
]  # the layers up to pool 1, ..., 5
SCORE = [*POOLS[4], (7, 1, 0), (1, 1, 0), (1, 1, 0)]
IMAGE = CoordinateMap()


def upsampled(layer, kernel, stride):
    return layer.after(CoordinateMap.transposed(kernel, stride))


def test_fcn_32s_crops_19():
    score = CoordinateMap.through_layers(SCORE)
    assert score == (32, Fraction(25, 2))
    assert crop_offset(upsampled(score, 64, 32), IMAGE) == 19


def test_fcn_16s_crops_5_and_27():
    up2 = upsampled(CoordinateMap.through_layers(SCORE), 4, 2)
    pool4 = CoordinateMap.through_layers(POOLS[3])
    # the sum of the two scores lies where the upsampled one does: it is pool4's that is cropped
    assert [crop_offset(pool4, up2), crop_offset(upsampled(up2, 32, 16), IMAGE)] == [5, 27]


def test_fcn_8s_crops_5_9_and_31():
    up2 = upsampled(CoordinateMap.through_layers(SCORE), 4, 2)
    up4 = upsampled(up2, 4, 2)
    pool4, pool3 = (CoordinateMap.through_layers(POOLS[n]) for n in (3, 2))
    crops = [crop_offset(pool4, up2), crop_offset(pool3, up4), crop_offset(upsampled(up4, 16, 8), IMAGE)]
    assert crops == [5, 9, 31]


def test_sizes_for_500_pixels():
    def through(size, layers):
        for kernel, stride, padding in layers:
            both = (size, size), (kernel, kernel), (stride, stride), (padding, padding), (1, 1)
            size = (pool_output_size(*both, ceil_mode=True) if stride == 2 else conv_output_size(*both))[0]
        return size

    assert through(500, STAGES[0]) == 698
    assert [through(500, layers) for layers in POOLS] == [349, 175, 88, 44, 22]
    score = through(500, SCORE)
    assert score == 16
    x = np.zeros((1, 1, score, score), np.float32)
    for steps, size in [([(64, 32)], 544), ([(4, 2), (32, 16)], 560), ([(4, 2), (4, 2), (16, 8)], 568)]:
        y = x
        for kernel, stride in steps:
            y = F.conv_transpose2d(y, np.ones((1, 1, kernel, kernel), np.float32), stride=stride)
        assert y.shape[-2:] == (size, size)
        assert size >= 500 + {544: 19, 560: 27, 568: 31}[size], "there is enough to crop from"


def test_without_padding_the_offset_is_no_crop():
    layers = [(3, 1, 1), *SCORE[1:]]
    up = upsampled(CoordinateMap.through_layers(layers), 64, 32)
    with pytest.raises(ValueError, match=r"the reference's first pixel is pixel -80 of the layer"):
        crop_offset(up, IMAGE)
    half = upsampled(CoordinateMap.through_layers(SCORE), 63, 32)
    with pytest.raises(ValueError, match=r"is pixel 37/2 of the layer.*change the kernel or the padding"):
        crop_offset(half, IMAGE)
    with pytest.raises(ValueError, match=r"are 32 input pixels apart, those of the reference 1"):
        crop_offset(CoordinateMap.through_layers(SCORE), IMAGE)


LAYER = st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(0, 5), st.integers(1, 3))


@settings(deadline=None, derandomize=True)
@given(st.lists(LAYER, max_size=5))
def test_a_map_is_the_receptive_fields_stride_and_start(layers):
    field, chain = ReceptiveField(), CoordinateMap.through_layers(layers)
    for layer in layers:
        field = field.through(*layer)
    assert (field.stride, field.start) == chain
    assert chain.after(chain.inverse()) == chain.inverse().after(chain) == IMAGE


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
def test_a_map_is_where_the_kernel_lies(k, s, p, d):
    """On a ramp a kernel of equal weights returns its middle; where nothing is cut off, that is the map."""
    n = 24
    ramp = np.tile(np.arange(float(n)), (n, 1))[None, None]
    out = F.conv2d(ramp, np.full((1, 1, k, k), 1 / k**2), stride=s, padding=p, dilation=d).data[0, 0]
    where = CoordinateMap.convolution(k, s, p, d)
    places = [float(where.scale * j + where.offset) for j in range(out.shape[1])]
    reach = d * (k - 1) / 2
    inside = [reach <= place <= n - 1 - reach for place in places]
    row = out[out.shape[0] // 2]
    assert sum(inside) > 3
    np.testing.assert_allclose(row[inside], np.array(places)[inside], atol=1e-12)


def test_the_kernel_of_4():
    axis = np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_array_equal(nn.init.bilinear_kernel(4), np.outer(axis, axis))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 16, 32, 64])
def test_the_kernel_is_a_tent(size):
    """The tent of half width f = (size + 1) // 2, read off at the pixels: written here without c."""
    f = (size + 1) // 2
    middle = (size - 1) / 2
    tent = [max(0, 1 - abs(i - middle) / f) for i in range(size)]
    np.testing.assert_allclose(nn.init.bilinear_kernel(size), np.outer(tent, tent), rtol=1e-15)


def upsample(x, kernel, stride, padding):
    layer = nn.ConvTranspose2d(x.shape[1], x.shape[1], kernel, stride, padding, bias=False).double()
    nn.init.bilinear_(layer.weight)
    return layer(x).data


@pytest.mark.parametrize("s", [2, 3, 4, 8, 16])
def test_a_kernel_of_twice_the_stride_keeps_ones_inside_exactly(s):
    ones = np.ones((1, 2, 4, 5))
    full = upsample(ones, 2 * s, s, 0)[0]
    inside = full[:, s:-s, s:-s]
    assert inside.shape[1:] == (3 * s, 4 * s)
    # exact for powers of two; the weights of s = 3 are no binary fractions
    np.testing.assert_allclose(inside, 1, rtol=0, atol=0 if s & (s - 1) == 0 else 1e-15)
    assert full.min() < 1
    odd = upsample(ones, 2 * s - 1, s, 0)[0, 0, s - 1 : 1 - s, s - 1 : 1 - s]
    np.testing.assert_allclose(odd, 1, rtol=1e-15)  # the other size that is a partition of unity
    uneven = upsample(ones, 2 * s + 1, s, 0)[0, 0, s:-s, s:-s]
    assert np.ptp(uneven) > 0.01


def test_the_border_fades():
    out = upsample(np.ones((1, 1, 4, 4)), 4, 2, 1)[0, 0]
    assert out.shape == (8, 8)
    expected = np.ones((8, 8))
    expected[[0, -1]] = expected[:, [0, -1]] = 0.75
    expected[[0, 0, -1, -1], [0, -1, 0, -1]] = 0.5625
    np.testing.assert_array_equal(out, expected)


def test_inside_it_is_bilinear_interpolation(rng):
    x = rng.standard_normal((2, 3, 6, 5))
    mine, other = upsample(x, 4, 2, 1), F.interpolate(x, scale_factor=2, mode="bilinear").data
    np.testing.assert_allclose(mine[..., 1:-1, 1:-1], other[..., 1:-1, 1:-1], atol=1e-14)
    assert abs(mine - other).max() > 0.1  # at the border one of them repeats the edge, the other fades


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_each_channel_is_upsampled_by_itself(groups, rng):
    layer = nn.ConvTranspose2d(6, 6, (4, 3), stride=(2, 2), groups=groups, bias=False).double()
    nn.init.bilinear_(layer.weight)
    assert np.count_nonzero(layer.weight.data) == 6 * 4 * 3
    x = rng.standard_normal((2, 6, 3, 4))
    out = layer(x).data
    for c in range(6):
        alone = F.conv_transpose2d(x[:, c : c + 1], nn.init.bilinear_kernel((4, 3))[None, None], stride=2)
        np.testing.assert_array_equal(out[:, c : c + 1], alone.data)


@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (2, 3, 4, 4), (3, 0, 4, 4), (3, 3, 4)])
def test_other_weights_are_refused(shape):
    with pytest.raises(ValueError, match=r"bilinear_: .* as many channels out as in.*got shape"):
        nn.init.bilinear_(nn.Parameter(np.zeros(shape, np.float32)))
