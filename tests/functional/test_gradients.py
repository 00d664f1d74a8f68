"""Every derivative against a difference quotient, in float64, along random directions; and the adjoint identities. No PyTorch."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 4, 6, 7))
W = RNG.standard_normal((6, 2, 3, 3))
TRANSPOSED = RNG.standard_normal((4, 3, 3, 2))
B6, B4, C4 = RNG.standard_normal(6), RNG.standard_normal(4), RNG.uniform(0.5, 2, 4)
TARGET = RNG.integers(0, 4, (2, 6, 7))
PLACES = F.max_pool2d(X, 2, return_indices=True)[1].data
PIXELS = RNG.uniform(0, 2, (2, 6, 7))

CASES = {
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2), (X, W, B6)),
    "conv2d same": (lambda x, w: F.conv2d(x, w, padding="same", groups=2), (X, W[:, :, :2])),
    "conv_transpose2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1, groups=2),
        (X, TRANSPOSED, B6),
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), (X,)),
    "max_unpool2d": (lambda x: F.max_unpool2d(x, PLACES, 2, output_size=(6, 7)), (X[:, :, :3, :3],)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, (3, 2), 2, 1, ceil_mode=True, count_include_pad=False), (X,)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (4, 3)), (X,)),
    "bilinear": (lambda x: F.interpolate(x, size=(9, 5), mode="bilinear"), (X,)),
    "bilinear corners": (lambda x: F.interpolate(x, size=(9, 5), mode="bilinear", align_corners=True), (X,)),
    "nearest": (lambda x: F.interpolate(x, size=(9, 5)), (X,)),
    "batch norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (X, C4, B4)),
    "batch norm, fixed": (lambda x, w, b: F.batch_norm(x, B4, C4, w, b), (X, C4, B4)),
    "cross entropy": (lambda x,: F.cross_entropy(x, TARGET, weight=C4, pixel_weight=PIXELS, label_smoothing=0.1), (X,)),
    "binary": (lambda x: F.binary_cross_entropy_with_logits(x[:, 0], PIXELS / 2, pos_weight=2.0), (X,)),
    "softmax": (lambda x: F.softmax(x, 1) * F.log_softmax(x, 3) + F.sigmoid(x) * F.tanh(x), (X,)),
    "relu6": (lambda x: F.relu6(5 * x) ** 2, (X,)),
    "channel shuffle": (lambda x: F.channel_shuffle(x, 2) * np.arange(4.0)[:, None, None], (X,)),
    "pad": (lambda x: F.pad(x, (2, 3, 1, 0), "reflect") ** 2, (X,)),
    "arrange": (
        lambda x: ms.cat([x[:, 1:], ms.stack([x[:, 0], x[:, 0] * 2], 1)], 1).permute(1, 0, 3, 2).flatten(1),
        (X,),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient_along_a_random_direction(name, backend):
    function, arrays = CASES[name]
    rng = np.random.default_rng(1)
    leaves = [ms.Tensor(a.copy(), requires_grad=True) for a in arrays]
    output = function(*leaves)
    weight = rng.standard_normal(output.shape)
    output.backward(weight)
    for i, leaf in enumerate(leaves):
        direction, step = rng.standard_normal(leaf.shape), 1e-6

        def along(t, i=i, direction=direction):
            moved = [a + t * direction if j == i else a for j, a in enumerate(arrays)]
            return float((function(*moved).data * weight).sum())

        measured = (along(step) - along(-step)) / (2 * step)
        assert (leaf.grad.numpy() * direction).sum() == pytest.approx(measured, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "extra"),
    [(1, 0, 1, 1, 0), (2, 1, 1, 2, 1), ((2, 3), (1, 0), (2, 1), 4, (0, 1))],
)
def test_a_transposed_convolution_is_the_adjoint_of_the_convolution(stride, padding, dilation, groups, extra, backend):
    rng = np.random.default_rng(2)
    w = rng.standard_normal((8, 4 // groups, 3, 3))
    y = rng.standard_normal((2, 8, 3, 4))
    back = F.conv_transpose2d(y, w, None, stride, padding, extra, groups, dilation)
    x = rng.standard_normal(back.shape)
    there = F.conv2d(x, w, None, stride, padding, dilation, groups)
    assert there.shape == y.shape
    assert (there.data * y).sum() == pytest.approx((x * back.data).sum(), rel=1e-12)


def test_the_lectures_numbers(backend):
    pooled, places = F.max_pool2d(
        np.array([[[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]], np.float32), 2, return_indices=True
    )
    assert pooled.tolist() == [[[5, 6], [7, 8]]]
    assert places.tolist() == [[[5, 2], [12, 15]]]
    unpooled = F.max_unpool2d(np.array([[[1, 2], [3, 4]]], np.float32), places, 2)
    assert unpooled.tolist() == [[[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]]
    x, w = np.array([[[[1, 2], [3, 4]]]], np.float64), np.arange(1.0, 10).reshape(1, 1, 3, 3)
    assert F.conv_transpose2d(x, w, stride=2, padding=1).tolist() == [[[[5, 14, 10], [14, 36, 24], [15, 34, 20]]]]
    larger = F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1)
    assert larger.tolist() == [[[[5, 14, 10, 12], [14, 36, 24, 30], [15, 34, 20, 24], [24, 55, 32, 36]]]]
    a, b, kernel = 3.0, 5.0, np.array([2.0, 7.0, 11.0])
    line = F.conv_transpose2d(np.array([[[[a, b]]]]), kernel.reshape(1, 1, 1, 3), stride=(1, 2))
    assert line.tolist() == [[[[a * 2, a * 7, a * 11 + b * 2, b * 7, b * 11]]]]
