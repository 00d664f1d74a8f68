"""Metrics against sums written out by hand, on small maps whose answers are known, and their rules for what is empty.

Against the libraries that others trust: tests/peers/.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minisegnet import metrics
from minisegnet.autograd import Tensor

TARGET = np.array([[0, 0, 0, 1], [2, 2, 1, 1]])
GUESS = np.array([[0, 0, 1, 1], [2, 0, 1, 2]])


def naive_counts(prediction, target, classes, ignore=None):
    matrix = [[0] * classes for _ in range(classes)]
    for p, t in zip(np.ravel(prediction).tolist(), np.ravel(target).tolist(), strict=True):
        if t != ignore:
            matrix[t][p] += 1
    return np.array(matrix)


def test_known_map():
    m = metrics.ConfusionMatrix(3).update(GUESS, TARGET)
    np.testing.assert_array_equal(m.matrix, [[2, 1, 0], [0, 2, 1], [1, 0, 1]])
    assert m.pixel_accuracy() == 5 / 8
    np.testing.assert_allclose(m.recall(), [2 / 3, 2 / 3, 1 / 2])
    np.testing.assert_allclose(m.precision(), [2 / 3, 2 / 3, 1 / 2])
    assert m.mean_accuracy() == pytest.approx((2 / 3 + 2 / 3 + 1 / 2) / 3)
    np.testing.assert_allclose(m.iou(), [2 / 4, 2 / 4, 1 / 3])
    np.testing.assert_allclose(m.dice(), [4 / 6, 4 / 6, 2 / 4])
    assert m.mean_iou() == pytest.approx((0.5 + 0.5 + 1 / 3) / 3)
    assert m.frequency_weighted_iou() == pytest.approx((3 * 0.5 + 3 * 0.5 + 2 / 3) / 8)
    assert list(m.compute()) == ["mean_iou", "mean_dice", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"]
    assert metrics.pixel_accuracy(GUESS, TARGET) == 5 / 8


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("ignore", [None, 255])
def test_streaming_over_batches_counts_as_the_naive_loop(dtype, ignore):
    rng = np.random.default_rng(0)
    prediction, target = rng.integers(0, 5, (2, 7, 9, 8)).astype(dtype)
    if ignore:
        target[rng.random(target.shape) < 0.2] = ignore
    m = metrics.ConfusionMatrix(5, ignore_index=ignore)
    for start in range(0, 7, 3):
        m.update(Tensor(prediction[start : start + 3]), target[start : start + 3])
    np.testing.assert_array_equal(m.matrix, naive_counts(prediction, target, 5, ignore))
    assert m.matrix.dtype == np.int64
    m.reset()
    assert m.matrix.sum() == 0
    counts = target != ignore if ignore else np.ones(target.shape, bool)
    expected = (prediction == target)[counts].mean()
    assert metrics.pixel_accuracy(prediction, target, ignore_index=ignore) == pytest.approx(expected)


def test_dice_iou_and_f1_identities():
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 20, 20)) < 0.4
    d, j = metrics.dice(x, y), metrics.iou(x, y)
    both, only_x, only_y = (x & y).sum(), (x & ~y).sum(), (~x & y).sum()
    assert d == 2 * both / (2 * both + only_x + only_y)
    assert j == pytest.approx(d / (2 - d), rel=1e-15)
    m = metrics.ConfusionMatrix(2).update(x, y)
    assert m.dice()[1] == pytest.approx(d, rel=1e-15)
    assert m.iou()[1] == pytest.approx(j, rel=1e-15)


def test_the_denominator_is_not_constant():
    # The lecture's claim, undone (FACTS 10): |Y| = 4 and overlap 4, but |X| = 8 or 4.
    y = np.arange(16) < 4
    assert metrics.dice(np.arange(16) < 8, y) == pytest.approx(2 / 3)
    assert metrics.dice(np.arange(16) < 4, y) == 1.0


@pytest.mark.parametrize(("empty", "expected"), [(1.0, 1.0), (0.0, 0.0), ("nan", np.nan), (float("nan"), np.nan)])
def test_two_empty_sets_by_the_rule_that_was_chosen(empty, expected):
    nothing, something = np.zeros((3, 3), bool), np.ones((3, 3), bool)
    for function in (metrics.dice, metrics.iou):
        np.testing.assert_equal(function(nothing, nothing, empty=empty), expected)
        assert function(nothing, something, empty=empty) == 0.0  # one set is not empty: no rule needed
    with pytest.raises(ValueError, match=r"empty must be a number, or .nan. .*got 'one'"):
        metrics.dice(something, something, empty="one")


def test_mean_of_images_is_not_pooled():
    # A large image that is right and a small one that is wrong, sizes differing.
    predictions = [np.ones((10, 10), bool), np.array([[True, False]])]
    targets = [np.ones((10, 10), bool), np.array([[False, True]])]
    assert metrics.mean_dice(predictions, targets) == 0.5
    assert metrics.pooled_dice(predictions, targets) == pytest.approx(200 / 202)
    nothing = np.zeros((2, 2), bool)
    assert metrics.mean_dice([*predictions, nothing], [*targets, nothing]) == pytest.approx(2 / 3)
    assert metrics.mean_dice([*predictions, nothing], [*targets, nothing], empty=0) == pytest.approx(1 / 3)
    assert metrics.mean_dice([*predictions, nothing], [*targets, nothing], empty="nan") == 0.5
    assert np.isnan(metrics.mean_dice([], []))
    assert metrics.pooled_dice([], [], empty=1) == 1
    with pytest.raises(ValueError, match="shorter"):
        metrics.mean_dice(predictions, targets[:1])


def test_streaming_mean_dice():
    rng = np.random.default_rng(3)
    prediction, target = rng.integers(0, 3, (2, 6, 5, 5))
    target[0] = prediction[0] = 0
    m = metrics.MeanDice(label=2, empty="nan")
    m.update(prediction[:4], target[:4]).update(prediction[4], target[4]).update(prediction[5:], target[5:])
    expected = np.mean([metrics.dice(p == 2, t == 2) for p, t in zip(prediction[1:], target[1:], strict=True)])
    assert m.compute() == {"dice": pytest.approx(expected)}
    m.reset()
    assert np.isnan(m.compute()["dice"])


def test_absent_classes_by_the_rule_that_was_chosen():
    # Class 2 is in neither map, class 1 only in the prediction.
    m = metrics.ConfusionMatrix(3).update(np.array([0, 0, 1]), np.array([0, 0, 0]))
    np.testing.assert_array_equal(m.iou(), [2 / 3, 0, np.nan])
    np.testing.assert_array_equal(m.dice(), [4 / 5, 0, np.nan])
    np.testing.assert_array_equal(m.recall(), [2 / 3, np.nan, np.nan])
    np.testing.assert_array_equal(m.precision(), [1, 0, np.nan])
    assert m.mean_iou() == pytest.approx(1 / 3)
    assert m.mean_iou(absent=1) == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert m.mean_dice(absent=0) == pytest.approx(4 / 15)
    assert m.mean_accuracy() == pytest.approx(2 / 3)
    assert m.frequency_weighted_iou() == pytest.approx(2 / 3)
    nothing = metrics.ConfusionMatrix(2, ignore_index=255).update(np.zeros(3, int), np.full(3, 255))
    assert all(np.isnan(v) for v in nothing.compute().values())


def test_scores_become_labels_only_when_asked():
    scores = np.zeros((2, 3, 4, 4), np.float32)
    scores[0, 2] = 1
    scores[1, 1, 0, 0] = 5
    labels = metrics.labels_of(Tensor(scores))
    assert labels.shape == (2, 4, 4)
    assert (labels[0] == 2).all()
    assert labels[1].sum() == 1  # ties go to the first class
    np.testing.assert_array_equal(metrics.labels_of(scores[0]), labels[0])
    np.testing.assert_array_equal(metrics.labels_of(scores[:, 1:2]), scores[:, 1] > 0)
    with pytest.raises(TypeError, match=r"prediction must hold integer labels, got float32.*labels_of"):
        metrics.ConfusionMatrix(3).update(scores, labels)
    with pytest.raises(ValueError, match="floats of shape"):
        metrics.labels_of(labels)
    scores[1, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        metrics.labels_of(scores)


def test_bad_maps_are_named_and_counts_stay():
    m = metrics.ConfusionMatrix(3, ignore_index=255).update(GUESS, TARGET)
    before = m.matrix.copy()
    with pytest.raises(ValueError, match=r"same shape, got \(2, 4\) and \(1, 4\)"):
        m.update(GUESS, TARGET[:1])
    with pytest.raises(ValueError, match=r"target holds the label 3.*3 classes.*ignore_index is 255"):
        m.update(GUESS, TARGET + 1)
    with pytest.raises(ValueError, match="prediction holds the label -1"):
        m.update(GUESS - 1, TARGET)
    with pytest.raises(TypeError, match="target must hold integer labels, got float64"):
        m.update(GUESS, TARGET / 1)
    np.testing.assert_array_equal(m.matrix, before)
    with pytest.raises(ValueError, match=r"set of pixels.*0 to 2"):
        metrics.dice(GUESS, TARGET == 1)
    with pytest.raises(ValueError, match="num_classes"):
        metrics.ConfusionMatrix(0)
    for classes in ((3,), (-1, 0), ()):
        with pytest.raises(ValueError, match="classes must be some of 0 to 2"):
            m.mean_iou(classes=classes)
    with pytest.raises(ValueError, match=r"absent must be a number.*got 'skip'"):
        m.mean_dice(absent="skip")
    with pytest.raises(ValueError, match=r"empty must be a number.*got 'skip'"):
        metrics.MeanDice(empty="skip")


def test_a_mean_over_some_classes_is_the_mean_of_their_numbers():
    m = metrics.ConfusionMatrix(3).update(GUESS, TARGET)
    assert m.mean_iou(classes=(1, 2)) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert m.mean_dice(classes=range(1, 3)) == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert m.mean_accuracy(classes=(2,)) == 1 / 2
    assert m.mean_iou(classes=range(3)) == m.mean_iou()


MAPS = hnp.array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.int64, shape, elements=st.integers(0, 3))] * 2)
)


@given(MAPS)
def test_the_four_numbers_of_long_et_al_are_their_formulas(maps):
    # Section 5 of the paper, with n_ij pixels of class i predicted as j, and t_i = sum_j n_ij.
    prediction, target = maps
    m, n = metrics.ConfusionMatrix(4).update(prediction, target), naive_counts(prediction, target, 4)
    np.testing.assert_array_equal(m.matrix, n)
    present = [i for i in range(4) if n[i].sum()]
    either = [i for i in range(4) if n[i].sum() + n[:, i].sum()]
    iou = {i: n[i, i] / (n[i].sum() + n[:, i].sum() - n[i, i]) for i in either}
    expected = {
        "pixel_accuracy": sum(n[i, i] for i in range(4)) / n.sum(),
        "mean_accuracy": sum(n[i, i] / n[i].sum() for i in present) / len(present),
        "mean_iou": sum(iou.values()) / len(either),
        "frequency_weighted_iou": sum(n[i].sum() * iou[i] for i in present) / n.sum(),
        "mean_dice": sum(2 * n[i, i] / (n[i].sum() + n[:, i].sum()) for i in either) / len(either),
    }
    assert m.compute() == pytest.approx(expected, rel=1e-14)
    assert metrics.pixel_accuracy(prediction, target) == m.pixel_accuracy()
    # Dice is the harmonic mean of precision and recall (F1), and 2 IoU / (1 + IoU): it never ranks classes otherwise.
    p, r = m.precision(), m.recall()
    both = (p > 0) & (r > 0)
    np.testing.assert_allclose(m.dice()[both], 2 * p[both] * r[both] / (p[both] + r[both]), rtol=1e-14)
    np.testing.assert_allclose(m.dice(), 2 * m.iou() / (1 + m.iou()), rtol=1e-14)


SETS = hnp.array_shapes(min_dims=1, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(bool, shape)] * 2)
)


@given(SETS, st.sampled_from([0.0, 1.0, 0.25]))
def test_what_holds_for_any_two_sets(sets, empty):
    x, y = sets
    d, j = metrics.dice(x, y, empty), metrics.iou(x, y, empty)
    assert d == metrics.dice(y, x, empty)  # symmetric
    assert 0 <= j <= d <= 1
    true, extra, missed = (x & y).sum(), (x & ~y).sum(), (~x & y).sum()
    if true + extra + missed:
        assert d == pytest.approx(2 * true / (2 * true + extra + missed), rel=1e-15)
        assert j == pytest.approx(d / (2 - d), rel=1e-15)
        assert (d == 1) == (x == y).all()
    else:
        assert d == j == empty
    assert metrics.pooled_dice([x, y], [y, y], empty) == metrics.dice(np.stack([x, y]), np.stack([y, y]), empty)


@given(SETS)
def test_one_wrong_pixel_less_never_lowers_the_dice(sets):
    # |Y| stands still, |X| does not: mending any wrong pixel helps, also one that lies outside of Y (FACTS 10).
    x, y = sets
    before = metrics.dice(x, y)
    for i in np.argwhere(x != y):
        better = x.copy()
        better[tuple(i)] = y[tuple(i)]
        assert metrics.dice(better, y) >= before
        if x[tuple(i)] and (x & y).any():
            assert metrics.dice(better, y) > before  # a false positive less, the overlap the same
