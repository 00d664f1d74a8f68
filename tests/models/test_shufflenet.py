"""ShuffleNet: the complexities of the paper's tables from the net itself, the shuffle's purpose, and the twin in PyTorch."""

import json

import encoder_twins as twins
import numpy as np
import pytest

import minisegnet as ms
from minisegnet import models, nn
from minisegnet.models.shufflenet import ShuffleNetEncoder, ShuffleUnit


def millions_without_the_classifier(groups, width=1.0):
    with nn.init.no_draws():
        rows = models.ShuffleNet(groups=groups, width=width).summary((3, 224, 224)).rows
    return sum(row.multiply_accumulates for row in rows if row.kind == "Conv2d") / 1e6


@pytest.mark.parametrize(
    ("groups", "channels", "complexity"),
    [
        (1, (144, 288, 576), 143),
        (2, (200, 400, 800), 140),
        (3, (240, 480, 960), 137),
        (4, (272, 544, 1088), 133),
        (8, (384, 768, 1536), 137),
    ],
)
def test_table_1(groups, channels, complexity):
    """Its last row comes out, to the million, without the classifier's multiply-adds: 0.6 to 1.5 million more."""
    with nn.init.no_draws():
        encoder = ShuffleNetEncoder(groups=groups)
    assert encoder.channels == (24, 24, *channels)
    assert encoder.strides == (2, 4, 8, 16, 32)
    assert [len(stage) for stage in encoder[2:]] == [4, 8, 4]
    assert round(millions_without_the_classifier(groups)) == complexity


def test_counts_in_full():
    with nn.init.no_draws():
        summary = models.ShuffleNet().summary((3, 224, 224))
    assert summary.output_shape == (1, 1000)
    assert summary.multiply_accumulates == 137_460_672
    # by hand: 1x1, 3x3, 1x1 of each unit with batch norm, the stem, and the classifier
    units = 0
    for before, out, count in ((24, 240, 4), (240, 480, 8), (480, 960, 4)):
        middle = out // 4
        first = before * middle // (1 if before == 24 else 3) + 9 * middle + middle * (out - before) // 3
        units += first + 4 * middle + 2 * (out - before)
        units += (count - 1) * (out * middle // 3 + 9 * middle + middle * out // 3 + 4 * middle + 2 * out)
    assert summary.parameters == units + (27 * 24 + 2 * 24) + (960 * 1000 + 1000)


@pytest.mark.parametrize(("width", "complexity"), [(1.0, 140), (0.5, 38), (0.25, 13)])
def test_table_2s_complexities_are_about_those_of_all_groups(width, complexity):
    """The table prints one number a row, for 1 to 8 groups; the nets of a row lie around it."""
    row = [millions_without_the_classifier(groups, width) for groups in (1, 2, 3, 4, 8)]
    assert min(row) <= complexity <= max(row)


def test_without_the_shuffle_a_group_never_sees_the_others(rng):
    """Figure 1: two grouped 1x1 convolutions, without and with a shuffle in between."""

    def seen(shuffle):
        layers = nn.Sequential(
            nn.Conv2d(9, 9, 1, groups=3), *([nn.ChannelShuffle(3)] if shuffle else []), nn.Conv2d(9, 9, 1, groups=3)
        )
        x = ms.Tensor(rng.random((1, 9, 1, 1), dtype=np.float32), requires_grad=True)
        layers(x)[0, 0].sum().backward()
        return np.flatnonzero(x.grad.data).tolist()

    assert seen(shuffle=False) == [0, 1, 2]
    assert seen(shuffle=True) == list(range(9))


@pytest.mark.parametrize(("groups", "output_stride"), [(3, 32), (3, 16), (3, 8), (1, 32), (4, 32)])
def test_features_and_gradients_are_pytorchs(groups, output_stride, backend, rng):
    widths = {1: (20, 40, 80), 3: (36, 72, 144), 4: (48, 96, 192)}[groups]
    encoder = ShuffleNetEncoder(3, groups, 0.135, output_stride)
    assert encoder.channels[2:] == widths
    twins.check_encoder(encoder, twins.shufflenet(encoder.channels[0], widths, groups, output_stride), rng)


def test_dilating_instead_of_striding_keeps_what_the_weights_mean(rng):
    twins.check_dilation(lambda output_stride: ShuffleNetEncoder(3, 3, 0.135, output_stride), rng)


def test_a_unit_that_stacks_passes_the_means_of_its_input_on(backend, rng):
    unit = ShuffleUnit(4, 16, groups=2, stride=2).eval()
    x = rng.random((1, 4, 7, 7))
    out = unit.double()(x).data
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    np.testing.assert_allclose(out[0, :4, 1, 2], padded[0, :, 2:5, 4:7].mean(axis=(1, 2)))
    assert out.shape == (1, 16, 4, 4)


def test_a_model_on_disk_comes_back(tmp_path, rng):
    net = models.ShuffleNet(2, 5, 2, 0.1).eval()
    models.save(net, tmp_path / "net.safetensors")
    again = models.load(tmp_path / "net.safetensors")
    assert json.loads(json.dumps(net.config)) == net.config == again.config
    image = rng.random((2, 2, 32, 40), dtype=np.float32)
    with ms.no_grad():
        np.testing.assert_array_equal(again(image).data, net(image).data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.ShuffleNet(groups=5), "groups must be one of 1, 2, 3, 4, 8, got 5"),
        (lambda: models.ShuffleNet(width=0), "width must be a number above 0"),
        (lambda: models.ShuffleNet(3, 0, width=0.1), "ShuffleNet: num_classes must be a positive integer, got 0"),
        (lambda: ShuffleUnit(8, 8, 2, stride=2), "out_channels must be in_channels=8 to add with stride 1, or more"),
        (
            lambda: ShuffleUnit(4, 12, 2),
            "in_channels must be a multiple of 2 and out_channels one of 8 .* got 4 and 12",
        ),
        (lambda: ShuffleUnit(5, 16, 2), "got 5 and 16"),
        (lambda: ShuffleUnit(16, 8, 2), "out_channels must be in_channels=16 .* got 8 with stride 1"),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
