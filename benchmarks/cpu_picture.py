"""Two pictures of ``cpu.py``'s results: ratios as bars around 1, and a roofline."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from judge import Line, best, lines, ours, ratio, roofs
from matplotlib.patches import Patch
from rows_network import INFER, TRAIN

from minisegnet.figures import OKABE_ITO, save
from minisegnet.figures.picture import new_picture

WIN, LOSS, THEIRS, GRAY = OKABE_ITO["blue"], OKABE_ITO["vermilion"], OKABE_ITO["orange"], "#555555"

FRACTIONS = {0.125: "⅛", 0.25: "¼", 0.5: "½"}


def write(results: dict[str, Any], folder: Path, prefix: str = "") -> bool:
    """Write both pictures as .png and .svg; returns whether there was anything to draw."""
    if not lines(results):
        return False
    for name, figure in (("speed", bars(results)), ("roofline", roofline(results))):
        for kind in ("png", "svg"):
            save(figure, folder / f"{prefix}{name}.{kind}", dpi=100)
    return True


def bar_lines(results: dict[str, Any]) -> list[Line]:
    """Return what gets a bar: whole networks case by case, everything else by its line of the summary."""
    made = []
    for line in lines(results, complete=True):
        group = line.entries[0]["group"]
        if group in (TRAIN, INFER):
            word = "U-Net step" if group == TRAIN else "U-Net inference"
            made += [Line(f"{word} {e['name'].replace('x3x', 'x')}", [e]) for e in line.entries if not e["threads"]]
        elif line.entries[0]["judged"]:
            made.append(line)
    return made


def bars(results: dict[str, Any]) -> Any:
    """Draw a bar around 1 for each line: blue to the right where ours is faster, red to the left where PyTorch is."""
    made = bar_lines(results)
    half = -(-len(made) // 2)
    wins = sum(line.mean >= 1 for line in made)
    figure = new_picture(
        16, max(9.0, 0.42 * half + 2.2), f"PyTorch's time / ours: {wins} of {len(made)} bars are above 1."
    )
    every = [value for line in made for value in (*line.ratios, line.mean, line.network) if value > 0]
    low, high = min(0.5, *every) / 1.1, max(2.6, *every) * 1.1
    every_high = high
    high *= (high / low) ** 0.15  # room for the numbers
    for axis, part in zip(figure.subplots(1, 2), (made[:half], made[half:]), strict=True):
        for y, line in enumerate(part):
            value = line.mean
            axis.barh(y, value - 1, left=1, height=0.66, color=WIN if value >= 1 else LOSS, zorder=3)
            if len(line.ratios) > 1:  # from the worst case to the best
                axis.plot([min(line.ratios), max(line.ratios)], [y, y], color="black", linewidth=1.6, zorder=5)
            if line.network > 0:
                axis.plot(
                    line.network, y, "D", markersize=9, markerfacecolor="white", markeredgecolor="black", zorder=6
                )
            least, aim = line.asked
            if line.entries[0]["judged"]:
                for wanted, style in ((least, "-"), (aim, ":")):
                    axis.plot([wanted] * 2, [y - 0.43, y + 0.43], style, color=GRAY, linewidth=2.2, zorder=4)
            axis.text(high, y, f"{value:.2f}", va="center", ha="right", fontsize=15, fontweight="bold", zorder=6,
                      color=WIN if value >= 1 else LOSS)  # fmt: skip
        axis.set_yticks(range(len(part)), [shorter(line.title) for line in part], fontsize=14)
        axis.set_ylim(half - 0.4, -0.6)
        axis.set_xscale("log", base=2)
        axis.set_xlim(low, high)
        axis.axvline(1, color="black", linewidth=1.4, zorder=4)
        ticks = [t for t in (0.125, 0.25, 0.5, 1, 2, 4, 8, 16) if low <= t <= every_high]
        axis.set_xticks(ticks, [f"{FRACTIONS.get(t, f'{t:g}')}×" for t in ticks], fontsize=14)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x", color="#DDDDDD", linewidth=0.8)
        axis.spines[["top", "right", "left"]].set_visible(False)
    threads = f"{results['threads']} thread{'s' * (results['threads'] != 1)}"
    figure.suptitle(f"PyTorch's time / ours on a CPU, {threads}: to the right ours is faster", fontsize=20)
    handles: list[Any] = [Patch(color=color) for color in (WIN, LOSS)]
    handles += [figure.axes[0].plot([], [], style, color=color, linewidth=2)[0]
                for style, color in (("-", "black"), ("-", GRAY), (":", GRAY))]  # fmt: skip
    diamond = {"markersize": 9, "markerfacecolor": "white", "markeredgecolor": "black", "linestyle": "none"}
    handles += figure.axes[0].plot([], [], "D", **diamond)
    words = ["ours is faster", "PyTorch is faster", "from the worst case to the best", "at least", "aim",
             "between the layers of a network"]  # fmt: skip
    figure.legend(handles, words, loc="outside lower center", ncols=6, fontsize=14, frameon=False, columnspacing=1.4)
    return figure


def shorter(title: str) -> str:
    """Return a title that leaves room for its bar."""
    title = re.sub(r"(?<=\d)x(?=\d)", "×", title)
    words = {"gradient": "grad.", "of the ": "", "training": "train", "forward + backward": "both ways", "stride ": "s"}
    for long, short in words.items():
        title = title.replace(long, short)
    return title


def roofline(results: dict[str, Any]) -> Any:
    """Draw effective GFLOP/s against operations a byte for each convolution: ours, PyTorch's, and the machine's roofs."""
    peak, memory = (value / 1e9 for value in roofs(results))
    figure = new_picture(16, 9, "Effective GFLOP/s against arithmetic intensity of convolutions, ours and PyTorch's.")
    axis = figure.subplots()
    entries = [e for e in results["rows"].values() if e["flops"] and e["moved"] and not math.isnan(ratio(e))]
    apart = {
        "gradient of the input": 0.965,
        "gradient of the weight": 1.035,
    }  # or three directions stand on one another
    across = [e["flops"] / e["moved"] * apart.get(e["name"].split(", ")[-1], 1.0) for e in entries]
    for engine, color, marker, took in (("PyTorch", THEIRS, "s", lambda e: best(e, "torch")), ("ours", WIN, "o", ours)):
        rates = [e["flops"] / took(e) / 1e9 for e in entries]
        axis.scatter(
            across, rates, s=90, color=color, marker=marker, alpha=0.85, edgecolor="white", zorder=4, label=engine
        )
    for x, entry in zip(across, entries, strict=True):
        rates = [entry["flops"] / seconds / 1e9 for seconds in (best(entry, "torch"), ours(entry))]
        axis.plot([x, x], rates, color=WIN if rates[1] >= rates[0] else LOSS, linewidth=1.4, alpha=0.6, zorder=3)
    left, right = (min(across) / 1.6, max(across) * 1.6) if across else (1.0, 100.0)
    if not math.isnan(peak + memory):
        x = np.geomspace(left, right, 200)
        axis.plot(x, np.minimum(peak, memory * x), color="black", linewidth=2.4, zorder=2)
        axis.annotate(f"{peak:.0f} GFLOP/s: every multiply-add that the cores can do", (max(left, peak / memory), peak), (4, 8),
                      textcoords="offset points", fontsize=15)  # fmt: skip
        if left < peak / memory:
            axis.annotate(f"{memory:.0f} GB/s: memory", (left, memory * left), (8, 114), textcoords="offset points",
                          fontsize=15)  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(left, right)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel("operations a byte, if each number of input, weight and output moves once", fontsize=16)
    axis.set_ylabel("effective GFLOP/s (counted as direct sums)", fontsize=16)
    axis.set_title("Convolutions under the machine's roofs: above the flat one, Winograd does with fewer multiplications",
                   fontsize=18, loc="left")  # fmt: skip
    axis.tick_params(labelsize=14)
    axis.grid(color="#DDDDDD", linewidth=0.8, which="major")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=16, frameon=False, loc="lower right")
    return figure
