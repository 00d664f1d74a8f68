"""From hourglass to U: redrawing changes nothing, skips do; every number shown is counted again by plain loops."""

import re
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet import data, explorers, models
from minisegnet.autograd import no_grad
from minisegnet.explorers import hourglass_nets as nets
from minisegnet.explorers.hourglass import ADDED, DEEP, SHORT, STACKED, STOPS, draw_hourglass
from minisegnet.explorers.hourglass_picture import blocks
from minisegnet.models.files import PRETRAINED

NETS = (SHORT, DEEP, ADDED, STACKED)


def fresh(name):
    """Return a net, loaded anew."""
    return models.load(PRETRAINED / "explorers" / f"{name}.safetensors")


def labels_of(model, seed=0):
    """Return the map of a scene as lists, by the model's own forward."""
    image = data.scene(96, seed=seed).image
    with no_grad():
        scores = model(np.float32(image.transpose(2, 0, 1)[None]) / 255).numpy()[0]
    return scores.argmax(0).tolist()


def count_by_loops(found, seed=0):
    """Return wrong pixels near edges, pixels near edges, wrong pixels elsewhere, pixels elsewhere."""
    truth = data.scene(96, seed=seed).labels.tolist()
    counts = Counter()
    for y in range(96):
        for x in range(96):
            if truth[y][x] == 255:
                continue
            around = {
                truth[j][i] for j in range(max(0, y - 2), min(96, y + 3)) for i in range(max(0, x - 2), min(96, x + 3))
            }
            place = "edge" if len(around) > 1 else "rest"
            counts[place] += 1
            counts["wrong", place] += truth[y][x] != found[y][x]
    return counts["wrong", "edge"], counts["edge"], counts["wrong", "rest"], counts["rest"]


def said(twin):
    """Return the fingerprint and the numbers of a twin: wrong, of, wrong, of."""
    mark = re.search(r"Fingerprint (\w+);", twin)[1]
    numbers = re.search(r"wrong are ([\d,]+) of ([\d,]+) .*?, ([\d,]+) of ([\d,]+) elsewhere", twin)
    return mark, tuple(int(n.replace(",", "")) for n in numbers.groups())


@pytest.mark.parametrize("stage", [0, 6, 9, 10])
def test_the_numbers_shown_are_those_that_loops_count(stage):
    found = labels_of(fresh(STOPS[stage].net))
    assert said(draw_hourglass(stage).twin)[1] == count_by_loops(found)


def test_a_drawing_changes_nothing_and_another_net_does():
    explorer = explorers.hourglass()
    marks, before = [], ""
    for stage, stop in enumerate(STOPS):
        twin = explorer.set(stage=stage)
        marks.append(said(twin))
        if stage:
            assert ("the function changed" in twin) == (stop.net != STOPS[stage - 1].net)
            assert ("the drawing changed" in twin) == (stop.net == STOPS[stage - 1].net)
            assert (marks[-1] == marks[-2]) == ("the drawing changed" in twin)
        assert explorer.drawing.picture != before
        before = explorer.drawing.picture
    assert [len(set(marks[:6])), len(set(marks[6:9])), len(set(marks[9:10])), len(set(marks[10:]))] == [1, 1, 1, 1]
    assert len(set(marks)) == 4


def test_the_discovery_and_the_fine_skip_that_moves_the_edges_but_not_the_classes():
    explorer = explorers.hourglass()
    deep = explorer.set(stage=6)
    assert said(explorer.set(stage=8)) == said(deep)
    assert said(explorer.discover())[1][0] == 60 == count_by_loops(labels_of(fresh(STACKED)))[0]
    assert said(deep)[1][0] == 147 == count_by_loops(labels_of(fresh(DEEP)))[0]
    assert "147 wrong near edges, before and after" in explorer.discovery.fact
    assert explorer.discovery.fact.endswith(": 60.")
    edges, _, rest, _ = said(explorer.choose("fine skip shifted"))[1]
    assert edges > 4 * 60
    assert rest <= 5


@pytest.mark.parametrize("name", NETS)
def test_no_pixel_is_so_close_to_call_that_a_fingerprint_could_differ_between_machines(name):
    with no_grad():
        scores = fresh(name)(nets.as_input(0)).numpy()[0]
    best = np.sort(scores, axis=0)
    assert (best[-1] - best[-2]).min() > 1e-4


@pytest.mark.parametrize("name", NETS)
def test_the_surgeons_forward_is_the_models_own(name):
    model, x = fresh(name), nets.as_input(1)
    with no_grad():
        np.testing.assert_array_equal(nets.through(model, x).numpy(), model(x).numpy())


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_skip_cut_out_is_a_net_whose_weights_for_it_are_zero(level):
    model = fresh(STACKED)
    first = model.decoder[3 - level][0]
    first.weight.data[:, : first.weight.shape[1] // 2] = 0
    found = nets.predict(STACKED, 0, level, "cut to zero").labels
    assert np.mean(found != labels_of(model)) < 1e-3
    twin = draw_hourglass(10, level, "cut to zero").twin
    assert "the function changed" in twin
    assert said(twin)[1] == count_by_loops(found.tolist())


@pytest.mark.parametrize(("level", "by"), [(1, 8), (2, 4), (3, 2)])
def test_a_shifted_skip_and_another_images_carry_what_they_say(level, by):
    own = nets.carried(STACKED, 0, level)
    moved = nets.carried(STACKED, 0, level, "shifted 8 px")
    np.testing.assert_array_equal(moved[..., by:], own[..., :-by])
    np.testing.assert_array_equal(nets.carried(STACKED, 0, level, "another image's"), nets.carried(STACKED, 1, level))
    assert own.shape == (1, 6 * 2 ** (level - 1), 96 // 2 ** (level - 1), 96 // 2 ** (level - 1))


@pytest.mark.parametrize(("name", "depth"), [(SHORT, 1), (DEEP, 3), (ADDED, 3), (STACKED, 3)])
def test_the_blocks_are_those_of_the_model(name, depth):
    levels = [*range(depth), *range(depth, -1, -1)]
    expected = [(3, 96), *((6 * 2**level, 96 // 2**level) for level in levels), (5, 96)]
    assert [(block.channels, block.side) for block in blocks(name)] == expected


def test_added_and_stacked_are_told_apart_by_their_channels():
    assert "6 + 6 → 6<" in draw_hourglass(9).picture
    assert "[6, 6] → 12<" in draw_hourglass(10).picture
    assert fresh(ADDED).decoder[2][0].weight.shape[1] == 6
    assert fresh(STACKED).decoder[2][0].weight.shape[1] == 12
    assert "d1 = D1(e1 + ↑d2)" in draw_hourglass(9).formula[1]
    assert "d1 = D1([e1, ↑d2])" in draw_hourglass(10).formula[1]
    assert "d1 = D1(↑d2)" in draw_hourglass(8).formula[1]


def test_the_files_are_small_and_say_where_they_come_from():
    for name in NETS:
        path = PRETRAINED / "explorers" / f"{name}.safetensors"
        assert path.stat().st_size < 300_000
        assert models.load(path).about["made_by"] == "scripts/train_explorer_nets.py"
    scores = fresh(STACKED).about["scores"]
    assert all(len(row) == 3 for row in scores.values())
    assert {"all skips cut out", "skip 1 cut out", "trained without skip 3", DEEP} <= set(scores)
