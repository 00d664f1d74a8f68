"""Every system at laptop size: sizes, files, and that it learns eight pictures by heart."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import metrics, models, nn, optim
from minisegnet.models import laptop

CLASSES = 3
COLORS = np.array([[0.1, 0.4, 0.8], [0.9, 0.6, 0.1], [0.3, 0.9, 0.3]])


def pictures(size, straight=False):
    """Return eight pictures (8, 3, size, size) and their classes: a slanted border and a disc, or a straight border alone."""
    rng = np.random.default_rng(0)
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    targets = []
    for i in range(8):
        angle = rng.uniform(0, 2 * np.pi) if not straight else i * np.pi / 2
        first, second = (0, 1) if not straight else [(0, 1), (1, 2), (2, 0)][i % 3]
        target = np.where(x * np.cos(angle) + y * np.sin(angle) > rng.uniform(-0.1, 0.1), second, first)
        (cx, cy), radius = rng.uniform(-0.2, 0.2, 2), rng.uniform(0.2, 0.3)
        if not straight:
            target[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = 2
        targets.append(target)
    target = np.stack(targets)
    images = COLORS[target].transpose(0, 3, 1, 2) + rng.normal(0, 0.1, (8, 3, size, size))
    return images.astype(np.float32), target


def steps_until_known(net, images, target, rate, most=90):
    """Train until the mean IoU in evaluation mode is above 0.95; return the steps that took, and the mean IoU then."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.3  # the running statistics follow within some ten steps
    optimizer, score = optim.Adam(net.parameters(), rate), 0.0
    for step in range(1, most + 1):
        optimizer.zero_grad()
        loss = F.cross_entropy(net.train()(ms.Tensor(images)), target)
        loss.backward()
        optimizer.step()
        if step % 5 == 0 and float(loss) < 0.3:
            with ms.no_grad():
                found = net.eval()(ms.Tensor(images)).data.argmax(1)
            score = metrics.ConfusionMatrix(CLASSES).update(found, target).mean_iou()
            if score > 0.95:
                break
    return step, score


# name: (pixels on a side, first channels, learning rate)
SETTINGS = {
    "sliding window": (32, 4, 0.01),
    "FCN-32s": (64, 8, 0.003),
    "FCN-16s": (64, 4, 0.01),
    "FCN-8s": (64, 4, 0.01),
    "DeconvNet": (64, 8, 0.005),
    "SegNet": (32, 8, 0.01),
    "dilated": (64, 4, 0.005),
    "DeepLab": (64, 8, 0.01),
    "hourglass": (32, 8, 0.005),
    "U-Net, added skips": (32, 8, 0.01),
    "U-Net": (32, 8, 0.01),
    "U-Net, separable": (32, 8, 0.01),
    "MobileNet-U-Net": (64, 6, 0.02),
    "SkipNet-MobileNet": (64, 6, 0.01),
    "SkipNet-ShuffleNet": (64, 4, 0.01),
}
COARSE = ("FCN-32s", "FCN-16s")  # four or sixteen scores draw no disc


def test_every_system_has_a_family_and_a_setting():
    assert [name for names in laptop.FAMILIES.values() for name in names] == list(laptop.SYSTEMS)
    assert SETTINGS.keys() == laptop.SYSTEMS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_sizes_files_and_widths(name, tmp_path, rng):
    net = laptop.SYSTEMS[name](3, 5).eval()
    assert isinstance(net, models.DensePrediction)
    least = 64 if name == "DeconvNet" else 32
    assert all(net.output_size(size) == size for size in range(least, 257, 32))
    if name == "DeconvNet":
        assert net.output_size(32) is None
    x = ms.Tensor(rng.random((1, 3, least, 96), dtype=np.float32))
    models.save(net, tmp_path / "net.safetensors")
    again = models.load(tmp_path / "net.safetensors")
    with ms.no_grad():
        scores = net(x).data
        np.testing.assert_array_equal(again(x).data, scores)
    assert scores.shape == (1, 5, least, 96)
    wider = laptop.SYSTEMS[name](3, 5, 16)
    parameters = [sum(p.data.size for p in n.parameters()) for n in (net, wider)]
    assert 2 < parameters[1] / parameters[0] < 4.1


@pytest.mark.parametrize("name", SETTINGS)
def test_every_system_learns_eight_pictures_by_heart(name):
    size, channels, rate = SETTINGS[name]
    images, target = pictures(size, straight=name in COARSE)
    with ms.use_backend("numba"):
        steps, score = steps_until_known(laptop.SYSTEMS[name](3, CLASSES, channels), images, target, rate)
    assert score > 0.95, f"{score:.3f} after {steps} steps"
