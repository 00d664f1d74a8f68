"""Every system of the lecture at laptop size: trained for the same time on the same images, and compared.

    python benchmarks/systems.py                     everything: about 20 minutes, and the table, the plot and docs/systems.md
    python benchmarks/systems.py --only U-Net        one system again; the others' results are kept
    python benchmarks/systems.py --seconds 5         a quick look

Each system (``minisegnet.models.laptop.SYSTEMS``) trains for the same number of seconds, compile time not counted, on the same
batches, with AdamW and a one-cycle rate that ends with the time: on drawings of the lecture's scene (judged by mean IoU on scenes
it never saw), and on real nuclei in stained tissue (judged by the mean Dice on whole images of fields that it never saw).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import time
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "2")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402

import minisegnet as ms  # noqa: E402
from minisegnet import data, losses, metrics, optim  # noqa: E402
from minisegnet.models.laptop import SYSTEMS  # noqa: E402
from minisegnet.recipes import nuclei as recipe  # noqa: E402

NUCLEI = HERE.parent.parent / "shared" / "data" / "histology.npz"
RESULTS, PAGE, PICTURE = HERE / "results" / "systems.json", HERE.parent / "docs" / "systems.md", "pictures/systems.png"
SIZE, BATCH, RATE, FIRST = (
    128,
    8,
    4e-3,
    0.3,
)  # pixels, images a step, the highest rate, and the share of time that it climbs
TRAIN_SCENES, TEST_SCENES = range(1, 65), range(1001, 1025)


class Task:
    """Batches to learn from, and how a network is judged."""

    name: str
    measure: str
    classes: int

    def batches(self):
        """Yield (images, targets) without end, the same for every system."""
        raise NotImplementedError

    def judge(self, net) -> dict[str, float]:
        """Return scores on images that were not learned from."""
        raise NotImplementedError


class Scenes(Task):
    """Drawings of the lecture's scene; each seed is another table."""

    name, measure, classes = "scene", "mean IoU", len(data.CLASSES)

    def __init__(self):
        scenes = [data.scene(SIZE, seed) for seed in TRAIN_SCENES]
        self.images = np.stack([data.to_input(s.image)[0] for s in scenes])
        self.labels = np.stack([s.labels for s in scenes])
        self.tests = [data.scene(SIZE, seed) for seed in TEST_SCENES]
        self.loss = losses.CombinedLoss(classes=range(1, self.classes), smooth=1.0, ignore_index=data.IGNORE_INDEX)

    def batches(self):
        """Yield eight scenes at a time, half of them mirrored."""
        rng = np.random.default_rng(0)
        while True:
            chosen = rng.integers(len(self.images), size=BATCH)
            flip = -1 if rng.random() < 0.5 else 1
            yield self.images[chosen][..., ::flip], self.labels[chosen][..., ::flip]

    def judge(self, net):
        """Mean IoU and Dice over the classes, from one confusion matrix."""
        matrix = metrics.ConfusionMatrix(self.classes, ignore_index=data.IGNORE_INDEX)
        for scene in self.tests:
            matrix.update(net.predict(scene.image, tile=None).argmax(0), scene.labels)
        return {"mean IoU": matrix.mean_iou(), "Dice": matrix.mean_dice()}


class Nuclei(Task):
    """Stained tissue; the first of four folds, split by field of view."""

    name, measure, classes = "nuclei", "Dice", 2

    def __init__(self):
        self.nuclei = data.load_nuclei(NUCLEI)
        self.train, self.test = recipe.field_folds(self.nuclei)[0]
        self.loss = losses.CombinedLoss(classes=(1,), smooth=1.0)

    def batches(self):
        """Yield the recipe's crops."""
        while True:
            yield from recipe.batches(self.nuclei.images, self.nuclei.labels, self.train, 1000, seed=0)

    def judge(self, net):
        """The mean over images of the Dice of class 1, and the mean IoU of both classes."""
        matrix, dice = metrics.ConfusionMatrix(2), []
        for i in self.test:
            found = net.predict(self.nuclei.images[i], tile=None).argmax(0)
            truth = self.nuclei.labels[i] > 0
            matrix.update(found, truth.astype(np.int64))
            dice.append(metrics.dice(found == 1, truth, empty=1.0))
        return {"mean IoU": matrix.mean_iou(), "Dice": float(np.mean(dice))}


def rate(share: float) -> float:
    """One cycle over the time that is left: up to RATE, and down to nothing (Smith and Topin, 2018), by cosines."""
    if share < FIRST:
        return RATE * (0.04 + 0.96 * (1 - np.cos(np.pi * share / FIRST)) / 2)
    return RATE * max(1e-4, (1 + np.cos(np.pi * min(1, (share - FIRST) / (1 - FIRST)))) / 2)


def train(build, task: Task, seconds: float) -> dict[str, float]:
    """Train one system for so many seconds and judge it."""
    ms.manual_seed(0)
    net = build(3, task.classes)
    optimizer = optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-2)
    batches = task.batches()

    def step(images, targets):
        optimizer.zero_grad()
        loss = task.loss(net(ms.Tensor(np.ascontiguousarray(images))), targets)
        loss.backward()
        optimizer.step()
        return float(loss)

    images, targets = next(batches)
    before = net.state_dict()
    step(images, targets)  # whatever is compiled is compiled now
    net.load_state_dict(before)
    optimizer = optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-2)
    times, start = [], time.perf_counter()
    while (now := time.perf_counter()) - start < seconds:
        for group in optimizer.param_groups:
            group["lr"] = rate((now - start) / seconds)
        images, targets = next(batches)
        began = time.perf_counter()
        step(images, targets)
        times.append(time.perf_counter() - began)
    net.eval()
    summary = net.summary((3, SIZE, SIZE))
    scores = task.judge(net)
    sees = summary.receptive_field
    return {
        "parameters": summary.parameters,
        "multiply-accumulates": summary.multiply_accumulates,
        "sees": "all" if sees == float("inf") else int(sees),
        "steps": len(times),
        "step ms": float(np.median(times)) * 1000,
        "seconds": seconds,
        **scores,
    }


def table(results: dict) -> str:
    """Return the results as a table in Markdown, in the order of the lecture."""
    head = "| system | parameters | million multiply-accumulates | sees, pixels | step, ms | steps "
    head += "| scene: mean IoU | nuclei: Dice | nuclei: mean IoU |"
    lines = [head, "|---" + "|---:" * 8 + "|"]
    for name in SYSTEMS:
        both = results.get(name, {})
        if "scene" not in both or "nuclei" not in both:
            continue
        a, b = both["scene"], both["nuclei"]
        lines.append(
            f"| {name} | {b['parameters']:,} | {b['multiply-accumulates'] / 1e6:,.0f} | {b['sees']} | {b['step ms']:.0f} | "
            f"{b['steps']} | {a['mean IoU']:.3f} | {b['Dice']:.3f} | {b['mean IoU']:.3f} |"
        )
    return "\n".join(lines)


FAMILIES = {  # the colours of Okabe and Ito
    "sliding": ("the patch classifier, all pixels at once", "#999999"),
    "FCN": ("FCN: upsampled scores", "#0072B2"),
    "Net, switches": ("unpooling by switches", "#009E73"),
    "dilat": ("dilated", "#CC79A7"),
    "U-Net": ("encoder, decoder, skips", "#D55E00"),
    "mobile": ("depthwise separable", "#E69F00"),
}


def family(name: str) -> str:
    """Return the family whose colour a system has."""
    lower = name.lower()
    if "slid" in lower or "patch" in lower:
        return "sliding"
    if "mobile" in lower or "shuffle" in lower or "separable" in lower:
        return "mobile"
    if "fcn" in lower:
        return "FCN"
    if "deconvnet" in lower or "segnet" in lower:
        return "Net, switches"
    return "dilat" if "dilat" in lower or "deeplab" in lower or "context" in lower else "U-Net"


def plot(results: dict, path: Path) -> None:
    """Draw accuracy against multiply-accumulates, one panel a task; the area of a point is its number of parameters."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    done = [name for name in SYSTEMS if {"scene", "nuclei"} <= set(results.get(name, {}))]
    figure, axes = plt.subplots(1, 2, figsize=(15, 6.6), layout="constrained")
    for axis, (task, measure, title) in zip(
        axes, (("scene", "mean IoU", "The lecture's scene"), ("nuclei", "Dice", "Nuclei in tissue")), strict=True
    ):
        points = [(results[n][task]["multiply-accumulates"] / 1e6, results[n][task][measure], n) for n in done]
        for x, y, name in points:
            color = FAMILIES[family(name)][1]
            area = 25 + 260 * np.sqrt(results[name][task]["parameters"] / 1e6)
            axis.scatter(x, y, s=area, color=color, alpha=0.85, edgecolor="white", linewidth=1.2, zorder=3)
        axis.set_xscale("log")
        low, high = min(p[1] for p in points), max(p[1] for p in points)
        axis.set_ylim(low - 0.12 * (high - low + 0.01), high + 0.12 * (high - low + 0.01))
        axis.set_xlim(min(p[0] for p in points) / 1.6, max(p[0] for p in points) * 2.4)
        label_points(axis, points)
        axis.set_title(title, fontsize=17, loc="left")
        axis.set_xlabel(f"million multiply-accumulates for {SIZE} x {SIZE} pixels", fontsize=14)
        axis.set_ylabel(measure, fontsize=14)
        axis.tick_params(labelsize=13)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for text, color in FAMILIES.values():
        if any(FAMILIES[family(n)][1] == color for n in done):
            axes[0].scatter([], [], color=color, s=90, label=text)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=13, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def label_points(axis, points) -> None:
    """Write each name beside its point where it covers nothing that is there already."""
    figure = axis.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    spots = [axis.transData.transform((x, y)) for x, y, _ in points]
    taken = [(px - 13, py - 13, px + 13, py + 13) for px, py in spots]
    frame = axis.get_window_extent(renderer)

    def free(box) -> float:
        outside = box[0] < frame.x0 or box[2] > frame.x1 or box[1] < frame.y0 or box[3] > frame.y1
        return 1e6 * outside + sum(
            max(0, min(box[2], t[2]) - max(box[0], t[0])) * max(0, min(box[3], t[3]) - max(box[1], t[1])) for t in taken
        )

    for (px, py), (x, y, name) in sorted(zip(spots, points, strict=True), key=lambda pair: -pair[1][1]):
        text = axis.annotate(name, (x, y), fontsize=12.5, zorder=4, xytext=(0, 0), textcoords="offset pixels")
        extent = text.get_window_extent(renderer)
        w, h = extent.width, extent.height
        choices = [
            (dx, dy)
            for radius in (16, 26, 40, 58)
            for dx, dy in (
                (radius, -h / 2), (-radius - w, -h / 2), (-w / 2, radius), (-w / 2, -radius - h),
                (radius * 0.7, radius * 0.7), (-radius * 0.7 - w, radius * 0.7),
                (radius * 0.7, -radius * 0.7 - h), (-radius * 0.7 - w, -radius * 0.7 - h),
            )
        ]  # fmt: skip
        dx, dy = min(
            choices, key=lambda c: free((px + c[0], py + c[1], px + c[0] + w, py + c[1] + h)) + 0.5 * np.hypot(*c)
        )
        text.set_position((dx, dy))
        box = (px + dx, py + dy, px + dx + w, py + dy + h)
        taken.append(box)
        near = np.clip((px, py), box[:2], box[2:])
        if np.hypot(*(near - (px, py))) > 24:
            axis.annotate("", (x, y), xytext=tuple(near - (px, py)), textcoords="offset pixels",
                          arrowprops={"arrowstyle": "-", "color": "0.5", "lw": 0.8})  # fmt: skip


def main() -> None:
    """Train what was asked for, merge, and write table, plot and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40, help="of training for each system and task")
    parser.add_argument("--only", nargs="*", help="names of systems; the others' results are kept")
    parser.add_argument("--draw", action="store_true", help="train nothing: draw what was measured before")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    unknown = [name for name in args.only or () if name not in SYSTEMS]
    if unknown:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    stored = json.loads(args.results.read_text()) if args.results.exists() else {"results": {}}
    results = stored["results"]
    if not args.draw:
        for task in (Scenes(), Nuclei()):
            for name in args.only or SYSTEMS:
                results.setdefault(name, {})[task.name] = found = train(SYSTEMS[name], task, args.seconds)
                print(
                    f"{task.name:8s}{name:24s}{found['steps']:5d} steps  {task.measure} {found[task.measure]:.3f}",
                    flush=True,
                )
                stored |= {"date": str(datetime.date.today()), "machine": platform.processor() or platform.machine()}
                args.results.write_text(json.dumps(stored, indent=1) + "\n")
    print(table(results))
    if args.results == RESULTS:
        plot(results, PAGE.parent / PICTURE)
        write_page(stored)


def write_page(stored: dict) -> None:
    """Put the new table between the two marks of the page."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- table -->\n", "<!-- end of table -->"
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    seconds = sorted({r["seconds"] for both in stored["results"].values() for r in both.values()})
    said = f"Measured on {stored['date']}, two cores, {' to '.join(f'{s:.0f}' for s in seconds)} seconds of training each.\n\n"
    PAGE.write_text(before + begin + said + table(stored["results"]) + "\n" + end + after, encoding="utf-8")


if __name__ == "__main__":
    main()
