"""Several Python threads in compiled kernels at once, and the line that announces a compile."""

import os
import subprocess
import sys
import threading

import pytest
from kernel_checks import ROOT, run_python

from minisegnet.kernels import threads

IN_THREE_THREADS = """
import sys, threading
import numpy as np, numba
from minisegnet.kernels.convolution import numba_cpu, reference
images = [np.random.default_rng(i).normal(size=(2, 8, 24, 24)).astype(np.float32) for i in range(3)]
weight = np.ones((8, 8, 3, 3), np.float32)
expected = [reference.conv2d(x, weight, padding=(1, 1)) for x in images]
failures = []
def work(i):
    for _ in range(100):
        if not np.allclose({kernel}(images[i], weight, padding=(1, 1)), expected[i], atol=1e-3):
            failures.append(i)
workers = [threading.Thread(target=work, args=(i,)) for i in range(3)]
[w.start() for w in workers]
[w.join() for w in workers]
assert numba.threading_layer() == "{layer}", numba.threading_layer()
sys.exit(len(failures))
"""

COMPILE = """
import numpy as np
from minisegnet.kernels.normalization import numba_cpu
numba_cpu.channel_affine(np.ones((1, 2, 3, 3), np.float32), np.ones(2), np.ones(2))
"""


def run(code, **environment):
    """Run code in a fresh Python and return what it wrote to stderr."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"
    return done.stderr


@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_three_threads_at_once(layer):
    module = pytest.importorskip(
        "numba.np.ufunc." + {"omp": "omppool", "tbb": "tbbpool"}.get(layer, layer), exc_type=ImportError
    )
    assert module
    code = IN_THREE_THREADS.format(kernel="numba_cpu.conv2d", layer=layer)
    run_python(code, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")


@pytest.mark.parametrize(("bears_several", "most_inside"), [(True, 3), (False, 1)])
def test_the_lock_is_taken_only_where_it_is_needed(bears_several, most_inside, monkeypatch):
    monkeypatch.setattr(threads, "_layer_bears_several", lambda: bears_several)
    inside, seen, all_in = [], [], threading.Barrier(3)

    @threads.one_at_a_time
    def kernel(depth=1):
        inside.append(1)
        if bears_several:
            all_in.wait(timeout=30)  # all three are inside together
        seen.append(len(inside))
        result = again() if depth and not bears_several else 7
        inside.pop()
        return result

    @threads.one_at_a_time
    def again():
        """A kernel may call another one: the lock lets its own holder in."""
        return 7

    results = []
    workers = [threading.Thread(target=lambda: results.append(kernel())) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    assert results == [7, 7, 7]
    assert max(seen) == most_inside


def test_the_layer_is_unknown_until_a_parallel_function_is_loaded():
    run_python(
        "import numba; from minisegnet.kernels import threads\n"
        "assert not threads._layer_bears_several()\n"
        + COMPILE
        + "assert threads._layer_bears_several() == (numba.threading_layer() != 'workqueue')\n"
    )


def test_a_compile_is_announced_once_and_the_cache_is_silent(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path), "MINISEGNET_QUIET": "0"}
    assert run(COMPILE, **cache) == "minisegnet: compiling channel_affine for float32, once on this machine ...\n"
    assert run(COMPILE, **cache) == ""


@pytest.mark.parametrize("quiet", ["MINISEGNET_QUIET", "the context manager"])
def test_the_announcement_can_be_silenced(quiet, tmp_path):
    code = COMPILE
    if quiet == "the context manager":
        code = "from minisegnet.kernels.threads import quietly\nwith quietly():" + COMPILE.replace("\n", "\n    ")
    value = "1" if quiet == "MINISEGNET_QUIET" else ""
    assert run(code, NUMBA_CACHE_DIR=str(tmp_path), MINISEGNET_QUIET=value) == ""


def test_compiling_something_that_is_not_ours_says_nothing():
    code = "import minisegnet.kernels.normalization.numba_cpu, numba\nnumba.njit(lambda x: x + 1)(1)"
    assert run(code, MINISEGNET_QUIET="0") == ""
