"""Drawing weights: in pieces the same numbers as at once, and none at all for a network that is about to be loaded."""

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import models, nn, random


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_drawn_in_pieces_are_those_of_one_draw(dtype):
    weight = nn.Parameter(np.empty((1100, 1000, 1, 2), dtype))  # more than two pieces of 2**20
    ms.manual_seed(3)
    drawn = [nn.init.normal_(weight, 0.5, 0.3).data, nn.init.uniform_(weight, -1, 2).data]
    once = np.random.default_rng(3)
    for got, expected in zip(
        drawn, [once.normal(0.5, 0.3, weight.shape), once.uniform(-1, 2, weight.shape)], strict=True
    ):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected.astype(dtype))


def test_loading_a_model_draws_nothing(tmp_path):
    net = models.UNet(1, 2, base_channels=2, depth=1)
    models.save(net, tmp_path / "net.safetensors")
    before = random.get_state()
    again = models.load(tmp_path / "net.safetensors")
    assert random.get_state() == before
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], value, err_msg=name)


def test_weights_are_drawn_again_after_no_draws():
    def broken():
        with nn.init.no_draws():
            weight = nn.init.normal_(nn.Parameter(np.full(3, 7.0)))
            np.testing.assert_array_equal(weight.data, 7)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken()
    assert (nn.init.normal_(nn.Parameter(np.full(3, 7.0))).data != 7).all()
