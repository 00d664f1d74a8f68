"""FACTS 7: the U-Net of the paper: sizes, crops, counts, the rule for sizes, and how it was trained."""

import inspect

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, models, nn, optim
from minisegnet.data.augmentation import between
from minisegnet.models.blocks import crop_to


def published(base_channels=1, depth=4, **options):
    """The paper's net; narrow where the channels do not matter."""
    return models.UNet(1, 2, base_channels, depth, padding="valid", norm=None, **options)


def parameters(model):
    return sum(p.data.size for p in model.parameters())


@pytest.fixture(scope="module")
def full():
    """The net in full width, and its summary for 572 x 572 pixels: shapes without arithmetic."""
    net = published(base_channels=64)
    return net, net.summary((1, 1, 572, 572))


def rows(summary, *kinds):
    return [row for row in summary.rows if row.kind in kinds]


def test_every_size_of_figure_1(full):
    _, summary = full
    assert summary.output_shape == (1, 2, 388, 388)
    sizes = [row.output_shape[2:] for row in rows(summary, "Conv2d", "MaxPool2d", "ConvTranspose2d")]
    down = [570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28]
    up = [56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388, 388]
    assert sizes == [(n, n) for n in down + up]


def test_every_width_of_figure_1(full):
    _, summary = full
    channels = [row.output_shape[1] for row in rows(summary, "Conv2d", "ConvTranspose2d")]
    down = [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024]
    # each up-convolution halves the channels; the copied ones double what its first 3x3 convolution gets
    assert channels == [*down, 512, 512, 512, 256, 256, 256, 128, 128, 128, 64, 64, 64, 2]


def test_the_crops_of_the_copy_arrows(full):
    _, summary = full
    skips = [
        before.output_shape[-1]
        for before, row in zip(summary.rows, summary.rows[1:], strict=False)
        if row.kind == "MaxPool2d"
    ]
    ups = [row.output_shape[-1] for row in rows(summary, "ConvTranspose2d")]
    crops = []
    for skip, up in zip(reversed(skips), ups, strict=True):
        place = np.arange(skip * skip).reshape(1, 1, skip, skip)
        cropped = crop_to(ms.Tensor(place), ms.Tensor(np.zeros((1, 1, up, up)))).data[0, 0]
        assert cropped.shape == (up, up)
        (top, left), (bottom, right) = divmod(cropped[0, 0], skip), divmod(cropped[-1, -1], skip)
        assert top == left == skip - 1 - bottom == skip - 1 - right, "the same on all sides"
        crops.append(int(top))
    assert crops == [4, 16, 40, 88]


def test_23_convolutions(full):
    net, summary = full
    modules = dict(net.named_modules())
    kinds = [(row.kind, modules[row.name].kernel_size) for row in rows(summary, "Conv2d", "ConvTranspose2d")]
    counts = {kind: kinds.count(kind) for kind in kinds}
    assert counts == {("Conv2d", (3, 3)): 18, ("ConvTranspose2d", (2, 2)): 4, ("Conv2d", (1, 1)): 1}
    assert len(kinds) == 23


def test_parameters_and_products(full):
    net, summary = full
    assert parameters(net) == summary.parameters == 31_030_658
    assert summary.multiply_accumulates == 150_428_424_448


@pytest.mark.slow
def test_one_forward_pass_in_full_size(full, rng):
    """572 x 572 pixels through the 31 million weights; a part of it seen alone gives the same scores."""
    net, _ = full
    image = rng.random((1, 1, 572, 572), dtype=np.float32)
    with ms.no_grad():
        scores = net(image).data
        corner = net(image[:, :, 16:204, 384:572]).data  # windows that start at multiples of 16 pool alike
    assert scores.shape == (1, 2, 388, 388)
    assert scores.std() > 0.1
    np.testing.assert_allclose(corner, scores[:, :, 16:20, 384:388], rtol=1e-4, atol=1e-4)


def test_todays_form_has_batch_norm_and_no_bias_beside_it():
    two = models.UNet(3, 2)
    assert parameters(two) == 31_037_698
    biased = [m.kernel_size for m in two.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    assert biased == [(1, 1)]
    one = models.UNet(3, 1)
    assert parameters(one) == 31_037_633
    # a class is one row of 64 weights and a bias in the last layer
    assert parameters(two) - parameters(one) == 65


def test_the_rule_for_sizes():
    net = published()
    works = [n for n in range(1, 700) if net.output_size(n) is not None]
    assert works == [16 * k + 60 for k in range(8, 40)]
    assert (works[0], 572 in works) == (188, True)
    assert {n - net.output_size(n) for n in works} == {184}
    for n in (188, 204, 572):  # the rule is what the net does
        assert net.summary((1, 1, n, n)).output_shape == (1, 2, n - 184, n - 184)
    assert net(np.zeros((1, 1, 188, 204), np.float32)).shape == (1, 2, 4, 20)
    for n in (172, 187, 189, 256, 571):
        with pytest.raises(ValueError, match=f"a height of {n} pixels does not work"):
            net(np.zeros((1, 1, n, 188), np.float32))


def test_with_same_padding_multiples_of_16_work():
    net = models.UNet(1, 2, base_channels=1)
    assert [n for n in range(1, 100) if net.output_size(n) is not None] == [16, 32, 48, 64, 80, 96]
    assert net.summary((1, 1, 16, 48)).output_shape == (1, 2, 16, 48)


@pytest.mark.parametrize("size", [(20, 36), (21, 33)])
def test_the_border_is_mirrored(size, rng):
    """Figure 2: what the net sees beyond the picture is its mirror image. Also for sizes that the rule does not allow."""
    net = published(base_channels=2)
    image = rng.random((1, *size), dtype=np.float32)
    allowed = [next(n for n in range(side + 184, 999) if net.output_size(n)) for side in size]
    ends = [(92, n - side - 92) for n, side in zip(allowed, size, strict=True)]
    mirrored = np.pad(image, [(0, 0), *ends], mode="reflect")
    expected = F.softmax(net.eval()(mirrored[None]), 1).data[0, :, : size[0], : size[1]]
    np.testing.assert_allclose(net.predict(image), expected, rtol=0, atol=1e-6)
    constant = np.pad(image, [(0, 0), *ends])
    assert abs(F.softmax(net(constant[None]), 1).data[0, :, : size[0], : size[1]] - expected).max() > 1e-4


def test_border_weights_are_equation_2():
    labels = np.zeros((25, 40), int)
    labels[:, 4:12], labels[:, 18:30] = 1, 2
    weights = data.border_weights(labels, class_weights=(1.0, 1.0))[12]
    for x, d1, d2 in [(12, 1, 6), (14, 3, 4), (17, 1, 6), (3, 1, 15), (0, 4, 18), (4, 0, 14), (29, 0, 18)]:
        assert weights[x] == pytest.approx(1 + 10 * np.exp(-((d1 + d2) ** 2) / (2 * 5**2)), abs=1e-3), x
    other = data.border_weights(labels, w0=3.0, sigma=8.0, class_weights=(0.5, 2.0))[12]
    assert other[14] == pytest.approx(0.5 + 3 * np.exp(-(7**2) / (2 * 8**2)), rel=1e-6)
    assert other[4] == pytest.approx(2 + 3 * np.exp(-(14**2) / (2 * 8**2)), rel=1e-6)


class Recorder:
    """A generator that writes down what it was asked for, and draws nothing but zeros."""

    def __init__(self):
        self.asked = []

    def normal(self, loc, scale, size):
        self.asked.append((loc, scale, size))
        return np.zeros(size)


def test_elastic_deformation_is_that_of_section_3_1():
    recorder = Recorder()
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    np.testing.assert_array_equal(data.elastic(image, rng=recorder)[0], image)
    assert recorder.asked == [(0, 10.0, (2, 3, 3))]  # two displacements at each point of a coarse 3x3 grid, 10 pixels
    defaults = inspect.signature(data.elastic).parameters
    assert (defaults["grid"].default, defaults["sigma"].default) == (3, 10.0)


def test_displacements_are_bicubic_between_the_points():
    """Keys' cubic keeps squares and goes through every point; linear interpolation would cut the corners."""
    points, n = np.arange(7.0), 61
    place = np.linspace(0, 6, n)
    inside = (place >= 1) & (place <= 5)  # where four points are at hand
    for power in (0, 1, 2):
        fine = between(np.outer(points**power, np.ones(4)), (n, 5))[:, 2]
        np.testing.assert_allclose(fine[inside], place[inside] ** power, atol=1e-12)
    fine = between(np.outer(points**3, np.ones(4)), (n, 5))[:, 2]
    np.testing.assert_allclose(fine[::10], points**3, atol=1e-12)
    assert abs(fine - place**3)[inside].max() > 0.05


def test_he_weights():
    """Section 3: standard deviation sqrt(2 / N), for 3x3 and 64 channels before N = 9 * 64 = 576; no bias."""
    net = published(base_channels=64, depth=1)
    weight = net.encoder[0][2].weight.data
    assert weight[0].size == 576
    seen = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            values = module.weight.data.astype(np.float64)
            expected, few = np.sqrt(2 / values[0].size), 5 / np.sqrt(values.size)  # five standard errors, or so
            assert values.mean() == pytest.approx(0, abs=few * expected)
            assert values.std() == pytest.approx(expected, rel=few / np.sqrt(2))
            within = (abs(values) < expected).mean()  # 68.3% for a Gaussian, 57.7% for a uniform one of this deviation
            assert within == pytest.approx(0.683, abs=few / 2)
            assert not module.bias.data.any()
            seen.append(module.kernel_size)
    assert seen == [(3, 3)] * 6 + [(1, 1)]


def test_activations_keep_their_size_on_the_way_down(rng):
    """What He's rule is for: the mean square neither dies nor blows up through ten layers."""
    net = published(base_channels=16).eval()
    x = ms.Tensor(rng.standard_normal((1, 1, 188, 188)).astype(np.float32))
    squares = []
    with ms.no_grad():
        for block in [*net.encoder, net.bottleneck]:
            for layer in block:
                x = layer(x)
            squares.append(float((x.data**2).mean()))
            x = net.pool(x)
            x = x * float(1 / np.sqrt((x.data**2).mean()))  # pooling picks the largest: that growth is not He's
    assert all(0.3 < square < 3 for square in squares), squares


def test_dropout_stands_at_the_end_of_the_contracting_path():
    net = published(dropout=0.5)
    order = [row.kind for row in net.summary((1, 1, 188, 188)).rows]
    place = order.index("Dropout")
    assert order.count("Dropout") == 1
    assert order[:place].count("Conv2d") == 10
    assert order[:place].count("MaxPool2d") == 4
    assert order[place + 1] == "ConvTranspose2d"
    assert net.dropout.p == 0.5
    assert models.UNet(1, 2, base_channels=1).dropout.p == 0


def test_momentum_of_0_99_is_a_mean_over_the_last_hundred_steps():
    """Section 3: "a large number of the previously seen training samples determine the update"."""
    p = nn.Parameter(np.zeros(1))
    optimizer = optim.SGD([p], lr=1.0, momentum=0.99)
    for step in range(1, 301):
        before = p.data.copy()
        p.grad = ms.Tensor(np.ones(1))
        optimizer.step()
        assert before - p.data == pytest.approx((1 - 0.99**step) / (1 - 0.99))
