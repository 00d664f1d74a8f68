"""The rest of ``functional`` beside PyTorch, forward and backward, over both backends: OpInfo covers the first four operations."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F

torch = pytest.importorskip("torch", reason="PyTorch, the peer of these tests, is not installed")
TF = torch.nn.functional


def compare(ours, theirs, *arrays, tolerance=1e-10):
    """Call both with float64 leaves, push the same random gradient back, compare results and gradients."""
    mine = [ms.Tensor(a.copy(), requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    result, expected = ours(*mine), theirs(*other)
    np.testing.assert_allclose(result.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    grad = np.random.default_rng(9).standard_normal(result.shape)
    result.backward(grad)
    expected.backward(torch.from_numpy(np.asarray(grad)))
    for x, y in zip(mine, other, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.fixture
def x(rng):
    return rng.standard_normal((2, 3, 7, 6))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(
    "options", [{"size": (14, 3)}, {"size": (5, 11)}, {"scale_factor": 2}, {"scale_factor": (1.7, 0.6)}]
)
def test_bilinear(x, options, align, backend):
    if "size" in options or not align:
        for recompute in (None, True) if "scale_factor" in options else (None,):
            kwargs = {**options, "mode": "bilinear", "align_corners": align, "recompute_scale_factor": recompute}
            compare(
                lambda t: F.interpolate(t, **kwargs),
                lambda t: TF.interpolate(t, **kwargs),
                x,
                tolerance=1e-6 if "scale_factor" in options else 1e-10,
            )


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize(
    "options", [{"size": (14, 12)}, {"size": (5, 11)}, {"scale_factor": 2}, {"scale_factor": (1.7, 0.6)}]
)
def test_nearest(x, options, mode):
    compare(lambda t: F.interpolate(t, **options, mode=mode), lambda t: TF.interpolate(t, **options, mode=mode), x)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, None, 0), (3, 2, 1), ((3, 2), (1, 2), (1, 0)), (3, 3, 1), (5, 4, 2)]
)
@pytest.mark.parametrize("extra", [{}, {"count_include_pad": False}, {"divisor_override": 5}])
def test_avg_pool(x, kernel, stride, padding, ceil_mode, extra):
    arguments = (kernel, stride, padding, ceil_mode)
    compare(lambda t: F.avg_pool2d(t, *arguments, **extra), lambda t: TF.avg_pool2d(t, *arguments, **extra), x)


@pytest.mark.parametrize("size", [1, 3, (7, 6), (5, 2), (9, 13)])
def test_adaptive_avg_pool(x, size):
    compare(lambda t: F.adaptive_avg_pool2d(t, size), lambda t: TF.adaptive_avg_pool2d(t, size), x)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("border", [(1, 2, 3, 0), (0, 5, 1, 1), (2, 2, 6, 6)])
def test_pad(x, border, mode):
    compare(lambda t: F.pad(t, border, mode), lambda t: TF.pad(t, border, mode), x)


def test_pad_crops_and_fills(x):
    compare(lambda t: F.pad(t, (-1, 2, -2, -1), value=0.5), lambda t: TF.pad(t, (-1, 2, -2, -1), value=0.5), x)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_and_its_running_statistics(x, training, backend, rng):
    weight, bias = rng.standard_normal(3), rng.standard_normal(3)
    mean, var = rng.standard_normal(3), rng.uniform(0.5, 2, 3)
    ours, theirs = (mean.copy(), var.copy()), (torch.tensor(mean), torch.tensor(var))
    compare(
        lambda t, w, b: F.batch_norm(t, *ours, w, b, training, 0.3, 1e-3),
        lambda t, w, b: TF.batch_norm(t, *theirs, w, b, training, 0.3, 1e-3),
        x, weight, bias,
    )  # fmt: skip
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-12)
    compare(
        lambda t: F.batch_norm(t, None, None, training=True),
        lambda t: TF.batch_norm(t, None, None, training=True),
        x[:, :, 0, 0],
    )


@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh"])
def test_activations(x, name):
    compare(getattr(F, name), getattr(TF, name) if hasattr(TF, name) else getattr(torch, name), 5 * x)
    big = np.array([-1e4, -100.0, 0.0, 100.0, 1e4])
    np.testing.assert_allclose(
        getattr(F, name)(ms.Tensor(big)).numpy(),
        getattr(torch, name, getattr(TF, name))(torch.tensor(big)).numpy(),
        atol=1e-12,
    )


def test_relu6_is_flat_at_both_of_its_corners():
    compare(F.relu6, TF.relu6, np.array([-1.0, 0.0, 1e-9, 3.0, 6 - 1e-9, 6.0, 7.0]))
    assert np.isnan(F.relu6(np.array([np.nan])).data).all()


@pytest.mark.parametrize("shape", [(2, 6, 3, 4), (2, 12, 5), (1, 6, 2, 3, 2), (0, 6, 3, 4)])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_channel_shuffle(shape, groups, rng):
    x = rng.standard_normal(shape)
    compare(lambda t: F.channel_shuffle(t, groups), lambda t: _torch_shuffle(t, groups), x)
    if len(shape) == 4 and x.size:  # channels-last memory stays channels-last
        last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        out = F.channel_shuffle(ms.Tensor(last), groups)
        np.testing.assert_array_equal(out.data, F.channel_shuffle(ms.Tensor(x), groups).data)
        assert out.data.transpose(0, 2, 3, 1).flags.c_contiguous


def _torch_shuffle(t, groups):
    """PyTorch's own operation takes no empty batch: its documented meaning in words of one step."""
    n, c, *size = t.shape
    return t.reshape(n, groups, c // groups, *size).transpose(1, 2).reshape(t.shape)


def test_channel_shuffle_is_pytorchs_own(rng):
    x = rng.standard_normal((2, 6, 3, 4))
    for groups in (1, 2, 3, 6):
        np.testing.assert_array_equal(F.channel_shuffle(x, groups).data, TF.channel_shuffle(torch.tensor(x), groups))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax(x, dim):
    compare(lambda t: F.softmax(t * 100, dim), lambda t: TF.softmax(t * 100, dim), x)
    compare(lambda t: F.log_softmax(t * 100, dim), lambda t: TF.log_softmax(t * 100, dim), x)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 7, 6), (4, 3), (3,), (2, 3, 5)])
def test_cross_entropy(shape, weighted, smoothing, reduction, backend, rng):
    scores = 3 * rng.standard_normal(shape)
    target = rng.integers(0, 3, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    if len(shape) > 2:
        target[0, :2] = -100
    weight = np.array([0.5, 2.0, 1.5]) if weighted else None
    options = {"reduction": reduction, "label_smoothing": smoothing}
    compare(
        lambda t: F.cross_entropy(t, target, weight, **options),
        lambda t: TF.cross_entropy(
            t, torch.tensor(target), None if weight is None else torch.tensor(weight), **options
        ),
        scores,
    )


def test_cross_entropy_with_probabilities_as_target(x, rng):
    target = rng.dirichlet(np.ones(3), (2, 7, 6)).transpose(0, 3, 1, 2).copy()
    for reduction in ("mean", "sum", "none"):
        compare(
            lambda t: F.cross_entropy(t, target, reduction=reduction),
            lambda t: TF.cross_entropy(t, torch.tensor(target), reduction=reduction),
            x,
        )


def test_pixel_weights_are_a_weighted_mean(x, rng, backend):
    target, weight = rng.integers(0, 3, (2, 7, 6)), rng.uniform(0, 3, (2, 7, 6))

    def theirs(t):
        return (TF.cross_entropy(t, torch.tensor(target), reduction="none") * torch.tensor(weight)).sum() / weight.sum()

    compare(lambda t: F.cross_entropy(t, target, pixel_weight=weight), theirs, x)


def test_nll_and_binary_and_squares(x, rng):
    target = rng.integers(0, 3, (2, 7, 6))
    target[0, 0] = -100
    w = np.array([0.5, 2.0, 1.5])
    compare(lambda t: F.nll_loss(t, target, w), lambda t: TF.nll_loss(t, torch.tensor(target), torch.tensor(w)), x)
    soft, factor = rng.random(x.shape), rng.uniform(0.5, 2, x.shape)
    positive = rng.uniform(0.5, 3, (3, 1, 1))
    compare(
        lambda t: F.binary_cross_entropy_with_logits(t * 50, soft, factor, pos_weight=positive),
        lambda t: TF.binary_cross_entropy_with_logits(
            t * 50, torch.tensor(soft), torch.tensor(factor), pos_weight=torch.tensor(positive)
        ),
        x,
    )
    compare(lambda t: F.mse_loss(t, soft), lambda t: TF.mse_loss(t, torch.tensor(soft)), x)


def test_linear(rng):
    a, w, b = rng.standard_normal((2, 5, 4)), rng.standard_normal((3, 4)), rng.standard_normal(3)
    compare(F.linear, TF.linear, a, w, b)


def test_arranging(x):
    compare(lambda t: ms.stack([t[:, 0], t[:, 1] * 2], 1), lambda t: torch.stack([t[:, 0], t[:, 1] * 2], 1), x)
    compare(lambda t: F.flatten(t, 1, 2).permute(2, 0, 1), lambda t: torch.flatten(t, 1, 2).permute(2, 0, 1), x)
    compare(lambda t: ms.cat([t, t[:, :1] * 3], dim=1), lambda t: torch.cat([t, t[:, :1] * 3], dim=1), x)
    compare(lambda t: t.mean((2, 3), keepdim=True) * t, lambda t: t.mean((2, 3), keepdim=True) * t, x)


@pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel:UserWarning"
)  # PyTorch's: it copies, as we do
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 3), 1), ((2, 4), 1), ((4, 3), (2, 3)), ((1, 1), 1)])
def test_padding_by_name(x, rng, padding, kernel, dilation, backend):
    w = rng.standard_normal((4, 3, *kernel))
    if padding == "same" or kernel[0] * (dilation if isinstance(dilation, int) else 3) <= 6:
        compare(
            lambda t, v: F.conv2d(t, v, padding=padding, dilation=dilation),
            lambda t, v: TF.conv2d(t, v, padding=padding, dilation=dilation),
            x, w,
        )  # fmt: skip


def test_transposed_convolution_with_output_padding_beyond_the_stride(rng, backend):
    a, w = rng.standard_normal((1, 2, 4, 3)), rng.standard_normal((2, 3, 3, 3))
    options = {"stride": 1, "padding": 1, "output_padding": 2, "dilation": 3}
    compare(lambda t, v: F.conv_transpose2d(t, v, **options), lambda t, v: TF.conv_transpose2d(t, v, **options), a, w)
