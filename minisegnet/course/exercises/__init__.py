"""The exercises, a file for each lesson: task, hints, solution and known misconceptions, all in one place."""

from . import lesson_00, lesson_02, lesson_06, lesson_07

LESSONS = (lesson_00, lesson_02, lesson_06, lesson_07)
EXERCISES = {e.name: e for lesson in LESSONS for e in lesson.EXERCISES}
