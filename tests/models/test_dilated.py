"""Dilated nets: the papers' numbers, the identity to begin with, twins in PyTorch, images of any size, models on disk."""

import json
import math

import encoder_twins as twins
import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import models, nn, optim
from minisegnet.models.dilated import ASPPv2, ASPPv3, identity_, upsample_from_first
from minisegnet.shapes import effective_kernel, gridding

SMALL = {"widths": (4, 6, 8), "convs": (1, 2, 1), "fc_channels": 10, "fc_kernel": 3, "output_stride": 2, "dropout": 0.0}


def convolutions(net):
    return [m for m in net.modules() if isinstance(m, nn.Conv2d)]


def weights(net):
    return sum(m.weight.data.size for m in convolutions(net))


@pytest.fixture(scope="module")
def published():
    """Return DilatedNet as published; its structure is looked at, so that no weights are drawn."""
    with nn.init.no_draws():
        return models.DilatedNet(3, 21)


# the context module


def test_the_context_modules_numbers():
    module = models.ContextModule(21)
    assert [c.dilation[0] for c in convolutions(module)] == [1, 1, 2, 4, 8, 16, 1, 1]
    assert [c.kernel_size[0] for c in convolutions(module)] == [3] * 7 + [1]
    assert weights(module) == 64 * 21**2 == 28_224
    rows = [row for row in module.summary((21, 80, 90)).rows if row.kind == "Conv2d"]
    assert [row.receptive_field for row in rows] == [3, 5, 9, 17, 33, 65, 67, 67]
    assert {row.output_shape for row in rows} == {(1, 21, 80, 90)}
    assert weights(models.ContextModule(2, "large")) == 15_422 * 2**2


@pytest.mark.parametrize("rate", [1, 2, 3])
def test_what_a_kernel_of_3_spans(rate):
    layer = nn.Sequential(nn.Conv2d(1, 1, 3, dilation=rate))
    assert layer.summary((1, 20, 20)).receptive_field == effective_kernel(3, rate) == (3, 5, 7)[rate - 1]


@pytest.mark.parametrize(
    ("rates", "reached", "span"), [((2, 2, 2), 7, 13), ((2, 4, 8), 15, 29), ((1, 2, 4), 15, 15), ((1, 2, 5), 17, 17)]
)
def test_gridding_is_what_the_gradient_of_such_layers_reaches(rates, reached, span):
    layers = [nn.Conv2d(1, 1, (1, 3), padding=(0, r), dilation=(1, r), bias=False) for r in rates]
    for layer in layers:
        nn.init.ones_(layer.weight)
    image = ms.Tensor(np.ones((1, 1, 1, 41)), requires_grad=True)
    nn.Sequential(*layers).double()(image)[:, :, :, 20].sum().backward()
    (seen,) = np.nonzero(image.grad.data[0, 0, 0])
    assert (len(seen), seen[-1] - seen[0] + 1) == (reached, span)
    assert tuple(seen - 20) == gridding(3, rates).offsets


def test_the_basic_module_begins_as_the_identity(backend, rng):
    module, scores = models.ContextModule(5).double(), rng.normal(size=(2, 5, 40, 37))
    out = module(scores).data
    np.testing.assert_array_equal(out, np.maximum(scores, 0))  # negative scores are truncated, equation 2
    np.testing.assert_array_equal(module(out).data, out)


def test_the_large_module_begins_close_to_it(rng):
    scores = rng.random((1, 3, 33, 20))
    np.testing.assert_allclose(models.ContextModule(3, "large", noise=0.0).double()(scores).data, scores, rtol=1e-12)
    noisy = models.ContextModule(3, "large", noise=1e-4).double()
    difference = np.abs(noisy(scores).data - scores).max()
    assert 0 < difference < 0.05
    first = noisy[0].weight.data
    assert not np.array_equal(first[0], first[1])  # noise tells the maps of a class apart (equation 5)


@pytest.mark.parametrize("form", ["basic", "large"])
def test_headroom_lets_negative_scores_through(form, rng):
    scores = rng.uniform(-3, 3, (1, 3, 20, 17))
    module = models.ContextModule(3, form, noise=0.0, headroom=2.5).double()
    np.testing.assert_allclose(module(scores).data, np.maximum(scores, -2.5), atol=1e-12)


def test_maps_of_a_class_share_it():
    """Equation 5, element by element: C / O at the middle of maps a, b with floor(a C / I) = floor(b C / O), noise elsewhere."""
    for c, before, after in [(3, 6, 12), (3, 12, 3), (2, 2, 8), (4, 4, 4)]:
        values = identity_(nn.Conv2d(before, after, 3).weight, c).data
        expected = np.zeros((after, before, 3, 3))
        for b in range(after):
            for a in range(before):
                expected[b, a, 1, 1] = c / after if a * c // before == b * c // after else 0
        np.testing.assert_allclose(values, expected, rtol=1e-6)
    ms.manual_seed(0)
    noisy = identity_(nn.Conv2d(64, 64, 3).weight, 2, noise=0.1).data
    assert noisy[0, 0, 1, 1] == noisy[40, 63, 1, 1] == np.float32(2 / 64)
    assert noisy[0, :, 0].std() == pytest.approx(0.1 * 2 / 64, rel=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.ContextModule(0), "ContextModule: channels must be a positive integer, got 0"),
        (lambda: models.ContextModule(3, "huge"), 'form must be "basic" or "large", got \'huge\''),
        (lambda: models.ContextModule(3, "large", noise=1), "noise must be at least 0 and less than 1, got 1"),
        (lambda: models.ContextModule(3, headroom=-1), "headroom must be a number, 0 or more, got -1"),
        (lambda: identity_(nn.Conv2d(4, 6, 3).weight, 4), r"identity_: weight must be .* got shape \(6, 4, 3, 3\)"),
        (lambda: identity_(nn.Conv2d(4, 4, 2).weight, 4), "KH and KW odd"),
    ],
)
def test_a_wrong_argument_of_the_module_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# DilatedNet


def test_the_published_net(published):
    rates = [[c.dilation[0] for c in convolutions(stage)] for stage in published.encoder]
    assert rates == [[1, 1], [1, 1], [1, 1, 1], [1, 1, 1], [2, 2, 2]]
    assert published.bottleneck[0].dilation == (4, 4)
    assert sum(isinstance(m, nn.MaxPool2d) for m in published.modules()) == 3
    assert published.stride == 8
    assert published.margin == 186
    assert sum(p.data.size for p in published.parameters()) == 134_346_581 + 28_224 + 8 * 21
    with nn.init.no_draws():
        fcn = sum(p.data.size for m in models.FCN(3, 21, 32).modules() if type(m) is nn.Conv2d for p in m.parameters())
    assert fcn == 134_346_581  # the front end has FCN-32s' weights


def test_the_published_nets_sizes(published):
    rows = {row.name: row for row in published.summary((3, 504, 400)).rows}
    assert rows["encoder.0.0"].output_shape == (1, 64, 504 + 2 * 186 - 2, 400 + 2 * 186 - 2)
    assert rows["head"].output_shape == (1, 21, 63, 50)
    assert published.summary((3, 504, 400)).output_shape == (1, 21, 504, 400)
    assert (
        rows["head"].receptive_field == 8 + 2 * 186
    )  # what is mirrored is exactly what the 8 x 8 pixels of a score need
    assert rows["context.14"].receptive_field == rows["head"].receptive_field + 8 * (67 - 1)
    assert published.valid_sizes(1) == [192, 200]


def twin(padding):
    """Return PyTorch and DilatedNet in small, written row by row: three stages of which one pool stays."""
    torch = pytest.importorskip("torch")
    tnn = torch.nn
    pad = 0 if padding == "reflect" else 1

    def conv(before, after, kernel, rate):
        return tnn.Conv2d(before, after, kernel, padding=pad * rate * (kernel // 2), dilation=rate)

    class Net(tnn.Module):
        def __init__(self):
            super().__init__()
            self.front = tnn.Sequential(
                conv(3, 4, 3, 1), tnn.ReLU(), tnn.MaxPool2d(2),
                conv(4, 6, 3, 1), tnn.ReLU(), conv(6, 6, 3, 1), tnn.ReLU(),  # a pool left out: twice the rate
                conv(6, 8, 3, 2), tnn.ReLU(),  # another
                conv(8, 10, 3, 4), tnn.ReLU(), tnn.Conv2d(10, 10, 1), tnn.ReLU(), tnn.Conv2d(10, 3, 1),
            )  # fmt: skip
            layers = []
            for rate in (1, 1, 2, 4, 8, 16, 1):
                layers += [tnn.Conv2d(3, 3, 3, padding=rate, dilation=rate), tnn.ReLU()]
            self.context = tnn.Sequential(*layers, tnn.Conv2d(3, 3, 1))

        def forward(self, image):
            lost = 0 if pad else 1 + 2 * (1 + 1 + 2 + 4)
            image = tnn.functional.pad(image, (lost,) * 4, mode="reflect") if lost else image
            x = self.context(self.front(image))
            return tnn.functional.interpolate(x, scale_factor=2, mode="bilinear")

    return torch, Net()


@pytest.mark.parametrize("padding", ["reflect", "same"])
def test_scores_and_every_gradient_are_pytorchs(padding, backend, rng):
    torch, other = twin(padding)
    net = models.DilatedNet(3, 3, **SMALL, padding=padding)
    twins.copy_weights(net, other, rng)
    image = rng.random((2, 3, 26, 32))
    out = net(image)
    assert out.shape == (2, 3, 26, 32)
    twins.assert_equal_forward_and_backward(net, other, [out], [other(torch.tensor(image))], rng)


@pytest.mark.parametrize("norm", ["batch", None])
def test_every_second_feature_is_the_strided_nets(norm, rng):
    """Left-out pools, with the rates that make up for them: the features of all pools, and those between them."""
    image = rng.random((1, 3, 48, 64))

    def feature(output_stride):
        ms.manual_seed(3)
        options = SMALL | {"output_stride": output_stride, "fc_channels": 4}
        net = models.DilatedNet(3, 2, **options, padding="same", norm=norm, context=None).double().eval()
        return net.encoder, net.encoder(image)[-1].data

    strided, coarse = feature(8)
    dilated, fine = feature(2)
    assert (strided.strides, dilated.strides) == ((2, 4, 8), (2, 2, 2))
    # without pools the maxima of 2x2 pixels are gone, so that only the convolutions are the same: take the pools out of both
    for encoder in (strided, dilated):
        for stage in encoder[1:]:
            layers = list(stage)
            if isinstance(layers[-1], nn.MaxPool2d):
                stage[len(layers) - 1] = Subsample()
    np.testing.assert_allclose(dilated(image)[-1].data[:, :, ::4, ::4], strided(image)[-1].data, rtol=1e-10, atol=1e-12)


class Subsample(nn.Module):
    def forward(self, x):
        return x[:, :, ::2, ::2]


def test_context_that_has_learned_nothing_leaves_the_labels(rng):
    front = models.DilatedNet(3, 3, **SMALL, context=None).double().eval()
    image = rng.random((1, 3, 26, 40))
    with ms.no_grad():
        expected = front(image).data
        net = models.DilatedNet.from_front_end(front)
        np.testing.assert_allclose(net(image).data, expected, atol=1e-12)
        front.head.bias.data = front.head.bias.data - 9  # and those below -4 become -4
        low = models.DilatedNet.from_front_end(front)
        np.testing.assert_allclose(low(image).data, -4, atol=1e-12)
    assert net.config == front.config | {"context": "basic"}
    large = models.DilatedNet.from_front_end(front, "large").context
    assert large.form == "large"
    assert large[0].weight.data.std() > 0  # its noise is drawn
    assert (net.training, net.head.weight.dtype) == (False, np.float64)
    assert -4 < expected.min() < 0 < expected.max() < 5
    assert expected.std() > 0.1
    assert net.head.weight.data is not front.head.weight.data


def test_there_is_one_context_for_a_front_end():
    with pytest.raises(ValueError, match='from_front_end: the net has a context module already, "basic"'):
        models.DilatedNet.from_front_end(models.DilatedNet(3, 3, **SMALL))


def eight_images(rng):
    """Return images (8, 3, 32, 32) of overlapping rectangles in the colours of their three classes, and their labels."""
    labels = np.zeros((8, 32, 32), int)
    for i, (a, b, c, d) in enumerate(rng.integers(4, 18, (8, 4))):
        labels[i, a : a + 12, b : b + 12], labels[i, c : c + 10, d : d + 14] = 1, 2
    colours = np.array([[0.2, 0.3, 0.4], [0.8, 0.4, 0.3], [0.3, 0.9, 0.5]], np.float32)
    images = np.moveaxis(colours[labels], -1, 1) + rng.normal(0, 0.05, (8, 3, 32, 32)).astype(np.float32)
    return images, labels


def mean_iou(net, images, labels):
    with ms.no_grad():
        p = net.eval()(images).data.argmax(1)
    return np.mean([((p == k) & (labels == k)).sum() / ((p == k) | (labels == k)).sum() for k in range(3)])


def learn(net, images, labels, lr, steps):
    optimizer = optim.Adam(net.train().parameters(), lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()
    return mean_iou(net, images, labels)


LEARNER = SMALL | {"widths": (8, 16, 32), "convs": (1, 1, 1), "fc_channels": 32, "padding": "same", "norm": "batch"}


def test_it_learns_as_the_paper_says_first_the_front_end_then_the_context(rng):
    data = eight_images(rng)
    front = models.DilatedNet(3, 3, **LEARNER, context=None)
    before = learn(front, *data, 1e-2, 60)
    net = models.DilatedNet.from_front_end(front)
    assert mean_iou(net, *data) == pytest.approx(before, abs=0.02)
    assert learn(net, *data, 1e-3, 15) > 0.95
    assert any(c.weight.data[0, 0, 0, 0] for c in convolutions(net.context)[:-1])


def test_with_headroom_both_learn_together_from_nothing(rng):
    data = eight_images(rng)
    assert learn(models.DilatedNet(3, 3, **LEARNER), *data, 3e-3, 60) > 0.95


@pytest.mark.parametrize(("headroom", "reached"), [(0.0, [False, True, True]), (2.0, [True, True, True])])
def test_no_gradient_reaches_a_class_that_is_truncated_everywhere(headroom, reached, rng):
    scores = ms.Tensor(rng.random((2, 3, 16, 16)) + np.array([-1.5, 0, 0])[:, None, None], requires_grad=True)
    F.cross_entropy(
        models.ContextModule(3, headroom=headroom).double()(scores), rng.integers(0, 3, (2, 16, 16))
    ).backward()
    assert [bool(g.any()) for g in np.moveaxis(scores.grad.data, 1, 0)] == reached


# the heads


def head_twin(kind, rates, before, channels, classes):
    """Return PyTorch and a head, branch by branch."""
    torch = pytest.importorskip("torch")
    tnn = torch.nn

    def normed(before, after, kernel=1, rate=1):
        conv = tnn.Conv2d(before, after, kernel, padding=rate * (kernel // 2), dilation=rate, bias=False)
        return [conv, tnn.BatchNorm2d(after), tnn.ReLU()]

    class V2(tnn.Module):
        def __init__(self):
            super().__init__()
            self.branches = tnn.ModuleList()
            for rate in rates:
                see = tnn.Conv2d(before, channels, 3, padding=rate, dilation=rate)
                layers = [see, tnn.ReLU(), tnn.Conv2d(channels, channels, 1), tnn.ReLU()]
                self.branches.append(tnn.Sequential(*layers, tnn.Conv2d(channels, classes, 1)))

        def forward(self, x):
            return sum(branch(x) for branch in self.branches)

    class V3(tnn.Module):
        def __init__(self):
            super().__init__()
            kinds = [normed(before, channels), *(normed(before, channels, 3, rate) for rate in rates)]
            self.branches = tnn.ModuleList(tnn.Sequential(*layers) for layers in kinds)
            self.image = tnn.Sequential(*normed(before, channels))
            self.join = tnn.Sequential(*normed(channels * (len(rates) + 2), channels))
            self.scores = tnn.Conv2d(channels, classes, 1)

        def forward(self, x):
            mean = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
            return self.scores(self.join(torch.cat([*(branch(x) for branch in self.branches), mean], 1)))

    return torch, (V2 if kind == "v2" else V3)()


@pytest.mark.parametrize(("kind", "rates"), [("v2", (1, 3, 20)), ("v3", (2, 5))])
def test_heads_are_pytorchs(kind, rates, backend, rng):
    torch, other = head_twin(kind, rates, 6, 4, 3)
    net = {"v2": ASPPv2, "v3": ASPPv3}[kind](6, 3, rates, 4)
    twins.copy_weights(net, other, rng)
    feature = rng.normal(size=(2, 6, 11, 8))
    expected = other.train()(torch.tensor(feature))
    twins.assert_equal_forward_and_backward(net, other, [net.train()(feature)], [expected], rng)


def test_the_published_rates():
    def rates(**options):
        with nn.init.no_draws():
            net = models.DeepLab(3, 21, **options)
        found = [c.dilation[0] for c in convolutions(net.head) if c.kernel_size == (3, 3)]
        assert found == list(net.config["rates"])
        return found, net

    found, v2 = rates(head="v2", output_stride=8)
    assert found == [6, 12, 18, 24]
    assert [c.out_channels for c in convolutions(v2.head)] == [1024, 1024, 21] * 4
    found, v3 = rates(head="v3", output_stride=8)
    assert found == [12, 24, 36]
    assert rates(head="v3", output_stride=16)[0] == [6, 12, 18]
    assert [(c.kernel_size[0], c.in_channels) for c in convolutions(v3.head)] == [
        (1, 512), (3, 512), (3, 512), (3, 512), (1, 512), (1, 5 * 256), (1, 256)
    ]  # fmt: skip


def test_a_rate_beyond_the_feature_is_a_1x1_convolution(rng):
    """Section 3.3: at rate 24 the outer taps of a 20 x 20 feature all fall on zeros."""
    far, x = nn.Conv2d(3, 2, 3, padding=24, dilation=24).double(), rng.normal(size=(1, 3, 20, 20))
    np.testing.assert_allclose(far(x).data, F.conv2d(x, far.weight[:, :, 1:2, 1:2], far.bias).data, atol=1e-12)


# DeepLab

ENCODERS = {
    "resnet18": (models.dilated.ResNetEncoder, lambda stride: twins.resnet18((8, 16, 32, 64), stride), 64),
    "mobilenet": (
        models.dilated.MobileNetEncoder,
        lambda stride: twins.mobilenet(4, ((8,), (16, 16), (32, 32), (64,) * 6, (128, 128)), stride),
        128,
    ),
}


@pytest.mark.parametrize("head", ["v2", "v3"])
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_deeplab_is_pytorchs(encoder, output_stride, head, backend, rng):
    _, make, channels = ENCODERS[encoder]
    torch, other_head = head_twin(head, (2, 3), channels, 4, 3)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = make(output_stride), other_head

        def forward(self, image):
            x = self.head(twins.features_of(self.encoder, image)[-1])
            height, width = ((n - 1) * output_stride + 1 for n in x.shape[2:])
            x = torch.nn.functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)
            return x[:, :, : image.shape[2], : image.shape[3]]  # the sizes below end with a score

    net, other = models.DeepLab(3, 3, encoder, 1 / 8, output_stride, head, (2, 3), 4), Net()
    twins.copy_weights(net, other, rng)
    image = rng.random((2, 3, 49, 33))
    out = net.train()(image)
    assert out.shape == (2, 3, 49, 33)
    twins.assert_equal_forward_and_backward(net, other, [out], [other.train()(torch.tensor(image))], rng)


@pytest.mark.parametrize(("output_stride", "size"), [(8, (49, 40)), (2, (19, 16))])
def test_deeplab_on_vgg16_is_pytorchs(output_stride, size, backend, rng):
    torch, other_head = head_twin("v2", (2, 3), 64, 4, 3)
    tnn = torch.nn

    class Net(tnn.Module):
        def __init__(self):
            super().__init__()
            layers, before, total, rate = [], 3, 1, 1
            for width, count in ((8, 2), (16, 2), (32, 3), (64, 3), (64, 3)):
                for _ in range(count):
                    layers += [tnn.Conv2d(before, width, 3, padding=rate, dilation=rate, bias=False)]
                    layers += [tnn.BatchNorm2d(width), tnn.ReLU()]
                    before = width
                if total < output_stride:
                    layers.append(tnn.MaxPool2d(2, ceil_mode=True))
                    total *= 2
                else:
                    rate *= 2
            self.encoder, self.head = tnn.Sequential(*layers), other_head

        def forward(self, image):
            x = self.head(self.encoder(image))
            x = tnn.functional.interpolate(x, scale_factor=output_stride, mode="bilinear")
            return x[:, :, : image.shape[2], : image.shape[3]]

    net, other = models.DeepLab(3, 3, "vgg16", 1 / 8, output_stride, "v2", (2, 3), 4), Net()
    twins.copy_weights(net, other, rng)
    image = rng.random((2, 3, *size))
    out = net.train()(image)
    assert out.shape == (2, 3, *size)
    twins.assert_equal_forward_and_backward(net, other, [out], [other.train()(torch.tensor(image))], rng)


def test_a_fine_deeplab_overfits_eight_small_images(rng):
    net = models.DeepLab(3, 3, "vgg16", 1 / 16, 2, "v2", (2, 4, 8), channels=16)
    assert learn(net, *eight_images(rng), 5e-3, 60) > 0.95


def test_scores_are_upsampled_from_where_they_are_made(rng):
    """Pixels 0, s, 2 s ... keep their score, those between lie on the line, those behind the last repeat it; any size."""
    rows, columns = np.mgrid[:4, :3].astype(float)
    x = (5 * rows - 2 * columns)[None, None]
    for size in ((25, 17), (27, 24), (32, 17)):
        out = upsample_from_first(x, 8, size).data[0, 0]
        assert out.shape == size
        y, z = np.mgrid[: size[0], : size[1]]
        np.testing.assert_allclose(out, 5 * np.minimum(y / 8, 3) - 2 * np.minimum(z / 8, 2), atol=1e-12)
    x = rng.normal(size=(2, 3, 4, 3))
    np.testing.assert_allclose(upsample_from_first(x, 4, (16, 12)).data[:, :, ::4, ::4], x, atol=1e-12)


@pytest.mark.parametrize("encoder", [*ENCODERS, "vgg16"])
def test_any_size_works(encoder):
    with nn.init.no_draws():
        nets = [models.DeepLab(3, 4, encoder, output_stride=stride) for stride in (8, 16, 32)]
    for net, stride in zip(nets, (8, 16, 32), strict=True):
        assert net.stride == stride
        assert [n for n in range(1, 70) if net.output_size(n) != n] == []
        for size in ((75, 33), (1, 7), (64, 96)):
            assert net.summary((3, *size)).output_shape == (1, 4, *size)


def test_the_mean_of_the_image_sees_all_of_it():
    with nn.init.no_draws():
        pooled, local = (models.DeepLab(3, 4, image_pooling=flag) for flag in (True, False))
        added = models.DeepLab(3, 4, head="v2", output_stride=8)
    assert pooled.receptive_field().size == math.inf
    # ResNet-18 sees 435 pixels, dilated or strided; between two scores a pixel sees what both of them see
    for net, rate in ((local, 18), (added, 24)):
        assert net.encoder.summary((3, 65, 65)).receptive_field == 435
        assert net.receptive_field().size == 435 + 2 * rate * net.stride + net.stride
    assert sum(p.data.size for p in pooled.parameters()) > sum(p.data.size for p in local.parameters())


@pytest.mark.parametrize(("encoder", "pooling"), [("resnet18", True), ("resnet18", False), ("vgg16", False)])
def test_any_image_is_predicted_and_tiles_leave_no_seam(encoder, pooling, rng):
    net = models.DeepLab(3, 3, encoder, 1 / 16, 8, rates=(1, 2), channels=4, image_pooling=pooling)
    net(rng.random((2, 3, 64, 64), dtype=np.float32))
    image = rng.random((3, 45, 101), dtype=np.float32)
    whole = net.predict(image, tile=None)
    assert whole.shape == (3, 45, 101)
    np.testing.assert_allclose(whole.sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(net.predict(image, tile=64), whole, atol=1e-5)  # with the mean of the image: no tiles


@pytest.mark.parametrize("padding", ["reflect", "same"])
def test_dilated_net_predicts_any_image_in_tiles(padding, rng):
    net = models.DilatedNet(1, 3, **SMALL, padding=padding)
    for layer in convolutions(net.context):
        layer.weight.data = layer.weight.data + rng.normal(0, 0.05, layer.weight.shape).astype(np.float32)
    image = rng.random((1, 45, 150), dtype=np.float32)
    whole = net.predict(image, tile=None)
    assert whole.shape == (3, 45, 150)
    np.testing.assert_allclose(net.predict(image, tile=64), whole, atol=1e-5)
    assert net.predict(image[:, :5, :9]).shape == (3, 5, 9)


NETS = {
    "DilatedNet": lambda: models.DilatedNet(2, 3, **SMALL | {"dropout": 0.25}, norm="batch"),
    "DilatedNet, large": lambda: models.DilatedNet(2, 3, **SMALL, context="large", padding="same"),
    "DilatedNet, front end": lambda: models.DilatedNet(2, 3, **SMALL, context=None),
    "DeepLab v2": lambda: models.DeepLab(2, 3, "mobilenet", 1 / 8, 8, "v2", channels=4, dropout=0.5),
    "DeepLab on VGG": lambda: models.DeepLab(2, 3, "vgg16", 1 / 16, 4, "v2", channels=4),
    "DeepLab v3": lambda: models.DeepLab(2, 3, "resnet18", 1 / 8, channels=4, image_pooling=False),
}


@pytest.mark.parametrize("name", NETS)
def test_a_model_on_disk_comes_back(name, tmp_path, rng):
    net = NETS[name]().eval()
    models.save(net, tmp_path / "net.safetensors")
    again = models.load(tmp_path / "net.safetensors")
    assert json.loads(json.dumps(net.config)) == net.config == again.config
    image = rng.random((1, 2, 32, 40), dtype=np.float32)
    with ms.no_grad():
        np.testing.assert_array_equal(again(image).data, net(image).data)


@pytest.mark.parametrize("name", NETS)
def test_dropout_is_where_the_config_says(name):
    net = NETS[name]()
    assert {m.p for m in net.modules() if isinstance(m, nn.Dropout)} == {net.config["dropout"]}


DILATED, DEEPLAB = models.DilatedNet, models.DeepLab


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (DILATED, {"in_channels": 0}, "DilatedNet: in_channels must be a positive integer, got 0"),
        (DILATED, {"fc_channels": 1.5}, "DilatedNet: fc_channels must be a positive integer, got 1.5"),
        (DILATED, {"fc_kernel": 4}, "DilatedNet: fc_kernel must be odd to have a middle, got 4"),
        (DILATED, {"widths": (4, 0)}, "DilatedNet: widths must be positive integers, one a stage"),
        (DILATED, {"widths": (4,), "convs": (1, 1)}, "DilatedNet: widths and convs must be equally long"),
        (DILATED, {"norm": "group"}, "DilatedNet: norm must be \"batch\" or None, got 'group'"),
        (DILATED, {"output_stride": 64}, "output_stride must be one of 1, 2, 4, 8, 16, 32 with 5 stages, got 64"),
        (DILATED, {"context": "huge"}, 'context must be "basic", "large" or None, got \'huge\''),
        (DILATED, {"padding": "zeros"}, 'padding must be "reflect" or "same", got \'zeros\''),
        (DEEPLAB, {"num_classes": "2"}, "DeepLab: num_classes must be a positive integer, got '2'"),
        (DEEPLAB, {"encoder": "vgg"}, "encoder must be one of resnet18, mobilenet, vgg16, got 'vgg'"),
        (DEEPLAB, {"encoder": "vgg16", "output_stride": 64}, "must be one of 1, 2, 4, 8, 16, 32 with 5 stages, got 64"),
        (DEEPLAB, {"width": 0}, "DeepLab: width must be a number above 0"),
        (DEEPLAB, {"head": "v4"}, 'head must be "v2" or "v3", got \'v4\''),
        (DEEPLAB, {"output_stride": 4}, "output_stride must be 8, 16 or 32, got 4"),
        (DEEPLAB, {"output_stride": 0}, "output_stride must be 8, 16 or 32, got 0"),
        (DEEPLAB, {"rates": (6, 0)}, "rates must be positive integers, one a branch, got"),
        (DEEPLAB, {"rates": 6}, "rates must be positive integers, one a branch, got 6"),
        (DEEPLAB, {"channels": 0}, "channels must be a positive integer, got 0"),
    ],
)
def test_a_wrong_argument_is_named(model, arguments, message):
    with nn.init.no_draws(), pytest.raises(ValueError, match=message):
        model(**{"in_channels": 3, "num_classes": 2, **arguments})


def test_a_wrong_input_is_named():
    net = models.DilatedNet(3, 2, **SMALL)
    with pytest.raises(ValueError, match=r"height of 17 pixels does not work .* sizes near it that do: 18, 20"):
        net(np.zeros((1, 3, 17, 32), np.float32))
    with pytest.raises(ValueError, match="must have 3 channels, got 1"):
        net(np.zeros((1, 1, 32, 32), np.float32))
    with pytest.raises(ValueError, match=r"add image\[None\]"):
        models.DeepLab(3, 2, "mobilenet", 1 / 8, channels=4)(np.zeros((3, 32, 32), np.float32))


def test_a_single_image_cannot_train_the_mean():
    net = models.DeepLab(3, 2, "mobilenet", 1 / 8, channels=4)
    with pytest.raises(ValueError, match="use batches of 2 images or more, or image_pooling=False; got a batch of 1"):
        net.train()(np.zeros((1, 3, 32, 32), np.float32))
    assert net.eval()(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 2, 32, 32)


@pytest.mark.slow
def test_the_published_net_scores_an_image(rng):
    net = models.DilatedNet(3, 21).eval()
    with ms.no_grad():
        scores = net(rng.random((1, 3, 192, 200), dtype=np.float32)).data
    assert scores.shape == (1, 21, 192, 200)
    assert np.isfinite(scores).all()
    assert scores.std() > 0
