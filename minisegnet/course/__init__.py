"""Questions, exercises and what a lesson needs to run: ``exercise``, ``check``, ``hint``, ``solution``, ``quiz``."""

from typing import Any

from .checking import check, exercise, hint, solution
from .ready import ready

__all__ = ["check", "exercise", "hint", "quiz", "ready", "solution"]


def __getattr__(name: str) -> Any:
    """Import the questions, which need ipywidgets, when they are first asked for."""
    if name == "quiz":
        import importlib

        return importlib.import_module(f"{__name__}.quiz")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
