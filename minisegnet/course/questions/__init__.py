"""The questions of the lessons, a file for each: a notebook shows ``question(name)`` and not the answer beside it."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..quiz import Question

LESSONS = [
    import_module(f".{m.name}", __name__) for m in pkgutil.iter_modules(__path__) if m.name.startswith("lesson_")
]
QUESTIONS: dict[str, Callable[..., Question]] = {
    name: ask for lesson in LESSONS for name, ask in lesson.QUESTIONS.items()
}


def question(name: str, *values: Any) -> Question:
    """Return a question of the course, to be shown as the last line of a cell; some need ``values`` of the lesson.

    Raises
    ------
    ValueError
        If there is no question of that name.
    """
    if name not in QUESTIONS:
        raise ValueError(f"there is no question {name!r}; there are {sorted(QUESTIONS)}")
    return QUESTIONS[name](*values)
