"""fit: it learns, resumes bit for bit, survives kills and Ctrl-C, keeps the best, and says where a NaN began."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from minisegnet import losses, metrics, nn, optim, random, storage, training
from minisegnet.autograd import Tensor
from minisegnet.backend import use_backend


@pytest.fixture(autouse=True)
def reference():
    with use_backend("reference"):
        yield


class Net(nn.Module):
    """Everything that has a state of its own: batch norm, dropout, a residue."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.drop = nn.Dropout(0.2)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.last(self.drop(self.relu(self.norm(self.first(x)))))


def batches(count, seed=0):
    """Noisy images of which pixels are bright: learnt in a few steps."""
    rng = np.random.default_rng(seed)
    y = (rng.random((count, 2, 6, 6)) < 0.3).astype(np.int64)
    x = (y + 0.2 * rng.normal(size=y.shape)).astype(np.float32)
    return [(a[:, None], b) for a, b in zip(x, y, strict=True)]


class Sampler:
    """As data.CropSampler: an endless stream in passes, with a state."""

    def __init__(self, steps, seed=3):
        self.steps, self.done, self.rng = steps, 0, np.random.default_rng(seed)

    def __iter__(self):
        while self.done < self.steps:
            batch = batches(1, self.rng.integers(1000))[0]
            self.done += 1
            yield batch
        self.done = 0

    def __len__(self):
        return self.steps

    def state(self):
        return {"done": self.done, "random": self.rng.bit_generator.state}

    def load_state(self, state):
        self.done, self.rng.bit_generator.state = state["done"], state["random"]


class Shuffled:
    """A list whose order is drawn from the package's random numbers when a pass begins, and no state of its own."""

    def __iter__(self):
        items = batches(5)
        return iter([items[i] for i in random.generator().permutation(5)])


def parts(seed=0, optimizer="AdamW", **options):
    random.manual_seed(seed)
    model = Net()
    return model, getattr(optim, optimizer)(model.parameters(), **{"lr": 0.02, **options})


def run(train, steps, path=None, seed=0, schedule="OneCycleLR", optimizer="AdamW", **options):
    model, opt = parts(seed, optimizer)
    schedules = {
        "OneCycleLR": lambda: optim.OneCycleLR(opt, 0.05, 12, cycle_momentum=optimizer != "SGD"),
        "StepLR": lambda: optim.StepLR(opt, 2),
        "ReduceLROnPlateau": lambda: optim.ReduceLROnPlateau(opt, patience=0, threshold=0.05, mode="max"),
        None: lambda: None,
    }
    settings = {
        "loss": losses.CombinedLoss(),
        "optimizer": opt,
        "scheduler": schedules[schedule](),
        "steps": steps,
        "checkpoint": path,
        "checkpoint_seconds": 0,
        "progress": False,
        "validation": batches(2, 9),
        "metric": metrics.MeanDice(),
    }
    return model, training.fit(model, train, **{**settings, **options})


def assert_same_run(a, b):
    (model_a, history_a), (model_b, history_b) = a, b
    for name, array in model_a.state_dict().items():
        np.testing.assert_array_equal(array, model_b.state_dict()[name], err_msg=name)
    for field in ("loss", "lr", "grad_norm", "validation", "monitor", "mode", "stopped"):
        assert getattr(history_a, field) == getattr(history_b, field), field


def test_it_learns():
    model, opt = parts(lr=0.1)
    options = {"loss": losses.CrossEntropyLoss(), "metric": metrics.MeanDice(), "progress": False}
    history = training.fit(model, batches(4), batches(2, 9), optimizer=opt, steps=40, **options)
    assert np.mean(history.loss[-4:]) < 0.4 * history.loss[0]
    assert history.best["dice"] > 0.9
    assert history.stopped == "finished"
    assert history.steps == 40
    assert [len(v) for v in (history.lr, history.grad_norm, history.seconds)] == [40] * 3
    assert history.val_step == list(range(4, 41, 4))
    assert (np.diff(history.seconds) > 0).all()
    assert not model.training
    assert "40 steps, loss" in repr(history)
    again = training.evaluate(model, batches(2, 9), loss=losses.CrossEntropyLoss(), metric=metrics.MeanDice())
    assert {"step": 40, "epoch": 10, **again} == history.validation[-1]


def test_the_loop_is_what_one_would_write_by_hand():
    model, opt = parts()
    data = batches(3)
    losses_by_hand = []
    for _ in range(2):
        for x, y in data:
            model.train()
            opt.zero_grad()
            loss = losses.CombinedLoss()(model(Tensor(x)), y)
            loss.backward()
            opt.step()
            losses_by_hand.append(float(loss))
    other, opt = parts()
    other.eval()  # fit switches to training by itself
    history = training.fit(other, data, loss=losses.CombinedLoss(), optimizer=opt, epochs=2, progress=False)
    assert history.loss == losses_by_hand
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name])


def test_pixel_weights_reach_the_loss_and_clipping_the_gradients():
    weights = [np.random.default_rng(i).random((2, 6, 6)).astype(np.float32) for i in range(3)]
    data = [(*batch, w) for batch, w in zip(batches(3), weights, strict=True)]
    seen = []

    def loss(x, y, pixel_weight=None):
        seen.append(pixel_weight)
        return losses.CrossEntropyLoss()(x, y, pixel_weight=pixel_weight) * 100

    model, opt = parts(optimizer="SGD", lr=1.0)
    before = model.state_dict()
    history = training.fit(model, data, loss=loss, optimizer=opt, steps=1, clip=0.01, progress=False)
    assert seen[0] is weights[0]
    moved = sum(((model.state_dict()[name] - before[name]) ** 2).sum() for name, _ in model.named_parameters())
    assert history.grad_norm[0] > 1
    assert moved**0.5 == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("stop", [1, 5, 8, 12])  # in a pass, at its end, and after everything
@pytest.mark.parametrize("kind", ["list", "sampler", "shuffled"])
@pytest.mark.parametrize("schedule", ["OneCycleLR", "ReduceLROnPlateau"])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, kind, schedule, stop):
    make = {"list": lambda: batches(4), "sampler": lambda: Sampler(4), "shuffled": Shuffled}[kind]
    straight = run(make(), 12, schedule=schedule)
    path = tmp_path / "run.safetensors"

    def enough(state):
        state.stop = state.step >= stop

    _, history = run(make(), 12, path, schedule=schedule, callbacks=[enough])
    assert history.steps == stop
    assert history.stopped == ("callback" if stop < 12 else "finished")
    resumed = run(
        make(), 12, path, seed=77, schedule=schedule, resume=True
    )  # other initial weights: they must not matter
    assert_same_run(straight, resumed)
    again = run(make(), 12, path, seed=78, schedule=schedule, resume=True)  # a finished run stays as it is
    assert_same_run(straight, again)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_epochs_and_schedules_by_epoch_resume_too(tmp_path, optimizer):
    options = {"schedule": "StepLR", "schedule_by": "epoch", "optimizer": optimizer, "epochs": 4}
    straight = run(batches(3), None, **options)
    assert len(set(straight[1].lr)) == 2
    path = tmp_path / "run.safetensors"
    _, history = run(batches(3), None, path, **{**options, "epochs": 2})
    assert history.steps == 6
    assert_same_run(straight, run(batches(3), None, path, seed=5, resume=True, **options))


CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from minisegnet import storage
from minisegnet.backend import use_backend
import test_training as t

def die(*args):
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

def at_step_5(state):
    if state.step == 5 and state.event == "step":
        if sys.argv[3] == "step":
            die()
        setattr(storage.os, sys.argv[3], die)  # while the checkpoint is being written

with use_backend("reference"):
    t.run(t.Sampler(4), 12, sys.argv[1], callbacks=[at_step_5])
"""


@pytest.mark.parametrize("moment", ["step", "fsync", "replace"])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, moment):
    path = tmp_path / "run.safetensors"
    folder = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run([sys.executable, "-c", CHILD, str(path), folder, moment], capture_output=True, text=True)
    assert done.returncode in (-9, signal.SIGTERM), done.stderr  # killed, not ended
    before = run(Sampler(4), 12)
    resumed = run(Sampler(4), 12, path, seed=5, resume=True)
    assert_same_run(before, resumed)


def interrupt_at(step):
    def callback(state):
        if state.step == step and state.event == "step":
            signal.raise_signal(signal.SIGINT)

    return callback


def test_an_interrupt_ends_cleanly_and_the_run_goes_on(tmp_path, capsys):
    path = tmp_path / "run.safetensors"
    handler = signal.getsignal(signal.SIGINT)
    _, history = run(Sampler(4), 12, path, callbacks=[interrupt_at(6)], checkpoint_seconds=1e9)
    assert history.interrupted
    assert history.steps == 6
    assert "stopping after this step" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is handler
    assert_same_run(run(Sampler(4), 12), run(Sampler(4), 12, path, seed=5, resume=True))


def test_an_interrupt_in_a_validation_repeats_it_when_resumed(tmp_path):
    path = tmp_path / "run.safetensors"

    class Interrupting(metrics.MeanDice):
        def update(self, prediction, target):
            if len(self.values) == 0:
                signal.raise_signal(signal.SIGINT)
            return super().update(prediction, target)

    _, history = run(Sampler(4), 12, path, metric=Interrupting())
    assert history.interrupted
    assert history.steps == 4
    assert history.validation == []
    assert_same_run(run(Sampler(4), 12), run(Sampler(4), 12, path, seed=5, resume=True))


def test_a_second_interrupt_stops_at_once_and_the_checkpoint_stays(tmp_path):
    path = tmp_path / "run.safetensors"

    def twice(state):
        if state.step == 6:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(Sampler(4), 12, path, callbacks=[twice])
    assert_same_run(run(Sampler(4), 12), run(Sampler(4), 12, path, seed=5, resume=True))


def test_it_runs_in_a_thread_where_there_are_no_signals():
    results = []

    def work():
        with use_backend("reference"):
            results.append(run(batches(4), 3)[1])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results[0].steps == 3


def test_patience_best_weights_and_what_the_checkpoint_keeps(tmp_path):
    path = tmp_path / "run.safetensors"
    scores = iter([0.5, 0.7, 0.6, 0.65, 0.9])

    class Scripted:
        def reset(self):
            pass

        def update(self, prediction, target):
            pass

        def compute(self):
            return {"dice": next(scores)}

    kept = []
    model, history = run(
        batches(2), 100, path, schedule=None, metric=Scripted(), patience=2, keep="best",
        callbacks=[lambda s: kept.append(s.model.state_dict()) if s.event == "validation" else None],
    )  # fmt: skip
    assert history.stopped == "patience"
    assert history.val_score == [0.5, 0.7, 0.6, 0.65]
    assert history.best["step"] == 4
    assert history.since_best == 2
    last, best = Net(), Net()
    training.load_weights(last, path)
    training.load_weights(best, path, best=True)
    for name in kept[0]:
        np.testing.assert_array_equal(model.state_dict()[name], kept[1][name])
        np.testing.assert_array_equal(best.state_dict()[name], kept[1][name])
        np.testing.assert_array_equal(last.state_dict()[name], kept[3][name])
    with pytest.raises(ValueError, match="another network"):
        training.load_weights(nn.Conv2d(1, 1, 1), path)


def test_the_loss_is_best_when_small_and_nan_is_never_best():
    history = training.History(monitor="loss", mode="min")
    history.validation = [{"step": i, "epoch": i, "loss": v} for i, v in enumerate([float("nan"), 2.0, 1.0, 1.0, 3.0])]
    assert history.best["step"] == 2
    assert history.since_best == 2
    history.validation = history.validation[:1]
    assert history.best is None
    assert history.since_best == 1
    _, history = run(batches(2), 4, schedule=None, metric=None)
    assert (history.monitor, history.mode) == ("loss", "min")


def test_history_goes_through_a_file(tmp_path):
    _, history = run(batches(2), 4)
    history.save(tmp_path / "history.json")
    again = training.History.from_dict(json.loads((tmp_path / "history.json").read_text()))
    assert again == history
    with pytest.raises(ValueError, match="no history"):
        training.History.from_dict({"loss": []})


def test_a_validation_is_in_the_checkpoint_before_anybody_hears_of_it(tmp_path):
    path, seen = tmp_path / "run.safetensors", []

    def look(state):
        if state.event == "validation":
            history = json.loads(storage.load_safetensors(path)[1]["run"])["history"]
            seen.append(history["validation"] == state.history.validation)

    run(batches(2), 4, path, callbacks=[look], checkpoint_seconds=1e9)
    assert seen == [True, True]


def test_a_sampler_can_serve_one_training_after_the_other():
    sampler = Sampler(4)
    run(sampler, 4)
    _, history = run(sampler, 4)  # the first left it at the end of its pass
    assert history.steps == 4


# What goes wrong


class Broken(nn.Module):
    """Divides by what it is told."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x / self.by


def broken_model():
    random.manual_seed(0)
    model = Net()
    model.inner = nn.Sequential(nn.Conv2d(2, 2, 1), Broken(1.0))
    model.forward = lambda x: model.inner(Net.forward(model, x))
    return model


def fit_until_nan(model, data, path=None, **options):
    opt = optim.SGD(model.parameters(), lr=0.01)
    settings = {"loss": losses.CombinedLoss(), "optimizer": opt, "epochs": 2, "progress": False, "checkpoint": path}
    with pytest.raises(FloatingPointError) as caught:
        training.fit(model, data, **{**settings, **options})
    return str(caught.value)


def test_a_step_without_memory_says_who_wanted_it(monkeypatch):
    """Forward or on the way back; and the running means of batch norm are as they were."""
    from minisegnet.kernels.convolution import reference

    for kernel, who in (("conv2d", "Conv2d of arrays"), ("conv2d_grad_weight", "the backward of Conv2d of arrays")):
        model = Net()
        before = model.state_dict()
        with use_backend("reference"), monkeypatch.context() as patch:
            patch.setattr(reference, kernel, lambda *given, **options: np.empty(2**57))
            with pytest.raises(MemoryError, match="Unable to allocate") as caught:
                training.fit(
                    model,
                    batches(1),
                    loss=losses.CombinedLoss(),
                    optimizer=optim.SGD(model.parameters(), 0.01),
                    epochs=1,
                    progress=False,
                )
        story = " ".join(caught.value.__notes__)
        assert f"It was {who} of shape (" in story
        assert "fewer images in it, or smaller crops" in story
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, before[name], err_msg=name)
        assert all(p.grad is None for p in model.parameters())


def test_nan_in_the_data_is_found():
    data = batches(4)
    data[2][0][1, 0, 3, 4] = np.nan
    message = fit_until_nan(Net(), data)
    assert "step 3, batch 3 of epoch 1. It began in the data: the input batch holds 1 numbers of 72" in message
    assert "the first at (1, 0, 3, 4)" in message


def test_nan_in_a_weight_is_found():
    model = Net()
    model.norm.weight.data[1] = np.inf
    assert "norm.weight of the model holds 1 numbers of 4" in fit_until_nan(model, batches(4))


def test_nan_in_a_layer_is_found_and_the_model_stays_as_it_was(tmp_path):
    model, path = broken_model(), tmp_path / "run.safetensors"
    kept = []

    def sabotage(state):
        if state.step == 3:
            model.inner[1].by = 0.0
            kept.append(model.state_dict())

    message = fit_until_nan(model, batches(4), path, callbacks=[sabotage], checkpoint_seconds=0)
    assert "the loss became nan at step 4" in message
    assert "It began in inner.1 (Broken): the result of Divide is not finite" in message
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, kept[0][name], err_msg=name)  # the running means of batch norm, too
    arrays, _ = storage.load_safetensors(path)
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert "forward" not in vars(model.first)  # the watch is over


def test_nan_between_the_layers_is_the_models_own():
    class Own(Net):
        def forward(self, x):
            return super().forward(x) / 0.0

    assert "It began in the model (Own): the result of Divide" in fit_until_nan(Own(), batches(4))


def test_nan_before_a_batch_norm_is_found_where_it_began():
    # The running means are NaN after the failed forward: they must not be mistaken for the cause.
    random.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), Broken(0.0), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
    assert "It began in 1 (Broken): the result of Divide" in fit_until_nan(model, batches(4))
    np.testing.assert_array_equal(model[2].running_mean.data, 0)


def test_nan_in_the_loss_and_on_the_way_back_is_found():
    message = fit_until_nan(Net(), batches(4), loss=lambda x, y: (x.mean() - 1e9).log())
    assert "It began in the loss: the result of Log is not finite" in message
    # sqrt(0): a finite loss whose gradient is not
    message = fit_until_nan(Net(), batches(4), loss=lambda x, y: ((x * 0.0) ** 2.0).sum() ** 0.5)
    assert "the gradient became" in message
    assert "the backward pass: the gradient computed by the backward of Power is not finite" in message


def test_nothing_to_learn_from():
    model, opt = parts()
    options = {"loss": losses.CrossEntropyLoss(), "optimizer": opt, "progress": False}
    with pytest.raises(ValueError, match="train is empty"):
        training.fit(model, [], epochs=1, **options)

    class Nothing:
        def __iter__(self):
            return iter(())

    for train in ([], Nothing(), Sampler(0), iter(())):
        with pytest.raises(ValueError, match="data set is empty"):
            training.fit(model, train, steps=3, **options)
    with pytest.raises(ValueError, match="it gave no batch to evaluate"):
        training.fit(model, batches(1), [], epochs=1, **options)
    with pytest.raises(TypeError, match="gone through only once"):
        training.fit(model, iter(batches(2)), epochs=2, **options)


def test_arguments_that_make_no_sense(tmp_path):
    model, opt = parts()
    data = batches(2)
    _, other = parts()

    def refused(error, match, train=data, **options):
        settings = {"loss": losses.CrossEntropyLoss(), "optimizer": opt, "epochs": 1, "progress": False, **options}
        with pytest.raises(error, match=match):
            training.fit(model, train, **settings)

    refused(ValueError, "epochs=... or steps=...", epochs=None)
    refused(ValueError, "steps must be an integer of at least 1, got 0", steps=0)
    refused(ValueError, "patience needs validation", patience=1)
    refused(ValueError, "metric needs validation", metric=metrics.MeanDice())
    refused(ValueError, "ReduceLROnPlateau needs validation", scheduler=optim.ReduceLROnPlateau(opt))
    refused(ValueError, "resume=True needs checkpoint", resume=True)
    refused(ValueError, "schedule_by", schedule_by="batch")
    refused(ValueError, "keep", keep="all")
    refused(ValueError, "monitor must be one of loss, got 'dice'", validation=data, monitor="dice")
    refused(ValueError, "none of the model's parameters", optimizer=other)
    refused(ValueError, "made for another optimizer", scheduler=optim.StepLR(other, 3))
    refused(TypeError, r"a batch must be \(x, y\)", train=[data[0][0]])
    refused(ValueError, "loss must return one number", loss=losses.CrossEntropyLoss(reduction="none"))
    with pytest.raises(ValueError, match="a loss, a metric or both"):
        training.evaluate(model, data)


def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path):
    path = tmp_path / "run.safetensors"
    run(batches(2), 2, path)
    whole = path.read_bytes()

    def refused(match, schedule="OneCycleLR", model=None, optimizer="AdamW"):
        model, opt = (model or Net()), None
        opt = getattr(optim, optimizer)(model.parameters(), lr=0.1)
        scheduler = {"OneCycleLR": lambda: optim.OneCycleLR(opt, 0.1, 12, cycle_momentum=False), "no": lambda: None,
                     "StepLR": lambda: optim.StepLR(opt, 2)}[schedule]()  # fmt: skip
        before, settings = model.state_dict(), opt.state_dict()
        with pytest.raises(ValueError, match=match):
            training.fit(model, batches(2), loss=losses.CombinedLoss(), optimizer=opt, scheduler=scheduler, steps=4,
                         checkpoint=path, resume=True, progress=False)  # fmt: skip
        for name, array in before.items():
            np.testing.assert_array_equal(array, model.state_dict()[name])
        assert opt.state_dict() == settings

    refused("another kind of optimizer", optimizer="SGD")
    refused("no state of StepLR", schedule="StepLR")
    refused("with a schedule and there is none now", schedule="no")
    refused(r"run\.safetensors: this training cannot go on", model=nn.Sequential(nn.Conv2d(1, 2, 1)))
    path.write_bytes(whole[: len(whole) // 2])
    refused(r"run\.safetensors is no sound safetensors file: .*truncated")
    storage.save_safetensors(path, {"a": np.ones(3)})
    refused("no checkpoint of a training: its metadata says 'no format at all'")
    with pytest.raises(ValueError, match="no checkpoint"):
        training.load_weights(Net(), path)
    storage.save_safetensors(path, {}, {"format": "minisegnet-checkpoint-1", "run": "[]"})
    refused("cannot go on from this checkpoint")


def test_a_new_run_moves_the_old_checkpoint_aside(tmp_path):
    path = tmp_path / "run.safetensors"
    run(batches(2), 2, path)
    whole = path.read_bytes()
    run(batches(2), 1, path)
    assert (tmp_path / "run.previous.safetensors").read_bytes() == whole
    assert path.read_bytes() != whole


def test_a_disk_that_is_full_is_known_before_time_is_spent(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage.os, "fsync", full)
    steps = []
    with pytest.raises(OSError, match=r"cannot write .*run\.safetensors: the disk is full"):
        run(batches(2), 2, tmp_path / "run.safetensors", callbacks=[steps.append])
    assert not steps
    (tmp_path / "file").write_text("")
    monkeypatch.undo()
    with pytest.raises(OSError, match="is a file, not a folder"):
        run(batches(2), 2, tmp_path / "file" / "run.safetensors", callbacks=[steps.append])
    assert not steps


def test_the_progress_bar_counts_steps_and_shows_numbers(capsys):
    pytest.importorskip("tqdm")
    run(batches(3), None, epochs=2, progress=True)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert "loss=" in shown
    assert "dice=" in shown


def test_importing_loads_no_progress_bar():
    code = "import sys, minisegnet.training; sys.exit('tqdm' in sys.modules or 'safetensors' in sys.modules)"
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
