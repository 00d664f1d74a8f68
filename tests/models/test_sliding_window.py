"""The patch classifier as published, beside PyTorch; the window slid over images, beside a loop; models on disk."""

import json

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import models, nn, optim
from minisegnet.metrics import ConfusionMatrix
from minisegnet.models import dilate_instead_of_stride, slide, to_fully_convolutional

SMALL = {"patch_size": 14, "widths": (3, 4), "kernel_sizes": (3, 3), "hidden": (5,)}


def test_the_published_net():
    """Ciresan et al. (2012), network N4: a window of 95 pixels, whose middle is one pixel."""
    with nn.init.no_draws():
        net = models.PatchClassifier()
    rows = net.summary((1, 95, 95)).rows
    planes = [row.output_shape[1:] for row in rows if row.kind in ("Conv2d", "MaxPool2d")]
    assert planes == [(48, n, n) for n in (92, 46, 42, 21, 18, 9, 6, 3)]
    assert [row.output_shape[1] for row in rows if row.kind == "Linear"] == [200, 2]
    assert sum(p.data.size for p in net.parameters()) == 219_290
    assert rows[-1].receptive_field == 95
    assert to_fully_convolutional(net).field == (95, 16, 47.0)


def twin(torch, norm):
    t = torch.nn
    layers = [
        t.Conv2d(2, 3, 3, bias=norm is None), *([t.BatchNorm2d(3)] if norm else []), t.ReLU(), t.MaxPool2d(2),
        t.Conv2d(3, 4, 3, bias=norm is None), *([t.BatchNorm2d(4)] if norm else []), t.ReLU(), t.MaxPool2d(2),
        t.Flatten(), t.Linear(16, 5), t.ReLU(), t.Linear(5, 3),
    ]  # fmt: skip
    return t.Sequential(*layers).double()


@pytest.mark.parametrize("norm", [None, "batch"])
def test_scores_and_gradients_are_pytorchs(norm, backend, rng):
    torch = pytest.importorskip("torch")
    net, other = models.PatchClassifier(2, 3, **SMALL, norm=norm).double(), twin(torch, norm)
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        theirs.data = torch.tensor(mine.data)
    x, grad = rng.normal(size=(6, 2, 14, 14)), rng.normal(size=(6, 3))
    image, theirs_image = ms.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = net(image), other(theirs_image)
    np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=0, atol=1e-10)
    y.backward(grad)
    expected.backward(torch.tensor(grad))
    np.testing.assert_allclose(image.grad.data, theirs_image.grad.numpy(), rtol=0, atol=1e-10)
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad.data, theirs.grad.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("border", "mode"), [("valid", None), ("reflect", "reflect"), ("zeros", "constant")])
@pytest.mark.parametrize(("stride", "batch_size"), [(1, 256), (3, 7)])
def test_sliding_is_a_loop_over_pixels(border, mode, stride, batch_size, backend, rng):
    net = models.PatchClassifier(2, 3, **SMALL, norm="batch", dropout=0.5).double()
    images = rng.normal(size=(2, 2, 19, 17))
    calls = []
    scores = slide(net, images, stride, border, batch_size=batch_size, progress=lambda *done: calls.append(done))
    assert all(module.training for module in net.modules())  # as before
    assert scores._node is None  # off the tape
    assert calls[-1][0] == calls[-1][1] == scores.data[:, 0].size
    assert [done for done, _ in calls] == [min(i * batch_size, calls[-1][1]) for i in range(1, len(calls) + 1)]

    net.eval()
    padded = images if mode is None else np.pad(images, ((0, 0), (0, 0), (7, 6), (7, 6)), mode=mode)
    rows, columns = (range(0, n - 13, stride) for n in padded.shape[2:])
    assert scores.shape == (2, 3, len(rows), len(columns))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            expected = net(padded[:, :, y : y + 14, x : x + 14]).data
            np.testing.assert_allclose(scores.data[:, :, i, j], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("patch", [1, 4, 5])
@pytest.mark.parametrize("border", ["reflect", "zeros"])
def test_the_middle_of_a_patch_is_its_pixel(patch, border, rng):
    """A classifier that returns its middle pixel, number P // 2, returns the image."""
    net = nn.Sequential(nn.Conv2d(1, 1, patch, bias=False), nn.Flatten()).double()
    net[0].weight.data[...] = 0
    net[0].weight.data[0, 0, patch // 2, patch // 2] = 1
    image = rng.normal(size=(1, 9, 7))
    np.testing.assert_array_equal(slide(net, image, border=border, patch_size=patch).data, image)
    np.testing.assert_array_equal(slide(net, image, 2, border, patch).data, image[:, ::2, ::2])
    np.testing.assert_array_equal(to_fully_convolutional(net, border)(image[None]).data[0], image)


def test_no_images_have_no_scores():
    net = models.PatchClassifier(2, 3, **SMALL)
    assert slide(net, np.zeros((0, 2, 20, 16), np.float32)).shape == (0, 3, 7, 3)


def test_a_model_on_disk_comes_back(tmp_path, rng):
    net = models.PatchClassifier(2, 3, **SMALL, norm="batch", dropout=0.25)
    patches = rng.random((4, 2, 14, 14), dtype=np.float32)
    net(patches)  # running statistics
    models.save(net.eval(), tmp_path / "patch.safetensors", {"reached": 0.9})
    again = models.load(tmp_path / "patch.safetensors")
    assert json.loads(json.dumps(net.config)) == net.config == again.config
    assert again.about == {"reached": 0.9}
    np.testing.assert_array_equal(again(patches).data, net(patches).data)


def test_a_small_one_learns_eight_images(rng):
    """Trained on all patches at once, by the net that is equal to it; read out by sliding the classifier itself."""
    classifier = models.PatchClassifier(3, 4, 9, widths=(16, 32), kernel_sizes=(4, 2), hidden=(64,))
    net = dilate_instead_of_stride(to_fully_convolutional(classifier), "reflect")
    labels = rng.integers(4, size=(8, 4, 4)).repeat(8, axis=1).repeat(8, axis=2)
    colours = rng.random((4, 3))
    images = colours[labels].transpose(0, 3, 1, 2).astype(np.float32) + 0.1 * rng.normal(size=(8, 3, 32, 32))
    images = images.astype(np.float32)
    optimizer = optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = iter(net.state_dict().values())
    classifier.load_state_dict({k: next(weights).reshape(v.shape) for k, v in classifier.state_dict().items()})
    matrix = ConfusionMatrix(4)
    matrix.update(slide(classifier, images, border="reflect").data.argmax(1), labels)
    assert matrix.mean_iou() > 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "PatchClassifier: in_channels must be a positive integer, got 0"),
        ({"patch_size": 9.5}, "PatchClassifier: patch_size must be a positive integer, got 9.5"),
        ({"widths": (4, 0)}, r"PatchClassifier: widths must be positive integers, one a layer, got \(4, 0\)"),
        ({"hidden": 200}, "PatchClassifier: hidden must be positive integers, one a layer, got 200"),
        ({"kernel_sizes": (4,)}, "widths and kernel_sizes must be equally long, one entry a stage, got 4 and 1"),
        ({"norm": "layer"}, 'norm must be "batch" or None'),
        ({"patch_size": 96}, "patch_size must be 63 or a multiple of 16 more.*got 96; sizes near it: 95, 111"),
        ({"patch_size": 20}, "patch_size must be 63 or a multiple of 16 more.*got 20; sizes near it: 63, 79"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.PatchClassifier(**arguments)


def test_wrong_input_is_named():
    net, image = models.PatchClassifier(1, 2, **SMALL), np.zeros((1, 1, 20, 20), np.float32)
    with pytest.raises(ValueError, match=r"input must be patches \(N, 1, 14, 14\), got shape \(1, 1, 20, 20\); slide"):
        net(image)
    with pytest.raises(ValueError, match="slide: stride must be a positive integer, got 0"):
        slide(net, image, 0)
    with pytest.raises(ValueError, match="slide: border must be one of valid, reflect, zeros, got 'mirror'"):
        slide(net, image, border="mirror")
    with pytest.raises(ValueError, match="slide: patch_size must be given, for a Conv2d does not tell its own"):
        slide(nn.Conv2d(1, 2, 3), image)
    with pytest.raises(ValueError, match=r"must return scores \(N, K\), got shape \(256, 2, 1, 1\) for 256 patches"):
        slide(nn.Conv2d(1, 2, 3), image, patch_size=3)
    with pytest.raises(
        ValueError, match='images must have 14 pixels or more on each side for patches of 14 and border "valid"'
    ):
        slide(net, image[:, :, :13])
    with pytest.raises(ValueError, match="images must have 8 pixels or more"):
        slide(net, image[:, :, :7], border="reflect")
    with pytest.raises(TypeError, match="slide: input must be float32 or float64, got uint8"):
        slide(net, image.astype(np.uint8))
    with pytest.raises(ValueError, match="slide: input must have 4 axes"):
        slide(net, image[0, 0])
