"""What `import minisegnet` costs, as a multiple of `import numpy`; the target is less than 1.5.

    python benchmarks/import_time.py

Each is imported in processes of its own, in turn; the shortest of many counts (the longer ones waited for something).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

CODE = "import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
ROUNDS = 15
TARGET = 1.5


def seconds(name: str, environment: dict[str, str]) -> float:
    command = [sys.executable, "-c", CODE.format(name=name)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(result.stdout)


def main() -> int:
    best = {"numpy": float("inf"), "minisegnet": float("inf")}
    with tempfile.TemporaryDirectory() as bytecode:  # compiled by the first round, as after any installation
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(ROUNDS):
            for name in best:
                best[name] = min(best[name], seconds(name, environment))
    ratio = best["minisegnet"] / best["numpy"]
    print(f"numpy {1000 * best['numpy']:.0f} ms, minisegnet {1000 * best['minisegnet']:.0f} ms: {ratio:.2f} times")
    return 0 if ratio < TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
