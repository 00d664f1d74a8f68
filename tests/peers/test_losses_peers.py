"""Losses against PyTorch, MONAI and scikit-learn: values and gradients, published vectors, and each difference.

First the libraries themselves, where they are installed: forward and gradient (theirs by PyTorch's autograd) in float64.
Then vectors that MONAI and scikit-learn publish (inputs and answers from their tests, the file named), which hold without
them. Last, one test for each row of the second table in docs/metrics.md: both sides are called, the difference is seen.
"""

import numpy as np
import pytest

import minisegnet.functional as F
from minisegnet import losses
from minisegnet.autograd import Tensor

N, K, H, W = 3, 4, 5, 6


@pytest.fixture(scope="module")
def sk():
    return pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed: pip install -e '.[test]'")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture(scope="module")
def monai(torch):
    return pytest.importorskip("monai.losses", reason="MONAI (which needs PyTorch) is not installed")


def scores_and_labels(seed=0, classes=K, ignore=None):
    rng = np.random.default_rng(seed)
    x, y = 2 * rng.normal(size=(N, classes, H, W)), rng.integers(0, classes, (N, H, W))
    y[0] = 0  # an image without most classes
    if ignore is not None:
        y[rng.random(y.shape) < 0.3] = ignore
    return x, y


def value_and_gradient(loss, x, y):
    t = Tensor(x, requires_grad=True)
    result = loss(t, y)
    result.backward()
    return float(result.detach()), t.grad.data


def theirs(torch, loss, x, y, dtype=None):
    t = torch.tensor(x, requires_grad=True)
    result = loss(t, torch.tensor(y, dtype=dtype))
    result.backward()
    return result.item(), t.grad.numpy()


def one_hot(y):
    """Return (N, K, H, W) in float64, zeros where ignored (MONAI makes its own in float32, which squares round)."""
    return np.moveaxis(np.vstack([np.eye(K), np.zeros(K)])[np.minimum(y, K)], -1, 1)


def assert_equal(mine, other):
    """Compare value and gradient in float64."""
    assert mine[0] == pytest.approx(other[0], rel=1e-10)
    np.testing.assert_allclose(mine[1], other[1], rtol=1e-10, atol=1e-10 * abs(other[1]).max())


def as_monai(smooth, classes, per, activation, ignore):
    """Return the options of MONAI's Dice and Tversky that mean the same as ours."""
    above, below = smooth
    return {
        "include_background": classes is None,
        "softmax": activation == "softmax",
        "sigmoid": activation == "sigmoid",
        "smooth_nr": above,
        "smooth_dr": below,
        "batch": per == "batch",
        "ignore_index": ignore,
    }


# The same rule: the libraries, called.

OPTIONS = [
    {"smooth": (1.0, 1.0), "classes": None, "per": "batch", "activation": "softmax", "ignore": None},
    {"smooth": (1e-5, 1e-5), "classes": None, "per": "sample", "activation": "softmax", "ignore": None},
    {"smooth": (0.5, 0.25), "classes": (1, 2, 3), "per": "sample", "activation": "softmax", "ignore": None},
    {"smooth": (1e-5, 1e-5), "classes": None, "per": "batch", "activation": "sigmoid", "ignore": None},
    {"smooth": (0.0, 1.0), "classes": (1, 2, 3), "per": "batch", "activation": "softmax", "ignore": 255},
    {"smooth": (1e-5, 1e-5), "classes": None, "per": "sample", "activation": "sigmoid", "ignore": 255},
]


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_dice_is_monai(monai, torch, options, squared):
    x, y = scores_and_labels(ignore=options["ignore"])
    mine = {k: v for k, v in options.items() if k != "ignore"} | {"ignore_index": options["ignore"] or -100}
    reference = monai.DiceLoss(squared_pred=squared, **as_monai(**options))
    expected = theirs(torch, reference, x, one_hot(y))
    assert_equal(value_and_gradient(losses.DiceLoss(squared=squared, **mine), x, y), expected)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.3, 0.7), (1.0, 1.0), (0.9, 0.0)])
@pytest.mark.parametrize("options", OPTIONS)
def test_tversky_is_monai(monai, torch, options, alpha, beta):
    x, y = scores_and_labels(1, ignore=options["ignore"])
    mine = {k: v for k, v in options.items() if k != "ignore"} | {"ignore_index": options["ignore"] or -100}
    reference = monai.TverskyLoss(alpha=alpha, beta=beta, **as_monai(**options))
    result = value_and_gradient(losses.TverskyLoss(alpha, beta, **mine), x, y)
    assert_equal(result, theirs(torch, reference, x, one_hot(y)))
    above, below = options["smooth"]
    if (alpha, beta) == (0.5, 0.5):
        assert_equal(result, value_and_gradient(losses.DiceLoss(**mine | {"smooth": (2 * above, 2 * below)}), x, y))
    if (alpha, beta) == (1, 1):  # soft IoU
        doubled = options | {"smooth": (2 * above, 2 * below)}
        jaccard = monai.DiceLoss(jaccard=True, **as_monai(**doubled))
        assert_equal(result, theirs(torch, jaccard, x, one_hot(y)))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("weight", [None, [0.5, 1.0, 2.0, 3.0]])
def test_focal_is_monai(monai, torch, gamma, weight):
    # The class casts to float32; the function inside does not.
    from monai.losses.focal_loss import softmax_focal_loss

    x, y = scores_and_labels(2)
    alpha = None if weight is None else torch.tensor(weight, dtype=torch.float64)

    def focal(t, labels):
        hot = torch.nn.functional.one_hot(labels, K).movedim(-1, 1).double()
        return softmax_focal_loss(t, hot, gamma, alpha).sum()

    mine = losses.FocalLoss(gamma, weight=weight, reduction="sum")
    assert_equal(value_and_gradient(mine, x, y), theirs(torch, focal, x, y))


def test_focal_of_two_classes_is_the_sigmoid_focal_of_one_score(monai, torch):
    from monai.losses.focal_loss import sigmoid_focal_loss

    x, y = scores_and_labels(3, classes=2)
    one = x[:, 1:] - x[:, :1]  # softmax over two scores is the sigmoid of their difference
    value, gradient = value_and_gradient(losses.FocalLoss(), x, y)
    expected = theirs(torch, lambda t, u: sigmoid_focal_loss(t, u, 2.0).mean(), one, y[:, None], torch.float64)
    assert_equal((value, gradient[:, 1:]), expected)
    assert_equal((value, -gradient[:, :1]), expected)


@pytest.mark.parametrize("ignore", [-100, 255])
def test_cross_entropy_plus_dice_is_monai(monai, torch, ignore):
    weight = [1.0, 2.0, 0.5, 3.0]
    x, y = scores_and_labels(4, ignore=None if ignore == -100 else ignore)
    mine = losses.CombinedLoss(0.5, weight=weight, ignore_index=ignore, per="sample", smooth=1e-5, classes=(1, 2, 3))
    dice = monai.DiceLoss(include_background=False, to_onehot_y=True, softmax=True, ignore_index=ignore)
    entropy = torch.nn.CrossEntropyLoss(torch.tensor(weight, dtype=torch.float64), ignore_index=ignore)
    expected = theirs(torch, lambda t, u: entropy(t, u[:, 0]) + 0.5 * dice(t, u), x, y[:, None])
    assert_equal(value_and_gradient(mine, x, y), expected)
    if ignore == -100:  # and their own sum of the two
        mine = losses.CombinedLoss(per="sample", smooth=1e-5)
        both = monai.DiceCELoss(to_onehot_y=True, softmax=True)
        assert_equal(value_and_gradient(mine, x, y), theirs(torch, both, x, y[:, None]))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("ignore", [-100, 0])
def test_cross_entropy_is_pytorch(torch, reduction, ignore):
    x, y = scores_and_labels(5)
    for weight in (None, [1.0, 2.0, 0.5, 3.0]):
        for smoothing in (0.0, 0.1):
            given = None if weight is None else torch.tensor(weight, dtype=torch.float64)
            options = {"ignore_index": ignore, "reduction": reduction, "label_smoothing": smoothing}
            expected = theirs(torch, torch.nn.CrossEntropyLoss(given, **options), x, y)
            assert_equal(value_and_gradient(losses.CrossEntropyLoss(weight, **options), x, y), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_binary_cross_entropy_is_pytorch(torch, reduction):
    x, _ = scores_and_labels(6)
    y = np.random.default_rng(6).random(x.shape)
    weight, positive = np.array([0.5, 1, 2, 1]).reshape(K, 1, 1), np.array([2.0, 1, 0.5, 3]).reshape(K, 1, 1)
    options = {"weight": torch.tensor(weight), "pos_weight": torch.tensor(positive), "reduction": reduction}
    expected = theirs(torch, torch.nn.BCEWithLogitsLoss(**options), x, y)
    mine = losses.BCEWithLogitsLoss(weight=weight, pos_weight=positive, reduction=reduction)
    assert_equal(value_and_gradient(mine, x, y), expected)


def test_negative_log_likelihood_and_squares_are_pytorch(torch):
    x, y = scores_and_labels(7, ignore=255)
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    expected = theirs(torch, torch.nn.NLLLoss(torch.tensor(weight), ignore_index=255), x, y)
    assert_equal(value_and_gradient(lambda t, u: F.nll_loss(t, u, weight, 255), x, y), expected)
    other = np.random.default_rng(7).normal(size=x.shape)
    assert_equal(value_and_gradient(F.mse_loss, x, other), theirs(torch, torch.nn.MSELoss(), x, other))


def test_cross_entropy_is_the_log_loss_of_scikit_learn(sk):
    x, y = scores_and_labels(8)
    e = np.exp(x - x.max(1, keepdims=True))
    rows = np.moveaxis(e / e.sum(1, keepdims=True), 1, -1).reshape(-1, K)
    labels = list(range(K))
    assert float(losses.CrossEntropyLoss()(x, y)) == pytest.approx(sk.log_loss(y.ravel(), rows, labels=labels))
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    expected = sk.log_loss(y.ravel(), rows, labels=labels, sample_weight=weight[y.ravel()])  # weights divide, too
    assert float(losses.CrossEntropyLoss(weight)(x, y)) == pytest.approx(expected, rel=1e-12)
    pixels = np.random.default_rng(8).random(y.shape)
    expected = sk.log_loss(y.ravel(), rows, labels=labels, sample_weight=pixels.ravel())
    assert float(losses.CrossEntropyLoss()(x, y, pixels)) == pytest.approx(expected, rel=1e-12)
    one, found = x[:, :1], y[:, None] > 0
    chance = 1 / (1 + np.exp(-one))
    mine = losses.BCEWithLogitsLoss()(one, found.astype(float))
    assert float(mine) == pytest.approx(sk.log_loss(found.ravel(), chance.ravel()), rel=1e-12)


# The same rule: vectors that the libraries publish.

# MONAI (dev branch of 2026), tests/losses/test_dice_loss.py and test_tversky_loss.py
SQUARE = np.array([[[[1.0, -1.0], [-1.0, 1.0]]]]), np.array([[[[1.0, 0.0], [1.0, 1.0]]]])
SQUARES = (
    np.array([[[[1.0, -1.0], [-1.0, 1.0]]], [[[1.0, -1.0], [-1.0, 1.0]]]]),
    np.array([[[[1.0, 1.0], [1.0, 1.0]]], [[[1.0, 0.0], [1.0, 0.0]]]]),
)
ROWS = (
    np.array([[[-1.0, 0.0, 1.0], [1.0, 0.0, -1.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]),
    np.array([[1, 0, 0], [1, 1, 0]]),
)
HARD = (
    np.array([[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]]),
    np.array([[0, 0, 1], [0, 1, 0]]),
)
SOFT = (np.array([[[[0.3, 0.4], [0.7, 0.9]]], [[[1.0, 0.1], [0.5, 0.3]]]]),) * 2
SAMPLE = {"per": "sample"}


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        (SQUARE, {"activation": "sigmoid", "smooth": 1e-6}, 0.307576),
        (SQUARES, {"activation": "sigmoid", "smooth": 1e-4}, 0.416657),
        (SOFT, {"activation": None, "smooth": 1e-4}, 0.307773),
        (HARD, {"activation": None, "smooth": 0, "classes": (1,)}, 0.0),
        (ROWS, {"activation": "sigmoid", "smooth": 1e-4}, 0.435050),
        (ROWS, {"activation": "softmax", "smooth": 1e-4}, 0.383713),
        (SQUARE, {"activation": "sigmoid", "squared": True, "smooth": 1e-5}, 0.178337),
    ],
)
def test_dice_published_by_monai(data, options, expected):
    assert float(losses.DiceLoss(**SAMPLE | options)(*data)) == pytest.approx(expected, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        (SQUARE, {"activation": "sigmoid", "smooth": 1e-6}, 0.307576),
        (SQUARE, {"activation": "sigmoid", "smooth": 1e-6, "alpha": 0.3, "beta": 0.7}, 0.3589),
        (SQUARE, {"activation": "sigmoid", "smooth": 1e-6, "alpha": 0.7, "beta": 0.3}, 0.247366),
        # DiceLoss(jaccard=True): their smoothing of 1e-5 stands in the fraction doubled
        (SQUARE, {"activation": "sigmoid", "smooth": 0.5e-5, "alpha": 1, "beta": 1}, 0.470451),
        (HARD, {"activation": None, "smooth": (0, 1e-3), "classes": (1,)}, 0.000999),
        (ROWS, {"activation": "sigmoid", "smooth": 1e-5, "per": "batch"}, 0.422979),
        (ROWS, {"activation": "softmax", "smooth": 1e-4}, 0.383713),
    ],
)
def test_tversky_published_by_monai(data, options, expected):
    assert float(losses.TverskyLoss(**SAMPLE | options)(*data)) == pytest.approx(expected, rel=1e-4)


def test_each_image_and_class_published_by_monai():
    # test_dice_loss.py and test_tversky_loss.py, reduction="none": (N, K); theirs is the mean over both, as is ours.
    x, y = ROWS
    sigmoid, softmax = [[0.296529, 0.415136], [0.599976, 0.428559]], [[0.210961, 0.295339], [0.599952, 0.428547]]
    for activation, smooth, table in (("sigmoid", 1e-4, sigmoid), ("softmax", 2e-4, softmax)):
        for n in range(2):
            for k in range(2):
                loss = losses.DiceLoss(activation=activation, smooth=smooth, classes=(k,))
                assert float(loss(x[n : n + 1], y[n : n + 1])) == pytest.approx(table[n][k], rel=1e-5)


FLAT = np.array([[[[1.0, 1.0], [0.5, 0.0]]] * 3]).reshape(1, 3, 2, 2), np.array([[[0, 1], [2, 0]]])


def test_focal_published_by_monai():
    # tests/losses/test_focal_loss.py: use_softmax=True divides by N K H W, so a third of ours (docs/metrics.md).
    x, y = FLAT
    assert float(losses.FocalLoss()(x, y)) / 3 == pytest.approx(0.16276, abs=1e-5)
    # alpha 0.8 is a weight of 0.2 for the background and 0.8 for the others; ours divides by the sum of weights.
    weighted = losses.FocalLoss(weight=[0.2, 0.8, 0.8], reduction="sum")(x, y)
    assert float(weighted) / 12 == pytest.approx(0.08138, abs=1e-5)
    # The sigmoid focal loss of each score is our focal loss of the pair (0, score).
    table = [[[0.02266, 0.70187], [0.37741, 0.17329]], [[0.70187, 0.02266], [0.37741, 0.17329]]]
    table += [[[0.70187, 0.70187], [0.06757, 0.17329]]]
    pairs = np.stack([np.zeros_like(x[0]), x[0]], axis=1)  # one "image" a class: (K, 2, H, W)
    labels = (y == np.arange(3)[:, None, None]).astype(int)
    each = losses.FocalLoss(reduction="none")(pairs, labels).data
    np.testing.assert_allclose(each, table, atol=1e-5)
    assert each.mean() == pytest.approx(0.34959, abs=1e-5)
    assert each[1:].mean() == pytest.approx(0.36498, abs=1e-5)  # include_background=False


def test_cross_entropy_plus_dice_published_by_monai():
    # tests/losses/test_dice_ce_loss.py: their Dice takes the scores as probabilities if not told otherwise.
    options = {"activation": None, "smooth": 1e-5, "per": "sample"}
    assert float(losses.CombinedLoss(**options)(*HARD)) == pytest.approx(np.log(1 + np.exp(1)) - 1, abs=1e-5)
    big = HARD[0].copy()
    big[0, 0, :2] = 100
    foreground = {**options, "classes": (1,)}
    assert float(losses.CombinedLoss(**foreground)(big, HARD[1])) == pytest.approx(0.2088, abs=5e-5)
    twice = losses.WeightedSum((2.0, losses.CrossEntropyLoss()), (1.0, losses.DiceLoss(**foreground)))
    assert float(twice(big, HARD[1])) == pytest.approx(0.4176, abs=1e-4)
    weighted = losses.CombinedLoss(weight=[0.0, 1.0], **foreground)
    assert float(weighted(big, HARD[1])) == pytest.approx(0.3133, abs=5e-5)


def test_log_loss_published_by_scikit_learn():
    # Example in the docstring of log_loss, sklearn/metrics/_classification.py (1.9): log of chances are scores.
    chances = np.array([[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]])
    assert float(losses.CrossEntropyLoss()(np.log(chances), np.array([1, 0, 0, 1]))) == pytest.approx(0.21616, abs=5e-6)


# The differences: one test for each row of the table in docs/metrics.md.


def test_smoothing_by_default(monai, torch):
    x, y = scores_and_labels(9)
    mine = float(losses.DiceLoss(per="sample")(x, y))
    other = theirs(torch, monai.DiceLoss(to_onehot_y=True, softmax=True), x, y[:, None])[0]
    assert abs(mine - other) > 1e-2  # 1 against 1e-5
    assert float(losses.DiceLoss(per="sample", smooth=1e-5)(x, y)) == pytest.approx(other, rel=1e-12)


def test_smoothing_in_dice_and_in_tversky(monai, torch):
    # s is added to 2I and to I: Tversky(0.5, 0.5) with s is Dice with 2s, here and there.
    x, y = scores_and_labels(10)
    options = {"to_onehot_y": True, "softmax": True, "smooth_nr": 1.0, "smooth_dr": 1.0}
    dice, tversky = (theirs(torch, f(**options), x, y[:, None])[0] for f in (monai.DiceLoss, monai.TverskyLoss))
    assert float(losses.DiceLoss(per="sample")(x, y)) == pytest.approx(dice, rel=1e-12)
    assert float(losses.TverskyLoss(per="sample")(x, y)) == pytest.approx(tversky, rel=1e-12)
    assert float(losses.DiceLoss(per="sample", smooth=2)(x, y)) == pytest.approx(tversky, rel=1e-12)
    assert abs(dice - tversky) > 1e-3


def test_a_class_in_neither_map(monai, torch):
    nothing = np.zeros((1, 1, 3, 3))
    assert float(losses.DiceLoss(smooth=0, activation=None)(nothing, nothing)) == 0
    options = {"smooth_nr": 0, "smooth_dr": 0}
    value, gradient = theirs(torch, monai.DiceLoss(**options), nothing, nothing)
    assert np.isnan(value)
    assert np.isnan(gradient).all()
    for above, expected in ((1e-5, 0), (0, 1)):
        options = {"smooth_nr": above, "smooth_dr": 1e-5}
        assert theirs(torch, monai.DiceLoss(**options), nothing, nothing)[0] == expected
        assert float(losses.DiceLoss(smooth=(above, 1e-5), activation=None)(nothing, nothing)) == expected


def test_over_the_batch_or_each_image(monai, torch):
    x, y = scores_and_labels(11)
    per_batch, per_sample = (float(losses.DiceLoss(per=p, smooth=1e-5)(x, y)) for p in ("batch", "sample"))
    default, batch = (
        theirs(torch, monai.DiceLoss(to_onehot_y=True, softmax=True, batch=b), x, y[:, None])[0] for b in (False, True)
    )
    assert float(losses.DiceLoss(smooth=1e-5)(x, y)) == per_batch == pytest.approx(batch, rel=1e-12)
    assert per_sample == pytest.approx(default, rel=1e-12)
    assert abs(per_batch - per_sample) > 1e-2


def test_linear_or_squared_denominators(monai, torch):
    x, y = scores_and_labels(12)
    options = {"softmax": True, "smooth_nr": 1e-5, "smooth_dr": 1e-5}
    found = []
    for squared in (False, True):
        mine = float(losses.DiceLoss(per="sample", smooth=1e-5, squared=squared)(x, y))
        other = theirs(torch, monai.DiceLoss(squared_pred=squared, **options), x, one_hot(y))[0]
        assert mine == pytest.approx(other, rel=1e-12)
        found.append(mine)
    assert abs(found[0] - found[1]) > 1e-2


def test_soft_targets(monai, torch):
    # I = sum p t is not |X| even where p = t is no 0 or 1; MONAI's soft_label=True takes (|p| + |t| - |p - t|) / 2.
    x, y = SOFT
    mine = float(losses.DiceLoss(per="sample", activation=None, smooth=1e-4)(x, y))
    plain, soft = (
        theirs(torch, monai.DiceLoss(smooth_nr=1e-4, smooth_dr=1e-4, soft_label=s), x, y)[0] for s in (False, True)
    )
    assert mine == pytest.approx(plain, rel=1e-12)
    assert mine > 0.3
    assert soft == pytest.approx(0, abs=1e-12)


def test_weights_of_classes(monai, torch):
    # MONAI multiplies each class's loss and takes the plain mean; here classes are chosen, or losses added up.
    x, y = scores_and_labels(13)
    weight = [0.0, 1.0, 2.0, 3.0]
    other = theirs(torch, monai.DiceLoss(to_onehot_y=True, softmax=True, weight=weight), x, y[:, None])[0]
    parts = [(w, losses.DiceLoss(smooth=1e-5, per="sample", classes=(k,))) for k, w in enumerate(weight)]
    assert float(losses.WeightedSum(*parts)(x, y)) / K == pytest.approx(other, rel=1e-12)
    weighted_mean = float(losses.WeightedSum(*parts)(x, y)) / sum(weight)
    assert abs(weighted_mean - other) > 0.1


def test_pixels_that_are_ignored(monai, torch):
    x, y = scores_and_labels(14, ignore=255)
    options = {"to_onehot_y": True, "softmax": True, "ignore_index": 255}
    mine = losses.DiceLoss(smooth=1e-5, per="sample", ignore_index=255)
    other = theirs(torch, monai.DiceLoss(**options), x, y[:, None])
    assert_equal(value_and_gradient(mine, x, y), other)
    assert (value_and_gradient(mine, x, y)[1].transpose(0, 2, 3, 1)[y == 255] == 0).all()
    # A class of its own that is ignored: its pixels count nowhere, its mean stays (index 0 where it is predicted).
    x, y = scores_and_labels(14)
    mine = float(losses.DiceLoss(smooth=1e-5, per="sample", ignore_index=1)(x, y))
    other = theirs(torch, monai.DiceLoss(**options | {"ignore_index": 1}), x, y[:, None])[0]
    assert mine == pytest.approx(other, rel=1e-12)


def test_all_pixels_ignored(torch):
    x, y = scores_and_labels(15)
    y[:] = -100
    assert np.isnan(float(losses.CrossEntropyLoss()(x, y)))
    assert np.isnan(float(losses.FocalLoss()(x, y)))
    assert torch.nn.functional.cross_entropy(torch.tensor(x), torch.tensor(y)).isnan()
    assert float(losses.DiceLoss()(x, y)) == 0


def test_what_the_mean_of_the_focal_loss_divides_by(monai, torch):
    x, y = scores_and_labels(16)
    weight = [0.5, 1.0, 2.0, 3.0]
    plain = monai.FocalLoss(to_onehot_y=True, use_softmax=True)
    weighted = monai.FocalLoss(to_onehot_y=True, use_softmax=True, weight=weight)
    assert float(losses.FocalLoss()(x, y)) / K == pytest.approx(theirs(torch, plain, x, y[:, None])[0], rel=1e-6)
    counts, mine = np.array(weight)[y], float(losses.FocalLoss(weight=weight)(x, y))
    other = theirs(torch, weighted, x, y[:, None])[0]
    assert mine * counts.mean() / K == pytest.approx(other, rel=1e-6)
    assert mine == pytest.approx(float(losses.FocalLoss(weight=[2 * w for w in weight])(x, y)), rel=1e-12)


def test_sigmoid_or_softmax_in_the_focal_loss(monai, torch):
    # MONAI judges each score by itself if not told otherwise, as K losses of two classes.
    x, y = scores_and_labels(17)
    other = theirs(torch, monai.FocalLoss(to_onehot_y=True), x, y[:, None])[0]
    assert abs(float(losses.FocalLoss()(x, y)) / K - other) > 1e-2
    pairs = np.stack([np.zeros_like(x), x], axis=2).reshape(N * K, 2, H, W)
    labels = (y[:, None] == np.arange(K)[:, None, None]).astype(int).reshape(N * K, H, W)
    assert float(losses.FocalLoss()(pairs, labels)) == pytest.approx(other, rel=1e-6)


def test_certain_and_wrong(sk, torch):
    x, y = np.array([[[2000.0]], [[0.0]]]).reshape(1, 2, 1, 1), np.ones((1, 1, 1), int)
    assert float(losses.CrossEntropyLoss()(x, y)) == 2000
    assert torch.nn.functional.cross_entropy(torch.tensor(x), torch.tensor(y)).item() == 2000
    # Chances have lost what scores still say: log_loss clips them at float64's 2.2e-16.
    clipped = sk.log_loss([1], np.array([[1.0, 0.0]]), labels=[0, 1])
    assert clipped == pytest.approx(-np.log(np.finfo(float).eps))


def test_weights_of_pixels_in_the_binary_loss(sk, torch):
    # As PyTorch, the mean divides by the count; scikit-learn, as our cross_entropy, by the sum of weights.
    x, _ = scores_and_labels(18, classes=1)
    w, target = np.random.default_rng(18).random((N, H, W)), (x > 0.2).astype(float)
    mine = float(losses.BCEWithLogitsLoss()(x, target, w))
    t = torch.nn.functional.binary_cross_entropy_with_logits(*map(torch.tensor, (x, target, w[:, None])))
    assert mine == pytest.approx(t.item(), rel=1e-12)
    other = sk.log_loss(target.ravel(), 1 / (1 + np.exp(-x.ravel())), sample_weight=w.ravel())
    assert mine / w.mean() == pytest.approx(other, rel=1e-12)


def test_precision_of_the_focal_loss(monai, torch):
    # MONAI's class computes in float32 whatever it gets.
    x, y = scores_and_labels(19)
    other = theirs(torch, monai.FocalLoss(to_onehot_y=True, use_softmax=True), x, y[:, None])[0]
    mine = float(losses.FocalLoss()(x, y)) / K
    assert 0 < abs(mine - other) < 1e-6
    assert other == np.float32(other)
