"""Every lesson and every explorer, unchanged, with everything new on the GPU; without one, on the stand-in for CuPy.

The stand-in refuses arrays of NumPy beside its own, so a conversion that was forgotten is an error. There the kernels are the
CPU's compiled ones (``compiled_seats``), or the trainings would take hours. Each runs in a process of its own: explorers
keep networks, and no other test may find one on a GPU that is gone.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minisegnet import explorers

for module in ("jupytext", "ipywidgets", "matplotlib"):
    pytest.importorskip(module, reason=f"lessons need {module}")
HERE = Path(__file__).parent
LESSONS = sorted(file.stem for file in (HERE.parents[1] / "notebooks" / "sources").glob("[0-9]*.py"))


def kernels_of(*what):
    """Run it and return how many kernels ran on the GPU's arrays."""
    environment = {**os.environ, "MINISEGNET_DEVICE": "cuda", "MINISEGNET_QUIET": "1", "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(HERE / "lesson_on_gpu.py"), *what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return int(re.search(r"kernels on the GPU: (\d+)", done.stdout)[1])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_on_the_gpu(name):
    assert kernels_of(name) > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_explorers_draw_on_the_gpu():
    assert kernels_of("explorers", *explorers.__all__) > 1000


def test_there_are_sixteen_lessons():
    assert len(LESSONS) == 16
