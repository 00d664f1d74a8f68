"""Networks as torch.nn.Module and back: the same numbers, gradients, names and modes; nothing shared."""

import copy

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet import interop, models, nn, random
from minisegnet.autograd import Tensor
from minisegnet.backend import use_backend
from minisegnet.models import laptop
from minisegnet.models.shufflenet import ShuffleNetEncoder

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

NETWORKS = {
    **{name: (lambda build=build: build(3, 2), 64) for name, build in laptop.SYSTEMS.items()},
    "U-Net, valid": (lambda: models.UNet(3, 2, base_channels=4, depth=2, padding="valid", norm=None), 44),
    "U-Net, bilinear": (lambda: models.UNet(1, 3, base_channels=4, depth=2), 16),
    "MobileNet": (lambda: models.MobileNet(3, 5, width=0.125), 64),
    "MobileNetV2": (lambda: models.MobileNetV2(3, 5, width=0.125), 64),
    "ResNet18": (lambda: models.ResNet18(3, 5, width=0.125), 64),
    "ShuffleNet": (lambda: models.ShuffleNet(3, 5, width=0.25), 64),
    "ShuffleNet's encoder, dilated": (lambda: ShuffleNetEncoder(3, width=0.25, output_stride=16), 64),
    "patch classifier": (lambda: models.PatchClassifier(3, 2, 45, (4, 8), (4, 4), hidden=(8,)), 45),
}


@pytest.fixture(autouse=True)
def reference():
    with use_backend("reference"):
        yield


def network(name):
    """Return a network in float64 with weights and statistics that a training might have left, and an input."""
    random.manual_seed(1)
    build, size = NETWORKS[name]
    model, rng = build(), np.random.default_rng(2)
    for key, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.dtype.kind == "f":
            away = rng.uniform(0.5, 1.5, tensor.shape) if "var" in key else 0.1 * rng.standard_normal(tensor.shape)
            tensor.data = np.float64(1) * away if "running" in key else tensor.data.astype(np.float64) + away
    channels = next(p for p in model.parameters() if p.ndim == 4).shape[1]
    return model, rng.standard_normal((2, channels, size, size))


def last(value):
    """Return the output, of an encoder its coarsest feature."""
    return value[-1] if isinstance(value, list) else value


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", NETWORKS)
def test_equal_numbers_and_gradients(name, training):
    model, x = network(name)
    for module in model.modules():  # drops of different random numbers cannot be compared
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    model.train(training)
    theirs = interop.to_torch(model)
    assert isinstance(theirs, torch.nn.Module)
    assert theirs.training == training
    assert list(theirs.state_dict()) == list(model.state_dict())
    back = interop.from_torch(theirs)
    assert type(back) is type(model)
    assert list(back.state_dict()) == list(model.state_dict())

    ours, leaf = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    again = Tensor(x, requires_grad=True)
    y, t, z = last(model(ours)), last(theirs(leaf)), last(back(again))
    rng = np.random.default_rng(3)
    direction = rng.standard_normal(y.shape)
    np.testing.assert_allclose(t.detach().numpy(), y.detach().numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(z.detach().numpy(), y.detach().numpy())
    (y * direction).sum().backward()
    (t * torch.tensor(direction)).sum().backward()
    scale = max(abs(ours.grad.data).max(), 1)
    np.testing.assert_allclose(leaf.grad.numpy(), ours.grad.data, rtol=1e-9, atol=1e-10 * scale)
    mine = dict(model.named_parameters())
    for key, parameter in theirs.named_parameters():
        assert parameter.requires_grad == mine[key].requires_grad
        if not parameter.requires_grad:  # FCN's bilinear upsampling is fixed
            continue
        scale = max(abs(mine[key].grad.data).max(), 1)
        np.testing.assert_allclose(
            parameter.grad.numpy(), mine[key].grad.data, rtol=1e-9, atol=1e-10 * scale, err_msg=key
        )
    for key, array in model.state_dict().items():  # running statistics moved alike
        np.testing.assert_allclose(theirs.state_dict()[key].numpy(), array, rtol=1e-10, atol=1e-12, err_msg=key)


def test_nothing_is_shared_and_the_result_is_an_ordinary_module(tmp_path):
    model, x = network("U-Net, bilinear")
    theirs = interop.to_torch(model).eval()
    before = model.eval()(Tensor(x)).detach().numpy().copy()
    copied = copy.deepcopy(theirs)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(model(Tensor(x)).detach().numpy(), before)
    np.testing.assert_allclose(copied(torch.tensor(x)).detach().numpy(), before, rtol=1e-10, atol=1e-10)
    theirs.load_state_dict(copied.state_dict())
    torch.save(copied.state_dict(), tmp_path / "weights.pt")
    theirs.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    half = theirs.float().train()
    optimizer = torch.optim.SGD(half.parameters(), lr=0.01)
    half(torch.tensor(x, dtype=torch.float32)).square().mean().backward()
    optimizer.step()
    trained = interop.from_torch(half)
    assert trained.training
    assert next(trained.parameters()).dtype == np.float32
    np.testing.assert_allclose(
        trained.eval()(Tensor(x.astype(np.float32))).detach().numpy(),
        half.eval()(torch.tensor(x, dtype=torch.float32)).detach().numpy(),
        atol=1e-4,
    )


def test_a_network_that_comes_back_can_do_what_it_could():
    model = models.load_pretrained("nuclei")
    back = interop.from_torch(interop.to_torch(model))
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(back.predict(image), model.predict(image))
    assert back.config == model.config


def test_what_was_shared_stays_shared():
    layer = nn.Conv2d(3, 3, 3, padding=1)
    theirs = interop.to_torch(nn.Sequential(layer, nn.ReLU(), layer))
    assert theirs[0] is theirs[2]
    back = interop.from_torch(theirs)
    assert back[0] is back[2]


LAYERS = [
    nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False),
    nn.Conv2d(4, 4, 3, padding="same"),
    nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
    nn.BatchNorm2d(4, eps=1e-3, momentum=0.2),
    nn.BatchNorm2d(4, affine=False),
    nn.BatchNorm2d(4, track_running_stats=False),
    nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AdaptiveAvgPool2d(3),
    nn.Upsample(scale_factor=2, mode="bilinear"),
    nn.Upsample(size=(11, 7)),
    nn.DepthwiseSeparableConv2d(4, 5, 3, padding=1),
    nn.ChannelShuffle(2),
    nn.Flatten(),
    nn.Sequential(nn.Flatten(), nn.Linear(4 * 8 * 8, 3, bias=False)),
    nn.LeakyReLU(0.2),
    nn.ReLU6(),
    nn.Sigmoid(),
    nn.Softmax(1),
    nn.Identity(),
    nn.ZeroPad2d((1, 2, 3, 0)),
    nn.ReflectionPad2d(2),
    nn.ReplicationPad2d((1, 0, 2, 1)),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_each_layer_there_and_back(layer):
    x = np.random.default_rng(0).standard_normal((2, 4, 8, 8)).astype(np.float32)
    theirs = interop.to_torch(layer)
    back = interop.from_torch(theirs)
    wanted = layer(Tensor(x)).detach().numpy()
    np.testing.assert_allclose(theirs(torch.tensor(x)).detach().numpy(), wanted, rtol=1e-5, atol=1e-5)
    assert repr(back).replace("2.0", "2") == repr(layer)
    if not isinstance(layer, nn.BatchNorm2d):
        np.testing.assert_array_equal(back(Tensor(x)).detach().numpy(), wanted)


def test_a_network_written_with_pytorch_comes_to_us():
    class Net(torch.nn.Module):
        """As a student writes it there: helper methods, a property, a closure, torch.cat and F."""

        def __init__(self):
            super().__init__()
            self.down = torch.nn.Conv2d(1, 4, 3, stride=2, padding=1)
            self.up = torch.nn.ConvTranspose2d(4, 4, 2, stride=2)
            self.last = torch.nn.Conv2d(5, 2, 1)
            self.scale = 0.5

        @property
        def factor(self):
            return 2 * self.scale

        def middle(self, x):
            return torch.nn.functional.relu(self.down(x)) * self.factor

        def forward(self, x):
            return self.last(torch.cat([x, self.up(self.middle(x))], dim=1))

    torch.manual_seed(0)
    theirs = Net()
    ours = interop.from_torch(theirs)
    assert isinstance(ours, nn.Module)
    x = np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(
        ours(Tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )


def test_what_cannot_be_translated_is_named():
    with pytest.raises(TypeError, match=r"to_torch: model must be a minisegnet.nn.Module, got ndarray"):
        interop.to_torch(np.zeros(3))
    with pytest.raises(TypeError, match=r"from_torch: module must be a torch.nn.Module, got Conv2d"):
        interop.from_torch(nn.Conv2d(1, 1, 1))
    with pytest.raises(TypeError, match=r"from_torch: there is no Conv3d in minisegnet.nn; there are"):
        interop.from_torch(torch.nn.Sequential(torch.nn.Conv3d(1, 1, 1)))
    with pytest.raises(TypeError, match=r"Conv2d has padding_mode='reflect', which the other side does not have"):
        interop.from_torch(torch.nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"))


def test_an_operation_without_a_counterpart_is_named():
    class Sorted(torch.nn.Module):
        def forward(self, x):
            return torch.sort(x)

    with pytest.raises(TypeError, match="sort, which this network uses, has no counterpart there"):
        interop.from_torch(Sorted())(Tensor(np.zeros(3)))


def test_missing_pytorch_names_the_cure(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RuntimeError, match=r"PyTorch is not installed. Install it: `pip install torch`"):
        interop.to_torch(nn.Conv2d(1, 1, 1))


def test_functional_of_both_sides_have_the_same_names():
    """What a lesson's network may use has a meaning there: no name of ours is missing in PyTorch."""
    ours = [n for n in dir(F) if not n.startswith("_") and callable(getattr(F, n))]
    missing = [n for n in ours if not hasattr(torch.nn.functional, n) and not hasattr(torch, n)]
    assert missing == []
