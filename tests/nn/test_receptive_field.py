"""The arithmetic of receptive fields against what gradients reach in networks where nothing can cancel."""

import math

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import models, nn
from minisegnet.nn.receptive_field import field_of, reach, receptive_field, seen_by
from minisegnet.nn.trace import trace

CENTRE = 24  # the first of the output positions that are compared


def reached(net, size, pixel):
    """Return the first and the last image row with a gradient at one output pixel, all weights being positive."""
    x = ms.Tensor(np.random.default_rng(0).random((1, 1, size, size)) + 1, requires_grad=True)
    output = net.eval()(x)
    grad = np.zeros(output.shape)
    grad[:, :, pixel, pixel] = 1
    output.backward(grad)
    rows = np.flatnonzero(np.abs(x.grad.numpy()).sum(axis=(0, 1, 3)))
    return (rows[0], rows[-1]) if len(rows) else None


def positive(net):
    for p in net.parameters():
        p.data = np.abs(p.data.astype(np.float64)) + 0.1
    return net.double()


class Skips(nn.Module):
    """A stride, a dilated branch, a crop, a sum and a concatenation."""

    def __init__(self):
        super().__init__()
        self.down, self.wide = nn.Conv2d(1, 1, 4, 2, 1), nn.Conv2d(1, 1, 3, padding=3, dilation=3)
        self.up, self.mix = nn.ConvTranspose2d(1, 1, 3, 2, 1, output_padding=1), nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x):
        deep = self.up(self.wide(self.down(x)))
        return self.mix(ms.cat([deep + x[:, :, :, :], F.pad(x, (2, -2, 3, -3))], 1))


class Shuffled(nn.Module):
    """What channel shuffles do: reshape and permute around the planes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x):
        x = self.conv(x)
        n, c, h, w = x.shape
        x = x.reshape(n, 2, 2, h, w).permute(0, 2, 1, 3, 4).reshape(n, c, h, w)
        return F.interpolate(F.interpolate(x, scale_factor=0.5, mode="nearest"), scale_factor=2)


NETWORKS = {
    "convolutions": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 5, padding=4, dilation=2)),
    "no padding": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 2)),
    "stride and back": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.Conv2d(2, 2, 3, 2, 1), nn.ConvTranspose2d(2, 1, 8, 4, 2)),
    "dilated stamps": lambda: nn.Sequential(nn.Conv2d(1, 1, 2, 2), nn.ConvTranspose2d(1, 1, 3, 2, 2, output_padding=1, dilation=2)),
    "holes between stamps": lambda: nn.Sequential(nn.Conv2d(1, 1, 3, 3, 0), nn.ConvTranspose2d(1, 1, 2, 3)),
    "average pools": lambda: nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.Conv2d(1, 1, 3, padding=1), nn.Upsample(scale_factor=2)),
    "bilinear": lambda: nn.Sequential(nn.Conv2d(1, 1, 3, 4, 1), nn.Upsample(scale_factor=4, mode="bilinear")),
    "corners": lambda: nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Upsample((64, 64), mode="bilinear", align_corners=True)),
    "separable": lambda: nn.DepthwiseSeparableConv2d(1, 3, 3, padding=2, dilation=2),
    "skips": Skips,
    "shuffled": Shuffled,
    "a U-Net with average pools": lambda: averaged(models.UNet(1, 1, base_channels=1, depth=2, norm=None)),
    "added skips": lambda: averaged(models.UNet(1, 2, base_channels=2, depth=2, skips="add")),
    "hourglass": lambda: averaged(models.UNet(1, 1, base_channels=1, depth=2, norm=None, skips=None)),
}  # fmt: skip


def averaged(net):
    net.pool = nn.AvgPool2d(2)  # max-pooling would send the gradient to one pixel of four
    return net


@pytest.mark.parametrize("name", NETWORKS)
def test_the_arithmetic_is_what_the_gradient_reaches(name):
    net = positive(NETWORKS[name]())
    graph = trace(net, (1, 64, 64))
    seen = seen_by(graph, graph.output, axis=0, start=CENTRE)
    for offset in range(8):
        found = reached(net, 64, CENTRE + offset)
        if found is None:
            assert seen.low[offset] > seen.high[offset]
            continue
        assert found == (max(seen.low[offset], 0), min(seen.high[offset], 63)), offset


def test_max_pooling_and_unpooling_read_their_windows():
    """The gradient takes one pixel a window: over many images it reaches the first and the last."""
    pool, unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    class Net(nn.Module):
        def forward(self, x):
            values, indices = pool(x)
            return F.avg_pool2d(unpool(values, indices), 3, 1, 1)

    graph = trace(Net(), (1, 16, 16))
    seen = seen_by(graph, graph.output, 0, start=8)
    assert (seen.low[0], seen.high[0]) == (6, 9)  # rows 7, 8, 9 lie in the windows 6..7 and 8..9
    assert (seen.low[1], seen.high[1]) == (8, 11)


def test_global_pooling_sees_everything_and_features_see_their_plane():
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Upsample(size=(8, 8)))
    assert receptive_field(pooled, 1, 16).size == math.inf
    assert receptive_field(pooled, 1, 3).size == math.inf, "also where a single pixel is left to pool"
    assert receptive_field(nn.Sequential(nn.AdaptiveAvgPool2d(4)), 1, 16).size == math.inf
    classifier = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 25, 3))
    assert receptive_field(classifier, 1, 12).size == 12


def test_fields_grow_and_jump_as_in_dumoulin_and_visin():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 2, 1), nn.MaxPool2d(2))
    graph = trace(net, (1, 32, 32))
    expected = ms.shapes.ReceptiveField().through(3, 2, 1).through(3, 2, 1).through(2, 2)
    assert field_of(graph, graph.output) == expected
    assert [row.receptive_field for row in net.summary((1, 32, 32)).rows] == [3, 7, 11]


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_field_of_a_model_does_not_depend_on_the_image(padding):
    net = models.UNet(1, 2, base_channels=1, depth=2, padding=padding)
    sizes = net.valid_sizes(60, 2)
    assert len({receptive_field(net, 1, n) for n in sizes}) == 1


def test_tiles_are_seamless_because_the_margin_is_the_reach():
    net = models.UNet(1, 2, base_channels=2, depth=3)
    assert reach(net, 1, 8) >= receptive_field(net, 1, 8).size // 2
    image = np.random.default_rng(1).random((1, 96, 130)).astype(np.float32)
    whole = net.predict(image, tile=None, margin=64)
    assert np.abs(net.predict(image, tile=24) - whole).max() < 1e-5


def test_the_effective_field_lies_inside_and_is_smaller():
    ms.manual_seed(0)
    net = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(8)])
    summary = net.summary((1, 41, 41))
    field = summary.effective_receptive_field(samples=2)
    rows = np.flatnonzero(field.sum(axis=1))
    assert rows[-1] - rows[0] + 1 == summary.receptive_field == 17
    ones = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(8)])
    for p in ones.parameters():
        p.data = np.ones_like(p.data) / 9
    bell = nn.receptive_field.effective_receptive_field(ones, (1, 41, 41), samples=1)
    # eight uniform kernels of variance 2/3: the central limit theorem gives a bell of variance 16/3 (Luo et al., section 2)
    profile, place = bell.sum(axis=1), np.arange(41) - 20
    assert float((profile * place**2).sum() / profile.sum()) == pytest.approx(8 * 2 / 3, rel=1e-5)


def test_asking_leaves_the_network_as_it_was():
    net = models.UNet(1, 2, base_channels=2, depth=1)
    net.head.weight.grad = kept = ms.Tensor(np.ones(net.head.weight.shape, np.float32))
    before = net.state_dict()
    net.summary((1, 16, 16)).effective_receptive_field(samples=1)
    assert net.training
    assert net.head.weight.grad is kept
    assert net.encoder[0][0].weight.grad is None
    assert all(np.array_equal(before[k], v) for k, v in net.state_dict().items())


def test_mistakes_are_named():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    with pytest.raises(ValueError, match=r"effective_receptive_field: the model must return \(N, K, H, W\), got shape"):
        nn.receptive_field.effective_receptive_field(net, (1, 8, 8))
    with pytest.raises(ValueError, match=r"pixel \(9, 0\) is outside the output \(6, 6\)"):
        nn.receptive_field.effective_receptive_field(nn.Conv2d(1, 2, 3), (1, 8, 8), pixel=(9, 0))
    with pytest.raises(ValueError, match=r"summary: input_shape must be \(N, C, H, W\) or \(C, H, W\)"):
        net.summary((8, 8))
