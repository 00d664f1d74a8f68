"""Every system of the lecture at laptop size: trained for the same time on the same images, and compared.

    python benchmarks/systems.py                     everything, 18 minutes: results, table, picture and docs/systems.md
    python benchmarks/systems.py --missing           goes on with a run that was interrupted
    python benchmarks/systems.py --only U-Net        one system again; the others' results are kept
    python benchmarks/systems.py --seconds 3 --results /tmp/quick    a quick look, written elsewhere
    python benchmarks/systems.py --draw              trains nothing: table, picture and page again from the newest results

Each system (``minisegnet.models.laptop.SYSTEMS``) trains for the same number of seconds, compile time not counted, on the same
batches, with AdamW and a one-cycle rate that ends with the time, the same for all: on drawings of the lecture's scene (judged on
scenes that it never saw), and on real nuclei in stained tissue (judged on whole images of fields that it never saw). The U-Net
does it three times, from three seeds: how far its scores lie apart is how little smaller differences mean.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", str(os.cpu_count() or 1))
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
from systems_page import newest, table, write_page  # noqa: E402

import minisegnet as ms  # noqa: E402
from minisegnet import data, losses, metrics, optim, storage  # noqa: E402
from minisegnet.models.laptop import SYSTEMS  # noqa: E402
from minisegnet.recipes import nuclei as recipe  # noqa: E402

NUCLEI = HERE.parent.parent / "shared" / "data" / "histology.npz"
SIZE, BATCH = 128, 8  # pixels; images a step
RATE, FIRST = 4e-3, 0.3  # the highest rate, and the share of the time that it climbs
TRAIN_SCENES, TEST_SCENES = range(1, 65), range(1001, 1025)
SEEDS = {"U-Net": (0, 1, 2)}  # all others: 0


class Scenes:
    """Drawings of the lecture's scene; each seed is another table."""

    name, classes = "scene", len(data.CLASSES)

    def __init__(self) -> None:
        scenes = [data.scene(SIZE, seed) for seed in TRAIN_SCENES]
        self.images = np.stack([data.to_input(s.image)[0] for s in scenes])
        self.labels = np.stack([s.labels for s in scenes])
        self.tests = [data.scene(SIZE, seed) for seed in TEST_SCENES]
        self.loss = losses.CombinedLoss(classes=range(1, self.classes), smooth=1.0, ignore_index=data.IGNORE_INDEX)

    def batches(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield eight scenes at a time, half of the batches mirrored."""
        rng = np.random.default_rng(seed)
        while True:
            chosen = rng.integers(len(self.images), size=BATCH)
            flip = -1 if rng.random() < 0.5 else 1
            yield self.images[chosen][..., ::flip], self.labels[chosen][..., ::flip]

    def judge(self, net) -> dict[str, float]:
        """Mean IoU and Dice over the classes, from one confusion matrix of all pixels."""
        matrix = metrics.ConfusionMatrix(self.classes, ignore_index=data.IGNORE_INDEX)
        for scene in self.tests:
            matrix.update(net.predict(scene.image, tile=None).argmax(0), scene.labels)
        return {"mean IoU": matrix.mean_iou(), "Dice": matrix.mean_dice()}


class Nuclei:
    """Stained tissue; the first of four folds, split by field of view."""

    name, classes = "nuclei", 2

    def __init__(self) -> None:
        self.nuclei = data.load_nuclei(NUCLEI)
        self.train, self.test = recipe.field_folds(self.nuclei)[0]
        self.loss = losses.CombinedLoss(classes=(1,), smooth=1.0)

    def batches(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the recipe's crops."""
        sampler = recipe.batches(self.nuclei.images, self.nuclei.labels, self.train, 1000, seed, SIZE, BATCH)
        while True:
            yield from sampler

    def judge(self, net) -> dict[str, float]:
        """Mean IoU of both classes, of all pixels, and the mean over images of the Dice of class 1."""
        matrix, dice = metrics.ConfusionMatrix(2), []
        for i in self.test:
            found = net.predict(self.nuclei.images[i], tile=None).argmax(0)
            truth = (self.nuclei.labels[i] > 0).astype(np.int64)
            matrix.update(found, truth)
            dice.append(metrics.dice(found, truth, empty=recipe.EMPTY))
        return {"mean IoU": matrix.mean_iou(), "Dice": float(np.mean(dice))}


def rate(share: float) -> float:
    """One cycle over the time, of which ``share`` is over: up to RATE, and down to nothing, by cosines (Smith and Topin, 2018)."""
    if share < FIRST:
        return RATE * (0.04 + 0.96 * (1 - np.cos(np.pi * share / FIRST)) / 2)
    return RATE * max(1e-4, (1 + np.cos(np.pi * min(1, (share - FIRST) / (1 - FIRST)))) / 2)


def train(name: str, task: Scenes | Nuclei, seconds: float, seed: int = 0) -> dict[str, float | str]:
    """Train one system for so many seconds and judge it."""
    ms.manual_seed(seed)
    net = SYSTEMS[name](3, task.classes)
    batches = task.batches(seed)

    def step(optimizer: optim.Optimizer, images: np.ndarray, targets: np.ndarray) -> None:
        optimizer.zero_grad()
        task.loss(net(ms.Tensor(np.ascontiguousarray(images))), targets).backward()
        optimizer.step()

    before = net.state_dict()
    step(optim.AdamW(net.parameters(), lr=RATE), *next(batches))  # whatever is compiled is compiled now
    net.load_state_dict(before)
    optimizer = optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-2)
    times, start = [], time.perf_counter()
    while (now := time.perf_counter()) - start < seconds:
        for group in optimizer.param_groups:
            group["lr"] = rate((now - start) / seconds)
        batch = next(batches)
        began = time.perf_counter()
        step(optimizer, *batch)
        times.append(time.perf_counter() - began)
    net.eval()
    summary = net.summary((3, SIZE, SIZE))
    sees = summary.receptive_field
    return {
        "parameters": summary.parameters,
        "multiply-accumulates": summary.multiply_accumulates,
        "sees": "all" if sees == float("inf") else int(sees),
        "steps": len(times),
        "step ms": float(np.median(times)) * 1000,
        "seconds": seconds,
        **task.judge(net),
    }


def main() -> None:
    """Train what was asked for, merge, and write table, picture and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="of training for each system, task and seed")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these systems; the others' results are kept")
    parser.add_argument(
        "--missing", action="store_true", help="leave out what today's results have for as many seconds"
    )
    parser.add_argument("--draw", action="store_true", help="train nothing: draw what was measured before")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder; another one leaves docs alone")
    args = parser.parse_args()
    unknown = [name for name in args.only or () if name not in SYSTEMS]
    if unknown:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    ours = args.results.resolve() == HERE / "results"
    args.results.mkdir(parents=True, exist_ok=True)
    date = datetime.date.today().isoformat()
    file, last = args.results / f"systems_{date}.json", newest(args.results)
    stored = json.loads(last.read_text(encoding="utf-8")) if last else {"results": {}}
    if args.draw:
        if not last:
            parser.error(f"--draw: there are no results in {args.results} yet")
        file = last
    else:
        same_day = stored.get("date") == date
        stored |= {"date": date, "machine": platform.machine(), "threads": int(os.environ["NUMBA_NUM_THREADS"])}
        for task in (Scenes(), Nuclei()):
            for name in args.only or SYSTEMS:
                for seed in SEEDS.get(name, (0,)):
                    kept = stored["results"].setdefault(name, {}).setdefault(task.name, {})
                    if args.missing and same_day and kept.get(str(seed), {}).get("seconds") == args.seconds:
                        continue
                    found = kept[str(seed)] = train(name, task, args.seconds, seed)
                    scores = f"mean IoU {found['mean IoU']:.3f}  Dice {found['Dice']:.3f}"
                    print(f"{task.name:8s}{name:20s} seed {seed}{found['steps']:6d} steps  {scores}", flush=True)
                    with storage.atomic_write(file, "w") as handle:
                        json.dump(stored, handle, indent=1)
    print(table(stored["results"]))
    write_page(stored, file, HERE.parent / "docs" if ours else args.results)


if __name__ == "__main__":
    main()
