"""The exercises, a file for each lesson: task, hints, solution and known misconceptions, all in one place."""

import pkgutil
from importlib import import_module

from ..checking import Exercise

LESSONS = [
    import_module(f".{m.name}", __name__) for m in pkgutil.iter_modules(__path__) if m.name.startswith("lesson_")
]
EXERCISES: dict[str, Exercise] = {e.name: e for lesson in LESSONS for e in lesson.EXERCISES}
