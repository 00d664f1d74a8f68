"""U-Net: the twin in PyTorch, prediction of any size; the paper's numbers are in tests/facts/test_07_unet.py."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import minisegnet.functional as F
from minisegnet import models

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize(("depth", "padding"), [(1, "valid"), (2, "valid"), (3, "same")])
def test_forward_agrees_with_the_derived_size(depth, padding):
    net = models.UNet(1, 3, base_channels=2, depth=depth, padding=padding, norm=None)
    size = net.valid_sizes(40)[1]
    assert net(np.zeros((1, 1, size, size), np.float32)).shape == (1, 3, net.output_size(size), net.output_size(size))


def test_a_wrong_input_says_what_works():
    net = models.UNet(3, 2, base_channels=2)
    with pytest.raises(
        ValueError, match="height of 100 pixels does not work with padding='same'; sizes near it that do: 96, 112, 128"
    ):
        net(np.zeros((1, 3, 100, 96), np.float32))
    with pytest.raises(ValueError, match="must have 3 channels, got 1"):
        net(np.zeros((1, 1, 32, 32), np.float32))
    with pytest.raises(ValueError, match=r"add image\[None\]"):
        net(np.zeros((3, 32, 32), np.float32))
    for kwargs, message in [
        ({"base_channels": 0}, "base_channels must be a positive integer"),
        ({"padding": "full"}, 'padding must be "same" or "valid"'),
        ({"norm": "layer"}, 'norm must be "batch" or None'),
        ({"skips": "sum"}, 'skips must be "concatenate", "add" or None'),
        ({"convolution": "depthwise"}, 'convolution must be "full" or "separable"'),
    ]:
        with pytest.raises(ValueError, match=message):
            models.UNet(3, 2, **kwargs)


def twin(depth, norm, valid, base=4, classes=3, **form):
    """Return PyTorch and the same U-Net written in it (benchmarks/torch_unet.py); its parts have the same names."""
    torch = pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("torch_unet", BENCHMARKS / "torch_unet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return torch, module.UNet(3, classes, base, depth, "valid" if valid else "same", norm, **form)


FORMS = [  # the U-Net as used today and as published, and the lecture's way to it
    ("batch", False, 32, {}),
    (None, True, 44, {}),
    ("batch", False, 32, {"skips": None}),
    ("batch", False, 32, {"skips": "add"}),
    (None, True, 44, {"skips": "add"}),
    ("batch", False, 32, {"convolution": "separable"}),
    (None, False, 32, {"convolution": "separable", "skips": "add"}),
]


@pytest.mark.parametrize(("norm", "valid", "size", "form"), FORMS)
def test_a_state_dict_moves_both_ways_and_training_agrees(norm, valid, size, form, backend, rng):
    torch, other = twin(2, norm, valid, **form)
    net = models.UNet(3, 3, base_channels=4, depth=2, padding="valid" if valid else "same", norm=norm, **form)
    x = rng.random((2, 3, size, size), dtype=np.float32)

    other.load_state_dict({k: torch.tensor(v) for k, v in net.state_dict().items()})
    np.testing.assert_allclose(net.eval()(x).data, other.eval()(torch.tensor(x)).detach().numpy(), atol=1e-4)
    torch.manual_seed(1)
    for p in other.parameters():
        torch.nn.init.normal_(p, 0.0, 0.1)
    net.load_state_dict(other.state_dict())

    mine, theirs = net.train()(x), other.train()(torch.tensor(x))
    np.testing.assert_allclose(mine.data, theirs.detach().numpy(), atol=1e-4)
    target = rng.integers(0, 3, (2, *mine.shape[2:]))
    loss, expected = F.cross_entropy(mine, target), torch.nn.functional.cross_entropy(theirs, torch.tensor(target))
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    grads = {n: p.grad.numpy() for n, p in other.named_parameters()}
    for name, p in net.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), grads[name], rtol=1e-3, atol=2e-5, err_msg=name)
    for name, b in other.named_buffers():
        np.testing.assert_allclose(net.state_dict()[name], b.numpy(), rtol=1e-4, atol=1e-6)


def test_every_form_is_built_again_from_its_file(tmp_path, rng):
    for norm, valid, size, form in FORMS:
        net = models.UNet(3, 2, base_channels=2, depth=2, padding="valid" if valid else "same", norm=norm, **form)
        models.save(net, tmp_path / "net.safetensors")
        again = models.load(tmp_path / "net.safetensors")
        x = rng.random((1, 3, size, size), dtype=np.float32)
        np.testing.assert_array_equal(again(x).data, net.eval()(x).data)
        assert again.config == net.config


def test_what_the_forms_cost():
    """Without skips nothing but the decoder's first convolutions is saved; depthwise separable is eight times cheaper."""
    costs = {
        name: models.UNet(3, 2, **form).summary((3, 64, 64))
        for name, form in {"stacked": {}, "added": {"skips": "add"}, "none": {"skips": None}}.items()
    }
    assert costs["added"].parameters == costs["none"].parameters
    saved = sum(9 * width * width for width in (64, 128, 256, 512))
    assert costs["stacked"].parameters - costs["added"].parameters == saved
    full = models.UNet(3, 2, skips="add").bottleneck.summary((512, 4, 4)).multiply_accumulates
    cheap = models.UNet(3, 2, skips="add", convolution="separable").bottleneck.summary((512, 4, 4)).multiply_accumulates
    assert full / cheap == pytest.approx(1 / (1 / 1024 + 1 / 9), rel=1e-3)


@pytest.mark.parametrize("shape", [(37, 50), (1, 1), (64, 64), (100, 33)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_predict_takes_any_size(shape, padding, rng):
    net = models.UNet(3, 2, base_channels=2, depth=2, padding=padding)
    chances = net.predict(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    assert chances.shape == (2, *shape)
    np.testing.assert_allclose(chances.sum(axis=0), 1, rtol=1e-5)
    assert net.training


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_tiles_leave_no_seam(padding, rng):
    net = models.UNet(3, 2, base_channels=4, depth=2, padding=padding)
    net(rng.random((2, 3, 60, 60), dtype=np.float32))  # running statistics that are not the identity
    image = rng.random((3, 150, 203), dtype=np.float32)
    whole, tiled = net.predict(image, tile=None), net.predict(image, tile=48)
    np.testing.assert_allclose(tiled, whole, atol=2e-6)
    narrow = net.predict(image, tile=48, margin=4) if padding == "same" else whole + 1
    assert abs(narrow - whole).max() > 1e-4  # with too small a margin there is one: the test can fail


def test_predict_agrees_with_forward_and_keeps_modes(rng):
    net = models.UNet(3, 2, base_channels=4, depth=2)
    net.dropout.eval()
    image = rng.random((3, 32, 48), dtype=np.float32)
    chances = net.predict(image)
    assert net.training
    assert not net.dropout.training
    np.testing.assert_allclose(chances, F.softmax(net.eval()(image[None]), 1).data[0], atol=1e-6)
    grey = models.UNet(1, 1, base_channels=2, depth=1)
    one = grey.predict(rng.integers(0, 256, (9, 9), dtype=np.uint8))
    assert one.shape == (1, 9, 9)
    assert (one > 0).all()
    assert (one < 1).all()


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((8, 8, 3), np.int64), TypeError, "uint8.*got int64"),
        (np.zeros((8, 8), np.float32), ValueError, r"float \(3, H, W\), got float32 \(8, 8\)"),
        (np.zeros((0, 8, 3), np.uint8), ValueError, r"got uint8 \(0, 8, 3\)"),
        (np.zeros((8, 8, 3), np.float32), ValueError, r"float \(3, H, W\), got float32 \(8, 8, 3\)"),
        (
            np.where(np.arange(192).reshape(3, 8, 8) == 70, np.nan, 0.5),
            ValueError,
            r"holds nan at \(channel, y, x\) = \(1, 0, 6\)",
        ),
    ],
)
def test_predict_names_what_is_wrong(image, error, message):
    with pytest.raises(error, match=message):
        models.UNet(3, 2, base_channels=2, depth=1).predict(image)
