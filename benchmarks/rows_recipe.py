"""The nuclei recipe as a whole: 396 steps a fold, reading, augmentation and judging included, by ``nuclei_folds.py``.

Fold by fold the engines take turns. PyTorch trains in the layout that was faster in its first twenty steps.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FOLDS, STEPS, LAYOUTS = 4, 396, ("torch", "torch-channels-last")


def one_fold(
    engine: str, width: int, fold: int, data: Path, env: Mapping[str, str], steps: int = STEPS
) -> dict[str, Any]:
    """Return fold, Dice and seconds, or why there are none, from a process of its own."""
    command = [sys.executable, str(HERE / "nuclei_folds.py"), "--data", str(data), "--engine", engine, "--json"]
    command += ["--width", str(width), "--fold", str(fold), "--steps", str(steps)]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def run(
    widths: list[int],
    folds: int,
    data: Path,
    env: Mapping[str, str],
    measured: Mapping[str, Any],
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Yield all folds that were done so far, by width and engine, after each one; ``measured`` are done already."""
    results = {key: {engine: list(done) for engine, done in both.items()} for key, both in measured.items()}
    for width in widths:
        both = results.setdefault(f"width {width}", {"torch": [], "minisegnet": []})
        layout = ""
        one_fold("minisegnet", width, 1, data, env, 2)  # what must be compiled is compiled now
        for fold in range(1, folds + 1):
            for engine in both:
                if any(done.get("fold") == fold for done in both[engine]):
                    continue
                if engine == "torch" and not layout:
                    short = {name: one_fold(name, width, 1, data, env, 20) for name in LAYOUTS}
                    layout = min(LAYOUTS, key=lambda name: short[name].get("training", float("inf")))
                result = one_fold(layout if engine == "torch" else engine, width, fold, data, env)
                say(f"recipe, width {width}, fold {fold}, {engine}: {result}")
                both[engine] = [done for done in both[engine] if "failed" not in done] + [result]
                yield results
