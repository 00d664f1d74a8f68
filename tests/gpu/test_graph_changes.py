"""What anybody may do between two captured steps, and what may break one off: the numbers are those of plain steps."""

import numpy as np
import pytest
from gpu.graph_cases import assert_same, batches, everything, fitted, made, small_net, there

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import nn, optim, training
from minisegnet.autograd import detect_anomaly


def step_of(net=small_net, learn=slice(None), kind=optim.SGD, **settings):
    model = net()
    return training.CapturedStep(model, F.cross_entropy, kind(list(model.parameters())[learn], 0.1, **settings))


def taken(make, change, capture, count=9):
    """Return everything after some steps, before the sixth of which there is a change."""
    ms.manual_seed(0)
    step, seen = make(), []
    for i, batch in enumerate(batches(count)):
        if i == 5:
            assert step.captured == capture
            change(step)
        if not capture:
            step.release()
        seen.append(float(step(*there(batch))))
    step.check()
    return everything(step) | {"loss": np.array(seen)}


def momentum_begins(step):
    step.optimizer.param_groups[0]["momentum"] = 0.9


def momentum_ends(step):
    step.optimizer.param_groups[0]["momentum"] = 0.0


def more_learns(step):
    step.optimizer.add_param_group({"params": list(step.model.parameters())[-1:], "lr": 0.01})


def another_layer(step):
    step.model[2] = nn.LeakyReLU(0.3)


def another_clip(step):
    step.clip = 0.01


def another_loss(step):
    step.loss = lambda x, y: 2 * F.cross_entropy(x, y)


CHANGES = {
    "nothing": (step_of, lambda step: None),
    "momentum begins": (step_of, momentum_begins),
    "momentum ends": (lambda: step_of(momentum=0.9), momentum_ends),
    "a group": (lambda: step_of(learn=slice(-1), momentum=0.9), more_learns),
    "part learns": (lambda: step_of(learn=slice(-2, None)), lambda step: None),
    "dropout": (lambda: step_of(lambda: small_net(0.3)), lambda step: setattr(step.model[3], "p", 0.8)),
    "batch norm": (step_of, lambda step: setattr(step.model[1], "momentum", 0.9)),
    "a layer": (step_of, another_layer),
    "clip": (step_of, another_clip),
    "loss": (step_of, another_loss),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_is_seen(launches, change):
    expected = taken(*CHANGES[change], capture=False)
    assert not launches
    found = taken(*CHANGES[change], capture=True)
    assert launches
    assert_same(found, expected)


def test_another_shape_that_stays_is_captured(launches):
    def grown(capture):
        step = step_of(momentum=0.9)
        for i, batch in enumerate([*batches(4), *batches(4, size=8), *batches(2, images=1), *batches(2, size=8)]):
            if not capture:
                step.release()
            step(*there(batch))
            if capture:
                assert step.captured == (i >= 2)
        return everything(step)

    found = grown(True)
    assert len(launches) == 2 + 2 + 2
    assert len(set(map(id, launches))) == 2
    assert_same(found, grown(False))


def test_two_steps_of_one_model_take_turns(launches):
    def in_turn(capture):
        model = small_net()
        head, body = list(model.parameters())[-2:], list(model.parameters())[:-2]
        steps = [training.CapturedStep(model, F.cross_entropy, optim.Adam(part, 0.01)) for part in (head, body)]
        for batch in batches(6):
            for step in steps:
                if not capture:
                    step.release()
                step(*there(batch))
        return everything(steps[0]) | {f"body {name}": value for name, value in everything(steps[1]).items()}

    expected = in_turn(False)
    found = in_turn(True)
    assert len(launches) == 8
    assert_same(found, expected)


class Averaging(nn.Module):
    """Keeps a running mean, by a new array in each step."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", ms.Tensor(np.zeros(1, np.float32)))

    def forward(self, x):
        self.mean.data = self.mean.data * 0.9 + x.data.mean() * 0.1
        return x - self.mean.detach()


class Shrinking(optim.SGD):
    """Has a step of its own, which does more than the kernels of ``update``."""

    def step(self):
        super().step()
        self.param_groups[0]["params"][0].data *= 0.9


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"net": lambda: nn.Sequential(small_net(), Averaging()).to("cuda").train()},
            r"forward gives a buffer of shape \(1,\) a new array",
        ),
        ({"kind": Shrinking}, "Shrinking has a step of its own"),
    ],
)
def test_what_a_graph_would_get_wrong_runs_plainly(launches, options, why):
    def all_of(step):
        for batch in batches(5):
            step(*there(batch))

    sound, step = step_of(**options), step_of(**options)
    sound._failed = "by hand"
    for one, reason in ((sound, "by hand"), (step, why)):
        with pytest.warns(UserWarning, match=reason):
            all_of(one)
    assert not launches
    assert_same(everything(step), everything(sound))


def test_an_error_of_the_models_own_is_no_reason(launches):
    batch, broken = there(batches(1)[0]), []

    def loss(x, y):
        if broken:
            raise OSError("the disk is full")
        return F.cross_entropy(x, y)

    step = made(loss=loss)
    for _ in range(2):
        step(*batch)
    before = everything(step)
    broken.append(1)
    with pytest.raises(OSError, match="the disk is full"):
        step(*batch)
    assert_same(everything(step), before)
    broken.clear()
    for _ in range(3):
        step(*batch)
    assert step.captured


@pytest.mark.parametrize("bad", [1, 4])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_step_that_is_broken_off_changes_nothing(gpu, monkeypatch, bad, error):
    """Before the graph is launched the optimizer has counted already; in a warm-up, running statistics have moved."""
    step, sound = (made(net=lambda: small_net(0.3)) for _ in range(2))
    train = [there(b) for b in batches(7)]
    for i, batch in enumerate(train):
        if i == bad:
            before, random_state = everything(step), ms.random.get_state()
            with monkeypatch.context() as patch:
                patch.setattr("minisegnet.functional.activation._draw", lambda shape: (_ for _ in ()).throw(error))
                with pytest.raises(error):
                    step(*batch)
            assert_same(everything(step), before)
            assert ms.random.get_state() == random_state
        random_state = ms.random.get_state()
        loss = float(step(*batch))
        ms.random.set_state(random_state)
        assert float(sound(*batch)) == loss
    step.check()
    assert_same(everything(step), everything(sound))


def test_what_is_loaded_before_anybody_looked_stays(gpu):
    step, (x, y) = made(), there(batches(1)[0])
    for _ in range(5):
        step(x, y)
    model, optimizer, before = step.model.state_dict(), step.optimizer.state_dict(), everything(step)
    step(x, y)
    step(x * np.nan, y)
    step.model.load_state_dict(model)
    step.optimizer.load_state_dict(optimizer)
    step(x, y)  # not taken either
    with pytest.raises(FloatingPointError, match="at step 7"):
        step.check()
    assert_same(everything(step), before)


def test_more_steps_than_there_is_room_for_are_refused(gpu):
    step, batch = made(), there(batches(1)[0])
    for _ in range(16):
        step.take(*batch)
    before = everything(step)
    with pytest.raises(RuntimeError, match="16 steps were taken that nobody has looked at"):
        step.take(*batch)
    assert_same(everything(step), before)
    assert [numbers.taken for numbers in step.numbers()] == [True] * 16
    step.take(*batch)
    assert step.steps == 17


@pytest.mark.parametrize("bad", [1, 4])
def test_wrong_labels_are_told_where_pixels_have_weights(gpu, bad):
    train = [(x, y, np.ones(y.shape)) for x, y in batches(6)]
    train[bad][1][0, 0, 0] = 7
    with pytest.raises(ValueError, match="cross_entropy: target holds the label 7"):
        fitted("auto", train, epochs=1)


def test_detect_anomaly_is_heard(launches):
    step, (x, y) = made(), there(batches(1)[0])
    for _ in range(4):
        step(x, y)
    before = everything(step)
    with (
        detect_anomaly(),
        pytest.warns(UserWarning, match="detect_anomaly looks"),
        pytest.raises(FloatingPointError, match="became nan at step 5"),
    ):
        step(x * np.nan, y)
    assert_same(everything(step), before)
    for _ in range(3):
        step(x, y)
    assert step.captured


def test_the_loss_of_a_plain_step_is_no_integer():
    model = nn.Sequential(Scaling(), nn.Conv2d(3, 4, 1))
    step = training.CapturedStep(model, F.cross_entropy, optim.SGD(model.parameters(), 0.01))
    x, y = batches(1)[0]
    with pytest.warns(UserWarning, match="are on cpu"):
        loss = step((10 * abs(x)).astype(np.uint8), y)
    assert loss.dtype == np.float32
    assert float(loss) == step.numbers()[-1].loss


class Scaling(nn.Module):
    """Takes images as they come from a file."""

    def forward(self, x):
        return ms.Tensor(x.data.astype(np.float32) / 255)
