"""A class without an install: every lesson runs with what a browser's Python has, and with nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("IPython", reason="IPython is not installed")
ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def python(*arguments, **environment):
    one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **one, **environment},
        timeout=600,
    )


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_needs_no_compiler_no_thread_no_process_and_no_network(lesson):
    done = python(str(Path(__file__).with_name("run_lesson.py")), str(lesson))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "loaded of what a browser lacks: nothing" in done.stdout
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


def test_what_a_browser_lacks_is_noticed(tmp_path):
    import nbformat

    for code in (
        "import numba",
        "import threading; threading.Thread(target=print).start()",
        "import subprocess; subprocess.run(['true'])",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
    ):
        path = tmp_path / "lesson.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), path)
        done = python(str(Path(__file__).with_name("run_lesson.py")), str(path))
        assert done.returncode == 1, code
        assert "does not run in a browser" in done.stderr


def test_a_browser_gets_the_readable_kernels_by_itself():
    code = (
        "import sys, numpy, IPython; sys.platform = 'emscripten'; import minisegnet as ms; from minisegnet.course import ready;"
        "assert ms.current_backend() == 'reference'; assert ready().passed, str(ready()); assert 'numba' not in sys.modules"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MINISEGNET_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
