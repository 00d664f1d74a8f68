"""Settings that unit tests and lessons share: one ``python -m pytest`` runs both (see ``addopts`` in pyproject.toml)."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent


def pytest_configure(config: pytest.Config) -> None:
    """Make paths absolute, give each worker one thread, and compile once before any lesson could meet the compiler."""
    if getattr(config.option, "nbval_sanitize_with", None):
        config.option.nbval_sanitize_with = str(ROOT / config.option.nbval_sanitize_with)
    try:
        importlib.metadata.distribution("minisegnet")
    except importlib.metadata.PackageNotFoundError:  # a bare checkout: the kernels of the lessons must find it too
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    # Two workers on two cores: four threads would only get in each other's way. Kernels inherit this.
    if hasattr(config, "workerinput"):
        for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")
    os.environ.setdefault("MINISEGNET_QUIET", "1")
