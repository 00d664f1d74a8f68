"""The last figures of a GPU, for a reader who has none: ``benchmarks/gpu.py`` writes the file, lesson 15 prints it."""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
NOTHING = (
    "No GPU here, and none has been measured so far: whoever wrote this could not get at one.\n"
    "After `python benchmarks/gpu.py --all` on a machine with a GPU, its figures stand here."
)


def last_on_gpu(file: Path = FILE) -> str:
    """Return the last measured figures of a GPU as lines of text; where there are none, say so.

    Parameters
    ----------
    file : path
        The card's name, the date, and rows of work with the seconds of this library and of PyTorch.
    """
    if not file.exists():
        return NOTHING
    found = json.loads(file.read_text(encoding="utf-8"))
    lines = [f"No GPU here. Measured last, on {found['date']}, on {found['card']}:"]
    lines.append(f"{'':56s} {'ms':>9s} {'GFLOP/s':>9s} {'PyTorch, ms':>12s}")
    for row in found["rows"]:
        name, seconds, theirs = f"{row['work']}, {row['case']}", row["seconds"], row["torch"]
        speed = row["operations"] / seconds / 1e9
        beside = "" if theirs is None else f"{1000 * theirs:12.3f}"
        lines.append(f"{name:56s} {1000 * seconds:9.3f} {speed:9,.0f} {beside}".rstrip())
    return "\n".join(lines)
