"""Things counted: pieces of a mask against a flood fill and SciPy, matches and the Bowl's score against plain loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minisegnet import metrics
from minisegnet.autograd import Tensor


def flooded(mask, neighbours):
    """Number the pieces one after the other, each by flooding from its first pixel."""
    labels, count = np.zeros(mask.shape, dtype=np.int64), 0
    steps = [s for s in itertools.product((-1, 0, 1), repeat=2) if neighbours == 8 or abs(s[0]) + abs(s[1]) == 1]
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        count, todo = count + 1, [start]
        while todo:
            y, x = todo.pop()
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not labels[y, x]:
                labels[y, x] = count
                todo += [(y + dy, x + dx) for dy, dx in steps]
    return labels


MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(MASKS, st.sampled_from([4, 8]))
def test_pieces_are_those_of_a_flood(mask, neighbours):
    labels = metrics.connected_components(mask, neighbours)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, flooded(mask, neighbours))


@pytest.mark.parametrize("density", [0.1, 0.4, 0.6, 0.9])
@pytest.mark.parametrize("neighbours", [4, 8])
def test_pieces_are_those_of_scipy(density, neighbours):
    ndimage = pytest.importorskip("scipy.ndimage", reason="SciPy is not installed (it comes with scikit-learn)")
    mask = np.random.default_rng(0).random((150, 170)) < density
    expected, count = ndimage.label(mask, np.ones((3, 3)) if neighbours == 8 else None)
    labels = metrics.connected_components(mask, neighbours)
    np.testing.assert_array_equal(labels, expected)
    assert labels.max() == count


def test_pieces_that_meet_late():
    # A comb joined at its last row, and a spiral: runs find out about each other one by one.
    comb = np.zeros((40, 41), bool)
    comb[:, ::2] = comb[-1] = True
    assert metrics.connected_components(comb, 4).max() == 1
    assert metrics.connected_components(comb[:-1], 4).max() == 21
    spiral = np.zeros((31, 31), bool)
    y, x = 0, 0
    spiral[0, 0] = True
    for direction, length in enumerate([30, 30, 30, *[n for n in range(28, 1, -2) for _ in (0, 1)]]):
        dy, dx = [(0, 1), (1, 0), (0, -1), (-1, 0)][direction % 4]
        for _ in range(length):
            y, x = y + dy, x + dx
            spiral[y, x] = True
    np.testing.assert_array_equal(metrics.connected_components(spiral, 4), flooded(spiral, 4))
    assert metrics.connected_components(spiral, 4).max() == 1
    two = np.eye(2, dtype=int)  # corners only
    assert (metrics.connected_components(two, 4).max(), metrics.connected_components(two, 8).max()) == (2, 1)


def test_masks_without_an_inside_or_an_outside():
    for shape in ((0, 0), (0, 5), (5, 0), (3, 4)):
        np.testing.assert_array_equal(metrics.connected_components(np.zeros(shape, bool)), np.zeros(shape))
    np.testing.assert_array_equal(metrics.connected_components(Tensor(np.ones((3, 4), np.uint8))), np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"mask must be one image \(H, W\), got shape \(2, 3, 4\)"):
        metrics.connected_components(np.ones((2, 3, 4), bool))
    with pytest.raises(ValueError, match="neighbours must be 4 or 8, got 6"):
        metrics.connected_components(np.ones((3, 4), bool), 6)
    with pytest.raises(ValueError, match="mask must be a set of pixels"):
        metrics.connected_components(np.full((3, 4), 2))
    with pytest.raises(TypeError, match="mask must hold integer labels, got float64"):
        metrics.connected_components(np.ones((3, 4)))


def naive_matches(prediction, target, threshold):
    """Compare every thing with every other."""
    things_p, things_t = ([m == k for k in set(m.ravel().tolist()) - {0}] for m in (prediction, target))
    hits = sum((x & y).sum() / (x | y).sum() > threshold for x in things_p for y in things_t)
    return hits, len(things_p) - hits, len(things_t) - hits


THINGS = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.int64, shape, elements=st.sampled_from([0, 1, 2, 9]))] * 2)
)


@given(THINGS, st.sampled_from([0.5, 0.6, 0.75, 0.95]))
def test_matches_are_those_of_a_plain_loop(maps, threshold):
    prediction, target = maps
    found = metrics.match_instances(prediction, target, threshold)
    assert found == naive_matches(prediction, target, threshold)
    hits, extra, missed = found
    assert metrics.match_instances(target, prediction, threshold) == (hits, missed, extra)
    # Renaming changes nothing.
    names = np.random.default_rng(0).permutation(np.arange(1, 10))
    renamed = np.where(prediction > 0, names[np.maximum(prediction, 1) - 1], 0)
    assert metrics.match_instances(renamed, target, threshold) == found


@given(THINGS)
def test_the_score_of_the_bowl_is_the_mean_over_its_thresholds(maps):
    prediction, target = maps
    np.testing.assert_allclose(metrics.DSB_THRESHOLDS, np.arange(0.5, 1, 0.05), rtol=1e-12)
    counts = [naive_matches(prediction, target, t) for t in metrics.DSB_THRESHOLDS]
    expected = np.mean([c[0] / sum(c) if sum(c) else 1.0 for c in counts])
    assert metrics.instance_precision(prediction, target) == pytest.approx(expected, rel=1e-14)


def test_dice_cannot_count_and_the_score_of_the_bowl_can():
    # Two nuclei that touch: all pixels right, but one thing where there are two.
    target = np.zeros((8, 16), int)
    target[2:6, 2:8], target[2:6, 8:12] = 1, 2
    pieces = metrics.connected_components(target > 0)
    assert metrics.dice(pieces > 0, target > 0) == 1
    assert pieces.max() == 1
    # IoU with the larger is 24 / 40 = 0.6: a hit up to 0.55, the other one missed.
    assert metrics.match_instances(pieces, target, 0.55) == (1, 0, 1)
    assert metrics.match_instances(pieces, target, 0.6) == (0, 1, 2)
    assert metrics.instance_precision(pieces, target) == pytest.approx(2 * (1 / 2) / 10)


def test_the_mean_over_images():
    rng = np.random.default_rng(2)
    prediction, target = rng.integers(0, 3, (2, 5, 4, 4))
    prediction[0] = target[0] = 0
    prediction[1] = target[1]
    for empty in (1.0, 0.0, "nan"):
        m = metrics.InstancePrecision(empty=empty)
        m.update(prediction[:3], target[:3]).update(prediction[3], target[3]).update(prediction[4:], target[4:])
        each = [metrics.instance_precision(p, t, empty=empty) for p, t in zip(prediction, target, strict=True)]
        assert m.compute() == {"instance_precision": pytest.approx(np.nanmean(each))}
    m.reset()
    assert np.isnan(m.compute()["instance_precision"])
    at_half = metrics.InstancePrecision(thresholds=(0.5,)).update(prediction[1:2], target[1:2])
    assert at_half.compute() == {"instance_precision": 1.0}


def test_bad_things_are_named():
    things = np.zeros((4, 4), int)
    for threshold in (0.4, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"threshold must be in \[0.5, 1\), got"):
            metrics.match_instances(things, things, threshold)
    with pytest.raises(ValueError, match=r"same shape, got \(4, 4\) and \(3, 4\)"):
        metrics.match_instances(things, things[:3])
    with pytest.raises(ValueError, match=r"one image \(H, W\), got shape \(1, 4, 4\)"):
        metrics.instance_precision(things[None], things[None])
    with pytest.raises(TypeError, match="prediction must hold integer labels, got float64"):
        metrics.match_instances(things / 1, things)
    with pytest.raises(ValueError, match="thresholds must hold at least one"):
        metrics.instance_precision(things, things, thresholds=())
    with pytest.raises(ValueError, match="empty must be a number"):
        metrics.InstancePrecision(empty="skip")


def test_real_nuclei_counted(fluorescence_path):
    # The number of nuclei is that of shared/data/README.md. Their map without borders between them counts fewer things.
    with np.load(fluorescence_path) as file:
        maps = file["labels"]
    pieces = [metrics.connected_components(target > 0) for target in maps]
    assert sum(metrics.match_instances(target, target)[0] for target in maps) == 2220
    assert sum(labels.max() for labels in pieces) == 1884  # 336 nuclei hang together with another: docs/metrics.md
    for labels, target in zip(pieces, maps, strict=True):
        assert metrics.dice(labels > 0, target > 0) == 1
        hits, extra, missed = metrics.match_instances(labels, target)
        assert (hits + extra, hits + missed) == (labels.max(), len(np.unique(target)) - 1)
    score = metrics.InstancePrecision().update(np.stack(pieces), maps).compute()["instance_precision"]
    assert score == pytest.approx(0.712, abs=5e-4)
