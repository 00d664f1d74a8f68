"""With a default device "cuda", what is new lives on the GPU, and what was on the CPU stays there and works as ever."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import losses, metrics, models, nn, optim, training
from minisegnet.nn import init

X = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)
Y = np.random.default_rng(2).integers(0, 3, (2, 8, 8))
TARGETS = {"classes": Y, "a map a class": np.abs(X) / np.abs(X).max()}


def test_new_tensors(default_gpu):
    made = [ms.tensor(X), ms.tensor([1.0, 2.0]), ms.tensor(3), ms.zeros(2, 3), ms.ones((2,)), ms.randn(2)]
    assert [t.device for t in made] == ["cuda"] * 6
    assert all(isinstance(t.numpy(), np.ndarray) for t in made)
    assert made[1].dtype == np.float32
    kept = [ms.from_numpy(X), ms.Tensor(X), ms.tensor(ms.Tensor(X))]
    assert [t.device for t in kept] == ["cpu"] * 3
    assert np.shares_memory(kept[0].data, X)
    with ms.set_default_device("cpu"):
        assert ms.zeros(2).device == "cpu"
        assert ms.tensor(made[0]).device == "cuda"
    assert ms.zeros(2).device == "cuda"


def test_parameters_and_buffers(default_gpu):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(2, 2), nn.ConvTranspose2d(4, 2, 2))
    assert all(t.device == "cuda" for _, t in [*net.named_parameters(), *net.named_buffers()])
    assert net.device == nn.Sequential().device == "cuda"
    init.ones_(net[3].weight)
    assert net[3].weight.device == "cuda"
    assert all(isinstance(v, np.ndarray) for v in net.state_dict().values())
    assert nn.Parameter(ms.Tensor(X)).device == "cpu"
    net.to("cpu").load_state_dict(net.state_dict())
    assert net.device == "cpu"


def test_random_weights_are_those_of_the_cpu(default_gpu):
    ms.manual_seed(3)
    there = nn.Conv2d(3, 4, 3)
    with ms.set_default_device("cpu"):
        ms.manual_seed(3)
        here = nn.Conv2d(3, 4, 3)
    for a, b in zip(there.parameters(), here.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


MEETINGS = {
    "conv2d": lambda x: F.conv2d(x, W, W[:, 0, 0, 0]),
    "conv2d, alone with a weight": lambda x: F.conv2d(X, x[:1, :, :3, :3]),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, W.transpose(1, 0, 2, 3).copy()),
    "linear": lambda x: F.linear(x, W[0, 0, :, :1].repeat(8, axis=1), np.zeros(3, np.float32)),
    "batch norm": lambda x: F.batch_norm(x, W[0, 0, 0], abs(W[0, 0, 0]), W[0, 0, 1], W[0, 0, 2]),
    "batch norm of the batch": lambda x: F.batch_norm(x, None, None, W[0, 0, 1], training=True),
    "unpooling": lambda x: F.max_unpool2d(F.max_pool2d(x, 2), np.zeros((2, 3, 4, 4), int), 2),
    "x + array": lambda x: x + X,
    "array - x": lambda x: X - x,
    "x * list": lambda x: x * [2.0],
    "x @ array": lambda x: x @ X.swapaxes(2, 3),
    "x > array": lambda x: (x > X[:1]) * x,
    "x[array]": lambda x: x[np.array([1, 0])] + x[:, np.array([0, 1, 1])],
    "cat": lambda x: ms.cat([X, x], 1),
    "stack": lambda x: ms.stack([x, X]),
    "cross entropy": lambda x: F.cross_entropy(x, Y, weight=W[0, 0, 0] ** 2, pixel_weight=X[:, 0] ** 2),
    "cross entropy, a map a class": lambda x: F.cross_entropy(x, abs(X)),
    "nll": lambda x: F.nll_loss(F.log_softmax(x, 1), Y, weight=W[0, 0, 0] ** 2),
    "binary": lambda x: F.binary_cross_entropy_with_logits(x, abs(X) / 9, weight=X[:1] ** 2, pos_weight=np.ones(8)),
    "mse": lambda x: F.mse_loss(x, X),
    "focal": lambda x: losses.FocalLoss(weight=W[0, 0, 0] ** 2)(x, Y, X[:, 0] ** 2),
    "dice": lambda x: losses.DiceLoss()(x, Y, X[:, 0] ** 2),
    "combined": lambda x: losses.CombinedLoss()(x, Y),
    "binary, as an object": lambda x: losses.BCEWithLogitsLoss(X[:1] ** 2)(x, abs(X) / 9, X[:, 0] ** 2),
}  # fmt: skip


@pytest.mark.parametrize("name", MEETINGS)
def test_an_array_goes_where_the_tensors_are(default_gpu, name):
    operation, seen = MEETINGS[name], {}
    for device in ("cpu", "cuda"):
        x = ms.Tensor(ms.to_device(X.copy(), device), requires_grad=True)
        result = operation(x)
        assert result.device == device
        (result * result).sum().backward()
        assert x.grad.device == device
        seen[device] = result.detach().numpy(), x.grad.numpy()
    for a, b in zip(seen["cpu"], seen["cuda"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    with ms.set_default_device("cpu"):
        assert operation(ms.tensor(X)).device == "cpu"


@pytest.mark.parametrize(
    "operation",
    [lambda: F.conv2d(X, W), lambda: F.relu(X), lambda: F.max_pool2d(X, 2), lambda: F.interpolate(X, scale_factor=2),
     lambda: F.softmax(X, 1), lambda: F.pad(X, (1, 1)), lambda: ms.cat([X, X]), lambda: F.cross_entropy(X, Y),
     lambda: losses.dice_loss(X, Y), lambda: F.dropout(X, 0.5), lambda: F.adaptive_avg_pool2d(X, 2)],
)  # fmt: skip
def test_arrays_by_themselves_go_to_the_gpu(default_gpu, operation):
    assert operation().device == "cuda"


def test_what_is_changed_in_place_is_no_copy(default_gpu):
    mean, variance = np.zeros(3), np.ones(3)
    with pytest.raises(TypeError, match="different devices"):
        F.batch_norm(ms.tensor(X), mean, variance, training=True)
    x = ms.Tensor(X)
    F.batch_norm(x, mean, variance, training=True)
    assert mean.any()


def test_a_gradient_goes_where_the_tensor_is(default_gpu):
    for device in ("cpu", "cuda"):
        x = ms.Tensor(ms.to_device(X, device), requires_grad=True)
        (x * x).backward(np.ones_like(X))
        np.testing.assert_array_equal(x.grad.numpy(), 2 * X)
        assert x.grad.device == device
        x.grad = None
        x[0, 0, 0, 0].backward()
        assert float(x.grad.sum()) == 1


def test_two_tensors_apart_are_still_named(default_gpu):
    with pytest.raises(TypeError, match="different devices"):
        F.conv2d(ms.Tensor(X), ms.tensor(W))
    with pytest.raises(TypeError, match="different devices"):
        ms.Tensor(X) + ms.tensor(X)
    with pytest.raises(TypeError, match="different devices"):
        nn.Conv2d(3, 1, 1)(ms.Tensor(X))


def small_net():
    ms.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.1), nn.Conv2d(8, 3, 1)
    )


def test_a_model_learns_there_without_a_word_in_the_code(default_gpu):
    seen = {}
    for device in ("cpu", "cuda"):
        with ms.set_default_device(device):
            net = small_net()
            history = training.fit(
                net, [(X, Y)] * 6, [(X, Y)], loss=losses.CombinedLoss(), optimizer=optim.AdamW(net.parameters(), 0.01),
                metric=metrics.MeanDice(), epochs=2, clip=1.0, progress=False,
            )  # fmt: skip
            assert net.device == device
            seen[device] = history.loss, net(X).detach().numpy(), history.validation[-1]["loss"]
    np.testing.assert_allclose(seen["cuda"][0], seen["cpu"][0], rtol=1e-3)
    np.testing.assert_allclose(seen["cuda"][1], seen["cpu"][1], rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(seen["cuda"][2], seen["cpu"][2], rtol=1e-3)


def test_a_model_of_the_cpu_takes_arrays_as_ever(default_gpu):
    net = small_net().to("cpu").eval()
    with ms.no_grad():
        assert net(X).device == "cpu"
    history = training.fit(
        net, [(X, Y)], loss=F.cross_entropy, optimizer=optim.SGD(net.parameters(), 0.1), steps=2, progress=False
    )
    assert net.device == "cpu"
    assert len(history.loss) == 2


def test_pretrained_models_predict_there(default_gpu, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    net = models.load_pretrained("nuclei")
    assert net.device == "cuda"
    found = net.predict(image)
    assert isinstance(found, np.ndarray)
    with ms.set_default_device("cpu"):
        np.testing.assert_allclose(found, models.load_pretrained("nuclei").predict(image), atol=1e-4)
    models.save(net, tmp_path / "net.safetensors")
    assert models.load(tmp_path / "net.safetensors").device == "cuda"


def test_windows_slide_where_the_classifier_is(default_gpu):
    for device in ("cpu", "cuda"):
        classifier = models.PatchClassifier(3, 2, 6, (4,), (3,), (4,)).to(device)
        network = models.to_fully_convolutional(classifier, patch_size=6)
        slid, passed = models.slide(classifier, X[0], stride=1, patch_size=6), models.shift_and_stitch(network, X[0])
        assert slid.device == passed.device == device
        np.testing.assert_allclose(slid.numpy(), passed.numpy(), atol=1e-5)
