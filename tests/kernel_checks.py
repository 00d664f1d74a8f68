"""What the tests of every family of kernels ask: memory layouts, threads, the compiler switched off."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def layouts(images):
    """Return the same (N, C, H, W) images as they may lie in memory, by name."""
    n, c, h, w = images.shape
    strided = np.zeros((n, 2 * c, h, 3 * w), images.dtype)[:, ::2, :, ::3]
    strided[...] = images
    read_only = images.copy()
    read_only.flags.writeable = False
    return {
        "contiguous": np.ascontiguousarray(images),
        "channels-last": np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        "strided": strided,
        "upside down": np.ascontiguousarray(images[:, :, ::-1])[:, :, ::-1],
        "read-only": read_only,
    }


@contextlib.contextmanager
def unchanged(*arrays):
    """Fail if a kernel writes into one of its inputs."""
    before = [a.copy() for a in arrays]
    yield
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy, err_msg="a kernel changed its input")


def assert_identical(results, expected):
    """Fail unless two results, arrays or tuples of them, agree bit for bit, NaNs included."""
    results = results if isinstance(results, tuple) else (results,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for result, wanted in zip(results, expected, strict=True):
        assert result.dtype == wanted.dtype
        assert result.shape == wanted.shape
        assert np.ascontiguousarray(result).tobytes() == np.ascontiguousarray(wanted).tobytes()


def assert_same_with_any_threads(make_results):
    """Fail unless one thread and two give the same results, bit for bit. Needs a process with NUMBA_NUM_THREADS >= 2."""
    import numba

    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = make_results()
        for threads in {2, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(threads)
            for result, wanted in zip(make_results(), alone, strict=True):
                assert_identical(result, wanted)
    finally:
        numba.set_num_threads(before)


def run_python(code, **environment):
    """Run code in a fresh Python that finds the package and the tests; fail with its last words if it fails."""
    path = os.pathsep.join(
        [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "kernels"), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
