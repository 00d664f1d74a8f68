"""The kernels on a card under NVIDIA's compute-sanitizer: memory, races in shared memory, barriers. It needs a card."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# CuPy's pool would hand out parts of large blocks, between which nothing is out of bounds.
INNER = "import sys, cupy, pytest; cupy.cuda.set_allocator(None); sys.exit(pytest.main(sys.argv[1:]))"


def sanitizer():
    """Return the program, or skip."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        pytest.skip("compute-sanitizer is not installed: it comes with NVIDIA's CUDA toolkit")
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed: nothing runs on a card")
    try:
        if not cupy.cuda.runtime.getDeviceCount():
            pytest.skip("there is no GPU")
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"there is no GPU: {error}")
    return program


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_no_kernel_errs_on_the_card(tool):
    program = sanitizer()
    files = [str(HERE / name) for name in ("test_kernels_on_gpu.py", "test_convolution_on_gpu.py")]
    options = ["-q", "-n", "0", "-p", "no:nbval", "-o", "addopts="]
    command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", INNER, *options, *files]
    folders = os.pathsep.join([str(HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, cwd=HERE.parents[1], env=os.environ | {"PYTHONPATH": folders},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
