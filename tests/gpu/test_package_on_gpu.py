"""The package above the kernels with arrays on the GPU: the same numbers as on the CPU, moves, and mistakes that are named."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import losses, metrics, models, nn, optim, training
from minisegnet.nn import receptive_field

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 4, 6, 7))
W = RNG.standard_normal((6, 2, 3, 3))
TRANSPOSED = RNG.standard_normal((4, 3, 3, 2))
B6, B4, C4 = RNG.standard_normal(6), RNG.standard_normal(4), RNG.uniform(0.5, 2, 4)
TARGET = RNG.integers(0, 4, (2, 6, 7))
IGNORED = np.where(RNG.random(TARGET.shape) < 0.3, -100, TARGET)
PIXELS = RNG.uniform(0, 2, (2, 6, 7))
PLACES = F.max_pool2d(X, 2, return_indices=True)[1].data

OPERATIONS = {
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2), (X, W, B6)),
    "conv2d same": (lambda x, w: F.conv2d(x, w, padding="same", groups=2), (X, W[:, :, :2])),
    "conv_transpose2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1, groups=2),
        (X, TRANSPOSED, B6),
    ),
    "linear": (lambda x, w, b: F.linear(x, w, b), (X, RNG.standard_normal((3, 7)), B6[:3])),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), (X,)),
    "max_unpool2d": (lambda x, i: F.max_unpool2d(x, i, 2, output_size=(6, 7)), (X[:, :, :3, :3], PLACES)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, (3, 2), 2, 1, ceil_mode=True, count_include_pad=False), (X,)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (4, 3)), (X,)),
    "bilinear": (lambda x: F.interpolate(x, size=(9, 5), mode="bilinear"), (X,)),
    "nearest": (lambda x: F.interpolate(x, size=(9, 5)), (X,)),
    "nearest, smaller": (lambda x: F.interpolate(x, scale_factor=0.5), (X,)),
    "batch norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (X, C4, B4)),
    "batch norm, fixed": (lambda x, m, v, w, b: F.batch_norm(x, m.data, v.data, w, b), (X, B4, C4, C4, B4)),
    "cross entropy": (lambda x, y: F.cross_entropy(x, y), (X, TARGET)),
    "cross entropy, all of it": (
        lambda x, y, w, p: F.cross_entropy(x, y, weight=w.data, pixel_weight=p.data, label_smoothing=0.1),
        (X, IGNORED, C4, PIXELS),
    ),
    "cross entropy, each pixel": (lambda x, y: F.cross_entropy(x, y, reduction="none"), (X, IGNORED)),
    "cross entropy of probabilities": (lambda x, y: F.cross_entropy(x, F.softmax(y, 1).data), (X, X[::-1].copy())),
    "nll": (lambda x, y: F.nll_loss(F.log_softmax(x, 1), y), (X, IGNORED)),
    "binary": (lambda x, t: F.binary_cross_entropy_with_logits(x[:, 0], t.data / 2, pos_weight=2.0), (X, PIXELS)),
    "mse": (lambda x, y: F.mse_loss(x, y), (X, X[::-1].copy())),
    "softmax": (lambda x: F.softmax(x, 1) * F.log_softmax(x, 3) + F.sigmoid(x) * F.tanh(x), (X,)),
    "relu": (lambda x: F.relu(x) - F.relu6(5 * x) ** 2 + F.leaky_relu(x, 0.1), (X,)),
    "channel shuffle": (lambda x: F.channel_shuffle(x, 2) * 2.0, (X,)),
    "pad": (lambda x: F.pad(x, (2, 3, 1, 0), "reflect") ** 2 + F.pad(x, (2, 3, 1, 0)), (X,)),
    "arrange": (
        lambda x: ms.cat([x[:, 1:], ms.stack([x[:, 0], x[:, 0] * 2], 1)], 1).permute(1, 0, 3, 2).flatten(1),
        (X,),
    ),
    "arithmetic": (
        lambda x, y: ((x + y) * x / (y * y + 2) - 3 + 2 / (x * x + 1)).exp().log().abs().clamp(0.1, 2.0),
        (X, X + 1),
    ),
    "matmul": (lambda x, y: x @ y.transpose(2, 3), (X, X + 1)),
    "sums": (lambda x: x.sum((0, 2)) * x.mean((0, 2)) + x.mean() + (x * x).sqrt().sum(), (X,)),
    "dice": (lambda x, y: losses.DiceLoss()(x, y), (X, TARGET)),
    "focal": (lambda x, y: losses.FocalLoss()(x, y), (X, TARGET)),
}


def run(function, arrays, move):
    leaves = [ms.Tensor(a.copy(), requires_grad=a.dtype.kind == "f").detach() for a in arrays]
    leaves = [ms.Tensor(move(leaf.data), requires_grad=leaf.dtype.kind == "f") for leaf in leaves]
    output = function(*leaves)
    weight = np.random.default_rng(1).standard_normal(output.shape)
    output.backward(move(weight))
    return output.data, [leaf.grad.data if leaf.grad is not None else None for leaf in leaves]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_and_its_gradients(gpu, name):
    expected, expected_grads = run(*OPERATIONS[name], np.asarray)
    found, grads = run(*OPERATIONS[name], gpu.asarray)
    assert isinstance(found, gpu.ndarray)
    np.testing.assert_allclose(found.get(), expected, rtol=1e-10, atol=1e-12)
    for grad, wanted in zip(grads, expected_grads, strict=True):
        assert (grad is None) == (wanted is None)
        if wanted is not None:
            assert isinstance(grad, gpu.ndarray)
            np.testing.assert_allclose(grad.get(), wanted, rtol=1e-9, atol=1e-11)


NETS = {
    "U-Net": lambda: models.UNet(3, 4, 4, 2),
    "U-Net, separable": lambda: models.UNet(3, 4, 4, 2, convolution="separable"),
    "SegNet": lambda: models.SegNet(3, 4, (4, 8), (1, 1)),
    "DeconvNet": lambda: models.DeconvNet(3, 4, (4, 8), (1, 1), 8, 3),
    "FCN": lambda: models.FCN(3, 4, 2, (4, 8), (1, 1), fc_channels=8, fc_kernel=3, padding=3, dropout=0.0),
    "DeepLab": lambda: models.DeepLab(3, 4, "resnet18", 0.0625, 8, "v2", channels=4),
}


def images(size=16):
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 3, size, size)), rng.integers(0, 4, (2, size, size))


@pytest.mark.parametrize("name", NETS)
def test_a_network_learns_alike_on_both(gpu, name):
    x, y = images()
    ms.use_backend("reference")  # nothing to compile for the comparison
    numbers = {}
    for device in ("cpu", "cuda"):
        ms.manual_seed(0)
        net = NETS[name]().to(np.float64).to(device).train()
        assert net.device == device
        optimizer, seen = optim.AdamW(net.parameters(), 0.01), []
        for _ in range(2):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(ms.Tensor(x).to(device)), ms.Tensor(y).to(device))
            loss.backward()
            optim.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            seen.append(float(loss))
        net.eval()
        with ms.no_grad():
            output = net(ms.Tensor(x).to(device))
        assert output.device == device
        numbers[device] = (seen, output.cpu().numpy(), net.state_dict())
    np.testing.assert_allclose(numbers["cuda"][0], numbers["cpu"][0], rtol=1e-9)
    np.testing.assert_allclose(numbers["cuda"][1], numbers["cpu"][1], rtol=1e-6, atol=1e-8)
    assert all(isinstance(v, np.ndarray) for v in numbers["cuda"][2].values())


def test_counting_and_receptive_fields_of_a_net_on_the_gpu(gpu):
    net = models.UNet(3, 4, 4, 2)
    expected = net.summary((3, 16, 16)), receptive_field.receptive_field(net, 3, 64)
    field = receptive_field.effective_receptive_field(net, (3, 16, 16), samples=1)
    net.to("cuda")
    found = net.summary((3, 16, 16)), receptive_field.receptive_field(net, 3, 64)
    assert repr(found) == repr(expected)
    found = receptive_field.effective_receptive_field(net, (3, 16, 16), samples=1)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, field, rtol=1e-3, atol=1e-6)


def small_net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1, momentum=0.9), lambda p: optim.Adam(p, 0.01)])
def test_an_optimizer_follows_its_parameters(gpu, make):
    x, y = images()
    net = small_net()
    optimizer = make(net.parameters())
    for device in ("cpu", "cuda", "cpu", "gpu"):
        net.to(device)
        F.cross_entropy(net(ms.Tensor(x.astype(np.float32)).to(device)), ms.Tensor(y).to(device)).backward()
        optimizer.step()
        kept = [a for memory in optimizer.state for a in memory.values() if not isinstance(a, int)]
        assert kept
        assert all(isinstance(a, gpu.ndarray) == (device in ("cuda", "gpu")) for a in kept)
    state = optimizer.state_dict()
    assert all(isinstance(v, (int, np.ndarray)) for memory in state["state"].values() for v in memory.values())
    optimizer.load_state_dict(state)
    net.to("cuda")
    F.cross_entropy(net(ms.Tensor(x.astype(np.float32)).cuda()), ms.Tensor(y).cuda()).backward()
    optimizer.step()


def test_fit_trains_on_the_gpu(gpu, tmp_path):
    x, y = images()
    batches = [(x.astype(np.float32), y)] * 3
    results = {}
    for device in ("cpu", "gpu"):
        ms.manual_seed(0)
        net = small_net()
        checkpoint = tmp_path / f"{device}.safetensors"
        options = {
            "epochs": 2,
            "metric": metrics.MeanDice(),
            "keep": "best",
            "progress": False,
            "checkpoint": checkpoint,
        }
        optimizer, loss = optim.Adam(net.parameters(), 0.05), losses.CrossEntropyLoss()
        history = training.fit(net, batches, batches[:1], loss=loss, optimizer=optimizer, device=device, **options)
        assert net.device == ("cuda" if device == "gpu" else "cpu")
        results[device] = history
    np.testing.assert_allclose(results["gpu"].loss, results["cpu"].loss, rtol=1e-4)
    np.testing.assert_allclose(results["gpu"].grad_norm, results["cpu"].grad_norm, rtol=1e-3)
    assert results["gpu"].validation[-1].keys() == results["cpu"].validation[-1].keys()


def test_a_model_predicts_segments_and_saves_on_the_gpu(gpu, tmp_path):
    net = models.UNet(3, 4, 4, 2).eval()
    image = np.random.default_rng(0).standard_normal((3, 30, 27)).astype(np.float32)
    expected = net.predict(image)
    net.to("cuda")
    found = net.predict(image)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    models.save(net, tmp_path / "net.safetensors")
    again = models.load(tmp_path / "net.safetensors")
    assert again.device == "cpu"
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


def test_moving(gpu):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = ms.to_device(array, "gpu")
    assert isinstance(there, gpu.ndarray)
    assert ms.to_device(there, "cuda") is there
    back = ms.to_device(there, "cpu")
    np.testing.assert_array_equal(back, array)
    x = ms.Tensor(array, requires_grad=True)
    y = x.cuda()
    assert (x.device, y.device) == ("cpu", "cuda")
    (y * y).sum().backward()
    assert x.grad.device == "cpu"
    np.testing.assert_array_equal(x.grad.numpy(), 2 * array)
    assert repr(y.detach()) == repr(ms.Tensor(array))
    assert float(y.sum()) == 15
    assert y.detach().numpy().tolist() == array.tolist()
    with pytest.raises(ValueError, match=r'device must be "cpu" or "cuda", got .tpu'):
        ms.to_device(array, "tpu")


@pytest.mark.parametrize(
    "mix",
    [
        lambda on, off: F.conv2d(on, ms.Tensor(np.zeros((2, 3, 1, 1), np.float32))),
        lambda on, off: F.conv2d(off, ms.Tensor(np.zeros((2, 3, 1, 1), np.float32)).cuda()),
        lambda on, off: on + off,
        lambda on, off: off * on,
        lambda on, off: ms.cat([on, off], 1),
        lambda on, off: F.cross_entropy(on, np.zeros((1, 4, 4), int)),
        lambda on, off: F.linear(off, ms.Tensor(np.zeros((2, 4), np.float32)).cuda()),
        lambda on, off: F.nll_loss(on, np.zeros((1, 4, 4), int)),
        lambda on, off: F.mse_loss(on, off),
        lambda on, off: F.batch_norm(on, np.zeros(3), np.ones(3)),
        lambda on, off: F.max_unpool2d(on, np.zeros((1, 3, 4, 4), int), 2),
        lambda on, off: F.binary_cross_entropy_with_logits(on, np.zeros((1, 3, 4, 4))),
        lambda on, off: small_net().to("cuda")(off),
        lambda on, off: losses.DiceLoss()(on, np.zeros((1, 4, 4), int)),
    ],
)
def test_what_is_on_different_devices_is_named(gpu, mix):
    off = ms.Tensor(np.ones((1, 3, 4, 4), np.float32))
    on = ms.Tensor(off.cuda().data, requires_grad=True)
    with pytest.raises(TypeError, match=r"different devices.*on cuda.*on cpu|different devices.*on cpu.*on cuda"):
        mix(on, off)


def test_the_tape_does_not_wait_for_the_gpu(gpu, monkeypatch):
    """Looking at a number would hold up everything; a step of training looks at none but the loss and the labels."""
    if gpu.__version__ != "0 (stand-in)":
        pytest.skip("the stand-in counts what comes to the CPU; CuPy does not")
    x = ms.Tensor(np.ones((2, 3, 8, 8), np.float32)).cuda()
    net = models.UNet(3, 4, 4, 2).to("cuda").train()
    optimizer = optim.Adam(net.parameters(), 0.01)
    seen = []
    for name in ("get", "tobytes", "item", "tolist", "__bool__", "__float__", "__int__"):
        plain = getattr(gpu.ndarray, name)
        monkeypatch.setattr(gpu.ndarray, name, lambda self, *a, _p=plain, _n=name: seen.append(_n) or _p(self, *a))
    for _ in range(2):
        optimizer.zero_grad()
        (net(x) ** 2).mean().backward()
        optimizer.step()
    assert seen == []


def test_what_found_no_room_is_told_and_the_model_stays_as_it_was(gpu):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 32, 1)).to("cuda")
    before = net.state_dict()
    images = np.zeros((2, 3, 64, 64), np.float32)
    pool = gpu.get_default_memory_pool()
    optimizer = optim.SGD(net.parameters(), 0.1)
    batches = [(images, np.zeros((2, 64, 64), np.int64))]
    pool.set_limit(size=pool.used_bytes() + 900_000 if hasattr(pool, "malloc") else 900_000)
    try:
        with pytest.raises(MemoryError, match=r"Out of memory allocating 1,048,576 bytes") as caught:
            training.fit(
                net, batches, loss=F.cross_entropy, optimizer=optimizer, device="cuda", epochs=1, progress=False
            )
    finally:
        pool.set_limit(size=0)
    story = " ".join(caught.value.__notes__)
    assert "It was Conv2d of arrays of shape (2, 4, 64, 64) and (32, 4, 1, 1)" in story
    assert "This batch has shape (2, 3, 64, 64): fewer images in it, or smaller crops, need less" in story
    assert "GiB, " in story
    assert "The model is as it was before this step" in story
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(ms.to_device(array, "cpu"), ms.to_device(before[name], "cpu"), err_msg=name)


def test_memory_that_waits_is_given_back(gpu):
    ms.empty_cache()
    pool = gpu.get_default_memory_pool()
    if hasattr(gpu, "show_config"):  # CuPy itself
        assert pool.free_bytes() == 0
    else:
        from gpu import cupy_stand_in

        assert cupy_stand_in.FREED == [cupy_stand_in.POOL, cupy_stand_in.PINNED]
