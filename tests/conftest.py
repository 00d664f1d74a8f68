"""What all tests share: both backends, a fixed seed, and the real microscopy images where they exist."""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from conformance.onnx_report import pytest_terminal_summary  # noqa: F401 (a hook: the table of tests/conformance)

# Under xdist each worker gets one thread, so that two workers do not fight over two cores.
if os.environ.get("PYTEST_XDIST_WORKER"):
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
os.environ.setdefault("MINISEGNET_QUIET", "1")  # the line that announces a compile; test_threads.py looks at it

# A test run in the background is started with Ctrl-C switched off; the tests of interrupts need it on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(params=["reference", "numba"])
def backend(request):
    """Run the test once with each CPU backend."""
    import minisegnet as ms

    with ms.use_backend(request.param):
        yield request.param


@pytest.fixture
def gpu():
    """Return CuPy where there is a GPU; else its stand-in, whose kernels run on the CPU (tests/gpu); else skip."""
    from gpu import cupy_stand_in, emulator

    try:
        import cupy

        if cupy.cuda.runtime.getDeviceCount():
            yield cupy
            return
    except Exception:  # not installed, no driver, no card: CuPy has an error of its own for each
        pass
    if emulator.missing():
        pytest.skip(f"no GPU, and {emulator.missing()}")
    with cupy_stand_in.installed() as stand_in:
        yield stand_in


@pytest.fixture
def rng():
    """Return a generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _fixed_seed_and_kernels():
    """Start every test from the same random numbers, and find the kernels as they were afterwards."""
    import minisegnet as ms
    from minisegnet import backend as choice

    before = choice._chosen
    ms.manual_seed(0)
    yield
    choice._chosen = before


def _real(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(
            f"the real microscopy images are not here: {path.relative_to(ROOT.parent)} is missing beside the project"
        )
    return path


@pytest.fixture(scope="session")
def histology_path():
    """Return the path of the real stained tissue, or skip."""
    return _real("histology.npz")


@pytest.fixture(scope="session")
def fluorescence_path():
    """Return the path of the real fluorescence images, or skip."""
    return _real("fluorescence.npz")
