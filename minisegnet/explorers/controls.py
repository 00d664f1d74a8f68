"""Declarations of controls: what a state may hold. The widgets and the saved page are both made from them.

A control has finite ``values``. Where some are impossible in a state (a step behind the last one), its ``limit`` says how
far the values go there: ``limit(state)`` is the largest allowed. ``settle`` moves a state to the nearest possible one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

State = dict[str, Any]
Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Slider:
    """A number from a list, in order; with ``play`` it can run by itself."""

    values: Sequence[Any]
    start: Any
    label: str
    limit: Callable[[State], Any] | None = None
    play: bool = False

    def accept(self, value: Any) -> Any:
        """Return the declared value that is meant, or raise ``ValueError`` that says what there is."""
        for known in self.values:
            close = isinstance(known, float) and isinstance(value, (int, float)) and abs(known - value) < 1e-9
            if known == value or close:
                return known
        raise ValueError(f"{self.label} must be one of {', '.join(map(str, self.values))}; got {value!r}")

    def allowed(self, state: State) -> list[Any]:
        """Return the values that are possible in a state; never none."""
        if self.limit is None:
            return list(self.values)
        most = self.limit(state)
        return [v for v in self.values if v <= most] or [self.values[0]]


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    values: Sequence[str]
    start: str
    label: str

    def accept(self, value: Any) -> str:
        """Return the value, or raise ``ValueError`` that says what there is."""
        if value not in self.values:
            raise ValueError(f"{self.label} must be one of {', '.join(map(repr, self.values))}; got {value!r}")
        return str(value)

    def allowed(self, state: State) -> list[Any]:
        """Return all values."""
        return list(self.values)


@dataclass(frozen=True)
class Toggle:
    """Yes or no."""

    start: bool
    label: str

    values = (False, True)

    def accept(self, value: Any) -> bool:
        """Return the value as a bool."""
        if value not in (False, True):
            raise ValueError(f"{self.label} must be True or False, got {value!r}")
        return bool(value)

    def allowed(self, state: State) -> list[Any]:
        """Return both."""
        return [False, True]


@dataclass(frozen=True)
class Numbers:
    """A small table of numbers to type in; ``low`` to ``high``, whole numbers unless ``whole`` is False.

    A saved page cannot hold all tables: it has the start's and those of the presets.
    """

    start: Table
    label: str
    low: float = -9
    high: float = 9
    whole: bool = True

    def parse(self, text: Any) -> float:
        """Return one number from what was typed, or raise ``ValueError`` in words for the person who typed it."""
        shown = str(text).strip().replace("−", "-").replace(",", ".")
        try:
            value = float(shown)
        except ValueError:
            raise ValueError(f"“{str(text).strip()}” is not a number") from None
        if not self.low <= value <= self.high:  # so that NaN fails too
            raise ValueError(f"“{shown}” is not between {self.low:g} and {self.high:g}")
        if self.whole and value != int(value):
            raise ValueError(f"“{shown}” is not a whole number")
        return int(value) if self.whole else value

    def accept(self, value: Any) -> Table:
        """Return the table as tuples, or raise ``ValueError``."""
        shape = (len(self.start), len(self.start[0]))
        rows = tuple(tuple(row) for row in (value.tolist() if hasattr(value, "tolist") else value))
        if (len(rows), *{len(row) for row in rows}) != shape:
            raise ValueError(f"{self.label} must be a table of {shape[0]} by {shape[1]}")
        return tuple(tuple(self.parse(number) for number in row) for row in rows)

    def allowed(self, state: State) -> list[Any]:
        """Return the start and what the state holds."""
        return [self.start]


@dataclass(frozen=True)
class Cells:
    """A small grid of cells that are on (1) or off (0), to click; with ``single`` exactly one is on."""

    start: Table
    label: str
    single: bool = False

    def accept(self, value: Any) -> Table:
        """Return the cells as tuples of 0 and 1, or raise ``ValueError``."""
        shape = (len(self.start), len(self.start[0]))
        rows = tuple(
            tuple(int(bool(v)) for v in row) for row in (value.tolist() if hasattr(value, "tolist") else value)
        )
        if (len(rows), *{len(row) for row in rows}) != shape:
            raise ValueError(f"{self.label} must be a grid of {shape[0]} by {shape[1]}")
        if self.single and sum(map(sum, rows)) != 1:
            raise ValueError(f"{self.label} must have exactly one cell that is on")
        return rows

    def allowed(self, state: State) -> list[Any]:
        """Return the start; with ``single``, each cell alone."""
        if not self.single:
            return [self.start]
        rows, columns = len(self.start), len(self.start[0])
        return [one_cell(rows, columns, i, j) for i in range(rows) for j in range(columns)]


Control = Slider | Choice | Toggle | Numbers | Cells


def one_cell(rows: int, columns: int, row: int, column: int) -> Table:
    """Return a grid where one cell is on."""
    return tuple(tuple(int((i, j) == (row, column)) for j in range(columns)) for i in range(rows))


def accept(controls: Mapping[str, Control], state: Mapping[str, Any]) -> State:
    """Return what the state's values mean, or raise ``ValueError`` for an unknown name or a value that is not declared."""
    for name in state:
        if name not in controls:
            raise ValueError(f"there is no control {name!r}; there are {list(controls)}")
    return {name: controls[name].accept(value) for name, value in state.items()}


def settle(controls: Mapping[str, Control], state: State) -> State:
    """Return the nearest possible state: sliders beyond their limit come back to it, in the order of declaration."""
    settled = dict(state)
    for name, control in controls.items():
        if isinstance(control, Slider) and control.limit is not None:
            allowed = control.allowed(settled)
            if settled[name] not in allowed:
                settled[name] = allowed[-1]
    return settled
