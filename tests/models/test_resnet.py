"""ResNet-18: the published counts from the net itself, its sizes, and the twin in PyTorch."""

import json

import encoder_twins as twins
import numpy as np
import pytest

import minisegnet as ms
from minisegnet import models, nn
from minisegnet.models.resnet import BasicBlock, ResNetEncoder


@pytest.fixture(scope="module")
def published():
    """Return the net as published; its structure is looked at, so that no weights are drawn."""
    with nn.init.no_draws():
        return models.ResNet18()


def test_the_papers_numbers(published):
    """Table 1: 1.8 billion multiply-adds; counted in full by its layers. Parameters as PyTorch's own resnet18 has them."""
    summary = published.summary((3, 224, 224))
    assert summary.output_shape == (1, 1000)
    assert summary.multiply_accumulates == 1_814_073_344
    assert summary.parameters == 11_689_512
    assert round(summary.multiply_accumulates / 1e9, 1) == 1.8


def test_there_are_18_layers_with_weights_and_three_shortcuts(published):
    convs = [row.name for row in published.summary((3, 224, 224)).rows if row.kind == "Conv2d"]
    shortcuts = [name for name in convs if "shortcut" in name]
    assert len(convs) - len(shortcuts) + 1 == 18  # the last is the linear layer
    assert shortcuts == [f"encoder.{i}.0.shortcut.0" for i in (2, 3, 4)]


def test_table_1s_sizes(published):
    assert published.encoder.channels == (64, 64, 128, 256, 512)
    assert published.encoder.strides == (2, 4, 8, 16, 32)
    rows = published.summary((3, 224, 224)).rows
    sizes = [[row.output_shape[2] for row in rows if row.name.startswith(f"encoder.{i}.")][-1] for i in range(5)]
    assert sizes == [112, 56, 28, 14, 7]


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_features_and_gradients_are_pytorchs(output_stride, backend, rng):
    encoder = ResNetEncoder(3, 1 / 16, output_stride)
    twins.check_encoder(encoder, twins.resnet18((4, 8, 16, 32), output_stride), rng)


def test_dilating_instead_of_striding_keeps_what_the_weights_mean(rng):
    twins.check_dilation(lambda output_stride: ResNetEncoder(3, 1 / 16, output_stride), rng)


def test_a_block_without_weights_is_its_input(rng):
    block = BasicBlock(4, 4).eval()
    for m in block.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.zeros_(m.weight)
    x = rng.random((1, 4, 5, 6), dtype=np.float32)  # not negative, so that the last ReLU keeps it
    np.testing.assert_array_equal(block(ms.Tensor(x)).data, x)


def test_a_model_on_disk_comes_back(tmp_path, rng):
    net = models.ResNet18(2, 5, 1 / 16).eval()
    models.save(net, tmp_path / "net.safetensors")
    again = models.load(tmp_path / "net.safetensors")
    assert json.loads(json.dumps(net.config)) == net.config == again.config
    image = rng.random((2, 2, 32, 40), dtype=np.float32)
    with ms.no_grad():
        np.testing.assert_array_equal(again(image).data, net(image).data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: models.ResNet18(width=None),
            "width must be a number above 0 and at most 16, 1.0 as published, got None",
        ),
        (lambda: models.ResNet18(0), "in_channels must be a positive integer, got 0"),
        (lambda: models.ResNet18(3, -1, 0.1), "ResNet18: num_classes must be a positive integer, got -1"),
        (lambda: ResNetEncoder(3, 0.1, 2), "output_stride must be 8, 16 or 32, got 2"),
        (
            lambda: models.ResNet18(3, 2, 0.1)(np.zeros((1, 1, 32, 32), np.float32)),
            r"ResNet18: input must be \(N, 3, H, W\), got shape \(1, 1, 32, 32\)",
        ),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
