"""Networks as ONNX files: checked by ONNX, and equal under ONNX Runtime at several sizes and batches."""

import json
import sys

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet import interop, models, nn, random
from minisegnet.autograd import Tensor, no_grad
from minisegnet.backend import use_backend
from minisegnet.models import laptop
from minisegnet.models.blocks import crop_to

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install minisegnet[interop]")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install minisegnet[interop]")

# name: (how it is made, input shape, other sizes)
NETWORKS = {
    **{
        name: (lambda build=build: build(3, 2), (3, 64, 96), [(96, 64), (128, 160)])
        for name, build in laptop.SYSTEMS.items()
    },
    "U-Net, valid": (
        lambda: models.UNet(3, 2, base_channels=4, depth=2, padding="valid", norm=None),
        (3, 44, 60),
        [(64, 44), (84, 92)],
    ),
    "U-Net without skips": (
        lambda: models.UNet(1, 3, base_channels=4, depth=2, skips=None),
        (1, 16, 24),
        [(32, 20), (4, 8)],
    ),
    "U-Net, separable": (
        lambda: models.UNet(3, 2, base_channels=4, depth=2, convolution="separable"),
        (3, 32, 32),
        [(64, 36)],
    ),
    **{
        f"{name}, odd sizes": (
            lambda build=laptop.SYSTEMS[name]: build(3, 2),
            (3, 64, 96),
            [(33, 47), (65, 100), (50, 31)],
        )
        for name in ("FCN-32s", "FCN-16s", "FCN-8s", "DeepLab", "SkipNet-MobileNet", "SkipNet-ShuffleNet")
    },
    "RTSeg, U-Net, odd sizes": (
        lambda: models.RTSeg(3, 2, "resnet18", "unet", width=0.125),
        (3, 64, 96),
        [(33, 47), (65, 100), (50, 31)],
    ),
    "DilatedNet, mirrored": (
        lambda: models.DilatedNet(3, 2, (4, 8), (1, 1), 8, 3, output_stride=2, padding="reflect"),
        (3, 64, 96),
        [(50, 64), (100, 98)],
    ),
    "MobileNet": (lambda: models.MobileNet(3, 5, width=0.125), (3, 64, 64), [(96, 70)]),
    "MobileNetV2": (lambda: models.MobileNetV2(3, 5, width=0.125), (3, 64, 64), [(96, 70)]),
    "ResNet18": (lambda: models.ResNet18(3, 5, width=0.125), (3, 64, 64), [(96, 70)]),
    "ShuffleNet": (lambda: models.ShuffleNet(3, 5, width=0.25), (3, 64, 64), [(96, 70)]),
}


def network(build):
    """Return a network with weights and statistics that a training might have left."""
    random.manual_seed(1)
    model, rng = build(), np.random.default_rng(2)
    for key, tensor in model.named_buffers():
        if "running_var" in key:
            tensor.data = rng.uniform(0.5, 1.5, tensor.shape).astype(np.float32)
        elif "running_mean" in key:
            tensor.data = (0.1 * rng.standard_normal(tensor.shape)).astype(np.float32)
    for parameter in model.parameters():
        if not parameter.data.any():  # FCN's scores begin at zero: zero is equal to zero whatever the file does
            parameter.data = (0.1 * rng.standard_normal(parameter.shape)).astype(np.float32)
    return model


def differences(model, path, shapes):
    """Run the file and the model on images of these shapes; return the largest difference of each beside its largest output."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = []
    for i, shape in enumerate(shapes):
        x = np.random.default_rng(i).standard_normal(shape).astype(np.float32)
        (got,) = session.run(None, {"image": x})
        with no_grad():
            wanted = model.eval()(Tensor(x)).numpy()
        assert got.shape == wanted.shape, shape
        assert wanted.std() > 1e-3, "nothing to compare"
        found.append(float(abs(got - wanted).max() / max(abs(wanted).max(), 1e-3)))
    return found


def compare(model, path, shapes):
    return max(differences(model, path, shapes))


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_at_every_size(name, tmp_path):
    build, shape, others = NETWORKS[name]
    model = network(build)
    path = tmp_path / "net.onnx"
    with use_backend("reference"):
        interop.export_onnx(model, path, shape)
        assert model.training  # its mode is left as it was
        sizes = [(1, *shape), (2, *shape), *((n + 1, shape[0], h, w) for n, (h, w) in enumerate(others))]
        found = differences(model, path, sizes)
    # Where two pixels of a window are equal but for rounding, another one may be the largest there, and unpooling puts it
    # at another place: of SegNet, which pools what is often equal, some images differ by more than rounding.
    assert (np.median(found) if name == "SegNet" else max(found)) < 2e-5, found
    told = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert told["architecture"] == type(model).__name__
    assert json.loads(told["config"]) == json.loads(json.dumps(getattr(model, "config", {}), default=str))


def test_one_size_alone(tmp_path):
    model = network(lambda: models.UNet(3, 2, base_channels=4, depth=2))
    interop.export_onnx(model, tmp_path / "net.onnx", (3, 32, 48), dynamic_size=False)
    assert compare(model, tmp_path / "net.onnx", [(1, 3, 32, 48), (3, 3, 32, 48)]) < 2e-5
    session = ort.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, 32, 48]
    with pytest.raises(Exception, match="Got invalid dimensions"):
        session.run(None, {"image": np.zeros((1, 3, 48, 48), np.float32)})
    names = {i.name for i in onnx.load(tmp_path / "net.onnx").graph.initializer}
    assert "head.weight" in names  # weights keep the names of the state dict


OPERATIONS = {
    "pool and unpool, uneven": (
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=x.shape[2:]),
        3,
    ),
    "pools that overlap": (
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 3, 2, 1, return_indices=True), 3, 2, 1, x.shape[2:]),
        3,
    ),
    "ceil mode": (lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), 3),
    "average, border not counted": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), 3),
    "average, border counted": (lambda x: F.avg_pool2d(x, 3, 2, 1), 3),
    "average, its own divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=3), 3),
    "bilinear by a factor": (lambda x: F.interpolate(x, scale_factor=2.5, mode="bilinear"), 3),
    "bilinear, corners": (lambda x: F.interpolate(x, size=(17, 29), mode="bilinear", align_corners=True), 3),
    "nearest": (lambda x: F.interpolate(x, scale_factor=3), 3),
    "crop from the middle": (lambda x: crop_to(x, F.max_pool2d(x, 2)), 3),
    "crop at the rim": (lambda x: x[:, :, 1:-1, 2:], 3),
    "every second pixel": (lambda x: x[..., ::2, 1::3], 3),
    "one channel": (lambda x: x[:, 1], 3),
    "reflected border": (lambda x: F.pad(x, (2, 1, 0, 3), mode="reflect"), 3),
    "constant border": (lambda x: F.pad(x, (1, 2, 3, 4), value=-1.5), 3),
    "clamp": (lambda x: x.clamp(-0.5, 0.25) + x.clamp(max=1.0) + x.clamp(min=0.5), 3),
    "means": (lambda x: x.mean((2, 3)), 3),
    "means of all": (lambda x: (x - x.mean((2, 3), keepdim=True)) * 2, 3),
    "shuffle": (lambda x: F.channel_shuffle(x, 2), 4),
    "arithmetic": (lambda x: (x.exp() + 1) / (x.abs() + 0.5) - x**2, 2),
    "activations": (lambda x: F.relu6(F.leaky_relu(x, 0.1) * 5) + F.sigmoid(x) + x.tanh(), 2),
    "softmax": (lambda x: F.softmax(x, 1) + F.log_softmax(x, 1), 3),
    "permute and reshape": (lambda x: x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, x.shape[1]), 3),
}


class Operation(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation(name, tmp_path):
    function, channels = OPERATIONS[name]
    model = Operation(function)
    interop.export_onnx(model, tmp_path / "op.onnx", (channels, 12, 18))
    shapes = [(1, channels, 12, 18), (2, channels, 13, 17), (3, channels, 21, 12)]
    assert compare(model, tmp_path / "op.onnx", shapes) < 1e-5


def test_float64(tmp_path):
    layer = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2))
    for parameter in layer.parameters():
        parameter.data = parameter.data.astype(np.float64)
    interop.export_onnx(layer, tmp_path / "net.onnx", (2, 8, 8))
    graph = onnx.load(tmp_path / "net.onnx").graph  # ONNX Runtime has no such convolution
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.DOUBLE


def test_what_cannot_be_exported_is_named(tmp_path):
    out = tmp_path / "net.onnx"
    net = nn.Conv2d(3, 2, 3)
    with pytest.raises(TypeError, match=r"export_onnx: model must be a minisegnet.nn.Module, got int"):
        interop.export_onnx(3, out, (3, 8, 8))
    with pytest.raises(ValueError, match=r"input_shape must be \(C, H, W\), or \(N, C, H, W\), got \(8, 8\)"):
        interop.export_onnx(net, out, (8, 8))
    with pytest.raises(ValueError, match="3 input channels"):
        interop.export_onnx(net, out, (4, 8, 8))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    with pytest.raises(ValueError, match=r"took only 8x8. Export it for one size: dynamic_size=False"):
        interop.export_onnx(flat, out, (3, 8, 8))
    interop.export_onnx(flat, out, (3, 8, 8), dynamic_size=False)
    assert compare(flat, out, [(1, 3, 8, 8), (4, 3, 8, 8)]) < 1e-5
    with pytest.raises(TypeError, match="argmax and comparisons are not exported, apply them to the scores"):
        interop.export_onnx(Operation(lambda x: x.argmax(1)), out, (3, 8, 8))
    with pytest.raises(ValueError, match=r"changes with the size of the image"):
        interop.export_onnx(Operation(lambda x: x[:, :, : x.shape[2] ** 2 % 7 + 1]), out, (3, 8, 8))


@pytest.mark.parametrize("dynamic", [True, False])
def test_what_was_computed_off_the_tape_is_refused_not_frozen(dynamic, tmp_path):
    masked = Operation(lambda x: x * Tensor((x.data > 0).astype(np.float32)))
    with pytest.raises(ValueError, match=r"array of shape .* that Multiply uses changes with the image"):
        interop.export_onnx(masked, tmp_path / "net.onnx", (3, 12, 18), dynamic_size=dynamic)
    means = Operation(lambda x: F.adaptive_avg_pool2d(x, 3))  # by matrices that follow from the size
    if dynamic:
        with pytest.raises(ValueError, match=r"MatMul uses changes with the image or its size.*dynamic_size=False"):
            interop.export_onnx(means, tmp_path / "net.onnx", (3, 12, 18))
    else:
        interop.export_onnx(means, tmp_path / "net.onnx", (3, 12, 18), dynamic_size=False)
        assert compare(means, tmp_path / "net.onnx", [(2, 3, 12, 18)]) < 1e-5


def test_a_mean_by_its_own_divisor_over_partial_windows_is_refused(tmp_path):
    pool = Operation(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, divisor_override=5))
    with pytest.raises(ValueError, match="ceil_mode and divisor_override"):
        interop.export_onnx(pool, tmp_path / "net.onnx", (3, 12, 18))


def test_a_failed_export_leaves_the_old_file(tmp_path):
    out = tmp_path / "net.onnx"
    out.write_text("old")
    with pytest.raises(TypeError):
        interop.export_onnx(Operation(lambda x: x.argmax(1)), out, (3, 8, 8))
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_missing_onnx_names_the_cure(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(RuntimeError, match=r"pip install minisegnet\[interop\]"):
        interop.export_onnx(nn.Conv2d(1, 1, 1), tmp_path / "x.onnx", (1, 4, 4))
