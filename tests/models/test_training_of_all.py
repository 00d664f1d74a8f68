"""Every system learns: eight images by heart in seconds, and step by step the same on both backends."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import metrics, models, optim

CLASSES = 4
COLORS = np.array([[0.2, 0.3, 0.8], [0.9, 0.3, 0.2], [0.3, 0.8, 0.3], [0.7, 0.6, 0.1]])


def sliding_window():
    classifier = models.PatchClassifier(3, CLASSES, 10, (8, 16), (3, 3), hidden=(16,), norm="batch")
    return models.to_fully_convolutional(classifier, border="zeros")


def rtseg(encoder, decoder, width):
    return lambda: models.RTSeg(3, CLASSES, encoder, decoder, width=width)


# name: (a small net of the system, steps, learning rate); images of 16 pixels, of 32 where 16 would end in a single one
WIDE = ("RTSeg, MobileNet, SkipNet", "RTSeg, ShuffleNet, Dilation")
SYSTEMS = {
    "sliding window": (sliding_window, 60, 0.02),
    "FCN": (
        lambda: models.FCN(3, 4, 2, (8, 16), (1, 1), fc_channels=16, fc_kernel=3, padding=3, dropout=0.0),
        40,
        0.02,
    ),
    "DeconvNet": (lambda: models.DeconvNet(3, CLASSES, (8, 16), (1, 1), 16, 3), 50, 0.02),
    "SegNet": (lambda: models.SegNet(3, CLASSES, (8, 16), (1, 1)), 40, 0.02),
    "DilatedNet": (
        lambda: models.DilatedNet(
            3, 4, (16, 32), (1, 1), 32, 3, output_stride=2, padding="same", norm="batch", dropout=0.0
        ),
        80,
        0.005,
    ),
    "DeepLab": (lambda: models.DeepLab(3, CLASSES, "resnet18", 0.125, 8, "v2", channels=16), 90, 0.01),
    "hourglass": (lambda: models.UNet(3, CLASSES, 8, 2, skips=None), 40, 0.02),
    "U-Net, added skips": (lambda: models.UNet(3, CLASSES, 4, 2, skips="add"), 40, 0.02),
    "U-Net": (lambda: models.UNet(3, CLASSES, 4, 2), 50, 0.02),
    "U-Net, separable": (lambda: models.UNet(3, CLASSES, 8, 2, convolution="separable"), 80, 0.02),
    "MobileNet-U-Net": (lambda: models.MobileNetUNet(3, CLASSES, 0.25, 2), 40, 0.02),
    "RTSeg, VGG16, SkipNet": (rtseg("vgg16", "skipnet", 0.125), 30, 0.02),
    "RTSeg, ResNet18, U-Net": (rtseg("resnet18", "unet", 0.25), 60, 0.02),
    "RTSeg, MobileNet, SkipNet": (rtseg("mobilenet", "skipnet", 0.125), 50, 0.01),
    "RTSeg, ShuffleNet, Dilation": (rtseg("shufflenet", "dilation", 0.125), 30, 0.02),
}


def quarters(name, dtype=np.float32):
    """Return eight images of four patches each, and their classes: what even a net that sees at stride 32 can draw."""
    size = 32 if name in WIDE else 16
    rng, half = np.random.default_rng(0), size // 2
    target = rng.integers(0, CLASSES, (8, 2, 2)).repeat(half, 1).repeat(half, 2)
    images = COLORS[target].transpose(0, 3, 1, 2) + rng.normal(0, 0.05, (8, 3, size, size))
    return images.astype(dtype), target


def aim(target, output):
    """Return the classes at the pixels that a net scores: all, or the middle of each of the sliding window's steps."""
    step = target.shape[1] // output.shape[2]
    return target[:, step // 2 :: step, step // 2 :: step] if step > 1 else target


def learn(name, steps, rate, dtype=np.float32):
    """Train a small net on the eight images; return it and its losses."""
    ms.manual_seed(0)
    net = SYSTEMS[name][0]().to(dtype).train()
    images, target = quarters(name, dtype)
    optimizer, losses = optim.Adam(net.parameters(), rate), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, 2 * (1 - step / steps))
        optimizer.zero_grad()
        scores = net(ms.Tensor(images))
        loss = F.cross_entropy(scores, aim(target, scores))
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return net, losses


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("backend_name", ["numba", "reference"])
def test_every_system_learns_eight_images_by_heart(name, backend_name):
    _, steps, rate = SYSTEMS[name]
    with ms.use_backend(backend_name):
        net, _ = learn(name, steps, rate)
        images, target = quarters(name)
        with ms.no_grad():
            for _ in range(20):  # the running statistics arrive where the weights are
                net(images)
            scores = net.eval()(images)
    matrix = metrics.ConfusionMatrix(CLASSES).update(scores.data.argmax(1), aim(target, scores))
    assert matrix.mean_iou() > 0.95


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_first_twenty_losses_are_the_same_on_both_backends(name):
    found = {}
    for backend_name in ("numba", "reference"):
        with ms.use_backend(backend_name):
            _, found[backend_name] = learn(name, 20, 1e-3, np.float64)
    np.testing.assert_allclose(found["numba"], found["reference"], rtol=0, atol=1e-9)
    assert found["numba"][-1] < found["numba"][0]
