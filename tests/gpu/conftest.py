"""All tests of this folder are marked: ``pytest -m gpu`` runs them on a card where there is one, else emulated."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture
def launches(gpu, monkeypatch):
    """Count the launches of graphs."""
    counted = []
    if gpu.__version__ != "0 (stand-in)":
        pytest.skip("CuPy's graphs cannot be watched")
    launch = gpu.cuda.Graph.launch
    monkeypatch.setattr(gpu.cuda.Graph, "launch", lambda self, stream=None: (counted.append(self), launch(self)))
    return counted
