"""What a captured step promises where something is wrong: nothing changes, it is told, and what is forgotten is noticed."""

import contextlib
import gc
import weakref

import numpy as np
import pytest
from gpu.graph_cases import CLASSES, assert_same, batches, everything, fitted, made, small_net, there

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import nn, optim, training
from minisegnet.training import graph, recording


@pytest.mark.parametrize("bad", range(6))
def test_a_step_that_is_not_finite_changes_nothing(gpu, bad):
    train = batches(6)
    sound, step = made(clip=0.5), made(clip=0.5)
    for batch in train[:bad]:
        sound(*there(batch)), step(*there(batch))
    before = everything(sound)
    x, y = train[bad]
    x = x.copy()
    x[0, 0, 0, 0] = np.nan
    step(*there((x, y)))
    step(*there(train[0]))  # nobody has looked yet: this one is not taken either
    with pytest.raises(FloatingPointError, match=rf"loss became nan at step {bad + 1}. Model and optimizer are as"):
        step.check()
    assert_same(everything(step), before)
    assert_same({"loss": float(step(*there(train[bad])))}, {"loss": float(sound(*there(train[bad])))})
    assert_same(everything(step), everything(sound))
    assert step.numbers()[-1] == sound.numbers()[-1]


def test_it_looks_by_itself_every_few_steps(gpu):
    step, (x, y) = made(), there(batches(1)[0])
    step(x, y)

    def go_on():
        for _ in range(17):
            step(x * np.nan, y)

    with pytest.raises(FloatingPointError, match="at step 2"):
        go_on()
    assert step.steps == 16


def after(train, kind):
    """Return a step of a new net that has been taken on these batches."""
    net = small_net()
    step = training.CapturedStep(net, F.cross_entropy, kind(net.parameters(), 0.01))
    for batch in train:
        step(*there(batch))
    return step


@pytest.mark.parametrize("bad", [1, 4])
def test_fit_tells_where_what_is_not_finite_began(gpu, bad):
    train = batches(6)
    train[bad][0][0, 0, 0, 0] = np.inf
    model = small_net()
    optimizer = optim.Adam(model.parameters(), 0.01)
    story = f"nan at step {bad + 1}, batch {bad + 1} of epoch 1. It began in the data: the input batch holds 1 numbers"
    with pytest.raises(FloatingPointError, match=story):
        training.fit(model, train, loss=F.cross_entropy, optimizer=optimizer, epochs=1, device="cuda", progress=False)
    sound = after(train[:bad], optim.Adam)
    assert_same(everything(training.CapturedStep(model, F.cross_entropy, optimizer)), everything(sound))


@pytest.mark.parametrize("bad", [1, 4])
@pytest.mark.parametrize("label", [-3, 7])
def test_labels_out_of_range_are_told(gpu, bad, label):
    train = batches(6)
    train[bad][1][0, 0, 0] = label
    model = small_net()
    optimizer = optim.SGD(model.parameters(), 0.01)
    told = rf"cross_entropy: target holds the label {label}, but input has 4 classes \(0 to 3\); ignore_index is -100"
    with pytest.raises(ValueError, match=told):
        training.fit(model, train, loss=F.cross_entropy, optimizer=optimizer, epochs=1, device="cuda", progress=False)
    assert_same(model.state_dict(), after(train[:bad], optim.SGD).model.state_dict())
    step = made()
    for batch in train[:bad]:
        step(*there(batch))
    step(*there(train[bad]))
    with pytest.raises(ValueError, match=f"at step {bad + 1} 1 labels of the target"):
        step.check()


def refused_step(loss=F.cross_entropy, net=small_net, optimizer=optim.Adam):
    model = net()
    return training.CapturedStep(model, loss, optimizer(model.parameters(), 0.01))


class OwnUpdate(optim.SGD):
    def update(self, data, grad, memory, group):
        data -= group["lr"] * grad


class Drawing(nn.Module):
    def forward(self, x):
        return x * float(ms.random.generator().random())


def looking(x, y):
    loss = F.cross_entropy(x, y)
    return loss * 2 if float(loss) > 0 else loss


def hooked():
    net = small_net()
    net[0].register_forward_hook(lambda *_: None)
    return net


ON_GPU = [
    ({"loss": looking}, "not permitted when stream is capturing"),
    ({"loss": lambda x, y: F.cross_entropy(x * ms.Tensor(np.ones(4)).cuda().sum(), y)}, "copied from the CPU"),
    ({"net": lambda: nn.Sequential(small_net(), Drawing())}, "random numbers are drawn elsewhere than in dropout"),
    ({"net": hooked}, "0 has hooks, which a graph would not call"),
    ({"optimizer": OwnUpdate}, "OwnUpdate has an update of its own"),
]


def take_all(step, train):
    for batch in train:
        step(*batch)


def by_hand(batches, loss=F.cross_entropy, net=small_net, optimizer=optim.Adam):
    model = net()
    opt = optimizer(model.parameters(), 0.01)
    for x, y in batches:
        opt.zero_grad()
        loss(model(ms.Tensor(x)), y).backward()
        opt.step()
    return everything(training.CapturedStep(model, loss, opt))


@pytest.mark.parametrize(("options", "why"), ON_GPU)
def test_what_cannot_be_captured_runs_plainly_and_is_told_once(launches, options, why):
    step, train = refused_step(**options), [there(b) for b in batches(5)]
    with pytest.warns(UserWarning, match="the training step runs without a CUDA graph: ") as told:
        take_all(step, train)
    assert len(told) == 1
    assert why in str(told[0].message)
    assert why in step.refused
    assert not launches
    assert not step.captured
    assert_same(everything(step), by_hand(train, **options))


def test_on_a_cpu_it_runs_plainly():
    make = lambda: nn.Sequential(nn.Conv2d(3, CLASSES, 1), nn.BatchNorm2d(CLASSES))  # noqa: E731
    ms.manual_seed(0)
    model = make()
    step, train = training.CapturedStep(model, F.cross_entropy, optim.SGD(model.parameters(), 0.01)), batches(3)
    with pytest.warns(UserWarning, match="model and batch are on cpu, and CUDA graphs need a GPU") as told:
        take_all(step, train)
    assert len(told) == 1
    ms.manual_seed(0)
    assert_same(everything(step), by_hand(train, net=make, optimizer=optim.SGD))
    before = everything(step)
    x, y = train[0]
    with pytest.raises(FloatingPointError, match="the loss became nan at step 4"):
        step(x * np.float32(np.nan), y)
    assert_same(everything(step), before)


def fitted_on_cpu(train, capture):
    ms.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, CLASSES, 1), nn.BatchNorm2d(CLASSES))
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    given = {"loss": F.cross_entropy, "epochs": 2, "progress": False, "clip": 0.1, "capture": capture}
    return training.fit(model, train, optimizer=optimizer, **given)


def test_fit_on_a_cpu_captures_nothing():
    train = batches(3)
    expected, found = (fitted_on_cpu(train, capture) for capture in (False, "auto"))
    with pytest.warns(UserWarning, match="are on cpu"):
        told = fitted_on_cpu(train, True)
    for history in (found, told):
        assert (history.loss, history.grad_norm, history.lr) == (expected.loss, expected.grad_norm, expected.lr)
    train[1][0][0, 0, 0, 0] = np.inf
    story = "at step 2, batch 2 of epoch 1. It began in the data"
    with pytest.warns(UserWarning, match="are on cpu"), pytest.raises(FloatingPointError, match=story):
        fitted_on_cpu(train, True)


def constants_stay(patch, gpu):
    table = graph_kernels().Table
    send, sent = table.send, set()
    patch.setattr(table, "send", lambda self: id(self) in sent or (sent.add(id(self)), send(self)))


def inputs_stay(patch, gpu):
    launch = recording.Recording.launch
    patch.setattr(recording.Recording, "launch", lambda self, batch: launch(self._replace(inputs=()), ()))


def masks_stay(patch, gpu):
    launch = recording.Recording.launch
    patch.setattr(
        recording.Recording, "launch", lambda self, batch: launch(self._replace(later=recording.Deferred()), batch)
    )


def memory_of_everyone(patch, gpu):
    patch.setattr(gpu.cuda, "using_allocator", contextlib.nullcontext)


def arrays_are_not_compared(patch, gpu):
    patch.setattr(graph, "same", lambda a, b: True)


def gradients_are_made_anew(patch, gpu):
    patch.setattr(recording.Recording, "prepare", lambda self, optimizer: True)


def graph_kernels():
    return recording.loops()


@pytest.mark.parametrize(
    "forgotten",
    [constants_stay, inputs_stay, masks_stay, memory_of_everyone, arrays_are_not_compared, gradients_are_made_anew],
)
def test_what_is_forgotten_is_noticed(launches, gpu, monkeypatch, forgotten):
    """A test of the tests above: each promise of a graph, broken, changes the numbers or is refused by the stand-in."""
    train = [there(b) for b in batches(7)]

    def taken():
        ms.manual_seed(0)
        step = made("Adam", net=lambda: small_net(0.3))
        for i, (x, y) in enumerate(train):
            step.optimizer.param_groups[0]["lr"] = 0.02 / (i + 1)
            if i == 5:
                step.model.load_state_dict({k: 0.9 * v for k, v in step.model.state_dict().items()})
            step(x, y)
        return everything(step)

    expected = taken()
    forgotten(monkeypatch, gpu)
    try:
        found = taken()
    except gpu.cuda.runtime.CUDARuntimeError as error:
        assert "memory" in str(error) or "freed" in str(error)  # noqa: PT017
        return
    assert any(not np.array_equal(found[name], value) for name, value in expected.items())


def test_a_released_graph_gives_its_memory_back(launches):
    step, (x, y) = made(), there(batches(1)[0])
    for _ in range(4):
        step(x, y)
    pool, launched = weakref.ref(step._recorded.pool), weakref.ref(launches[0])
    assert step.model[0].weight.grad is not None
    assert pool().alive
    freed, held = [], pool()
    held.free_all_blocks = lambda: freed.append(1)
    step.release()
    assert freed
    assert not step.captured
    assert step.model[0].weight.grad is None
    launches.clear()
    del held
    gc.collect()
    assert pool() is None
    assert launched() is None
    for _ in range(3):
        step(x, y)
    assert step.captured


def test_the_choice_is_checked(gpu):
    with pytest.raises(ValueError, match='capture must be "auto", True or False'):
        fitted("always", batches(1))
    with pytest.raises(ValueError, match="clip must be greater than 0"):
        made(clip=0)
