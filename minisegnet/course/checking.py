"""Exercises that check themselves, offline: ``exercise(name)``, ``check(function)``, ``hint()``, ``solution()``.

An exercise is its task, our solution, the inputs it is judged on, and the *misconceptions* that it knows: each is a wrong
function together with its diagnosis. An answer that behaves like one of them is told what was thought, not just "wrong".
"""

from __future__ import annotations

import dis
import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..arrays import set_default_device


class Misconception(NamedTuple):
    """A wrong answer that people give: what it is called, a function that answers so, and what to say to it."""

    name: str
    imitate: Callable[..., Any]
    diagnosis: str


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    ``further`` are checks beyond values, each returns what is wrong, or an empty text; ``place`` puts a right answer into
    a network and returns (what is wrong, what to report), see ``exercises.placing``.
    """

    name: str
    title: str
    task: str
    solve: Callable[..., Any]
    cases: Callable[[np.random.Generator], Sequence[tuple]]
    hints: tuple[str, str, str]
    misconceptions: tuple[Misconception, ...]
    praise: str = ""
    tolerance: float = 1e-6
    further: tuple[Callable[[Callable[..., Any]], str], ...] = field(default=())
    place: Callable[[Callable[..., Any]], tuple[str, str]] | None = None

    @property
    def signature(self) -> str:
        """How the function to be written begins, for example ``to_chw(image)``."""
        names = ", ".join(inspect.signature(self.solve).parameters)
        return f"{self.solve.__name__}({names})"


class Text(NamedTuple):
    """Markdown that a notebook renders, and the same as plain text; ``passed`` is None where nothing was judged."""

    text: str
    passed: bool | None = None

    def __repr__(self) -> str:
        return self.text.replace("**", "")

    def _repr_markdown_(self) -> str:
        return self.text


_shown: list[str] = []  # the exercise shown last: what hint() and solution() speak of
_hints_given: dict[str, int] = {}


def _find(name: str | None, function: Callable | None = None) -> Exercise:
    from .exercises import EXERCISES

    if name is None and function is not None:
        # The function's own name decides, so that cells may be run in any order.
        named = [e.name for e in EXERCISES.values() if e.solve.__name__ == getattr(function, "__name__", "")]
        name = named[0] if named else None
    name = name or (_shown[-1] if _shown else None)
    if name is None:
        raise ValueError(f"which exercise? Run exercise(name) first; there are {sorted(EXERCISES)}")
    if name not in EXERCISES:
        raise ValueError(f"there is no exercise {name!r}; there are {sorted(EXERCISES)}")
    return EXERCISES[name]


def exercise(name: str) -> Text:
    """Show the task of an exercise; ``hint()`` and ``solution()`` then speak of it."""
    chosen = _find(name)
    _shown.append(chosen.name)
    return Text(
        f"**Exercise: {chosen.title}.** {chosen.task.strip()}\n\n"
        f"Write `{chosen.signature}`, then `check({chosen.solve.__name__})`. Stuck? `hint()`, three of them."
    )


def hint(name: str | None = None) -> Text:
    """Show the next of three hints, from a nudge to nearly the solution."""
    chosen = _find(name)
    given = min(_hints_given.get(chosen.name, 0), 2)
    _hints_given[chosen.name] = given + 1
    return Text(f"**Hint {given + 1} of 3.** {chosen.hints[given]}")


def solution(name: str | None = None) -> Text:
    """Show our solution."""
    chosen = _find(name)
    return Text(f"**Our solution.**\n```python\n{inspect.getsource(chosen.solve).rstrip()}\n```")


def check(function: Callable[..., Any], name: str | None = None) -> Text:
    """Judge an answer: its signature, shape, type and values on several inputs; name the misconception it shows.

    A stub that nobody has touched is "not attempted yet", never an error: Run All goes on.
    """
    chosen = _find(name, function)
    if not callable(function):
        return Text(f"**✗ Not yet.** `check` wants the function itself, `check({chosen.solve.__name__})`.", False)
    if is_stub(function):
        return Text(f"**○ {chosen.title}: not attempted yet.** The lesson goes on with the library's own.", None)
    with set_default_device("cpu"):  # an answer is written for arrays of NumPy
        problem = diagnose(chosen, function)
        if problem:
            return Text(f"**✗ Not yet.** {problem}", False)
        problem, report = chosen.place(function) if chosen.place else ("", "")
    if problem:
        return Text(f"**✗ Not yet.** {problem}", False)
    return Text(f"**✓ Right.** {chosen.praise}".rstrip() + (f"\n\n{report}" if report else ""), True)


def is_stub(function: Callable[..., Any]) -> bool:
    """Return whether a function has no body yet: ``...``, ``pass``, a docstring, or ``raise NotImplementedError``."""
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    steps = [
        i for i in dis.get_instructions(code) if i.opname not in ("RESUME", "NOP", "PRECALL", "PUSH_NULL", "CACHE")
    ]
    if steps and all(i.opname in ("LOAD_CONST", "RETURN_VALUE", "RETURN_CONST") for i in steps):
        return steps[-1].argval is None if steps[-1].opname == "RETURN_CONST" else steps[-2].argval is None
    return bool(steps) and steps[0].argval == "NotImplementedError" and steps[0].opname == "LOAD_GLOBAL"


def diagnose(chosen: Exercise, function: Callable[..., Any]) -> str:
    """Return what is wrong with an answer, in one or two sentences; empty if it is right."""
    cases = chosen.cases(np.random.default_rng(0))
    try:
        inspect.signature(function).bind(*cases[0])
    except TypeError:
        given = ", ".join(inspect.signature(function).parameters)
        return f"The function takes ({given}); write it as `{chosen.signature}`."
    answers = []
    for case in cases:
        before = _copies(case)
        try:
            answer = function(*case)
        except Exception as error:
            return _explain_error(error, case)
        if any(not np.array_equal(a, b) for a, b in zip(case, before, strict=True)):
            return "Your function changes its input in place; the caller still needs it. Compute a new array instead."
        answers.append(answer)
    expected = [chosen.solve(*_copies(case)) for case in cases]
    problems = [
        _compare(got, want, case, chosen.tolerance) for got, want, case in zip(answers, expected, cases, strict=True)
    ]
    first = next(filter(None, problems), "")
    if first:
        return _recognize(chosen, cases, answers) or first
    return next(filter(None, (further(function) for further in chosen.further)), "")


def _recognize(chosen: Exercise, cases: Sequence[tuple], answers: Sequence[Any]) -> str:
    """Return the diagnosis of the first misconception that gives these very answers."""
    for misconception in chosen.misconceptions:
        imitated = [misconception.imitate(*_copies(case)) for case in cases]
        pairs = zip(answers, imitated, cases, strict=True)
        if not any(_compare(answer, same, case, chosen.tolerance) for answer, same, case in pairs):
            return misconception.diagnosis
    return ""


def _copies(case: tuple) -> tuple:
    return tuple(x.copy() if isinstance(x, np.ndarray) else x for x in case)


def _compare(got: Any, want: Any, case: tuple, tolerance: float) -> str:
    """Return in what respect an answer differs from the one expected, with the input's shape; empty if it does not."""
    inputs = ", ".join(f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else repr(x) for x in case)
    if got is None:
        return "The function returns nothing: is there a `return` at its end?"
    got = getattr(got, "data", got) if type(got).__name__ == "Tensor" else got
    if not isinstance(got, np.ndarray | np.generic | int | float | bool):
        return f"The function returns a {type(got).__name__}, expected {'an array' if np.ndim(want) else 'a number'}."
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return f"For an input of {inputs} the result has shape {got.shape}, expected {want.shape}."
    if want.ndim and got.dtype != want.dtype:
        advice = " New arrays are `float64` unless told: `np.zeros(shape, x.dtype)`." if got.dtype == np.float64 else ""
        return f"For an input of {inputs} the result has type {got.dtype}, expected {want.dtype}.{advice}"
    off = np.abs(got.astype(np.float64) - want.astype(np.float64))
    limit = tolerance * (1 + np.abs(want.astype(np.float64)))
    if not bool((off <= limit).all()):  # written so that NaN fails
        where = np.unravel_index(int(np.argmax(np.where(off <= limit, 0, np.nan_to_num(off, nan=np.inf)))), want.shape)
        place = f" at {tuple(int(i) for i in where)}" if want.ndim else ""
        return f"For an input of {inputs} the result{place} is {got[where]:.6g}, expected {want[where]:.6g}."
    return ""


def _explain_error(error: Exception, case: tuple) -> str:
    """Say which line of the student's stopped, and on what input."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
    line = f", in the line `{frames[0].line}`" if frames and frames[0].line else ""
    shapes = ", ".join(str(x.shape) if isinstance(x, np.ndarray) else repr(x) for x in case)
    return f"It stops with {type(error).__name__}: {error}{line} (input of shape {shapes})."
