"""Losses: values and gradients against formulas written out in PyTorch, difference quotients, and known identities."""

import itertools

import numpy as np
import pytest

import minisegnet.functional as F
from minisegnet import losses, metrics
from minisegnet.autograd import Tensor

N, K, H, W = 3, 4, 5, 6


def scores_and_labels(dtype=np.float64, seed=0, classes=K, ignore=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, classes, H, W)).astype(dtype) * 2
    y = rng.integers(0, classes, (N, H, W))
    y[0] = 0  # an image without most classes
    if ignore is not None:
        y[rng.random(y.shape) < 0.3] = ignore
    return x, y, rng.random((N, H, W)) + 0.1


def value_and_gradient(function, x, *args, **options):
    t = Tensor(x, requires_grad=True)
    loss = function(t, *args, **options)
    loss.backward()
    return float(loss.detach()), t.grad.data


def assert_gradient_is_the_slope(function, x, y, **options):
    """Compare with the central difference along random directions, in float64."""
    _, gradient = value_and_gradient(function, x, y, **options)
    rng = np.random.default_rng(9)
    for _ in range(4):
        d, h = rng.normal(size=x.shape), 1e-5
        ahead, behind = (float(function(Tensor(x + s * h * d), y, **options)) for s in (1, -1))
        assert (gradient * d).sum() == pytest.approx((ahead - behind) / (2 * h), rel=1e-6, abs=1e-9)


def torch_tversky(torch, x, y, w, alpha, beta, smooth, classes, per, squared, activation, ignore):
    p = {"softmax": lambda: x.softmax(1), "sigmoid": lambda: x.sigmoid(), None: lambda: x}[activation]()
    mask = (y != ignore).to(x.dtype)
    t = torch.nn.functional.one_hot(torch.where(y == ignore, 0, y), x.shape[1]).movedim(-1, 1).to(x.dtype)
    mask = (mask if w is None else mask * w)[:, None]
    axes = (0, 2, 3) if per == "batch" else (2, 3)
    both = (mask * p * t).sum(axes)
    if squared:
        size_p, size_t = (mask * p * p).sum(axes), (mask * t * t).sum(axes)
    else:
        size_p, size_t = (mask * p).sum(axes), (mask * t).sum(axes)
    index = (both + smooth[0]) / (both + alpha * (size_p - both) + beta * (size_t - both) + smooth[1])
    return 1 - (index if classes is None else index[..., list(classes)]).mean()


VARIANTS = list(
    itertools.product(["batch", "sample"], [False, True], ["softmax", "sigmoid", None], [None, (1, 3)], [-100, 255])
)


@pytest.mark.parametrize(("per", "squared", "activation", "classes", "ignore"), VARIANTS)
def test_tversky_and_dice_are_the_formula_in_pytorch(per, squared, activation, classes, ignore):
    torch = pytest.importorskip("torch")
    x, y, w = scores_and_labels(ignore=255 if ignore == 255 else None)
    x = 1 / (1 + np.exp(-x)) if activation is None else x
    shared = {"classes": classes, "per": per, "squared": squared, "activation": activation, "ignore_index": ignore}
    for weight in (None, w):
        for alpha, beta, smooth in ((0.5, 0.5, (1.0, 1.0)), (0.3, 0.9, (0.5, 0.25))):
            t = torch.tensor(x, requires_grad=True)
            u = None if weight is None else torch.tensor(weight)
            expected = torch_tversky(
                torch, t, torch.tensor(y), u, alpha, beta, smooth, classes, per, squared, activation, ignore
            )
            expected.backward()
            options = {**shared, "pixel_weight": weight}
            value, gradient = value_and_gradient(losses.tversky_loss, x, y, alpha, beta, smooth=smooth, **options)
            assert value == pytest.approx(expected.item(), rel=1e-12)
            np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-9, atol=1e-14)
            if alpha == beta:
                doubled = (2 * smooth[0], 2 * smooth[1])  # (2 I + s) / (P + T + s)
                value, gradient = value_and_gradient(losses.dice_loss, x, y, smooth=doubled, **options)
                assert value == pytest.approx(expected.item(), rel=1e-12)
                np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("per", ["batch", "sample"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_dice_gradient_is_the_slope(per, squared, activation):
    x, y, w = scores_and_labels(seed=2, ignore=-100)
    x = 1 / (1 + np.exp(-x)) if activation is None else x
    options = {"smooth": 0.1, "per": per, "squared": squared, "activation": activation, "pixel_weight": w}
    assert_gradient_is_the_slope(losses.dice_loss, x, y, **options)


@pytest.mark.parametrize("squared", [False, True])
def test_dice_of_hard_maps_is_the_metric(squared):
    rng = np.random.default_rng(5)
    y, guess = rng.integers(0, 2, (2, N, H, W))
    p = np.stack([1 - guess, guess], axis=1).astype(np.float64)
    loss = losses.dice_loss(p, y, smooth=0, classes=(1,), activation=None, squared=squared)
    assert float(loss) == pytest.approx(1 - metrics.dice(guess, y), rel=1e-12)
    loss = losses.dice_loss(p, y, smooth=0, classes=(1,), activation=None, squared=squared, per="sample")
    assert float(loss) == pytest.approx(1 - metrics.mean_dice(guess, y), rel=1e-12)
    iou = losses.tversky_loss(p, y, 1, 1, smooth=0, classes=(1,), activation=None)
    assert float(iou) == pytest.approx(1 - metrics.iou(guess, y), rel=1e-12)


def test_two_empty_maps_score_one_and_teach_nothing():
    p = np.zeros((2, 1, 3, 3))
    value, gradient = value_and_gradient(losses.dice_loss, p, np.zeros((2, 1, 3, 3)), smooth=0, activation=None)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    # all pixels ignored: the same
    value, gradient = value_and_gradient(losses.dice_loss, np.ones((2, 3, 3, 3)), np.full((2, 3, 3), -100), smooth=0)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_one_score_a_pixel_goes_through_a_sigmoid():
    x, y, _ = scores_and_labels(classes=2)
    two = np.concatenate([np.zeros((N, 1, H, W)), x[:, :1]], axis=1)  # softmax over (0, x) is the sigmoid of x
    a = losses.dice_loss(two, y, classes=(1,))
    b = losses.dice_loss(x[:, :1], y[:, None].astype(np.float64), activation="sigmoid")
    assert float(a) == pytest.approx(float(b), rel=1e-12)
    with pytest.raises(ValueError, match=r"softmax over one class.*sigmoid"):
        losses.dice_loss(x[:, :1], y)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_focal_with_gamma_zero_is_cross_entropy(reduction):
    x, y, w = scores_and_labels(ignore=-100)
    options = {"weight": np.array([1.0, 2.0, 0.5, 3.0]), "pixel_weight": w, "reduction": reduction}
    a, b = (Tensor(x, requires_grad=True) for _ in range(2))
    focal, plain = losses.focal_loss(a, y, gamma=0, **options), F.cross_entropy(b, y, **options)
    np.testing.assert_allclose(focal.data, plain.data, rtol=1e-12, atol=1e-15)
    focal.sum().backward(), plain.sum().backward()
    np.testing.assert_allclose(a.grad.data, b.grad.data, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("gamma", [0.5, 1, 2, 5])
def test_focal_is_the_formula_in_pytorch(gamma):
    torch = pytest.importorskip("torch")
    x, y, _ = scores_and_labels()
    t = torch.tensor(x, requires_grad=True)
    z = t.log_softmax(1).gather(1, torch.tensor(y)[:, None])[:, 0]
    expected = (-((1 - z.exp()) ** gamma) * z).mean()
    expected.backward()
    value, gradient = value_and_gradient(losses.focal_loss, x, y, gamma=gamma)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-9, atol=1e-15)
    assert_gradient_is_the_slope(losses.focal_loss, x, y, gamma=gamma)


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2])
def test_focal_of_certainty_is_finite(gamma):
    x = np.array([1000.0, -1000.0, 40.0, -40.0, 0.0]).reshape(1, 1, 1, 5)
    x = np.concatenate([x, -x], axis=1)
    for dtype in (np.float32, np.float64):
        value, gradient = value_and_gradient(
            losses.focal_loss, x.astype(dtype), np.zeros((1, 1, 5), int), gamma=gamma, reduction="sum"
        )
        assert value == pytest.approx(2000 + 80 + np.log(2) * 0.5**gamma, rel=1e-6)
        assert np.isfinite(gradient).all()
        assert gradient.dtype == dtype
        assert gradient[0, 0, 0, 1] == pytest.approx(-1)  # certain and wrong: the slope of -log p


def test_combined_is_the_sum_of_its_parts():
    x, y, w = scores_and_labels(ignore=7)
    cross_entropy = F.cross_entropy(x, y, ignore_index=7, pixel_weight=w)
    dice = losses.dice_loss(x, y, ignore_index=7, classes=(1, 2), pixel_weight=w)
    combined = losses.CombinedLoss(dice_factor=0.5, ignore_index=7, classes=(1, 2))
    assert float(combined(x, y, pixel_weight=w)) == pytest.approx(float(cross_entropy) + 0.5 * float(dice), rel=1e-12)
    both = losses.WeightedSum(
        (2.0, losses.FocalLoss(ignore_index=7)), (1.0, losses.TverskyLoss(0.3, 0.7, ignore_index=7))
    )
    expected = 2 * losses.focal_loss(x, y, ignore_index=7) + losses.tversky_loss(x, y, 0.3, 0.7, ignore_index=7)
    assert float(both(x, y)) == pytest.approx(expected.item(), rel=1e-12)
    assert "FocalLoss(gamma=2.0" in repr(both)
    assert_gradient_is_the_slope(combined, x, y, pixel_weight=w)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CrossEntropyLoss", {"weight": [1.0, 2.0, 0.5, 3.0], "ignore_index": 2, "label_smoothing": 0.1}),
        ("CrossEntropyLoss", {"reduction": "sum"}),
        ("BCEWithLogitsLoss", {"weight": [[[[0.5]], [[1.0]], [[2.0]], [[1.0]]]], "pos_weight": [[[2.0]]] * 4}),
    ],
)
def test_classes_with_names_of_pytorch_are_pytorch(name, options):
    torch = pytest.importorskip("torch")
    x, y, w = scores_and_labels()
    target = y if name == "CrossEntropyLoss" else (x > 0.3).astype(np.float64)
    ours = {k: np.array(v) if isinstance(v, list) else v for k, v in options.items()}
    theirs = {k: torch.tensor(v, dtype=torch.float64) if isinstance(v, list) else v for k, v in options.items()}
    t = torch.tensor(x, requires_grad=True)
    expected = getattr(torch.nn, name)(**theirs)(t, torch.tensor(target))
    expected.backward()
    value, gradient = value_and_gradient(getattr(losses, name)(**ours), x, target)
    assert value == pytest.approx(expected.item(), rel=1e-10)
    np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-9, atol=1e-14)
    if name == "BCEWithLogitsLoss":
        ours["weight"] = ours["weight"] * w[:, None]
        assert float(losses.BCEWithLogitsLoss(**ours)(x, target)) == pytest.approx(
            float(
                losses.BCEWithLogitsLoss(weight=np.array(options["weight"]), pos_weight=ours["pos_weight"])(
                    x, target, w[:, None]
                )
            )
        )


def test_a_weight_of_two_is_a_pixel_seen_twice():
    x, y, _ = scores_and_labels(classes=2)
    w = np.ones((N, H, W))
    w[..., -1] = 2
    twice, labels = np.concatenate([x, x[..., -1:]], -1), np.concatenate([y, y[..., -1:]], -1)
    for loss in (losses.DiceLoss(), losses.FocalLoss(), losses.CrossEntropyLoss(), losses.CombinedLoss()):
        assert float(loss(x, y, pixel_weight=w)) == pytest.approx(float(loss(twice, labels)), rel=1e-12)


def test_float32_in_channels_last_memory_agrees_with_float64():
    x, y, w = scores_and_labels(ignore=-100)
    odd = np.ascontiguousarray(x.astype(np.float32).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for loss in (
        losses.DiceLoss(),
        losses.DiceLoss(squared=True, per="sample"),
        losses.FocalLoss(),
        losses.CombinedLoss(),
    ):
        a, b = (value_and_gradient(loss, z, y, pixel_weight=w) for z in (odd, x))
        assert a[1].dtype == np.float32
        assert a[0] == pytest.approx(b[0], rel=1e-6)
        np.testing.assert_allclose(a[1], b[1], rtol=1e-4, atol=1e-7)


def test_large_sums_do_not_round_in_float32():
    # Summed one after the other in float32, as memory with channels last invites, a million numbers drift visibly.
    rng = np.random.default_rng(0)
    memory = rng.normal(0.7, 0.1, (1, 1024, 1024, 2)).astype(np.float32)
    memory[..., 0] = 0
    x, y = memory.transpose(0, 3, 1, 2), (rng.random((1, 1024, 1024)) < 0.5).astype(np.int64)
    exact = losses.dice_loss(x.astype(np.float64), y, smooth=0)
    assert float(losses.dice_loss(x, y, smooth=0)) == pytest.approx(float(exact), rel=3e-7)


def test_a_class_ruled_out_by_minus_infinity_does_no_harm():
    x, y, _ = scores_and_labels()
    x[:, 3] = -np.inf
    y[y == 3] = 0
    for loss in (losses.FocalLoss(), losses.DiceLoss()):
        value, gradient = value_and_gradient(loss, x, y)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[:, 3], 0)


def test_bad_input_is_named():
    x, y, w = scores_and_labels()
    far = y.copy()
    far[1, 2, 3] = 9
    bad = x.copy()
    bad[1, 2, 3, 4] = np.nan
    for name in ("CrossEntropyLoss", "DiceLoss", "TverskyLoss", "FocalLoss", "CombinedLoss"):
        loss = getattr(losses, name)()
        with pytest.raises(ValueError, match=r"label 9.*4 classes"):
            loss(x, far)
        with pytest.raises(ValueError, match=r"target must have shape \(3, 5, 6\)"):
            loss(x, y[:, :4])
        with pytest.raises(ValueError, match="pixel_weight"):
            loss(x, y, pixel_weight=w[:, :4])
        with pytest.raises(FloatingPointError, match=r"1 NaN of 360 numbers, the first at \(1, 2, 3, 4\)"):
            loss(bad, y)
        with pytest.raises(TypeError, match="float32 or float64"):
            loss(x.astype(np.int64), y)
    with pytest.raises(ValueError, match="shape of input"):
        losses.DiceLoss()(x, y.astype(np.float64))
    with pytest.raises(TypeError, match="soft targets"):
        losses.FocalLoss()(x, y.astype(np.float64))
    with pytest.raises(ValueError, match=r"classes must be some of 0 to 3, got \[4\]"):
        losses.DiceLoss(classes=(4,))(x, y)
    for classes in (1, (1.0,)):
        with pytest.raises(TypeError, match="classes must be a sequence of integers"):
            losses.DiceLoss(classes=classes)(x, y)
    for name in ("alpha", "beta", "smooth"):
        with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
            losses.TverskyLoss(**{name: -1})(x, y)
        with pytest.raises(TypeError, match=f"{name} must be a number, got '1'"):
            losses.TverskyLoss(**{name: "1"})(x, y)
    with pytest.raises(ValueError, match=r"smooth must be a number, or two: \(above, below\)"):
        losses.DiceLoss(smooth=(1, 2, 3))(x, y)
    with pytest.raises(ValueError, match="activation one of"):
        losses.DiceLoss(activation="relu")(x, y)
    with pytest.raises(ValueError, match="per"):
        losses.DiceLoss(per="image")(x, y)
    with pytest.raises(ValueError, match="gamma"):
        losses.FocalLoss(gamma=-1)(x, y)
    with pytest.raises(TypeError, match="no option smoth"):
        losses.DiceLoss(smoth=1)
    with pytest.raises(TypeError, match="must be a number"):
        losses.FocalLoss(gamma="2")(x, y)
    with pytest.raises(ValueError, match="reduction must be"):
        losses.FocalLoss(reduction="average")(x, y)
    with pytest.raises(ValueError, match="weight must have one number for each of 4 classes"):
        losses.FocalLoss(weight=[1, 2])(x, y)
    for parts in ((losses.DiceLoss(),), (("half", losses.DiceLoss()),), ()):
        with pytest.raises(TypeError, match="pairs"):
            losses.WeightedSum(*parts)
    probabilities = (x > 0).astype(float)
    with pytest.raises(
        ValueError, match=r"pixel_weight must have shape \(3, 5, 6\) or \(3, 4, 5, 6\), got \(3, 4, 6\)"
    ):
        losses.BCEWithLogitsLoss()(x, probabilities, w[:, :4])
    for name in ("weight", "pos_weight"):
        with pytest.raises(ValueError, match=rf"{name} must broadcast to the shape of input.*got \(7,\)"):
            losses.BCEWithLogitsLoss(**{name: np.ones(7)})(x, probabilities)


def test_where_no_pixel_counts_the_mean_is_no_number():
    x, y, _ = scores_and_labels()
    nothing = np.full_like(y, -100)
    assert np.isnan(float(losses.FocalLoss()(x, nothing)))
    assert np.isnan(float(losses.CrossEntropyLoss()(x, nothing)))
    assert np.isnan(float(F.nll_loss(x, nothing)))
    assert float(losses.FocalLoss(reduction="sum")(x, nothing)) == 0


def test_pixel_weights_of_the_binary_loss_follow_the_image_not_the_class():
    # Three images of three classes: a weight (N, H, W) could also be broadcast along the classes, silently.
    x, _, w = scores_and_labels(classes=3)
    target = (x > 0.3).astype(np.float64)
    each = F.binary_cross_entropy_with_logits(x, target, reduction="none").data
    assert x.shape[0] == x.shape[1]
    expected = (each * w[:, None]).mean()
    for weight in (w, w[:, None], np.broadcast_to(w[:, None], x.shape)):
        assert float(losses.BCEWithLogitsLoss()(x, target, weight)) == pytest.approx(expected, rel=1e-12)
    both = losses.WeightedSum((1, losses.BCEWithLogitsLoss()), (1, losses.DiceLoss(activation="sigmoid")))
    dice = losses.dice_loss(x, target, activation="sigmoid", pixel_weight=w)
    assert float(both(x, target, pixel_weight=w)) == pytest.approx(expected + float(dice), rel=1e-12)
