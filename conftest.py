"""Settings that unit tests and lessons share: one ``python -m pytest`` runs both (see ``addopts`` in pyproject.toml)."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what nbval's kernels inherit: paths, threads, silence, and the pictures that everybody has."""
    if getattr(config.option, "nbval_sanitize_with", None):
        config.option.nbval_sanitize_with = str(ROOT / config.option.nbval_sanitize_with)
    try:
        importlib.metadata.distribution("minisegnet")
    except importlib.metadata.PackageNotFoundError:  # a bare checkout: the kernels of the lessons must find it too
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    os.environ.pop("MINISEGNET_DATA", None)
    os.environ.setdefault("MINISEGNET_QUIET", "1")  # lessons are compared to the letter, stderr too
    if hasattr(config, "workerinput"):
        for name in THREADS:  # two workers on two cores: four threads would only get in each other's way
            os.environ.setdefault(name, "1")
    elif getattr(config.option, "nbval", False):
        # On its first day on a machine Matplotlib says on stderr that it is listing the fonts: here, not in a lesson.
        import matplotlib.font_manager  # noqa: F401
