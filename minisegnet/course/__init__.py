"""Questions, exercises and what a lesson needs.

``question``, ``exercise``, ``check``, ``hint``, ``solution``, ``ready``, and ``last_on_gpu``.
"""

from typing import Any

from .checking import check, exercise, hint, solution
from .last_on_gpu import last_on_gpu
from .ready import ready

__all__ = ["check", "exercise", "hint", "last_on_gpu", "question", "quiz", "ready", "solution"]


def __getattr__(name: str) -> Any:
    """Import the questions, which need ipywidgets, when they are first asked for."""
    if name in ("question", "quiz"):
        from . import questions, quiz

        return questions.question if name == "question" else quiz
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
