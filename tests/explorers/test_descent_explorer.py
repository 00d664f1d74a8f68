"""The explorer of learning: its losses and gradients by loops, and what too large a rate does, by arithmetic of its own."""

import itertools

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet import explorers
from minisegnet.explorers.descent import PICTURE, RATES, STEPS, TARGETS, descent_run, draw_descent, said

PLACES = list(itertools.product(range(6), range(6)))
TAPS = list(itertools.product(range(3), range(3)))


def off_at(weights, target, i, j):
    """Return what the learned kernel gives at a place minus what the target gives."""
    return sum((weights[y][x] - target[y][x]) * PICTURE[i + y][j + x] for y, x in TAPS)


@pytest.mark.parametrize("target", TARGETS)
def test_loss_and_gradient_are_those_of_loops_and_each_step_follows_from_the_last(target):
    moments = descent_run(target, 0.2)
    for before, after in itertools.pairwise(moments[:6]):
        off = {place: off_at(before.weight, TARGETS[target], *place) for place in PLACES}
        assert before.loss == pytest.approx(sum(v * v for v in off.values()) / 36)
        for y, x in TAPS:
            slope = sum(2 * off[i, j] * PICTURE[i + y][j + x] for i, j in PLACES) / 36
            assert before.gradient[y, x] == pytest.approx(slope)
            assert after.weight[y, x] == pytest.approx(before.weight[y, x] - 0.2 * slope)


@pytest.mark.parametrize("target", TARGETS)
def test_the_largest_rate_that_converges_is_two_divided_by_the_steepest_curvature(target):
    columns = np.array([[PICTURE[i + y][j + x] for y, x in TAPS] for i, j in PLACES])
    limit = 2 / np.linalg.eigvalsh(2 * columns.T @ columns / 36)[-1]
    assert 1.0 < limit < 1.2
    for rate in RATES:
        losses = [m.loss for m in descent_run(target, rate)]
        assert (losses[-1] < losses[0]) == (rate < limit)


def test_the_discovery_is_a_fact():
    after = {rate: descent_run("edges", rate)[5].loss for rate in RATES}
    ordered = [after[rate] for rate in RATES if rate <= 0.6]
    assert ordered == sorted(ordered, reverse=True)
    assert min(after, key=after.get) == 0.6
    swinging = [m.weight[0, 2] - 1 for m in descent_run("edges", 1.0)[1:6]]
    assert all(a * b < 0 for a, b in itertools.pairwise(swinging))
    growing = [m.loss for m in descent_run("edges", 1.2)]
    assert growing == sorted(growing)
    explorer = explorers.descent()
    assert "each step goes too far" in explorer.discover()


def test_it_says_what_has_been_learned_and_fits_into_its_cells():
    assert "it does what the target does" in draw_descent("edges", 0.2, 20).twin
    for target, rate, step in itertools.product(TARGETS, RATES, (0, 1, STEPS)):
        moment = descent_run(target, rate)[step]
        assert all(len(said(v, 1)) <= 4 for v in (*moment.weight.flat, *moment.gradient.flat))
    assert [said(v, 1) for v in (0.25, -123456.0, 99.96, -0.01)] == ["0.3", "−1e5", "100", "0"]
