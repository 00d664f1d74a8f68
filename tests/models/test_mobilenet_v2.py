"""MobileNetV2: the published counts of several widths from the net itself, the rule of channels, and the twin in PyTorch."""

import json

import encoder_twins as twins
import numpy as np
import pytest

import minisegnet as ms
from minisegnet import models, nn
from minisegnet.models.mobilenet_v2 import MobileNetV2Encoder, scaled

ROWS = (((1, 8, 1),), ((6, 8, 2),), ((6, 8, 3),), ((6, 16, 4), (6, 24, 3)), ((6, 40, 3), (6, 80, 1)))  # a quarter


def test_the_papers_numbers():
    """3.4 million parameters and 300 million multiply-adds (tables 2 and 4), exactly by the layers of table 2."""
    with nn.init.no_draws():
        summary = models.MobileNetV2().summary((3, 224, 224))
    assert summary.output_shape == (1, 1000)
    assert summary.multiply_accumulates == 300_774_272
    assert summary.parameters == 3_504_872
    assert abs(summary.multiply_accumulates / 300e6 - 1) < 0.005
    assert abs(summary.parameters / 3.4e6 - 1) < 0.035  # the paper's count leaves batch norm out


@pytest.mark.parametrize(
    ("width", "mult_adds", "parameters"),
    [(1.4, 582, 6.06), (1.3, 509, 5.34), (1.0, 300, 3.47), (0.75, 209, 2.61), (0.5, 97, 1.95), (0.35, 59, 1.66)],
)
def test_the_widths_of_the_authors_checkpoints(width, mult_adds, parameters):
    """The table beside the authors' weights, in millions; its parameters are weights and the last layer's bias."""
    with nn.init.no_draws():
        net = models.MobileNetV2(width=width)
    assert abs(net.summary((3, 224, 224)).multiply_accumulates / 1e6 - mult_adds) < 1
    weights = sum(p.data.size for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) for p in m.parameters())
    assert weights / 1e6 == pytest.approx(parameters, abs=0.011)


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [
        (32, 1.0, 32),
        (16, 0.35, 8),
        (24, 0.75, 24),
        (24, 0.35, 8),
        (96, 0.35, 32),
        (320, 1.4, 448),
        (32, 0.75, 24),
        (8, 0.1, 8),
    ],
)
def test_channels_are_multiples_of_8_and_at_least_nine_tenths(channels, width, expected):
    assert scaled(channels, width) == expected
    assert expected % 8 == 0
    assert expected >= 0.9 * channels * width


def test_a_thin_net_keeps_its_last_1280_channels():
    with nn.init.no_draws():
        assert models.MobileNetV2(width=0.35).head.in_features == 1280
        assert models.MobileNetV2(width=1.4).head.in_features == 1792


def test_a_block_adds_its_input_only_where_it_fits(rng):
    x = ms.Tensor(rng.random((1, 8, 6, 6), dtype=np.float32))
    for out, stride, adds in ((8, 1, True), (8, 2, False), (16, 1, False)):
        block = models.InvertedResidual(8, out, stride).eval()
        assert block.adds == adds
        for m in block.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.zeros_(m.weight)
        assert block(x).shape == (1, out, 6 // stride, 6 // stride)
        np.testing.assert_array_equal(block(x).data, x.data if adds else 0 * block(x).data)
    kinds = [type(m).__name__ for m in block.layers]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU6"] * 2 + ["Conv2d", "BatchNorm2d"]  # no ReLU on the thin end
    widths = [m.weight.shape[0] for m in block.layers if isinstance(m, nn.Conv2d)]
    assert widths == [48, 48, 16]


def test_features_stand_at_five_strides():
    with nn.init.no_draws():
        encoder = MobileNetV2Encoder()
    assert encoder.channels == (16, 24, 32, 96, 320)
    assert encoder.strides == (2, 4, 8, 16, 32)
    with ms.no_grad():
        sizes = [f.shape[1:] for f in encoder(np.zeros((1, 3, 33, 64), np.float32))]
    assert sizes == [(16, 17, 32), (24, 9, 16), (32, 5, 8), (96, 3, 4), (320, 2, 2)]


@pytest.mark.parametrize("output_stride", [32, 8])
def test_features_and_gradients_are_pytorchs(output_stride, backend, rng):
    encoder = MobileNetV2Encoder(3, 0.25, output_stride, last=True)
    assert encoder.channels[-1] == 1280
    twins.check_encoder(encoder, twins.mobilenet_v2(8, ROWS, 1280, output_stride), rng)


def test_dilating_instead_of_striding_keeps_what_the_weights_mean(rng):
    twins.check_dilation(lambda output_stride: MobileNetV2Encoder(3, 0.25, output_stride), rng)


def test_a_model_on_disk_comes_back(tmp_path, rng):
    net = models.MobileNetV2(2, 5, 0.1).eval()
    models.save(net, tmp_path / "net.safetensors")
    again = models.load(tmp_path / "net.safetensors")
    assert json.loads(json.dumps(net.config)) == net.config == again.config
    image = rng.random((2, 2, 32, 40), dtype=np.float32)
    with ms.no_grad():
        np.testing.assert_array_equal(again(image).data, net(image).data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.InvertedResidual(8, 8, expansion=0), "expansion must be a positive integer, got 0"),
        (lambda: models.InvertedResidual(8, 8, stride=0), "stride must be a positive integer, got 0"),
        (lambda: models.MobileNetV2(width=-1), "width must be a number above 0"),
        (lambda: models.MobileNetV2(3, 0, 0.1), "MobileNetV2: num_classes must be a positive integer, got 0"),
        (lambda: MobileNetV2Encoder(3, 0.1, 64), "output_stride must be 8, 16 or 32, got 64"),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
