"""Modules: names, state dicts, modes, initial weights, and the same numbers as PyTorch's layers."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import nn

LAYERS = [
    ("Conv2d", (3, 6, 3), {"padding": 1, "groups": 3}, (2, 3, 8, 8)),
    ("Conv2d", (3, 6, (3, 2)), {"stride": 2, "dilation": (1, 2), "bias": False}, (2, 3, 8, 8)),
    ("Conv2d", (3, 6, 3), {"padding": "same"}, (2, 3, 8, 8)),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, (2, 4, 5, 5)),
    ("BatchNorm2d", (3,), {}, (2, 3, 8, 8)),
    ("BatchNorm2d", (3,), {"affine": False, "momentum": None}, (2, 3, 8, 8)),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, (2, 3, 8, 8)),
    ("Linear", (5, 3), {}, (4, 5)),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 8, 8)),
    ("AvgPool2d", (2,), {}, (2, 3, 8, 8)),
    ("AdaptiveAvgPool2d", ((3, 2),), {}, (2, 3, 8, 8)),
    ("Upsample", (), {"scale_factor": 2, "mode": "bilinear"}, (2, 3, 8, 8)),
    ("ReLU", (), {}, (2, 3)),
    ("ReLU6", (), {}, (2, 3)),
    ("ChannelShuffle", (3,), {}, (2, 6, 4, 4)),
    ("LeakyReLU", (0.2,), {}, (2, 3)),
    ("Sigmoid", (), {}, (2, 3)),
    ("Softmax", (1,), {}, (2, 3)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("ZeroPad2d", ((1, 2, 3, 4),), {}, (2, 3, 8, 8)),
    ("ReflectionPad2d", (2,), {}, (2, 3, 8, 8)),
    ("ReplicationPad2d", (2,), {}, (2, 3, 8, 8)),
    ("Dropout", (0.5,), {}, (2, 3)),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS, ids=[row[0] for row in LAYERS])
def test_layers_have_pytorchs_keys_shapes_and_numbers(name, args, kwargs, shape, rng):
    torch = pytest.importorskip("torch")
    mine, other = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    state, expected = mine.state_dict(), other.state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: tuple(v.shape) for k, v in expected.items()}
    mine.load_state_dict(expected)
    x = rng.standard_normal(shape).astype(np.float32)
    for mode in ("train", "eval") if name != "Dropout" else ("eval",):
        for _ in range(2):
            a, b = getattr(mine, mode)()(ms.Tensor(x)), getattr(other, mode)()(torch.tensor(x))
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-5)
    for key, value in other.state_dict().items():
        np.testing.assert_allclose(mine.state_dict()[key], value.numpy(), rtol=1e-5, atol=1e-6)


def test_initial_weights_follow_pytorchs_rule():
    ms.manual_seed(0)
    layer = nn.Conv2d(16, 64, 3)
    bound = 1 / np.sqrt(16 * 9)
    for values in (layer.weight.data, layer.bias.data):
        assert abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.15)
    again = nn.Conv2d(16, 64, 3)
    assert not np.array_equal(layer.weight.data, again.weight.data)
    ms.manual_seed(0)
    np.testing.assert_array_equal(layer.weight.data, nn.Conv2d(16, 64, 3).weight.data)


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), np.sqrt(2 / (32 * 9))),
        (lambda w: nn.init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"), np.sqrt(2 / (64 * 9))),
        (nn.init.xavier_normal_, np.sqrt(2 / (96 * 9))),
        (nn.init.xavier_uniform_, np.sqrt(2 / (96 * 9))),
    ],
)
def test_he_and_xavier(fill, std):
    weight = nn.Parameter(np.zeros((64, 32, 3, 3), np.float32))
    fill(weight)
    assert weight.data.std() == pytest.approx(std, rel=0.03)
    assert weight.dtype == np.float32


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.ReLU(), nn.Dropout(0.5)))
        self.heads = nn.ModuleList([nn.Conv2d(2, 1, 1), nn.Conv2d(2, 1, 1, bias=False)])
        self.scale = nn.Parameter(np.ones(1, np.float32))

    def forward(self, x):
        x = self.body(x)
        return self.heads[0](x) + self.heads[1](x) * self.scale


def test_names_are_found_once_and_in_order():
    net = Net()
    net.again = net.heads[0]  # shared: counted once
    assert [n for n, _ in net.named_parameters()] == [
        "scale", "body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "heads.0.weight", "heads.0.bias", "heads.1.weight",
    ]  # fmt: skip
    assert [n for n, _ in net.named_buffers()] == [
        f"body.1.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")
    ]
    assert len(list(net.modules())) == 10


def test_modes_reach_every_part():
    net = Net().eval()
    assert not any(m.training for m in net.modules())
    assert net.train().body[2][1].training


def test_a_state_dict_is_a_snapshot_and_loads_all_or_nothing():
    net, other = Net(), Net()
    state = net.state_dict()
    net.scale.data += 5
    assert state["scale"] == 1
    bad = {**state, "heads.1.weight": np.zeros((2, 2, 1, 1))}
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"heads.1.weight has shape \(1, 2, 1, 1\) in this Net, \(2, 2, 1, 1\)"):
        other.load_state_dict(bad)
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    missing = {k: v for k, v in state.items() if k != "scale"}
    with pytest.raises(KeyError, match=r"missing.*scale"):
        other.load_state_dict(missing)
    with pytest.raises(KeyError, match=r"unexpected.*more"):
        other.load_state_dict({**state, "more": np.zeros(1)})
    other.load_state_dict(missing, strict=False)
    other.load_state_dict(state)
    x = np.random.default_rng(0).random((1, 1, 6, 6), dtype=np.float32)
    net.load_state_dict(state)
    np.testing.assert_array_equal(net.eval()(x).data, other.eval()(x).data)


def test_dropout_drops_and_keeps_the_mean():
    x = np.ones((4, 8, 50, 50), np.float32)
    dropped = nn.Dropout(0.3)(x).numpy()
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.7)}
    assert dropped.mean() == pytest.approx(1, abs=0.01)
    channels = nn.Dropout2d(0.5)(x).numpy()
    assert set(np.unique(channels.reshape(32, -1).std(axis=1))) == {0}
    assert nn.Dropout(1.0)(x).numpy().sum() == 0


def test_types_and_freezing():
    net = Net().double()
    assert {p.dtype.name for p in net.parameters()} == {"float64"}
    assert net.body[1].num_batches_tracked.dtype == np.int64
    net.requires_grad_(False)
    assert not net(np.zeros((2, 1, 6, 6))).requires_grad


def test_mistakes_in_a_module():
    class Forgot(nn.Module):
        def __init__(self):
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\) before assigning 'layer'"):
        Forgot()
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)
    with pytest.raises(AttributeError, match="Net has no attribute 'bodi'"):
        _ = Net().bodi
    with pytest.raises(TypeError, match="must be a Module"):
        nn.Sequential(nn.ReLU(), "relu")


def test_sequential_slices_and_prints_like_pytorch():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    assert len(net[:2]) == 2
    assert repr(net).splitlines()[:2] == [
        "Sequential(",
        "  (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))",
    ]


def test_summary_counts():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 2, 2, 2)
    )
    summary = net.summary((3, 32, 32))
    assert [row.output_shape for row in summary.rows] == [(1, 8, 16, 16)] * 3 + [(1, 2, 32, 32)]
    assert summary.parameters == sum(p.data.size for p in net.parameters()) == 224 + 16 + 66
    assert summary.multiply_accumulates == 27 * 8 * 256 + 8 * 2 * 4 * 256
    assert summary.rows[0].activation_bytes == 8 * 256 * 4
    assert "224" in str(summary)
    assert "<table>" in summary._repr_html_()
    assert net.training  # left as it was
    assert float(net[1].num_batches_tracked.data) == 0


def test_summary_counts_what_is_outside_of_layers_too():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(np.ones((4, 3, 3, 3), np.float32), requires_grad=False)
            self.head = nn.Linear(4 * 64, 5)

        def forward(self, x):
            y = F.conv2d(x, self.weight, padding=1)
            y = ms.cat([y[:, :2], y[:, 2:]], 1)
            return self.head(y.reshape(len(y), -1))

    summary = Net().summary((2, 3, 8, 8))
    assert [(r.name, r.kind) for r in summary.rows] == [
        ("", "Conv2d"), ("", "Index"), ("", "Index"), ("", "Cat"), ("", "Reshape"), ("head", "Linear")]  # fmt: skip
    assert summary.multiply_accumulates == 2 * (27 * 4 * 64 + 4 * 64 * 5)
    assert [r.activation_bytes for r in summary.rows] == [2048, 0, 0, 2048, 0, 40]
    assert summary.output_shape == (2, 5)
    assert summary.receptive_field == 10  # the linear layer sees the whole plane, and the padding around it


def test_a_summary_disturbs_no_other_thread():
    """The kernels that only answer with shapes are this thread's alone."""
    import threading

    from minisegnet.backend import shapes_only

    x, weight = np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 3, 3), np.float32)
    found = []
    with shapes_only():
        assert float(F.conv2d(x, weight).sum()) == 0
        worker = threading.Thread(target=lambda: found.append(float(F.conv2d(x, weight).sum())))
        worker.start()
        worker.join()
    assert found == [36]
    assert float(F.conv2d(x, weight).sum()) == 36


def test_a_change_of_type_is_silent_about_weights_that_hold_whatever_memory_held():
    layer = nn.Linear(2, 2)
    layer.weight.data[...] = np.full((2, 2), 0x7F800001, np.uint32).view(
        np.float32
    )  # a signalling NaN: casting it warns
    assert np.isnan(layer.double().weight.data).all()
