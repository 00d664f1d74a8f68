"""Which labels count in ``cross_entropy``: its quick look at the smallest and the largest must miss none that is ignored."""

import numpy as np
import pytest

from minisegnet import Tensor
from minisegnet import functional as F


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("ignore_index", [-100, -1, 0, 1, 2, 3, 255])
@pytest.mark.parametrize("present", [False, True])
def test_ignored_labels_do_not_count(present, ignore_index, smoothing):
    """Below, among and above the classes, there or not: as if the ignored pixels were not in the image."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1, 3, 1, 12)), np.array([[[0, 1, 2] * 4]])
    y = np.where(y == ignore_index, (ignore_index + 1) % 3, y)
    if present:
        y[0, 0, 3:5] = ignore_index
    kept = y[0, 0] != ignore_index
    options = {"ignore_index": ignore_index, "label_smoothing": smoothing}
    for reduction in ("mean", "sum"):
        loss = F.cross_entropy(Tensor(x), y, reduction=reduction, **options)
        alone = F.cross_entropy(Tensor(x[..., kept]), y[..., kept], reduction=reduction, label_smoothing=smoothing)
        np.testing.assert_allclose(loss.data, alone.data, rtol=1e-12)
