"""Widgets made from the declared controls: each has a ``value`` that can be observed and set.

Their part in the browser is ``inputs.js``: the elements that every browser has, with their names, so that arrow keys and
screen readers work on them as everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import traitlets

from ..course.panel import MISSING, widgets
from ..figures.svg_grid import format_value
from .controls import Cells, Choice, Control, Numbers, Slider, State, Table, Toggle

try:
    import anywidget
except ImportError as error:  # pragma: no cover (the tests have it)
    raise ImportError(MISSING) from error

HERE = Path(__file__).parent


def input_for(control: Control) -> Any:
    """Return the widget for a declared control."""
    if isinstance(control, Slider):
        return SliderInput(control)
    if isinstance(control, Choice):
        return widgets.Dropdown(
            options=list(control.values),
            value=control.start,
            description=control.label,
            style={"description_width": "initial"},
            layout={"width": "max-content", "margin": "2px 16px 2px 0"},
        )
    if isinstance(control, Toggle):
        return widgets.Checkbox(
            value=control.start, description=control.label, indent=False, layout={"width": "max-content"}
        )
    return NumberGrid(control) if isinstance(control, Numbers) else CellGrid(control)


class Input(anywidget.AnyWidget):
    """What the inputs share: their JavaScript and style, and a label."""

    _esm = HERE / "inputs.js"
    _css = HERE / "inputs.css"
    kind = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)

    def __init__(self, control: Any, **traits: Any):
        self.control = control
        super().__init__(label=control.label, **traits)


class SliderInput(Input):
    """A slider over the declared values, with a Play button if it may run; arrow keys step."""

    kind = traitlets.Unicode("slider").tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    index = traitlets.Int().tag(sync=True)
    play = traitlets.Bool().tag(sync=True)
    value = traitlets.Any()

    def __init__(self, control: Slider):
        self._values = list(control.values)
        at = self._values.index(control.start)
        super().__init__(control, names=self._named(), index=at, play=control.play, value=control.start)
        self.observe(self._slid, "index")
        self.observe(self._set, "value")

    def allow(self, state: State) -> None:
        """Offer the values that are possible in a state."""
        allowed = self.control.allowed(state)
        if allowed != self._values:
            value = self.value if self.value in allowed else allowed[-1]
            self._values = allowed
            with self.hold_sync():
                self.names = self._named()
                self.index = allowed.index(value)
            self.value = value

    def _named(self) -> list[str]:
        return [format_value(v) if isinstance(v, (int, float)) else str(v) for v in self._values]

    def _slid(self, change: Any) -> None:
        self.index = min(change["new"], len(self._values) - 1)  # the screen may not have heard yet that there are fewer
        self.value = self._values[self.index]

    def _set(self, change: Any) -> None:
        if change["new"] in self._values:
            self.index = self._values.index(change["new"])


class NumberGrid(Input):
    """A table of small text fields; what is not a number in range is refused in words, and the old number comes back."""

    kind = traitlets.Unicode("numbers").tag(sync=True)
    rows: Any = traitlets.List().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    value = traitlets.Tuple()

    def __init__(self, control: Numbers):
        super().__init__(control, rows=self._written(control.start), value=control.start)
        self.observe(self._set, "value")
        self.on_msg(lambda _, content, __: self.typed(**content))

    def typed(self, row: int, column: int, text: str) -> None:
        """Take what was typed into a field, or say why not."""
        old = self.value[row][column]
        try:
            number = self.control.parse(text)
            self.message = ""
        except ValueError as error:
            number, self.message = old, f"{error}: {format_value(old)} stays."
        self.value = tuple(
            tuple(number if (i, j) == (row, column) else v for j, v in enumerate(line))
            for i, line in enumerate(self.value)
        )
        self.send({"rows": self.rows})  # so that the field shows what the table holds, whatever was typed

    @staticmethod
    def _written(table: Table) -> list[list[str]]:
        return [[format_value(number) for number in row] for row in table]

    def _set(self, change: Any) -> None:
        self.rows = self._written(change["new"])


class CellGrid(Input):
    """A grid of cells to click; with ``single``, choosing one releases the others, and the one that is on stays on."""

    kind = traitlets.Unicode("cells").tag(sync=True)
    value = traitlets.Tuple().tag(sync=True)

    def __init__(self, control: Cells):
        super().__init__(control, value=control.start)
        self.on_msg(lambda _, content, __: self.clicked(**content))

    def clicked(self, row: int, column: int) -> None:
        """Turn a cell over; with ``single``, turn it on and the others off."""
        self.value = tuple(
            tuple(
                int((i, j) == (row, column)) if self.control.single else (1 - v if (i, j) == (row, column) else v)
                for j, v in enumerate(line)
            )
            for i, line in enumerate(self.value)
        )
