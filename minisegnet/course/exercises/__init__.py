"""The exercises, a file for each lesson: task, hints, solution and known misconceptions, all in one place."""

from . import lesson_00

EXERCISES = {e.name: e for e in (*lesson_00.EXERCISES,)}
