"""Metrics against scikit-learn, torchmetrics and MONAI: the same numbers where the rule is the same, and each difference.

First the libraries themselves, where they are installed; then vectors that they publish (inputs and answers from their
documentation and tests, the file named beside each), which hold without them. Last, one test for each row of the tables
in docs/metrics.md: both sides are called, and the difference is seen.
"""

import numpy as np
import pytest

from minisegnet import metrics

CLASSES, IMAGES = 5, 4


@pytest.fixture(scope="module")
def sk():
    return pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed: pip install -e '.[test]'")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture(scope="module")
def tm(torch):
    pytest.importorskip("torchmetrics", reason="torchmetrics (which needs PyTorch) is not installed")
    import torchmetrics.functional
    import torchmetrics.functional.segmentation

    return torchmetrics.functional


@pytest.fixture(scope="module")
def monai(torch):
    return pytest.importorskip("monai.metrics", reason="MONAI (which needs PyTorch) is not installed")


def maps(seed, present=CLASSES):
    """Label maps that agree in about half of their pixels; classes from ``present`` on are in neither."""
    rng = np.random.default_rng(seed)
    target, other = rng.integers(0, present, (2, IMAGES, 9, 7))
    return np.where(rng.random(target.shape) < 0.5, target, other), target


def matrix_of(prediction, target, classes=CLASSES, ignore_index=None):
    return metrics.ConfusionMatrix(classes, ignore_index).update(prediction, target)


def one_hot(torch, labels, classes=CLASSES):
    return torch.tensor(np.moveaxis(np.eye(classes)[labels], -1, 1))


def per_image(prediction, target, classes=CLASSES, what="dice"):
    """Return the score of each image and class, nan where both maps lack it: (N, K)."""
    pairs = zip(prediction, target, strict=True)
    return np.array([getattr(matrix_of(p, t, classes), what)() for p, t in pairs])


# The same rule: the libraries, called.


@pytest.mark.parametrize("seed", range(3))
def test_everything_of_the_confusion_matrix_is_scikit_learn(sk, seed):
    prediction, target = maps(seed)
    m, p, t = matrix_of(prediction, target), prediction.ravel(), target.ravel()
    np.testing.assert_array_equal(m.matrix, sk.confusion_matrix(t, p))
    assert m.pixel_accuracy() == metrics.pixel_accuracy(prediction, target) == pytest.approx(sk.accuracy_score(t, p))
    assert m.mean_accuracy() == pytest.approx(sk.balanced_accuracy_score(t, p), rel=1e-14)
    same = {
        "recall": sk.recall_score(t, p, average=None),
        "precision": sk.precision_score(t, p, average=None),
        "iou": sk.jaccard_score(t, p, average=None),
        "dice": sk.f1_score(t, p, average=None),
    }
    for name, expected in same.items():
        np.testing.assert_allclose(getattr(m, name)(), expected, rtol=1e-14, err_msg=name)
    assert m.mean_iou() == pytest.approx(sk.jaccard_score(t, p, average="macro"), rel=1e-14)
    assert m.mean_dice() == pytest.approx(sk.f1_score(t, p, average="macro"), rel=1e-14)
    assert m.frequency_weighted_iou() == pytest.approx(sk.jaccard_score(t, p, average="weighted"), rel=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_sets_and_their_means_are_scikit_learn(sk, seed):
    prediction, target = maps(seed)
    x, y = prediction == 1, target == 1
    assert metrics.dice(x, y) == pytest.approx(sk.f1_score(y.ravel(), x.ravel()), rel=1e-14)
    assert metrics.iou(x, y) == pytest.approx(sk.jaccard_score(y.ravel(), x.ravel()), rel=1e-14)
    rows_x, rows_y = x.reshape(IMAGES, -1), y.reshape(IMAGES, -1)  # one image a sample, one pixel a label
    streamed = metrics.MeanDice(label=1).update(prediction, target).compute()["dice"]
    assert metrics.mean_dice(x, y) == streamed == pytest.approx(sk.f1_score(rows_y, rows_x, average="samples"))
    assert metrics.pooled_dice(x, y) == pytest.approx(sk.f1_score(rows_y, rows_x, average="micro"), rel=1e-14)


@pytest.mark.parametrize("ignore", [None, 255, 2])
def test_everything_of_the_confusion_matrix_is_torchmetrics(tm, torch, ignore):
    prediction, target = maps(3)
    if ignore == 255:
        target = np.where(np.random.default_rng(0).random(target.shape) < 0.3, 255, target)
    m = matrix_of(prediction, target, ignore_index=ignore)
    p, t, options = torch.tensor(prediction), torch.tensor(target), {"num_classes": CLASSES, "ignore_index": ignore}
    of = tm.classification
    np.testing.assert_array_equal(m.matrix, of.multiclass_confusion_matrix(p, t, **options))
    assert m.pixel_accuracy() == pytest.approx(of.multiclass_accuracy(p, t, average="micro", **options).item())
    fw = of.multiclass_jaccard_index(p, t, average="weighted", **options).item()
    assert m.frequency_weighted_iou() == pytest.approx(fw, rel=1e-6)
    if ignore != 2:  # a class that is ignored and predicted: see the tables
        assert m.mean_accuracy() == pytest.approx(of.multiclass_accuracy(p, t, average="macro", **options).item())
        np.testing.assert_allclose(m.iou(), of.multiclass_jaccard_index(p, t, average=None, **options), rtol=1e-6)
        np.testing.assert_allclose(m.dice(), of.multiclass_f1_score(p, t, average=None, **options), rtol=1e-6)
        np.testing.assert_allclose(m.precision(), of.multiclass_precision(p, t, average=None, **options), rtol=1e-6)
        assert m.mean_iou() == pytest.approx(of.multiclass_jaccard_index(p, t, **options).item(), rel=1e-6)


def test_dice_and_iou_of_images_are_torchmetrics_segmentation(tm, torch):
    prediction, target = maps(4, present=4)  # class 4 is in no image
    p, t = torch.tensor(prediction), torch.tensor(target)
    options = {"num_classes": CLASSES, "input_format": "index"}
    theirs = tm.segmentation.dice_score(p, t, average="none", **options)
    np.testing.assert_allclose(per_image(prediction, target), theirs, rtol=1e-6)
    pooled = tm.segmentation.dice_score(p, t, average="macro", aggregation_level="global", **options)
    assert matrix_of(prediction, target).mean_dice() == pytest.approx(pooled.item(), rel=1e-6)
    means = [matrix_of(a, b).mean_iou() for a, b in zip(prediction, target, strict=True)]
    np.testing.assert_allclose(means, tm.segmentation.mean_iou(p, t, **options), rtol=1e-6)


def test_dice_iou_and_counts_of_images_are_monai(monai, torch):
    prediction, target = maps(5)
    x, y = one_hot(torch, prediction), one_hot(torch, target)
    np.testing.assert_allclose(per_image(prediction, target), monai.compute_dice(x, y), rtol=1e-6)
    np.testing.assert_allclose(per_image(prediction, target, what="iou"), monai.compute_iou(x, y), rtol=1e-6)
    counts = monai.get_confusion_matrix(x, y).sum(0)  # (K, 4)
    m = matrix_of(prediction, target)
    for name, theirs in {"recall": "tpr", "precision": "ppv", "iou": "ts", "dice": "f1"}.items():
        expected = monai.compute_confusion_matrix_metric(theirs, counts)
        np.testing.assert_allclose(getattr(m, name)(), expected, rtol=1e-6)
    assert m.mean_accuracy() == pytest.approx(monai.compute_confusion_matrix_metric("tpr", counts).mean().item())
    averaged = monai.DiceMetric(include_background=False)
    averaged(x, y)
    mine = per_image(prediction, target)[:, 1:].mean()
    assert mine == pytest.approx(averaged.aggregate().item(), rel=1e-6)


def things(rng, height=24, width=24, count=14):
    """A map of overlapping rectangles with numbers that have gaps, and a copy that is a little different."""
    maps = np.zeros((2, height, width), dtype=np.int64)
    for k in rng.permutation(count) + 1:
        top, left, high, wide = *rng.integers(0, height - 4, 2), *rng.integers(2, 9, 2)
        for m, (dy, dx) in zip(maps, ((0, 0), rng.integers(-1, 2, 2)), strict=True):
            if rng.random() < 0.9:
                m[max(0, top + dy) : top + dy + high, max(0, left + dx) : left + dx + wide] = 7 * k
    return maps


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_matched_things_are_monai(monai, torch, threshold):
    for seed in range(5):
        prediction, target = things(np.random.default_rng(seed))
        hits, extra, missed = metrics.match_instances(prediction, target, threshold)
        theirs = monai.compute_panoptic_quality(
            torch.tensor(prediction),
            torch.tensor(target),
            match_iou_threshold=threshold,
            output_confusion_matrix=True,
        )
        assert [hits, extra, missed] == theirs[:3].tolist()
        assert hits + missed == len(np.unique(target)) - 1


# The same rule: vectors that the libraries publish.


def test_published_by_scikit_learn():
    # Examples in the docstrings of sklearn/metrics/_classification.py (1.9): confusion_matrix, balanced_accuracy_score,
    # f1_score, precision_score, recall_score, jaccard_score, accuracy_score.
    m = matrix_of(np.array([0, 0, 2, 2, 0, 2]), np.array([2, 0, 2, 2, 0, 1]), 3)
    np.testing.assert_array_equal(m.matrix, [[2, 0, 0], [0, 0, 1], [1, 0, 2]])
    assert matrix_of(np.array([0, 1, 0, 0, 0, 1]), np.array([0, 1, 0, 0, 1, 0]), 2).mean_accuracy() == 0.625
    m = matrix_of(np.array([0, 2, 1, 0, 0, 1]), np.array([0, 1, 2, 0, 1, 2]), 3)
    np.testing.assert_allclose(m.dice(), [0.8, 0, 0])
    assert m.mean_dice() == pytest.approx(0.267, abs=5e-4)
    assert m.pixel_accuracy() == pytest.approx(0.33, abs=5e-3)  # their micro averages
    np.testing.assert_allclose(m.precision(), [0.66, 0, 0], atol=7e-3)
    np.testing.assert_allclose(m.recall(), [1, 0, 0])
    assert (m.precision().mean(), m.recall().mean()) == (pytest.approx(0.22, abs=5e-3), pytest.approx(0.33, abs=5e-3))
    np.testing.assert_allclose(
        matrix_of(np.array([0, 2, 1, 2]), np.array([0, 1, 2, 2]), 3).iou(), [1, 0, 0.33], atol=5e-3
    )
    x, y = np.array([[1, 1, 1], [1, 0, 0]]), np.array([[0, 1, 1], [1, 1, 0]])
    assert metrics.iou(x[0], y[0]) == pytest.approx(0.6666, abs=1e-4)
    assert metrics.iou(x, y) == pytest.approx(0.6)  # "2D comparison case (e.g. image similarity)"
    assert metrics.pixel_accuracy(np.array([0, 2, 1, 3]), np.array([0, 1, 2, 3])) == 0.5
    # recall_score with zero_division=nan of a target of zeros: [0.5, nan, nan]
    m = matrix_of(np.array([0, 2, 1, 0, 0, 1]), np.zeros(6, int), 3)
    np.testing.assert_allclose(m.recall(), [0.5, np.nan, np.nan])


def test_published_by_torchmetrics():
    # Examples in the docstrings of torchmetrics/functional/classification/{confusion_matrix,jaccard,accuracy}.py (1.9).
    m = matrix_of(np.array([2, 1, 0, 1]), np.array([2, 1, 0, 0]), 3)
    np.testing.assert_array_equal(m.matrix, [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert m.mean_iou() == pytest.approx(0.6667, abs=5e-5)
    scores = np.array([[0.16, 0.26, 0.58], [0.22, 0.61, 0.17], [0.71, 0.09, 0.20], [0.05, 0.82, 0.13]])
    labels = metrics.labels_of(scores.T[:, :, None])[:, 0]  # (K, H, W)
    assert matrix_of(labels, np.array([2, 1, 0, 0]), 3).mean_iou() == pytest.approx(0.6667, abs=5e-5)
    assert metrics.iou(np.array([0, 1, 0, 0]), np.array([1, 1, 0, 0])) == 0.5
    m = matrix_of(np.array([0, 1, 0, 0]), np.array([1, 1, 0, 0]), 2)
    np.testing.assert_array_equal(m.matrix, [[2, 0], [1, 1]])
    right = metrics.pixel_accuracy(np.array([0, 0, 1, 1, 0, 1]), np.array([0, 1, 0, 1, 0, 1]))
    assert right == pytest.approx(0.6667, abs=5e-5)


def test_published_by_torchmetrics_from_random_numbers_of_pytorch(torch):
    # Examples in the docstrings of torchmetrics/functional/segmentation/{dice,mean_iou}.py (1.9): needs PyTorch, because
    # its random numbers are the input, but not torchmetrics.
    torch.manual_seed(42)
    prediction, target = (torch.randint(0, 5, (4, 16, 16)).numpy() for _ in range(2))
    expected = [
        [0.1731, 0.1667, 0.2400, 0.2424, 0.1947],
        [0.2245, 0.2247, 0.2321, 0.1132, 0.1682],
        [0.2500, 0.2476, 0.1887, 0.1818, 0.2718],
        [0.1308, 0.1800, 0.1980, 0.1607, 0.1522],
    ]
    np.testing.assert_allclose(per_image(prediction, target), expected, atol=5.1e-5)
    assert matrix_of(prediction, target).mean_dice() == pytest.approx(0.1965, abs=5e-5)
    accuracies = [metrics.pixel_accuracy(p, t) for p, t in zip(prediction, target, strict=True)]
    np.testing.assert_allclose(accuracies, [0.2031, 0.1914, 0.2266, 0.1641], atol=5.1e-5)  # their micro average
    draw = [torch.randint(0, 2, (4, 16, 16), generator=torch.Generator().manual_seed(s)).numpy() for s in (42, 43)]
    means = [matrix_of(p, t, 5).mean_iou() for p, t in zip(*draw, strict=True)]
    np.testing.assert_allclose(means, [0.3617, 0.3128, 0.3047, 0.3499], atol=5.1e-5)


# MONAI (dev branch of 2026), tests/metrics/test_compute_meandice.py and test_compute_meaniou.py: y_pred, y as (N, K, H, W).
CASE_2 = (
    [[[[0, 1], [0, 0]], [[0, 0], [1, 1]], [[1, 0], [0, 0]]], [[[0, 0], [0, 1]], [[1, 0], [0, 0]], [[0, 1], [1, 0]]]],
    [[[[0, 0], [0, 1]], [[1, 0], [1, 0]], [[0, 1], [0, 0]]], [[[0, 0], [0, 1]], [[1, 1], [0, 0]], [[0, 0], [1, 0]]]],
)
CASE_5 = (
    [[[[1, 1], [1, 0]], [[0, 1], [0, 0]], [[0, 1], [1, 1]]], [[[1, 0], [1, 1]], [[0, 1], [1, 1]], [[0, 1], [1, 0]]]],
    [[[[1, 1], [1, 1]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]], [[[0, 0], [0, 1]], [[1, 1], [0, 0]], [[0, 0], [1, 0]]]],
)


def test_published_by_monai_for_sets():
    x, y = np.array([[1, 0], [0, 1]]), np.array([[1, 0], [1, 1]])  # TEST_CASE_1
    assert (metrics.dice(x, y), metrics.iou(x, y)) == (0.8, pytest.approx(0.6667, abs=5e-5))
    x, y = np.array(CASE_2)  # TEST_CASE_2, without the background
    for function, expected in (
        (metrics.dice, [[0.5, 0], [0.6667, 0.6667]]),
        (metrics.iou, [[0.3333, 0], [0.5, 0.5]]),
    ):
        found = [[function(x[n, k], y[n, k]) for k in (1, 2)] for n in (0, 1)]
        np.testing.assert_allclose(found, expected, atol=5e-5)
    everything, nothing = np.ones((3, 3), int), np.zeros((3, 3), int)  # TEST_CASE_9, 11, 12: ignore_empty=False
    assert metrics.dice(everything, everything) == metrics.iou(everything, everything) == 1
    assert metrics.dice(nothing, nothing, empty=1) == metrics.iou(nothing, nothing, empty=1) == 1
    assert metrics.dice(everything, nothing, empty=1) == metrics.iou(everything, nothing, empty=1) == 0


def test_published_by_monai_where_the_target_is_never_empty():
    # TEST_CASE_4 leaves a class out where the target lacks it; classes and images where it does not are ours as well.
    x, y = np.array(CASE_5)
    assert metrics.mean_dice(x[:, 0], y[:, 0]) == pytest.approx(0.6786, abs=5e-5)
    assert np.mean([metrics.iou(x[n, 0], y[n, 0]) for n in (0, 1)]) == pytest.approx(0.5416, abs=1e-4)
    for label, dice, iou in ((1, 0.4, 0.25), (2, 0.6667, 0.5)):
        assert metrics.dice(x[1, label], y[1, label]) == pytest.approx(dice, abs=5e-5)
        assert metrics.iou(x[1, label], y[1, label]) == iou


def test_published_by_monai_for_counts():
    # tests/metrics/test_compute_confusion_matrix.py: (tp, fp, tn, fn) of each image and class.
    expected = [[[0, 1, 2, 1], [1, 1, 1, 1], [0, 1, 2, 1]], [[1, 0, 3, 0], [1, 0, 2, 1], [1, 1, 2, 0]]]
    x, y = np.array(CASE_2)
    for n in range(2):
        for k in range(3):
            (tn, fp), (fn, tp) = matrix_of(x[n, k], y[n, k], 2).matrix.tolist()
            assert [tp, fp, tn, fn] == expected[n][k]


def test_published_by_monai_for_things():
    # tests/metrics/test_compute_panoptic_quality.py, sample_2 at 0.5: panoptic quality 0.25, the numbers may have gaps.
    target = np.array([[1, 1, 2, 1], [0, 0, 0, 0], [1, 3, 0, 0], [4, 3, 3, 3]])
    for prediction in (
        np.array([[0, 1, 1, 1], [0, 0, 0, 0], [2, 0, 3, 3], [4, 2, 2, 0]]),
        np.array([[0, 7, 7, 7], [0, 0, 0, 0], [1, 0, 8, 8], [9, 1, 1, 0]]),
    ):
        hits, extra, missed = metrics.match_instances(prediction, target, 0.5)
        # The one pair above 0.5 is thing 4, which fits to the pixel: IoU 1. So their quality is that of the counts.
        assert (hits, extra, missed) == (1, 3, 3)
        assert hits * 1.0 / (hits + extra / 2 + missed / 2) == 0.25
    assert metrics.instance_precision(target, target) == 1


# The differences: one test for each row of the table in docs/metrics.md.


def nothing_and_something():
    return np.zeros((1, 4, 4), int), np.pad(np.ones((1, 2, 2), int), ((0, 0), (1, 1), (1, 1)))


def test_both_empty(sk, tm, monai, torch):
    nothing, _ = nothing_and_something()
    assert metrics.dice(nothing, nothing) == metrics.iou(nothing, nothing) == 1
    assert metrics.dice(nothing, nothing, empty=0) == 0
    assert np.isnan(metrics.dice(nothing, nothing, empty="nan"))
    with pytest.warns(UserWarning, match="F-score is ill-defined"):
        assert sk.f1_score(nothing.ravel(), nothing.ravel()) == 0
    assert sk.f1_score(nothing.ravel(), nothing.ravel(), zero_division=1) == 1
    assert np.isnan(sk.f1_score(nothing.ravel(), nothing.ravel(), zero_division=np.nan))
    t = torch.tensor(nothing)
    assert tm.classification.binary_f1_score(t, t) == tm.classification.binary_jaccard_index(t, t) == 0
    assert tm.classification.binary_f1_score(t, t, zero_division=1) == 1
    both = tm.segmentation.dice_score(t, t, num_classes=2, average="none", input_format="index")
    assert both[0, 0] == 1
    assert torch.isnan(both[0, 1])
    per_class = tm.segmentation.mean_iou(t, t, num_classes=2, input_format="index", per_class=True)
    assert per_class.tolist() == [[1, -1]]
    x = torch.tensor(nothing[:, None])
    assert torch.isnan(monai.compute_dice(x, x)).all()
    assert monai.compute_dice(x, x, ignore_empty=False).item() == 1


def test_only_the_target_empty(sk, tm, monai, torch):
    nothing, something = nothing_and_something()
    for empty in (0, 1, "nan"):
        assert metrics.dice(something, nothing, empty) == 0
    assert sk.f1_score(nothing.ravel(), something.ravel()) == 0
    assert tm.classification.binary_f1_score(torch.tensor(something), torch.tensor(nothing)) == 0
    x, y = torch.tensor(something[:, None]), torch.tensor(nothing[:, None])
    assert torch.isnan(monai.compute_dice(x, y)).all()  # found where nothing is, and no harm done
    assert monai.compute_dice(x, y, ignore_empty=False).item() == 0
    found = metrics.mean_dice([something, something], [something, nothing])
    helper = monai.DiceMetric()
    helper(torch.cat([x, x]), torch.cat([x, y]))
    assert (found, helper.aggregate().item()) == (0.5, 1)


def test_a_class_in_neither_map(sk, tm, monai, torch):
    prediction, target = maps(6, present=CLASSES - 1)
    m = matrix_of(prediction, target)
    p, t = prediction.ravel(), target.ravel()
    left_out, as_zero, as_one = m.mean_iou(), m.mean_iou(absent=0), m.mean_iou(absent=1)
    assert as_zero < left_out < as_one
    everything = list(range(CLASSES))
    with pytest.warns(UserWarning, match="Jaccard is ill-defined"):
        assert sk.jaccard_score(t, p, labels=everything, average="macro") == pytest.approx(as_zero, rel=1e-14)
    assert sk.jaccard_score(t, p, labels=everything, average="macro", zero_division=1) == pytest.approx(as_one)
    assert sk.jaccard_score(t, p, average="macro") == pytest.approx(left_out, rel=1e-14)  # only classes that it sees
    p, t = torch.tensor(prediction), torch.tensor(target)
    theirs = tm.classification.multiclass_jaccard_index(p, t, num_classes=CLASSES).item()
    assert theirs == pytest.approx(left_out, rel=1e-6)
    both = monai.MeanIoU()
    both(one_hot(torch, prediction), one_hot(torch, target))
    mine = np.nanmean(per_image(prediction, target, what="iou"))  # left out as well, but of each image
    assert both.aggregate().item() == pytest.approx(mine, rel=1e-6)
    assert abs(mine - left_out) > 1e-3


def test_a_class_that_only_the_prediction_has(sk, tm, monai, torch):
    prediction, target = np.array([[0, 0, 1, 1]]), np.array([[0, 0, 0, 0]])
    m = matrix_of(prediction, target, 2)
    assert m.mean_iou() == sk.jaccard_score(target[0], prediction[0], average="macro") == 0.25
    assert m.mean_accuracy() == 0.5
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert sk.balanced_accuracy_score(target[0], prediction[0]) == 0.5
    p, t = torch.tensor(prediction), torch.tensor(target)
    assert tm.classification.multiclass_jaccard_index(p, t, num_classes=2) == 0.25
    assert tm.classification.multiclass_accuracy(p, t, num_classes=2, average="macro") == 0.25
    assert m.mean_accuracy(absent=0) == 0.25  # this rule, by name
    theirs = monai.MeanIoU()
    theirs(one_hot(torch, prediction[:, None], 2), one_hot(torch, target[:, None], 2))
    assert theirs.aggregate().item() == 0.5


def test_ignored_pixels(sk, tm, monai, torch):
    prediction, target = maps(7)
    ignored = np.random.default_rng(7).random(target.shape) < 0.3
    m = matrix_of(prediction, np.where(ignored, 255, target), ignore_index=255)
    by_weight = sk.confusion_matrix(target.ravel(), prediction.ravel(), sample_weight=~ignored.ravel())
    np.testing.assert_array_equal(m.matrix, by_weight)  # scikit-learn has no ignore_index: a weight of 0 is one
    p, t = torch.tensor(prediction), torch.tensor(np.where(ignored, 255, target))
    theirs = tm.classification.multiclass_confusion_matrix(p, t, num_classes=CLASSES, ignore_index=255)
    np.testing.assert_array_equal(m.matrix, theirs)
    x, y = one_hot(torch, prediction), one_hot(torch, target) * torch.tensor(~ignored)[:, None]
    counts = monai.get_confusion_matrix(x, y, ignore_index=255).sum(0)  # one-hot: no class at all marks such a pixel
    np.testing.assert_array_equal(counts[:, 0], np.diag(m.matrix))
    np.testing.assert_array_equal(counts[:, 1], m.matrix.sum(0) - np.diag(m.matrix))


def test_a_class_that_is_ignored_and_predicted(tm, monai, torch):
    prediction, target = maps(8)
    m = matrix_of(prediction, target, ignore_index=0)
    assert m.iou()[0] == 0  # none of its pixels counts, some others were called so: it stands in the mean with 0
    p, t = torch.tensor(prediction), torch.tensor(target)
    theirs = tm.classification.multiclass_jaccard_index(p, t, num_classes=CLASSES, ignore_index=0).item()
    assert theirs == pytest.approx(m.mean_iou(classes=range(1, CLASSES)), rel=1e-6)  # left out of the mean
    assert m.mean_iou() == pytest.approx(theirs * (CLASSES - 1) / CLASSES, rel=1e-6)
    # MONAI's IoU only drops the class: its pixels still count as false positives of the others.
    x, y = one_hot(torch, prediction), one_hot(torch, target)
    dropped = monai.compute_iou(x, y, ignore_index=0)
    assert torch.isnan(dropped[:, 0]).all()
    dropped = dropped[:, 1:]
    np.testing.assert_allclose(dropped, per_image(prediction, target, what="iou")[:, 1:], rtol=1e-6)
    without = np.array([matrix_of(*pair, ignore_index=0).iou() for pair in zip(prediction, target, strict=True)])
    assert (without[:, 1:] > dropped.numpy() + 1e-3).any()


def test_without_the_background(sk, tm, monai, torch):
    prediction, target = maps(9)
    things = range(1, CLASSES)
    m = matrix_of(prediction, target)
    mine = m.mean_dice(classes=things)
    assert mine == pytest.approx(m.dice()[1:].mean(), rel=1e-14)
    theirs = sk.f1_score(target.ravel(), prediction.ravel(), labels=list(things), average="macro")
    assert mine == pytest.approx(theirs, rel=1e-14)
    p, t = torch.tensor(prediction), torch.tensor(target)
    options = {"num_classes": CLASSES, "input_format": "index", "include_background": False}
    pooled = tm.segmentation.dice_score(p, t, average="macro", aggregation_level="global", **options)
    assert mine == pytest.approx(pooled.item(), rel=1e-6)
    one = monai.compute_dice(one_hot(torch, prediction), one_hot(torch, target), include_background=False)
    np.testing.assert_allclose(per_image(prediction, target)[:, 1:], one, rtol=1e-6)
    assert abs(mine - m.mean_dice()) > 1e-3


def test_mean_of_images_or_all_pixels_pooled(sk, tm, monai, torch):
    prediction, target = maps(10)
    prediction[0, :6] = target[0, :5] = 1  # one image with much of the class, and well found
    x, y = prediction == 1, target == 1
    mean, pooled = metrics.mean_dice(x, y), metrics.pooled_dice(x, y)
    assert abs(mean - pooled) > 1e-3
    rows = (y.reshape(IMAGES, -1), x.reshape(IMAGES, -1))
    assert sk.f1_score(*rows, average="samples") == pytest.approx(mean, rel=1e-14)
    assert sk.f1_score(*rows, average="micro") == pytest.approx(pooled, rel=1e-14)
    p, t = torch.tensor(prediction), torch.tensor(target)
    options = {"num_classes": CLASSES, "input_format": "index", "average": "none"}
    assert tm.segmentation.dice_score(p, t, **options)[:, 1].mean().item() == pytest.approx(mean, rel=1e-6)
    whole = tm.segmentation.dice_score(p, t, aggregation_level="global", **options)
    assert whole[0, 1].item() == pytest.approx(pooled, rel=1e-6)
    each = monai.DiceMetric()
    each(torch.tensor(x[:, None].astype(float)), torch.tensor(y[:, None].astype(float)))
    assert each.aggregate().item() == pytest.approx(mean, rel=1e-6)


def test_micro_averages_of_labels(sk):
    # With one label a pixel, micro F1, precision and recall are all pixel accuracy a; micro IoU is not: a / (2 - a).
    prediction, target = maps(11)
    p, t, accuracy = prediction.ravel(), target.ravel(), metrics.pixel_accuracy(prediction, target)
    for function in (sk.f1_score, sk.precision_score, sk.recall_score):
        assert function(t, p, average="micro") == pytest.approx(accuracy, rel=1e-14)
    assert sk.jaccard_score(t, p, average="micro") == pytest.approx(accuracy / (2 - accuracy), rel=1e-14)


def test_accuracy_of_one_class_against_the_rest(monai, torch):
    # Accuracy of one class against the rest counts everything far away from it as right: it is not the class's recall.
    prediction, target = maps(12)
    m = matrix_of(prediction, target)
    counts = monai.get_confusion_matrix(one_hot(torch, prediction), one_hot(torch, target)).sum(0)
    theirs = monai.compute_confusion_matrix_metric("acc", counts)
    for k in range(CLASSES):
        assert metrics.pixel_accuracy(prediction == k, target == k) == pytest.approx(theirs[k].item(), rel=1e-6)
        assert theirs[k] > m.recall()[k] + 0.1


def test_an_overlap_of_exactly_the_threshold(monai, torch):
    prediction, target = np.array([[5, 5, 0]]), np.array([[3, 3, 3]])  # IoU 2/3
    assert metrics.match_instances(prediction, target, 2 / 3) == (0, 1, 1)
    half = np.array([[5, 5, 0, 0]]), np.array([[3, 3, 3, 3]])
    assert metrics.match_instances(*half, 0.5) == (0, 1, 1)
    theirs = monai.compute_panoptic_quality(*map(torch.tensor, half), output_confusion_matrix=True)
    assert theirs[:3].tolist() == [0, 1, 1]
    assert metrics.match_instances(np.array([[5, 5, 5, 0, 0]]), np.array([[3, 3, 3, 3, 3]]), 0.6) == (0, 1, 1)


def test_no_things_at_all(monai, torch):
    nothing = np.zeros((4, 4), int)
    assert metrics.instance_precision(nothing, nothing) == 1
    assert np.isnan(metrics.instance_precision(nothing, nothing, empty="nan"))
    assert monai.compute_panoptic_quality(torch.tensor(nothing), torch.tensor(nothing)).item() == 0
