"""The built wheel, not only the checkout: pure Python, lessons and weights inside, and it works where it is unpacked."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_it_is_pure_python_and_complete(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "minisegnet/models/pretrained/nuclei.safetensors" in names
    assert "minisegnet/notebooks/00_start_here.ipynb" in names
    assert not [n for n in names if n.endswith((".pyc", ".so")) or ".ipynb_checkpoints" in n]
    for path in (ROOT / "minisegnet").rglob("*"):
        relative = path.relative_to(ROOT).as_posix()
        if path.is_file() and "__pycache__" not in relative and not path.name.startswith("."):
            assert relative in names, f"{relative} is not in the wheel"


def test_it_works_where_it_is_unpacked(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import minisegnet as ms, numpy as np\n"
        "assert ms.__file__.startswith(sys.path[0]), ms.__file__\n"
        "ms.use_backend('reference')\n"
        "model = ms.models.load_pretrained('nuclei')\n"
        "print(model.predict(np.zeros((20, 30, 3), np.uint8)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(2, 20, 30)", done.stderr
