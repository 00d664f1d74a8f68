"""The GPU's tables in Markdown, from a file of results."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from cpu_page import number
from cpu_page import table as markdown
from gpu_rows import BANDWIDTH, CAPTURED, COMPILED, EAGER, FLOAT32, OURS, ROUNDED, STRICT, TF32, TUNED
from judge import Entry, best
from rows_network import INFER, TRAIN

from minisegnet import storage

FIGURES = Path(__file__).resolve().parent.parent / "minisegnet" / "course" / "last_on_gpu.json"


def fewest(entry: Entry, *ways: str) -> float:
    """Return the fewest seconds of some ways of PyTorch; not-a-number where there are none."""
    known = entry["seconds"].get("torch", {})
    return min((best(entry, "torch", way) for way in ways if way in known), default=math.nan)


def middle(entry: Entry, engine: str, way: str) -> float:
    """Return the median of the rounds."""
    known = sorted(entry["seconds"].get(engine, {}).get(way, [math.nan]))
    return (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2


def roof(results: dict[str, Any], name: str) -> float:
    """Return a limit of the card: bytes or operations a second."""
    entry = results["rows"].get(f"card: {name}")
    return (entry["flops"] or entry["moved"]) / best(entry, OURS, OURS) if entry else math.nan


def share(results: dict[str, Any], entry: Entry) -> float:
    """Return the least time that the card's memory and its float32 arithmetic allow, as a share of ours."""
    least = max(entry["flops"] / roof(results, FLOAT32), entry["moved"] / roof(results, BANDWIDTH))
    return least / best(entry, OURS, OURS)


def line(entry: Entry) -> str:
    """Return what is printed of a row while it is measured."""
    mine, theirs = best(entry, OURS, OURS), best(entry, "torch")
    said = f"{entry['group']}: {entry['name']}: {number(1000 * mine, '.3f')} ms"
    said += (
        "" if math.isnan(theirs) else f", PyTorch's best {number(1000 * theirs, '.3f')}, ratio {number(theirs / mine)}"
    )
    return said + "".join(f"; {engine} failed: {why}" for engine, why in entry["failed"].items())


def table(results: dict[str, Any], entries: list[Entry], fast: str) -> str:
    """Return rows beside PyTorch; ``fast`` is the third of its ways."""
    head = ["work", "case", "ours, ms", "median", "TF32, ms", "eager / TF32", "eager", "channels_last", fast,
            "strict float32", "of the roof", "MiB", "PyTorch's"]  # fmt: skip
    rows = []
    for entry in entries:
        mine, known = best(entry, OURS, OURS), entry["seconds"].get(OURS, {})
        rounded = best(entry, OURS, ROUNDED) if ROUNDED in known else math.nan
        strict = [way for way in entry["seconds"].get("torch", {}) if way.startswith(STRICT)]
        ratios = [fewest(entry, EAGER) / rounded]
        ratios += [fewest(entry, *ways) / mine for ways in ((EAGER,), (TUNED,), (fast,), strict)]
        held = [results["held"].get(f"{entry['group']}: {entry['name']}", {}).get(e, {}) for e in (OURS, "torch")]
        fair = [[bytes_ for way, bytes_ in by_way.items() if way not in (CAPTURED, ROUNDED)] for by_way in held]
        peaks = [min(some, default=math.nan) / 2**20 for some in fair]
        rows.append([entry["group"], entry["name"], number(1000 * mine, ".3f"), number(1000 * middle(entry, OURS, OURS), ".3f"),
                     number(1000 * rounded, ".3f"), *map(number, ratios), number(100 * share(results, entry), ".0f") + " %",
                     *(number(p, ",.0f") for p in peaks)])  # fmt: skip
    return markdown(head, rows)


def captured(entries: list[Entry]) -> str:
    """Return what a CUDA graph of the whole step changes, where it was measured."""
    rows = []
    for entry in entries:
        if CAPTURED in entry["seconds"].get(OURS, {}):
            whole, each = best(entry, OURS, CAPTURED), best(entry, OURS, OURS)
            numbers = number(1000 * each, ".3f"), number(1000 * whole, ".3f"), number(each / whole)
            rows.append([entry["name"], *numbers, number(best(entry, "torch") / whole)])
    return markdown(["case", "kernel by kernel, ms", "captured, ms", "ratio", "PyTorch's best / captured"], rows)


def page(results: dict[str, Any]) -> str:
    """Return the whole page."""
    made = results["machine"]
    entries = [entry for entry in results["rows"].values() if entry["group"] != "card"]
    nets = [entry for entry in entries if entry["group"] in (TRAIN, INFER)]
    steps = [entry for entry in entries if entry["group"] == "Adam step"]
    rest = [entry for entry in entries if entry not in nets and entry not in steps]
    card = f"{made['card']}, compute capability {made['capability']}, {made['memory'] / 2**30:.0f} GiB"
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    text = [f"# Beside PyTorch on a GPU, {results['date']}\n"]
    if results["emulated"]:
        text.append(
            "**Nothing here was measured on a card.** The kernels were emulated on a CPU, on tiny arrays: this page only shows "
            "that the command works. No number in it means anything.\n"
        )
    text += [
        f"`python benchmarks/gpu.py --all`. {card}; {versions}; CuPy {made['cupy']}, CUDA {made['cuda']}, "
        f"driver {made['driver']}.\n",
        f"Best of {results['rounds']} rounds in turn, each engine in a process of its own, between events of the card. Columns of "
        "PyTorch are its time / ours: above 1 ours is faster. PyTorch's convolutions round to TF32 except under "
        "strict float32, where its best way is taken. Share of the roof: the least time that the card's memory and its float32 "
        "multiply-adds allow by the probes below / ours; of networks, arithmetic alone; above 100 % only tensor cores come. "
        "MiB: what the allocators came to hold, of PyTorch's ways the least.\n",
        f"The card by probes of its own: {number(roof(results, BANDWIDTH) / 1e9, ',.0f')} GB/s, "
        f"{number(roof(results, FLOAT32) / 1e12, '.1f')} TFLOP/s in float32, {number(roof(results, TF32) / 1e12, '.1f')} in TF32 "
        "(by mma.sync, which does not reach all that a card of compute capability 9.0 has).\n",
    ]
    for title, some, fast in (
        ("Whole networks", nets, COMPILED),
        ("Kernels", rest, "–"),
        ("Optimizer", steps, "fused"),
    ):
        if some:
            text.append(f"## {title}\n\n{table(results, some, fast)}\n")
        if some and some is nets:
            text.append(f"The training step as one CUDA graph (`training.CapturedStep`):\n\n{captured(some)}\n")
    return "\n".join([*text, *(f"- failed: {one}" for one in failures(results))]).rstrip() + "\n"


def failures(results: dict[str, Any]) -> list[str]:
    """Return everything that failed, and why."""
    return [f"{key}: {who}: {why}" for key, entry in results["rows"].items() for who, why in entry["failed"].items()]


def figures(results: dict[str, Any]) -> dict[str, Any]:
    """Return what lesson 15 shows where there is no card: 3x3 layers forward, and U-Nets."""
    rows = []
    for entry in results["rows"].values():
        layer = entry["group"] == "conv 3x3" and entry["name"].endswith("forward")
        mine, theirs = best(entry, OURS, OURS), best(entry, "torch")
        if (layer or entry["group"] in (TRAIN, INFER)) and not math.isnan(mine):
            row = {"work": entry["group"], "case": entry["name"], "seconds": mine, "operations": entry["flops"]}
            rows.append(row | {"torch": None if math.isnan(theirs) else theirs})
    return {"date": results["date"], "card": results["machine"]["card"], "rows": rows}


def write_figures(results: dict[str, Any], file: Path = FIGURES) -> None:
    """Write the figures into the package: whoever installs it has no folder of benchmarks."""
    with storage.atomic_write(file, "w") as handle:
        handle.write(json.dumps(figures(results), indent=1) + "\n")


def write_page(results: dict[str, Any], file: Path) -> None:
    """Write the page beside the results."""
    with storage.atomic_write(file.with_suffix(".md"), "w") as handle:
        handle.write(page(results))
