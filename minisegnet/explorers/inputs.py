"""Widgets made from the declared controls: each has a ``value`` that can be observed and set."""

from __future__ import annotations

from html import escape
from typing import Any

import traitlets

from ..course.panel import widgets
from ..figures.svg_grid import format_value
from .controls import Cells, Choice, Control, Numbers, Slider, State, Table, Toggle


def input_for(control: Control) -> Any:
    """Return the widget for a declared control."""
    if isinstance(control, Slider):
        return SliderInput(control)
    if isinstance(control, Choice):
        return widgets.Dropdown(options=list(control.values), value=control.start, description=control.label)
    if isinstance(control, Toggle):
        return widgets.Checkbox(
            value=control.start, description=control.label, indent=False, layout={"width": "max-content"}
        )
    if isinstance(control, Numbers):
        return NumberGrid(control)
    return CellGrid(control)


class SliderInput(widgets.HBox):
    """A slider over the declared values, with a Play button if it may run; arrow keys step."""

    value = traitlets.Any()

    def __init__(self, control: Slider):
        self.control = control
        self._values = list(control.values)
        self.slider = widgets.SelectionSlider(
            options=self._options(),
            value=control.start,
            description=control.label,
            layout={"width": "300px"},
            style={"description_width": "initial"},
        )
        children: list[Any] = [self.slider]
        self.play = None
        if control.play:
            self.play = widgets.Play(min=0, max=len(self._values) - 1, interval=600, description=control.label)
            self.play.observe(self._played, "value")
            children.append(self.play)
        super().__init__(children, layout={"width": "auto", "margin": "0 14px 0 0"})
        self.value = control.start
        self.slider.observe(self._slid, "value")
        self.observe(self._set, "value")

    def allow(self, state: State) -> None:
        """Offer the values that are possible in a state."""
        allowed = self.control.allowed(state)
        if allowed != self._values:
            self._values = allowed
            value = self.value if self.value in allowed else allowed[-1]
            with self.slider.hold_trait_notifications():
                self.slider.options = self._options()
                self.slider.value = value
            self.slider.disabled = len(allowed) == 1
            if self.play is not None:
                self.play.max = len(allowed) - 1
            self.value = value

    def _options(self) -> list[tuple[str, Any]]:
        return [(format_value(v) if isinstance(v, (int, float)) else str(v), v) for v in self._values]

    def _slid(self, change: Any) -> None:
        if change["new"] is not None:
            self.value = change["new"]

    def _played(self, change: Any) -> None:
        self.value = self._values[min(change["new"], len(self._values) - 1)]

    def _set(self, change: Any) -> None:
        if change["new"] in self._values:
            self.slider.value = change["new"]
            if self.play is not None:
                self.play.value = self._values.index(change["new"])


class NumberGrid(widgets.VBox):
    """A table of small text fields; what is not a number in range is refused in words, and the old number comes back."""

    value = traitlets.Tuple()

    def __init__(self, control: Numbers):
        self.control = control
        self.message = widgets.HTML("", layout={"height": "auto"})
        self.fields = [
            [
                widgets.Text(
                    value=format_value(number),
                    continuous_update=False,
                    tooltip=f"{control.label}, row {i}, column {j}",
                    layout={"width": "52px", "margin": "1px"},
                )
                for j, number in enumerate(row)
            ]
            for i, row in enumerate(control.start)
        ]
        rows = [widgets.HBox(row) for row in self.fields]
        super().__init__([widgets.HTML(escape(control.label)), *rows, self.message])
        self.value = control.start
        for i, row in enumerate(self.fields):
            for j, field in enumerate(row):
                field.observe(lambda change, i=i, j=j: self._typed(i, j, change["new"]), "value")
        self.observe(self._set, "value")

    def _typed(self, i: int, j: int, text: str) -> None:
        old = self.value[i][j]
        if text == format_value(old):
            return
        try:
            number = self.control.parse(text)
        except ValueError as error:
            kept = format_value(old)
            self.message.value = f'<p class="ms-wrong" role="status">{escape(f"{error}: {kept} stays.")}</p>'
            self.fields[i][j].value = kept
            return
        self.message.value = ""
        self.value = tuple(
            tuple(number if (a, b) == (i, j) else v for b, v in enumerate(row)) for a, row in enumerate(self.value)
        )

    def _set(self, change: Any) -> None:
        for row, numbers in zip(self.fields, change["new"], strict=True):
            for field, number in zip(row, numbers, strict=True):
                field.value = format_value(number)


class CellGrid(widgets.VBox):
    """A grid of toggle buttons; with ``single``, choosing one releases the others."""

    value = traitlets.Tuple()

    def __init__(self, control: Cells):
        self.control, self._busy = control, False
        self.buttons = [
            [
                widgets.ToggleButton(
                    value=bool(on),
                    description="■" if on else "·",
                    tooltip=f"{control.label}, row {i}, column {j}",
                    layout={"width": "38px", "margin": "1px"},
                )
                for j, on in enumerate(row)
            ]
            for i, row in enumerate(control.start)
        ]
        super().__init__([widgets.HTML(escape(control.label)), *(widgets.HBox(row) for row in self.buttons)])
        self.value = control.start
        for i, row in enumerate(self.buttons):
            for j, button in enumerate(row):
                button.observe(lambda change, i=i, j=j: self._clicked(i, j, change["new"]), "value")
        self.observe(lambda change: self._show(change["new"]), "value")

    def _clicked(self, i: int, j: int, on: bool) -> None:
        if self._busy:
            return
        single = self.control.single
        value: Table = tuple(
            tuple(int((a, b) == (i, j)) if single else int(on) if (a, b) == (i, j) else v for b, v in enumerate(row))
            for a, row in enumerate(self.value)
        )
        if value == self.value:  # the one that is on stays on
            self._show(value)
        self.value = value

    def _show(self, value: Table) -> None:
        self._busy = True
        for row, cells in zip(self.buttons, value, strict=True):
            for button, on in zip(row, cells, strict=True):
                button.value, button.description = bool(on), "■" if on else "·"
        self._busy = False
