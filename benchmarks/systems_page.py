"""The table, the picture and the sentences of docs/systems.md, from the results of ``systems.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minisegnet import storage
from minisegnet.figures import OKABE_ITO, save
from minisegnet.models.laptop import FAMILIES, SYSTEMS

TASKS = {"scene": "The lecture's scene", "nuclei": "Nuclei in tissue"}
COLORS = ("#8C8C8C", *(OKABE_ITO[c] for c in ("blue", "bluish green", "reddish purple", "vermilion", "orange")))
COLOR_OF = {name: color for color, names in zip(COLORS, FAMILIES.values(), strict=True) for name in names}
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->"
AREA = 1.2e-3  # square points a parameter
Results = dict[str, dict[str, dict[str, dict[str, Any]]]]  # by system, task and seed


def newest(folder: Path) -> Path | None:
    """Return the newest file of results, by the date in its name."""
    return max(folder.glob("systems_*.json"), default=None)


def mean(results: Results, name: str, task: str, what: str) -> float:
    """Return a number as the mean over the seeds."""
    return float(np.mean([run[what] for run in results[name][task].values()]))


def spread(results: Results, task: str, what: str) -> float:
    """Return how far the seeds of one system lie apart at most: smaller differences mean nothing."""
    apart = [np.ptp([run[what] for run in both[task].values()]) for both in results.values() if len(both[task]) > 1]
    return float(max(apart, default=0.0))


def complete(results: Results) -> list[str]:
    """Return the systems that have been measured on both tasks, in the order of the lecture."""
    return [name for name in SYSTEMS if all(results.get(name, {}).get(task) for task in TASKS)]


def table(results: Results) -> str:
    """Return the results as a table in Markdown, in the order of the lecture."""
    head = "| system | parameters | million multiply-accumulates | sees, pixels | step, ms | steps "
    head += "| scene: mean IoU | scene: Dice | nuclei: mean IoU | nuclei: Dice |"
    lines = [head, "|---" + "|---:" * 9 + "|"]
    for name in complete(results):
        run = next(iter(results[name]["nuclei"].values()))
        cells = [name, f"{run['parameters']:,}", f"{run['multiply-accumulates'] / 1e6:,.0f}", str(run["sees"])]
        cells += [f"{mean(results, name, 'nuclei', what):.0f}" for what in ("step ms", "steps")]
        cells += [f"{mean(results, name, task, what):.3f}" for task in TASKS for what in ("mean IoU", "Dice")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def findings(results: Results) -> list[str]:
    """Return in words what the numbers say: who is ahead, what skips and cheap convolutions change, what chance does."""
    done, sentences = complete(results), []
    for task, title in TASKS.items():
        score = {name: mean(results, name, task, "mean IoU") for name in done}
        order, chance = sorted(done, key=lambda name: -score[name]), spread(results, task, "mean IoU")
        told = [f"{name} ({score[name]:.3f})" for name in order]
        equal = [
            text for name, text in zip(order[1:], told[1:], strict=True) if score[order[0]] - score[name] <= chance
        ]
        text = f"**{title}.** The best mean IoU has {told[0]}"
        text += f"; within the scatter of chance as good: {', '.join(equal)}" if equal else ""
        text += f". Last come {' and '.join(told[:-3:-1])}."
        ways = [
            ("The scores of finer pools, added", "FCN-32s", "FCN-16s", "FCN-8s"),
            ("No skips, added ones, stacked ones", "hourglass", "U-Net, added skips", "U-Net"),
            ("Separable convolutions in the U-Net", "U-Net", "U-Net, separable"),
        ]
        for what, *names in ways:
            if set(names) <= set(done):
                text += f" {what}: {', '.join(f'{name} {score[name]:.3f}' for name in names)}"
                text += " (less than chance does)." if np.ptp([score[name] for name in names]) <= chance else "."
        if chance:
            several = next(name for name in done if len(results[name][task]) > 1)
            runs = ", ".join(f"{run['mean IoU']:.3f}" for run in results[several][task].values())
            text += f" Chance alone: {several} from {len(results[several][task])} seeds reached {runs}."
        sentences.append(text)
    return sentences


def draw(results: Results) -> Any:
    """Draw accuracy against multiply-accumulates, a panel a task; the area of a point is its number of parameters."""
    from minisegnet.figures.picture import new_picture

    done = complete(results)
    figure = new_picture(
        16, 8.2, "Mean IoU of each system against its multiply-accumulates, on the scene and on nuclei."
    )
    points = {
        task: [(mean(results, n, task, "multiply-accumulates") / 1e6, mean(results, n, task, "mean IoU")) for n in done]
        for task in TASKS
    }
    axes = figure.subplots(1, len(TASKS))
    bars: dict[str, list[tuple[float, ...]]] = {task: [] for task in TASKS}
    for axis, (task, title) in zip(axes, TASKS.items(), strict=True):
        across, up = np.array(points[task]).T
        for x, y, name in zip(across, up, done, strict=True):
            runs = results[name][task].values()
            area = AREA * next(iter(runs))["parameters"]
            axis.scatter(x, y, s=area, color=COLOR_OF[name], alpha=0.85, edgecolor="white", zorder=3)
            if len(runs) > 1:  # from the worst to the best seed
                low, high = (pick(run["mean IoU"] for run in runs) for pick in (min, max))
                axis.errorbar(x, y, [[y - low], [high - y]], color="black", linewidth=1.4, capsize=5, zorder=5)
                bars[task].append((x, low, high))
        axis.set_xscale("log")
        axis.set_xlim(across.min() / 2.2, across.max() * 2.2)
        room = 0.13 * (np.ptp(up) + 0.01)
        axis.set_ylim(up.min() - room, up.max() + room)
        axis.set_title(title, fontsize=19, loc="left")
        axis.set_xlabel("million multiply-accumulates, 128 × 128 pixels", fontsize=16)
        axis.tick_params(labelsize=14)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.grid(color="#DDDDDD", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("mean IoU", fontsize=16)
    handles = [axes[0].scatter([], [], color=color, s=130) for color in COLORS]
    sizes = {f"{count:,} parameters": count for count in (50_000, 500_000)}
    handles += [axes[0].scatter([], [], s=AREA * n, facecolor="none", edgecolor="black") for n in sizes.values()]
    legend = {"loc": "outside lower center", "ncols": 4, "fontsize": 15, "frameon": False, "handletextpad": 0.4}
    figure.legend(handles, [*FAMILIES, *sizes], **legend)
    figure.canvas.draw()  # the layout is known now, and so where labels are free
    figure.set_layout_engine("none")
    for axis, task in zip(axes, TASKS, strict=True):
        parameters = [next(iter(results[name][task].values()))["parameters"] for name in done]
        radii = [np.sqrt(AREA * n / np.pi) * figure.dpi / 72 for n in parameters]
        label(axis, points[task], done, radii, bars[task])
    return figure


def label(
    axis: Any, points: list[tuple[float, float]], names: list[str], radii: list[float], bars: list[tuple[float, ...]]
) -> None:
    """Write each name beside its point, of a radius in pixels, where it covers nothing that is there already.

    ``bars`` are upright lines (x, from y, to y) that must not be covered either.
    """
    renderer, frame = axis.figure.canvas.get_renderer(), axis.get_window_extent()
    spots = [axis.transData.transform(point) for point in points]
    taken = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(spots, radii, strict=True)]
    for x, low, high in bars:
        (left, bottom), (_, top) = axis.transData.transform((x, low)), axis.transData.transform((x, high))
        taken.append((left - 8, bottom - 4, left + 8, top + 4))

    def covered(box: tuple[float, ...]) -> float:
        outside = box[0] < frame.x0 or box[2] > frame.x1 or box[1] < frame.y0 or box[3] > frame.y1
        shared = [
            max(0, min(box[2], t[2]) - max(box[0], t[0])) * max(0, min(box[3], t[3]) - max(box[1], t[1])) for t in taken
        ]
        return 1e6 * outside + 10 * sum(shared)

    for i in sorted(range(len(names)), key=lambda i: -spots[i][1]):
        (x, y), options = spots[i], {"textcoords": "offset pixels"}
        text = axis.annotate(names[i], points[i], xytext=(0, 0), fontsize=14, zorder=4, **options)
        extent = text.get_window_extent(renderer)
        w, h, below = extent.width, extent.height, extent.y0 - y  # the last: by how much letters reach under the line
        places = []
        for gap in (4, 14, 26, 42, 62, 86, 120):
            for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
                far, right, up = radii[i] + gap, np.cos(angle), np.sin(angle)
                places.append((far * right - w * (1 - right) / 2, far * up - h * (1 - up) / 2))
        dx, dy = min(places, key=lambda p: covered((x + p[0], y + p[1], x + p[0] + w, y + p[1] + h)) + np.hypot(*p))
        text.set_position((dx, dy - below))
        taken.append((x + dx - 3, y + dy - 2, x + dx + w + 3, y + dy + h + 2))
        near = np.clip((0, 0), (dx, dy), (dx + w, dy + h))
        if np.hypot(*near) > radii[i] + 10:
            style = {"arrowstyle": "-", "color": "#555555", "lw": 1.0, "shrinkA": 1, "shrinkB": 0}
            axis.annotate("", points[i], xytext=tuple(near), arrowprops=style, zorder=5, **options)


def write_page(stored: dict[str, Any], file: Path, docs: Path) -> None:
    """Write the dated table beside the results, the picture, and both into the page between its two marks."""
    results: Results = stored["results"]
    if not complete(results):
        print("no system has been measured on both tasks yet: nothing to draw")
        return
    seconds = sorted({run["seconds"] for both in results.values() for runs in both.values() for run in runs.values()})
    said = f"Measured on {stored['date']}, {stored['machine']}, {stored['threads']} threads, "
    said += f"{' to '.join(f'{s:g}' for s in seconds)} seconds of training each."
    body = "\n\n".join([said, table(results), *findings(results)]) + "\n"
    with storage.atomic_write(file.with_suffix(".md"), "w") as handle:
        handle.write(
            f"# Every system of the lecture, side by side, {stored['date']}\n\n`python benchmarks/systems.py`. {body}"
        )
    figure = draw(results)
    for kind in ("png", "svg"):
        save(figure, docs / "pictures" / f"systems.{kind}", dpi=100)
    page = docs / "systems.md"
    if page.exists():
        before, rest = page.read_text(encoding="utf-8").split(BEGIN)
        with storage.atomic_write(page, "w") as handle:
            picture = "![Accuracy against multiply-accumulates, a point for each system](pictures/systems.png)\n\n"
            handle.write(before + BEGIN + picture + body + END + rest.split(END)[1])
