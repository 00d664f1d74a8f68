"""All tests of this folder are marked: ``pytest -m gpu`` runs them on a card where there is one, else emulated."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture
def default_gpu():
    """Let everything new live on the GPU; without one, on the stand-in, whose kernels are the CPU's compiled ones: fast."""
    from gpu import compiled_seats

    import minisegnet as ms

    if ms.cuda_is_available():
        import cupy

        with ms.set_default_device("cuda"):
            yield cupy
        return
    with compiled_seats.installed() as stand_in, ms.set_default_device("cuda"):
        yield stand_in


@pytest.fixture
def launches(gpu, monkeypatch):
    """Count the launches of graphs."""
    counted = []
    if gpu.__version__ != "0 (stand-in)":
        pytest.skip("CuPy's graphs cannot be watched")
    launch = gpu.cuda.Graph.launch
    monkeypatch.setattr(gpu.cuda.Graph, "launch", lambda self, stream=None: (counted.append(self), launch(self)))
    return counted
