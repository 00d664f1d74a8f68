"""What `import minisegnet` costs, as a multiple of `import numpy`; the target is less than 1.5.

    python benchmarks/import_time.py

Each is imported in processes of its own, in turn; the shortest of many counts (the longer ones waited for something).
"""

from __future__ import annotations

import subprocess
import sys

CODE = "import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
ROUNDS = 15
TARGET = 1.5


def seconds(name: str) -> float:
    result = subprocess.run([sys.executable, "-c", CODE.format(name=name)], capture_output=True, text=True, check=True)
    return float(result.stdout)


def main() -> int:
    best = {"numpy": float("inf"), "minisegnet": float("inf")}
    for _ in range(ROUNDS):
        for name in best:
            best[name] = min(best[name], seconds(name))
    ratio = best["minisegnet"] / best["numpy"]
    print(f"numpy {1000 * best['numpy']:.0f} ms, minisegnet {1000 * best['minisegnet']:.0f} ms: {ratio:.2f} times")
    return 0 if ratio < TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
