"""Run one lesson as a browser would: ``run_lesson.py NOTEBOOK``; no Numba, no CuPy, no thread, no process, no network.

What Pyodide lacks is taken away before anything is imported; the cells then run in IPython without a kernel, since a kernel
itself needs threads here. Prints the seconds; the first error ends it.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ABSENT = ("cupy", "llvmlite", "multiprocessing.pool", "numba", "torch")


class Absent:
    """Packages that have no build for WebAssembly cannot be found."""

    def find_spec(self, name, path=None, target=None):
        if name in ABSENT or name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def refuse(what):
    def refused(*args, **kwargs):
        raise RuntimeError(f"a browser has no {what}")

    return refused


def main(path):
    os.environ["MINISEGNET_BACKEND"] = "reference"  # what sys.platform == "emscripten" chooses by itself
    sys.meta_path.insert(0, Absent())
    threading.Thread.start = refuse("threads: can't start new thread")
    subprocess.Popen.__init__ = refuse("processes")
    socket.socket.connect = refuse("sockets")
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.colors = "nocolor"
    shell = InteractiveShell.instance(history_length=0)
    shell.history_manager.enabled = False
    started = time.perf_counter()
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            done = shell.run_cell("".join(cell["source"]), store_history=False)
            if not done.success:
                print(f"cell {number} of {path.name} does not run in a browser", file=sys.stderr)
                return 1
    loaded = sorted(name for name in ABSENT if name in sys.modules)
    print(f"{path.stem}: {time.perf_counter() - started:.1f} s, loaded of what a browser lacks: {loaded or 'nothing'}")
    return 1 if loaded else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
