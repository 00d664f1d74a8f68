"""Border weights: exact distances beside brute force, the paper's formula, and what is left out is bounded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisegnet import data
from minisegnet.data import borders


def brute_force(mask):
    """The squared distance of each pixel to the nearest true one, by trying all."""
    y, x = np.nonzero(mask)
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]]
    if len(y) == 0:
        return np.full(mask.shape, np.inf)
    return ((rows[..., None] - y) ** 2 + (columns[..., None] - x) ** 2).min(axis=2).astype(float)


def formula(labels, w0=10.0, sigma=5.0):
    """Equation 2 of the paper, term by term, over all cells."""
    numbers = [k for k in np.unique(labels) if k]
    distances = (
        np.sqrt(np.array([brute_force(labels == k) for k in numbers])) if numbers else np.zeros((0, *labels.shape))
    )
    padded = np.concatenate([distances, np.full((2, *labels.shape), np.inf)])
    d1, d2 = np.sort(padded, axis=0)[:2]
    counts = [np.sum(labels == 0), np.sum(labels > 0)]
    present = sum(count > 0 for count in counts)
    balance = np.where(labels > 0, *(labels.size / (present * max(count, 1)) for count in counts[::-1]))
    return balance + w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(0, 2**20), st.sampled_from([0.02, 0.2, 0.9]))
def test_distance_is_exact(h, w, seed, share):
    mask = np.random.default_rng(seed).random((h, w)) < share
    np.testing.assert_array_equal(data.squared_distance(mask), brute_force(mask))


@pytest.mark.parametrize("reach", [0, 1, 3, 50])
def test_reach_hides_only_what_is_farther(reach):
    mask = np.random.default_rng(0).random((40, 30)) < 0.01
    full = brute_force(mask)
    np.testing.assert_array_equal(data.squared_distance(mask, reach), np.where(full <= reach**2, full, np.inf))


def test_empty_mask_and_one_corner():
    assert np.isinf(data.squared_distance(np.zeros((5, 6), bool))).all()
    corner = np.zeros((30, 50), bool)
    corner[0, 0] = True
    assert data.squared_distance(corner)[-1, -1] == 29**2 + 49**2


@pytest.mark.parametrize("seed", range(6))
def test_weights_are_the_formula(seed):
    rng = np.random.default_rng(seed)
    labels = np.zeros((50, 60), np.int32)
    for k in range(rng.integers(1, 9)):
        y, x, r = rng.integers(0, 50), rng.integers(0, 60), rng.integers(1, 9)
        rows, columns = np.mgrid[:50, :60]
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= r**2] = 3 * k + 2  # gaps in the numbers do not matter
    weights = data.border_weights(labels)
    assert weights.dtype == np.float32
    error = formula(labels) - weights
    assert error.min() > -1e-5
    assert error.max() <= borders.CUT_OFF * 10 + 1e-5, "only terms below the cut-off may be missing"


def test_a_gap_between_two_cells_weighs_most():
    labels = np.zeros((21, 40), int)
    labels[3:18, 5:18] = 1
    labels[3:18, 21:34] = 2
    weights = data.border_weights(labels, class_weights=(1.0, 1.0))
    # 19 lies 2 pixels beside either cell; 18 lies 1 and 3: the sum is the same, and so is the weight
    np.testing.assert_allclose(weights[10, 18:21], 1 + 10 * np.exp(-((2 + 2) ** 2) / 50), rtol=1e-6)
    assert weights[10, 19] > weights[10, 26] > 1
    assert weights[0, 0] == pytest.approx(weights[20, 0])


def test_one_cell_and_none():
    labels = np.zeros((12, 12), int)
    assert (data.border_weights(labels) == 1).all()
    labels[4:8, 4:8] = 7
    weights = data.border_weights(labels)
    np.testing.assert_allclose(weights.mean(), 1, rtol=1e-6)
    np.testing.assert_allclose(weights[5, 5], 144 / (2 * 16), rtol=1e-6)
    np.testing.assert_array_equal(data.border_weights(np.ones((4, 4), int)), 1)


def test_batches_and_types():
    labels = np.zeros((2, 20, 20), np.uint8)
    labels[0, 2:5, 2:5], labels[0, 2:5, 7:9], labels[1, 10:, :] = 1, 2, 1
    batch = data.border_weights(labels)
    np.testing.assert_array_equal(batch[0], data.border_weights(labels[0].astype(np.int64)))
    np.testing.assert_array_equal(batch[1], data.border_weights(labels[1]))


def test_faults_are_named():
    with pytest.raises(ValueError, match=r"labels must be integers \(H, W\)"):
        data.border_weights(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="positive for cells"):
        data.border_weights(np.full((3, 3), -1))
    with pytest.raises(ValueError, match="sigma"):
        data.border_weights(np.zeros((3, 3), int), sigma=0)
    with pytest.raises(ValueError, match="class_weights"):
        data.border_weights(np.zeros((3, 3), int), class_weights=(1, 2, 3))


def test_real_nuclei(histology_path):
    labels = data.load_nuclei(histology_path).labels[3]
    np.testing.assert_allclose(data.border_weights(labels)[:64, :80].shape, (64, 80))
    part = labels[60:130, 80:160]
    np.testing.assert_allclose(data.border_weights(part), formula(part), atol=borders.CUT_OFF * 10 + 1e-5)
