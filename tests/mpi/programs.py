"""What the tests of several ranks run under ``mpiexec``: ``programs.py NAME,NAME FOLDER``; rank 0 writes FOLDER/NAME.json.

Everything is float64, so that the order of sums, the only thing that may differ from one process, stays far below 1e-10.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from minisegnet import losses, metrics, nn, optim, random, training
from minisegnet.backend import use_backend
from minisegnet.models import UNet
from minisegnet.ranks import Alone, Ranks

use_backend("reference")


class Net(nn.Module):
    """Batch norm, with and without a ReLU after it, and dropout: what looks at a whole batch."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.last(self.drop(self.norm(self.first(x))))


def images(count, seed=0, batch=4, size=8):
    """Noisy images of which pixels are bright."""
    rng = np.random.default_rng(seed)
    y = (rng.random((count, batch, size, size)) < 0.3).astype(np.int64)
    x = y + 0.2 * rng.normal(size=y.shape)
    return [(a[:, None], b) for a, b in zip(x, y, strict=True)]


class Sampler:
    """A data set with a state: the rows ``part`` of an endless stream of batches."""

    def __init__(self, part=slice(None), steps=4):
        self.part, self.steps, self.done, self.rng = part, steps, 0, np.random.default_rng(5)

    def __len__(self):
        return self.steps

    def __iter__(self):
        while self.done < self.steps:
            (x, y), *_ = images(1, int(self.rng.integers(1000)))
            self.done += 1
            yield x[self.part], y[self.part]
        self.done = 0

    def state(self):
        return {"done": self.done, "random": self.rng.bit_generator.state}

    def load_state(self, state):
        self.done, self.rng.bit_generator.state = state["done"], state["random"]


def train(ranks, data, model=None, seed=0, loss=None, **options):
    """Train for a few steps and return what happened, with the weights."""
    random.manual_seed(seed)
    model = (model or Net)()
    for tensor in [*model.parameters(), *(b for _, b in model.named_buffers())]:
        if tensor.dtype.kind == "f":
            tensor.data = tensor.data.astype(np.float64)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    options = {"steps": 6, "progress": False, **options}
    history = training.fit(
        model, data, loss=loss or losses.CrossEntropyLoss(), optimizer=optimizer, ranks=ranks, **options
    )
    weights = {name: array.tolist() for name, array in model.state_dict().items()}
    return {"history": history.to_dict(), "weights": weights, "next random": float(random.generator().random())}


def split(ranks, folder):
    """The last batch has one image: some ranks have none of it."""
    data = [*images(3), tuple(part[:1] for part in images(1, 9)[0])]
    validation = [*images(1, 7), tuple(part[:1] for part in images(1, 8)[0])]
    score = {"validation": validation, "metric": metrics.MeanDice(), "keep": "best", "clip": 0.5}
    return train(ranks, data, epochs=3, steps=None, **score)


def dice(ranks, folder):
    """A loss that is no mean over images."""
    return train(ranks, images(3), loss=losses.DiceLoss(), epochs=2, steps=None)


def weighted(ranks, folder):
    """Pixel weights and ignored labels, unequal among the ranks."""
    data = [(x, np.where(x[:, 0] > 1.2, -100, y), 0.1 + abs(x[:, 0])) for x, y in images(3)]
    return train(ranks, data, epochs=2, steps=None)


def unet(ranks, folder):
    """The course's network, float64."""
    data = [(x.repeat(3, axis=1), y) for x, y in images(3, size=16)]
    return train(ranks, data, model=lambda: UNet(3, 2, base_channels=4, depth=2))


def own(ranks, folder):
    """Every rank's sampler gives other images."""
    if isinstance(ranks, Ranks):
        ranks = Ranks(batches="own")
    rows = slice(4 * ranks.rank // ranks.size, 4 * (ranks.rank + 1) // ranks.size)
    return train(ranks, Sampler(rows), steps=10, checkpoint=folder / f"own-{ranks.size}.safetensors")


def own_resumed(ranks, folder):
    """As ``own``, in two parts."""
    ranks = Ranks(batches="own")
    rows = slice(4 * ranks.rank // ranks.size, 4 * (ranks.rank + 1) // ranks.size)
    train(ranks, Sampler(rows), steps=7, checkpoint=folder / "own-resumed.safetensors")
    return own_resumed_only(ranks, folder)


def own_resumed_only(ranks, folder):
    """The second part."""
    ranks = Ranks(batches="own")
    rows = slice(4 * ranks.rank // ranks.size, 4 * (ranks.rank + 1) // ranks.size)
    path = folder / "own-resumed.safetensors"
    return train(ranks, Sampler(rows), steps=10, checkpoint=path, resume=True, seed=99)


def evaluated(ranks, folder):
    """Loss and metric of a network over shared batches."""
    random.manual_seed(3)
    return training.evaluate(
        Net(),
        [(x.astype(np.float32), y) for x, y in images(2, batch=3)],
        loss=losses.CrossEntropyLoss(),
        metric=metrics.MeanDice(),
        ranks=ranks,
    )


def started_apart(ranks, folder):
    """Without equal seeds all start from the first rank's weights."""
    return train(ranks, images(3), seed=ranks.rank)


def killed(ranks, folder):
    """Rank 1 dies without a word in the middle of step 5."""

    class Deadly(list):
        def __iter__(self):
            for i, batch in enumerate(list.__iter__(self)):
                if i == 5 and ranks.rank == 1:
                    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
                yield batch

    return train(ranks, Deadly(images(8)), checkpoint=folder / "killed.safetensors", checkpoint_seconds=0, steps=8)


def resumed(ranks, folder):
    """Go on from what ``killed`` left."""
    return train(ranks, images(8), checkpoint=folder / "killed.safetensors", steps=8, resume=True, seed=5)


def whole(ranks, folder):
    """As ``killed`` and ``resumed``, undisturbed."""
    return train(ranks, images(8), steps=8)


def one_fails(ranks, folder):
    """Only rank 1's data is broken."""

    class Broken(list):
        def __iter__(self):
            for i, batch in enumerate(list.__iter__(self)):
                if i == 2 and ranks.rank == 1:
                    raise OSError("tile 17 cannot be read")
                yield batch

    return train(ranks, Broken(images(4)))


def all_fail(ranks, folder):
    """A NaN in one rank's images is everyone's NaN: each raises, nobody is aborted."""
    data = images(3)
    data[1][0][-1, 0, 2, 3] = np.nan
    try:
        train(ranks, data)
    except FloatingPointError as error:
        return {"every rank's message": ranks.gather(str(error))}


def disk_full(ranks, folder):
    """Rank 0 cannot write the checkpoint."""
    (folder / "file").touch()
    try:
        train(ranks, images(3), checkpoint=folder / "file" / "x.safetensors")
    except OSError as error:
        return {"messages": ranks.gather(f"{type(error).__name__}: {error}")}


def told_apart(ranks, folder):
    """Different arguments, different batches, batches that end early, a wrong share: said by every rank."""
    messages = {}
    trials = {
        "arguments": {"data": images(3), "steps": 4 + ranks.rank},
        "batches": {"data": images(3, seed=ranks.rank)},
    }
    for name, trial in trials.items():
        try:
            train(ranks, trial.pop("data"), **trial)
        except (ValueError, RuntimeError) as error:
            messages[name] = ranks.gather(str(error))
    for name, data in {
        "early": images(3 - (ranks.rank == 1), seed=ranks.rank),
        "shapes": images(2, size=8 + ranks.rank),
    }.items():
        try:
            train(Ranks(batches="own"), data, epochs=1, steps=None)
        except (ValueError, RuntimeError) as error:
            messages[name] = ranks.gather(str(error))
    return messages


def stopped(ranks, folder):
    """A callback, which only rank 0 calls, stops all; so does an interrupt that one rank gets."""
    calls = []

    def stop_at_3(state):
        calls.append(state.step)
        state.stop = state.step == 3

    by_callback = train(ranks, images(5), callbacks=[stop_at_3])

    class Interrupted(list):
        def __iter__(self):
            for i, batch in enumerate(list.__iter__(self)):
                if i == 2 and ranks.rank == ranks.size - 1:
                    signal.raise_signal(signal.SIGINT)
                yield batch

    by_signal = train(ranks, Interrupted(images(5)))
    kept = [(r["history"]["stopped"], len(r["history"]["loss"])) for r in (by_callback, by_signal)]
    return {"kept": ranks.gather(kept), "calls": ranks.gather(calls)}


def throughput(ranks, folder):
    """Images a second of the course's net, compiled kernels: for the table in docs/parallel.md."""
    use_backend("numba")
    batches = int(os.environ.get("BATCHES", "12"))
    data = [(x.repeat(3, axis=1).astype(np.float32), y) for x, y in images(batches, size=128, batch=8)]
    random.manual_seed(0)
    model = UNet(3, 2, base_channels=16)
    history = training.fit(
        model,
        data,
        loss=losses.CrossEntropyLoss(),
        optimizer=optim.Adam(model.parameters()),
        epochs=1,
        ranks=ranks,
        progress=False,
    )
    seconds = np.diff(history.seconds)
    return {"images a second": 8 / float(np.median(seconds)), "loss": history.loss[-1]}


if __name__ == "__main__":
    names, folder = sys.argv[1].split(","), Path(sys.argv[2])
    ranks = Alone() if sys.argv[3:] == ["alone"] else Ranks()
    for name in names:
        result = globals()[name](ranks, folder)
        if ranks.rank == 0:
            (folder / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
