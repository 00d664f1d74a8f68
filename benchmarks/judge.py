"""What measured seconds mean: ratios, shares of the machine's roofs, and whether the speed table's goals are met.

An *entry* is a row in a file of results (``cpu.describe``); a *line* of the summary stands for a kind of work,
and is as good as the worst of its rows, or as their geometric mean where the issue asks for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import machine
from engines import NETWORK, ORDINARY
from rows_memory import TRIAD
from rows_network import INFER

Entry = dict[str, Any]
SHARES = (0.8, 0.9)  # of the triad, which do as well as a ratio where memory bounds: at least, aim
RUNTIME = 1.2  # the aim of inference beside ONNX Runtime
MET = {0: "no", 1: "at least", 2: "aim"}


def best(entry: Entry, engine: str, way: str = "") -> float:
    """Return the fewest seconds of an engine, of one way or of its best; not-a-number where nothing was measured."""
    ways = entry["seconds"].get(engine, {})
    times = [min(seconds) for name, seconds in ways.items() if name != TRIAD and way in ("", name)]
    return min(times, default=math.nan)


def ours(entry: Entry) -> float:
    """Return the seconds of ours that count; of the way in use where the row has only one."""
    return best(entry, "minisegnet", entry["counts"])


def ratio(entry: Entry, peer: str = "torch") -> float:
    """Return a peer's best time / ours: above 1 we are faster."""
    return best(entry, peer) / ours(entry)


def share(entry: Entry) -> float:
    """Return the rate of ours as a share of a triad's over as many bytes."""
    return min(entry["seconds"].get("minisegnet", {}).get(TRIAD, [math.nan])) / ours(entry)


def roofs(results: dict[str, Any]) -> tuple[float, float]:
    """Return the machine's multiply-adds (operations a second) and its memory (bytes a second)."""
    made = []
    for name, what in ((machine.MULTIPLY_ADDS, "flops"), (machine.FAR, "moved")):
        entry = results["rows"].get(f"machine: {name}")
        made.append(entry[what] / best(entry, "minisegnet") if entry else math.nan)
    return made[0], made[1]


def reached(entry: Entry) -> int:
    """Return what a row meets: 0 not what is asked for, 1 "at least", 2 "aim" (as ``MET`` says)."""
    speed, runtime = ratio(entry), ratio(entry, "onnxruntime")
    if entry["judged"] == "bandwidth":
        return sum(speed >= wanted or share(entry) >= part
                   for wanted, part in zip((entry["least"], entry["aim"]), SHARES, strict=True))  # fmt: skip
    aim = speed >= entry["aim"] and not (entry["group"] == INFER and runtime < RUNTIME)
    return (speed >= entry["least"]) + (speed >= entry["least"] and aim)


def mean(values: Iterable[float]) -> float:
    """Return the geometric mean of the numbers among the values."""
    logs = [math.log(v) for v in values if v > 0]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


@dataclass(frozen=True)
class Line:
    """Some rows that are one line of the summary."""

    title: str
    entries: list[Entry]

    @property
    def ratios(self) -> list[float]:
        """PyTorch's time / ours of each row."""
        return [ratio(entry) for entry in self.entries]

    @property
    def mean(self) -> float:
        """Their geometric mean."""
        return mean(self.ratios)

    @property
    def network(self) -> float:
        """The geometric mean from channels-last arrays, where ordinary ones count."""
        entries = [entry for entry in self.entries if entry["counts"] == ORDINARY]
        return mean(best(entry, "torch") / best(entry, "minisegnet", NETWORK) for entry in entries)

    @property
    def asked(self) -> tuple[float, float]:
        """The goals: at least, and as the aim."""
        return self.entries[0]["least"], self.entries[0]["aim"]

    @property
    def reached(self) -> int:
        """What the line meets, as ``MET`` says."""
        if self.entries[0]["judged"] == "mean":
            return sum(self.mean >= wanted for wanted in self.asked)
        return min(reached(entry) for entry in self.entries)


def lines(results: dict[str, Any], complete: bool = False) -> list[Line]:
    """Return the lines of the summary, of rows that both engines measured; ``complete``: with those that are not judged."""
    made: dict[str, list[Entry]] = {}
    for entry in results["rows"].values():
        if math.isnan(ratio(entry)) or not (entry["judged"] or complete):
            continue
        direction = f", {entry['name'].split(', ')[-1]}" if entry["judged"] == "mean" else ""
        made.setdefault(entry["group"] + direction, []).append(entry)
    return [Line(title, entries) for title, entries in made.items()]
