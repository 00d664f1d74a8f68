"""VGG's stages: the published trunk, what its variants change, and the trunk upside down."""

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import nn
from minisegnet.models.vgg import SwitchDecoder, SwitchEncoder, VGGEncoder


def kinds(stage):
    return [type(layer).__name__ for layer in stage]


def test_the_trunk_is_configuration_d():
    trunk = VGGEncoder(3)
    assert sum(p.data.size for p in trunk.parameters()) == 14_714_688
    convs = [layer for stage in trunk for layer in stage if isinstance(layer, nn.Conv2d)]
    assert len(convs) == 13
    assert {layer.kernel_size for layer in convs} == {(3, 3)}
    assert [stage[-3].out_channels for stage in trunk] == list(trunk.channels) == [64, 128, 256, 512, 512]
    assert all(kinds(stage)[-1] == "MaxPool2d" for stage in trunk)


def test_features_come_fine_to_coarse_at_their_strides(backend, rng):
    trunk = VGGEncoder(3, (2, 3, 4), (1, 2, 1))
    features = trunk(rng.random((2, 3, 24, 16), dtype=np.float32))
    assert [f.shape for f in features] == [
        (2, c, 24 // s, 16 // s) for c, s in zip(trunk.channels, trunk.strides, strict=True)
    ]
    assert trunk.strides == (2, 4, 8)


def test_only_the_first_convolution_gets_the_padding_and_ceil_pools_keep_the_rest(rng):
    trunk = VGGEncoder(1, (2, 3), (2, 2), padding=5, ceil_mode=True)
    assert [layer.padding for stage in trunk for layer in stage if isinstance(layer, nn.Conv2d)] == [
        (5, 5),
        *[(1, 1)] * 3,
    ]
    assert [f.shape[2:] for f in trunk(rng.random((1, 1, 9, 10), dtype=np.float32))] == [(9, 9), (5, 5)]


def test_batch_norm_follows_each_convolution_with_or_without_a_bias():
    plain, both = VGGEncoder(3, (2,), (2,), norm="batch"), VGGEncoder(3, (2,), (2,), norm="batch", bias=True)
    assert kinds(plain[0]) == ["Conv2d", "BatchNorm2d", "ReLU"] * 2 + ["MaxPool2d"]
    assert plain[0][0].bias is None
    assert both[0][0].bias.shape == (2,)


def test_switches_lead_the_way_back(backend, rng):
    """The decoder, its convolutions taken out, puts the pooled maxima where they were and zeros elsewhere."""
    encoder, decoder = SwitchEncoder(1, (1, 1), (1, 1), ceil_mode=True), SwitchDecoder((1, 1), (1, 1), norm=None)
    for part in (encoder, decoder):
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data = np.zeros((1, 1, 3, 3), np.float32)
                layer.weight.data[0, 0, 1, 1] = 1
                layer.bias.data = np.zeros(1, np.float32)
    image = rng.random((2, 1, 7, 10), dtype=np.float32)  # odd: only the remembered size leads back
    with ms.no_grad():
        x, switches = encoder(image)
        back = decoder(x, switches).numpy()
    assert [s.size for s in switches] == [(7, 10), (4, 5)]
    assert x.shape == (2, 1, 2, 3)
    assert back.shape == image.shape
    kept = back != 0
    assert kept.sum() == x.data.size
    np.testing.assert_array_equal(back[kept], image[kept])


def test_the_decoder_mirrors_the_trunk():
    channels = [[c.out_channels for c in stage if isinstance(c, nn.Conv2d)] for stage in SwitchDecoder().stages]
    assert channels == [[512, 512, 512], [512, 512, 256], [256, 256, 128], [128, 64], [64, 64]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": (4, 0), "convs": (1, 1)}, "VGGEncoder: widths must be positive integers, one a stage"),
        ({"widths": (4, 4), "convs": 2}, "VGGEncoder: convs must be positive integers, one a stage, got 2"),
        ({"widths": (4, 4), "convs": (1,)}, "equally long, one entry a stage, got 2 and 1"),
        ({"norm": "layer"}, 'norm must be "batch" or None'),
    ],
)
def test_wrong_stages_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        VGGEncoder(3, **arguments)
