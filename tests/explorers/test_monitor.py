"""The training monitor: it changes nothing, shows what is true, stops at a step's end, costs little, leaves a picture."""

import importlib
import math
import re
import time
from xml.etree import ElementTree

import numpy as np
import pytest

from minisegnet import losses, metrics, nn, optim, training
from minisegnet.autograd import Tensor
from minisegnet.backend import use_backend
from minisegnet.explorers import live
from minisegnet.explorers.monitor import Monitor, monitor
from minisegnet.explorers.training_picture import Numbers, draw, duration, headline, sentence
from minisegnet.explorers.watched_pictures import dice_of_pictures

MODULE = importlib.import_module("minisegnet.explorers.monitor")  # explorers.monitor is the function


@pytest.fixture(autouse=True)
def reference():
    with use_backend("reference"):
        yield


def batches(count=4, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random((count, 2, 12, 10)) < 0.3).astype(np.int64)
    x = (y + 0.2 * rng.normal(size=y.shape)).astype(np.float32)
    return [(a[:, None], b) for a, b in zip(x, y, strict=True)]


def train(*callbacks, steps=12, **options):
    rng = np.random.default_rng(5)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    for parameter in model.parameters():
        parameter.data = (0.3 * rng.standard_normal(parameter.shape)).astype(np.float32)
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    settings = {"loss": losses.CrossEntropyLoss(), "optimizer": optimizer, "steps": steps, "progress": False}
    history = training.fit(model, batches(), callbacks=callbacks, **{**settings, **options})
    return model, history


@pytest.fixture
def eager(monkeypatch):
    """Let every step be due, whatever it costs."""
    for name in ("FRAME_SECONDS", "PREDICTION_SECONDS"):
        monkeypatch.setattr(MODULE, name, 0.0)
    for name in ("DRAWING_SHARE", "PREDICTION_SHARE"):
        monkeypatch.setattr(MODULE, name, 1e9)


@pytest.fixture
def shown(monkeypatch):
    """Collect what goes to the notebook."""
    pytest.importorskip("ipywidgets")
    display = pytest.importorskip("IPython.display")
    outputs = []
    monkeypatch.setattr(display, "display", lambda bundle, raw: outputs.append(bundle))
    monkeypatch.setattr(live, "_settle", lambda button: None)
    return outputs


def test_a_watched_training_takes_the_same_steps(eager):
    x, y = batches(1, 9)[0]
    plain, watched = train(), train(Monitor(x, y, live=False))
    assert plain[1].loss == watched[1].loss
    for a, b in zip(plain[0].state_dict().values(), watched[0].state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_predictions_and_dice_are_those_of_the_model(eager):
    x, y = batches(1, 9)[0]
    watch = monitor(x, y, live=False)
    model, history = train(watch)
    assert [step for step, _ in watch.shown] == [*range(1, 13), 12]
    guess = model(Tensor(x)).detach().numpy().argmax(1)
    np.testing.assert_array_equal(watch.predictions, guess)
    both = sum(1 for g, t in zip(guess.ravel(), y.ravel(), strict=True) if g == t == 1)
    assert both > 0
    assert watch.shown[-1][1] == pytest.approx(2 * both / ((guess == 1).sum() + (y == 1).sum()))
    assert not model.training
    assert watch.numbers.step == history.steps == 12
    parts = f"2·{both} / ({(guess == 1).sum()} + {(y == 1).sum()}) = {watch.shown[-1][1]:.3f}"
    assert parts in watch.static()


def test_unlabelled_pixels_do_not_count_and_smaller_predictions_meet_the_middle():
    x, y = batches(1, 9)[0]
    y[:, :3] = 255
    watch = monitor(x, y, live=False)
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    state = training.TrainingState(model, None, None, training.History(loss=[1.0], stopped="finished"))
    watch.start(state)
    watch.finish(state)
    guess, truth = model(Tensor(x)).detach().numpy().argmax(1), y[:, 1:-1, 1:-1]
    inside = truth != 255
    both = 2 * ((guess == 1) & (truth == 1)).sum()
    assert watch.shown[-1][1] == pytest.approx(both / (((guess == 1) & inside).sum() + (truth == 1).sum()))


def test_several_classes_give_the_mean_over_those_that_occur():
    truth = np.array([[[0, 1, 2, 2]]])
    assert dice_of_pictures(np.array([[[0, 1, 2, 0]]]), truth) == pytest.approx((1 + 2 / 3) / 2)
    assert dice_of_pictures(np.array([[[3, 1, 2, 2]]]), truth) == pytest.approx(2 / 3)
    assert math.isnan(dice_of_pictures(np.zeros((1, 1, 4), int), np.zeros((1, 1, 4), int)))


def test_stop_ends_the_training_after_a_step_and_keeps_the_model(eager):
    x, y = batches(1, 9)[0]
    watch = monitor(x, y, live=False)
    stopped = train(lambda state: watch.stop() if state.step == 5 else None, watch)
    five = train(steps=5)
    assert stopped[1].stopped == "callback"
    assert stopped[1].loss == five[1].loss
    for a, b in zip(stopped[0].state_dict().values(), five[0].state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "Stopped: 5 of 12 steps" in watch.twin
    assert "keeps what it has learned" in watch.twin
    assert train(watch)[1].stopped == "finished"  # the wish is gone when the next training begins


def test_the_panel_follows_and_makes_room_for_the_static_picture(eager, shown):
    x, y = batches(1, 9)[0]
    watch = monitor(x, y, goal={"dice": 0.5, "loss": 1e-9}, live=True)
    seen, unpredicted = [], watch.picture

    def look(state):
        seen.append((watch.panel.curves.value, bytes(watch.panel.images.value), watch.panel.words.value))

    train(watch, look, validation=batches(1, 3), metric=metrics.MeanDice())
    assert len({curves for curves, _, _ in seen}) == 15  # 12 steps, 3 validations
    assert seen[-1][1] != unpredicted
    assert seen[-1][1] == watch.picture
    assert "Dice on the pictures" in seen[-1][2]
    live, final = shown
    assert "text/html" not in live
    assert live["text/plain"] == "Training, live."
    assert watch.panel is None
    assert final["text/plain"] == "Finished: 12 of 12 steps. Dice > 0.50: True; loss < 0.00: False."
    assert watch.twin in final["text/html"].replace("&#x27;", "'")
    assert final["text/html"].count("<svg") == final["text/html"].count("<img") == 1
    assert not re.search("<script|http(?!://www.w3.org/2000/svg)", final["text/html"])


def test_the_button_stops_it(eager, shown):
    x, y = batches(1, 9)[0]
    watch = monitor(x, y, live=True)
    _, history = train(lambda state: watch.panel.button.click() if state.step == 3 else None, watch)
    assert (history.stopped, history.steps) == ("callback", 3)


def test_a_kernel_that_reads_no_clicks_says_what_to_press(shown, monkeypatch):
    monkeypatch.setattr(live, "_reads_clicks", lambda: False)
    watch = monitor(live=True)
    watch.start(training.TrainingState(None, None, None, training.History()))
    assert watch.panel.button.disabled
    assert "■" in watch.panel.children[1].children[1].value


def test_alone_it_brings_its_own_pictures():
    watch = monitor(live=False)
    assert watch.images.shape == (3, 3, 96, 96)
    assert 0 <= watch.images.min() < watch.images.max() <= 1
    assert set(np.unique(watch.targets)) == {0, 1}


def test_without_a_notebook_it_prints_lines(eager, monkeypatch, capsys):
    monkeypatch.setattr(MODULE, "LINE_SECONDS", 0.0)
    train(monitor(batches(1)[0][0]), progress=True)
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == 13
    assert re.match(r"1 of 12 steps, about \d+ s left\. Training loss \d\.\d{3}, it began at", lines[0])
    assert lines[-1].startswith("Finished: 12 of 12 steps")
    assert "Dice" not in lines[-1]  # no targets, no score
    assert said.err == ""  # it takes the place of the progress bar


def test_predictions_that_cost_much_are_made_less_often(monkeypatch):
    monkeypatch.setattr(MODULE, "PREDICTION_SECONDS", 0.0)
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    for cost, most in ((0.01, 220), (1.0, 3)):
        watch = monitor(batches(1)[0][0], live=False)
        state = training.TrainingState(None, None, None, training.History(), event="step")
        calls = []

        def predict(_, cost=cost, calls=calls):
            calls.append(clock[0])
            clock[0] += cost

        monkeypatch.setattr(watch, "_predict", predict)
        watch.start(state)
        begin = clock[0]
        for _ in range(2000):
            clock[0] += 0.1
            state.history.loss.append(0.5)
            watch(state)
        assert 2 <= len(calls) <= most * 1.5
        assert watch.spent <= 0.015 * (clock[0] - begin)


def test_a_picture_that_does_not_fit_the_network_stops_no_training(eager):
    watch = monitor(np.zeros((3, 8, 8), np.float32), live=False)
    _, history = train(watch)
    assert history.stopped == "finished"
    assert "cannot be predicted" in watch.twin


def test_an_error_in_the_training_leaves_a_picture_too(eager, shown):
    def fail(state):
        raise RuntimeError("out of luck")

    watch = monitor(batches(1)[0][0], live=True)
    with pytest.raises(RuntimeError, match="out of luck"):
        train(watch, fail)
    assert "Ended by an error: 1 of 12 steps" in shown[-1]["text/plain"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.zeros((4, 4), np.float32),), r"floats \(N, C, H, W\)"),
        ((np.zeros((1, 3, 4, 4), np.uint8),), "got uint8"),
        ((np.zeros((2, 3, 4, 4), np.float32), np.zeros((1, 4, 4), int)), r"labels \(2, H, W\)"),
        ((np.zeros((1, 3, 4, 4), np.float32), None, {"iou": 0.5}), 'goal may name "dice" and "loss"'),
    ],
)
def test_what_cannot_be_shown_is_refused_at_once(arguments, words):
    with pytest.raises(ValueError, match=words):
        Monitor(*arguments)


EDGES = [
    Numbers(),
    Numbers([0.7], total=1, ending="finished", seconds=0.01),
    Numbers([math.nan, 0.5], total=None),
    Numbers([-0.2, -0.9, -0.95], [(3, -0.9, math.nan)], [(3, math.nan)], 3, 1.0, "patience"),
    Numbers(np.geomspace(2.3, 0.01, 5000).tolist(), [(i, 0.5, i / 5000) for i in range(1, 5000, 9)], [(7, 1.0)], 10**6),
    Numbers([0.0, 0.0], [(2, 0.0, 0.0)], [(2, 0.0)], 2, 3.0, ""),
]


@pytest.mark.parametrize("numbers", EDGES)
def test_every_state_is_drawn_inside_the_picture(numbers):
    svg = draw(numbers)
    tree = ElementTree.fromstring(svg)
    assert svg == draw(numbers)
    assert "nan" not in svg
    assert len(svg) < 40_000
    _, _, width, height = map(float, tree.get("viewBox").split())
    for line in tree.iter("{http://www.w3.org/2000/svg}polyline"):
        points = [tuple(map(float, p.split(","))) for p in line.get("points").split()]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    assert sentence(numbers).startswith(headline(numbers).split(" · ")[0])


def test_the_curve_is_where_the_numbers_are():
    svg = draw(Numbers([1.0, 0.5, 0.0], [(3, 0.5, 0.25)], total=3, ending="finished"))
    lines = re.findall(r'<polyline points="([^"]*)"', svg)
    loss = [tuple(map(float, p.split(","))) for p in lines[0].split()]
    (x1, y1), (x2, y2), (x3, y3) = loss
    assert x3 - x2 == pytest.approx(x2 - x1)
    assert y2 - y1 == pytest.approx(y3 - y2)
    assert y1 < y3  # a high loss is high in the picture
    assert float(lines[2].split(",")[1]) == pytest.approx(y2)  # the validation's 0.5 lies where the training's does
    assert float(lines[2].split(",")[0]) == x3


def test_time_left_and_durations_are_said_as_people_do():
    assert [duration(s) for s in (0.2, 8, 89, 90, 3600, 7800)] == [
        "1 s",
        "8 s",
        "89 s",
        "2 min",
        "60 min",
        "2 h 10 min",
    ]
    assert Numbers([1.0] * 20, total=60, seconds=10.0).left == pytest.approx(20.0)
    assert headline(Numbers([1.0] * 20, total=60, seconds=10.0)) == "20 of 60 steps · about 20 s left"
    assert headline(Numbers([1.0] * 20, seconds=10.0)) == "20 steps · 10 s"
