"""The questions of the lessons, a file for each: a notebook shows ``question(name)`` and not the answer beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..quiz import Question
from . import lesson_00

QUESTIONS: dict[str, Callable[..., Question]] = {**lesson_00.QUESTIONS}


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
