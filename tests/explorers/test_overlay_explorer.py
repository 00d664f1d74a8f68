"""The threshold explorer: numbers by independent arithmetic, the declared discovery walked, no widget needed to draw."""

import re

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet import explorers
from minisegnet.explorers.overlay import THRESHOLDS, VIEWS, dice_by_threshold, draw_overlay


@pytest.fixture(scope="module")
def state():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    target = ((y - 24) ** 2 + (x - 30) ** 2 < 200).astype(int)
    probability = np.clip(0.25 + 0.4 * target + 0.2 * rng.standard_normal((48, 64)), 0, 1).astype(np.float32)
    return rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), target, probability


def test_dice_by_threshold_agrees_with_counting(state):
    _, target, probability = state
    for threshold, score in zip(THRESHOLDS, dice_by_threshold(target, probability), strict=True):
        guess = probability > threshold
        both = sum(bool(t) and bool(g) for t, g in zip(target.ravel(), guess.ravel(), strict=True))
        assert score == pytest.approx(2 * both / (target.sum() + guess.sum()))


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_draws_the_same_html_twice_with_formula_code_and_twin(state, view):
    one, two = (draw_overlay(*state, threshold=0.4, view=view) for _ in range(2))
    assert one == two
    assert "Dice = 2·TP / (2·TP + FP + FN)" in one.html
    assert "model.predict(image)[1] &gt; 0.40" in one.html
    assert "softmax(dim=1)[0, 1] &gt; 0.40" in one.html
    assert one.twin in one.html
    numbers = re.search(r"2·([\d,]+) / \(2·[\d,]+ \+ ([\d,]+) \+ ([\d,]+)\) = ([\d.]+)", one.html).groups()
    tp, fp, fn, dice = (float(n.replace(",", "")) for n in numbers)
    assert 2 * tp / (2 * tp + fp + fn) == pytest.approx(dice, abs=5e-4)


def test_an_unknown_view_is_named(state):
    with pytest.raises(ValueError, match="view must be one of"):
        draw_overlay(*state, view="all")


def test_the_discovery_is_found_at_the_end_of_its_path(state):
    explorer = explorers.overlay(*state)
    before = explorer.twin
    after = explorer.discover()
    assert after != before
    _, target, probability = state
    candidates = {
        t: 2 * ((probability > t) & (target == 1)).sum() / ((probability > t).sum() + target.sum()) for t in THRESHOLDS
    }
    best = max(candidates, key=candidates.get)
    assert explorer.state["threshold"] == pytest.approx(best)
    assert f"threshold {best:.2f}" in explorer.discovery.fact
    assert f"Dice {candidates[best]:.2f}" in after
    lower = explorer.set(threshold=best - 0.15)
    higher = explorer.set(threshold=best + 0.15)
    alarms, missed = (
        [float(re.search(rf"([\d.]+)% {kind}", twin).group(1)) for twin in (lower, after, higher)]
        for kind in ("false alarms", "missed")
    )
    assert alarms[0] > alarms[1] > alarms[2]
    assert missed[0] < missed[1] < missed[2]


def test_moving_a_control_sets_picture_twin_and_static_copy(state):
    explorer = explorers.overlay(*state)
    pictures = {explorer.picture.value}
    for change in ({"outline": False}, {"opacity": 1.0}, {"view": "errors"}, {"threshold": 0.6}):
        explorer.set(**change)
        assert explorer.picture.value not in pictures
        pictures.add(explorer.picture.value)
        bundle = explorer._repr_mimebundle_()
        assert bundle["text/plain"] == explorer.twin
        assert explorer.picture.value in bundle["text/html"]
    with pytest.raises(ValueError, match="no control 'rate'"):
        explorer.set(rate=2)


def test_a_missing_target_is_named(state):
    with pytest.raises(ValueError, match="target is missing"):
        explorers.overlay(state[0])
