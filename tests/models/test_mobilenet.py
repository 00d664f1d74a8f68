"""MobileNet v1: the paper's tables from the net itself, its misprints, the twin in PyTorch, and the U-Net on top."""

import json

import encoder_twins as twins
import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import models, nn, optim
from minisegnet.models.mobilenet import MobileNetEncoder

ROWS = ((8,), (16, 16), (32, 32), (64,) * 6, (128, 128))  # table 1 at an eighth of its width


def weights_only(net):
    return sum(m.weight.data.size for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))


@pytest.fixture(scope="module")
def published():
    """Return the net as published; its structure is looked at, so that no weights are drawn."""
    with nn.init.no_draws():
        return models.MobileNet()


@pytest.mark.parametrize(
    ("width", "millions", "exact", "weights", "parameters"),
    [
        (1.0, 569, 568_740_352, 4_209_088, 4_231_976),
        (0.75, 325, 325_400_448, 2_568_144, 2_585_560),
        (0.5, 149, 149_497_088, 1_319_648, 1_331_592),
        (0.25, 41, 41_030_272, 463_600, 470_072),
    ],
)
def test_every_published_width(width, millions, exact, weights, parameters):
    with nn.init.no_draws():
        net = models.MobileNet(width=width)
    summary = net.summary((3, 224, 224))
    assert summary.output_shape == (1, 1000)
    assert summary.multiply_accumulates == exact
    assert abs(exact / 1e6 - millions) < 1
    assert weights_only(net) == weights
    assert summary.parameters == parameters


@pytest.mark.parametrize(("size", "millions"), [(224, 569), (192, 418), (160, 290), (128, 186)])
def test_every_published_resolution(published, size, millions):
    assert abs(published.summary((3, size, size)).multiply_accumulates / 1e6 - millions) < 1


def test_table_2s_shares_add_up_only_with_1_91_percent_for_the_first_convolution(published):
    rows = [row for row in published.summary((3, 224, 224)).rows if row.multiply_accumulates]
    total = sum(row.multiply_accumulates for row in rows)

    def share(of):
        return 100 * sum(row.multiply_accumulates for row in rows if of(row)) / total

    first = share(lambda row: row.name == "encoder.0.0")
    pointwise, depthwise = share(lambda row: "pointwise" in row.name), share(lambda row: "depthwise" in row.name)
    assert pointwise == pytest.approx(94.86, abs=0.01)
    assert depthwise == pytest.approx(3.06, abs=0.01)
    assert share(lambda row: row.kind == "Linear") == pytest.approx(0.18, abs=0.01)
    assert first == pytest.approx(1.91, abs=0.005)  # the paper prints 1.19
    assert 94.86 + 3.06 + 0.18 + first == pytest.approx(100, abs=0.02)


def test_the_last_depthwise_convolution_keeps_7_by_7(published):
    """Table 1 prints "s2" for it, but also 7 x 7 pixels before and after."""
    rows = [row for row in published.summary((3, 224, 224)).rows if "depthwise" in row.name]
    assert [row.output_shape[2] for row in rows] == [112, 56, 56, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7]
    last = [m for m in published.modules() if isinstance(m, nn.DepthwiseSeparableConv2d)][-1]
    assert last.depthwise.stride == (1, 1)
    assert (last.in_channels, last.out_channels) == (1024, 1024)


@pytest.mark.parametrize(("channels", "cheaper"), [(64, 7.89), (1024, 8.92)])
def test_a_separable_convolution_costs_1_over_n_plus_a_ninth(channels, cheaper):
    with nn.init.no_draws():
        full = nn.Conv2d(32, channels, 3, padding=1).summary((32, 14, 14)).multiply_accumulates
        separable = nn.DepthwiseSeparableConv2d(32, channels, 3, padding=1).summary((32, 14, 14)).multiply_accumulates
    assert separable / full == pytest.approx(1 / channels + 1 / 9, rel=1e-12)
    assert round(full / separable, 2) == cheaper


def test_features_stand_at_five_strides(published):
    encoder = published.encoder
    assert encoder.channels == (64, 128, 256, 512, 1024)
    assert encoder.strides == (2, 4, 8, 16, 32)
    with ms.no_grad():
        small = MobileNetEncoder(3, 0.125, depth=3)
        assert [f.shape for f in small(np.zeros((1, 3, 40, 64), np.float32))] == [
            (1, 8, 20, 32),
            (1, 16, 10, 16),
            (1, 32, 5, 8),
        ]


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_features_and_gradients_are_pytorchs(output_stride, backend, rng):
    encoder = MobileNetEncoder(3, 1 / 8, output_stride=output_stride)
    twins.check_encoder(encoder, twins.mobilenet(4, ROWS, output_stride), rng)


def test_dilating_instead_of_striding_keeps_what_the_weights_mean(rng):
    twins.check_dilation(lambda output_stride: MobileNetEncoder(3, 1 / 8, output_stride=output_stride), rng)


def test_the_classifiers_scores_are_pytorchs(backend, rng):
    torch = pytest.importorskip("torch")
    net, stages = models.MobileNet(3, 5, 1 / 8), twins.mobilenet(4, ROWS)
    other = torch.nn.Sequential(*stages, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(128, 5))
    twins.copy_weights(net, other, rng)
    image = rng.random((2, 3, 64, 40))
    twins.assert_equal_forward_and_backward(net, other, [net(image)], [other(torch.tensor(image))], rng)


def unet_twin(classes):
    """Return PyTorch and the U-Net on a MobileNet of an eighth and three stages."""
    torch = pytest.importorskip("torch")
    tnn = torch.nn

    def pair(before, after):
        return tnn.Sequential(*twins._separable(before, after, 1, 1), *twins._separable(after, after, 1, 1))

    class UNet(tnn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = twins.mobilenet(4, ROWS)[:3]
            self.decoder = tnn.ModuleList([pair(32 + 16, 16), pair(16 + 8, 8), pair(8, 4)])
            self.head = tnn.Conv2d(4, classes, 1)

        def forward(self, image):
            one, two, three = twins.features_of(self.encoder, image)

            def up(x):
                return tnn.functional.interpolate(x, scale_factor=2, mode="bilinear")

            x = self.decoder[0](torch.cat([two, up(three)], 1))
            x = self.decoder[1](torch.cat([one, up(x)], 1))
            return self.head(self.decoder[2](up(x)))

    return torch, UNet()


def test_the_unets_scores_and_gradients_are_pytorchs(backend, rng):
    torch, other = unet_twin(3)
    net = models.MobileNetUNet(3, 3, width=1 / 8, depth=3)
    twins.copy_weights(net, other, rng)
    image = rng.random((2, 3, 32, 24))
    twins.assert_equal_forward_and_backward(net, other, [net(image)], [other(torch.tensor(image))], rng)


def test_the_unet_is_as_large_as_its_image_and_light():
    with nn.init.no_draws():
        net, plain = models.MobileNetUNet(3, 2), models.UNet(3, 2)
    summary = net.summary((3, 224, 224))
    assert summary.output_shape == (1, 2, 224, 224)
    assert net.stride == 32
    assert net.valid_sizes(100) == [96, 128, 160]
    heavy = plain.summary((3, 224, 224))
    assert heavy.parameters > 6 * summary.parameters
    assert heavy.multiply_accumulates > 20 * summary.multiply_accumulates


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_unet_predicts_any_size_without_seams(depth, rng):
    net = models.MobileNetUNet(3, 3, 1 / 8, depth)
    net(rng.random((2, 3, 32, 32), dtype=np.float32))  # running statistics of their own
    image = rng.random((3, 45, 70), dtype=np.float32)
    whole = net.predict(image, tile=None)
    assert whole.shape == (3, 45, 70)
    np.testing.assert_allclose(whole.sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(net.predict(image, tile=32), whole, atol=1e-5)


def test_the_unet_learns_to_draw_what_it_saw(backend, rng):
    image = rng.random((2, 3, 16, 16), dtype=np.float32)
    target = (image.mean(1) > 0.5).astype(int)
    net = models.MobileNetUNet(3, 2, 0.25, 2).train()
    optimizer = optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(image), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    "net",
    [
        lambda: models.MobileNet(2, 7, 0.1, dropout=0.5),
        lambda: models.MobileNetUNet(2, 3, 0.1, 3),
    ],
    ids=["classifier", "unet"],
)
def test_a_model_on_disk_comes_back(net, tmp_path, rng):
    net = net().eval()
    models.save(net, tmp_path / "net.safetensors", about={"why": "a test"})
    again = models.load(tmp_path / "net.safetensors")
    assert json.loads(json.dumps(net.config)) == net.config == again.config
    image = rng.random((2, 2, 40, 32), dtype=np.float32)
    with ms.no_grad():
        np.testing.assert_array_equal(again(image).data, net(image).data)


def test_he_weights_and_nothing_else_at_the_start():
    ms.manual_seed(3)
    net = models.MobileNet()
    wide = net.encoder[4][1][0]
    assert wide.pointwise.weight.data.std() == pytest.approx(np.sqrt(2 / 1024), rel=0.02)
    assert wide.depthwise.weight.data.std() == pytest.approx(np.sqrt(2 / 9), rel=0.05)
    assert not any(m.bias is not None for m in net.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.MobileNet(width=0), "width must be a number above 0 and at most 16, 1.0 as published, got 0"),
        (lambda: models.MobileNet(width="half"), "width must be a number .* got 'half'"),
        (lambda: models.MobileNet(in_channels=0), "in_channels must be a positive integer, got 0"),
        (lambda: models.MobileNet(3, 1.5, 0.1), "MobileNet: num_classes must be a positive integer, got 1.5"),
        (lambda: models.MobileNet(3, 2, 0.1, dropout=2), "p must be a probability"),
        (lambda: models.MobileNetUNet(3, 0), "MobileNetUNet: num_classes must be a positive integer, got 0"),
        (lambda: models.MobileNetUNet(3, 2, depth=0), "MobileNetUNet: depth must be a positive integer, got 0"),
        (lambda: models.MobileNetUNet(3, 2, 0.1, depth=6), "depth must be at most 5, got 6"),
        (lambda: MobileNetEncoder(3, 0.1, output_stride=4), "output_stride must be 8, 16 or 32, got 4"),
        (
            lambda: models.MobileNet(3, 2, 0.1)(np.zeros((3, 32, 32), np.float32)),
            r"MobileNet: input must be \(N, 3, H, W\), got shape \(3, 32, 32\)",
        ),
        (
            lambda: models.MobileNetUNet(3, 2, 0.1)(np.zeros((1, 3, 48, 32), np.float32)),
            "a height of 48 pixels does not work",
        ),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
def test_the_published_net_scores_an_image(rng):
    net = models.MobileNet().eval()
    with ms.no_grad():
        scores = net(rng.random((1, 3, 224, 224), dtype=np.float32))
    assert scores.shape == (1, 1000)
    assert np.isfinite(scores.data).all()
    assert scores.data.std() > 0
