"""What all explorers share: controls above, a picture made by a pure function below, a text twin, a declared discovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any, NamedTuple

from ..course.panel import Panel, html, widgets


class Drawing(NamedTuple):
    """What a pure function makes of a state: HTML with the picture, and the sentence that says the same."""

    html: str
    twin: str


class Discovery(NamedTuple):
    """A question, the controls to move (name, value) to answer it, and the fact that is then on screen."""

    question: str
    path: tuple[tuple[str, Any], ...]
    fact: str


class Explorer(Panel):
    """Widgets bound to a picture: ``draw(**state)`` is called whenever a control changes, and sets one HTML widget.

    ``controls`` maps the names of the state to widgets; ``set(name=value)`` moves them from code, as a hand would.
    """

    def __init__(
        self,
        title: str,
        controls: Mapping[str, Any],
        draw: Callable[..., Drawing],
        discovery: Discovery,
        beside: tuple[Any, ...] = (),
    ):
        self.controls, self.discovery, self._draw_state = dict(controls), discovery, draw
        self.picture = html("")
        row = widgets.HBox(
            [*self.controls.values(), *beside], layout={"flex_flow": "row wrap", "align_items": "center"}
        )
        heading = f"<p><strong>{escape(title)}</strong> &nbsp;{escape(discovery.question)}</p>"
        self._heading = heading
        super().__init__([html(heading), row, self.picture])
        for control in self.controls.values():
            control.observe(self._draw, "value")
        self._draw()

    @property
    def state(self) -> dict[str, Any]:
        """The value of every control, by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **state: Any) -> str:
        """Move controls and return the text twin."""
        for name, value in state.items():
            if name not in self.controls:
                raise ValueError(f"there is no control {name!r}; there are {list(self.controls)}")
            self.controls[name].value = value
        return self.twin

    def discover(self) -> str:
        """Walk the declared path and return the text twin at its end."""
        for name, value in self.discovery.path:
            self.set(**{name: value})
        return self.twin

    def _draw(self, _: Any = None) -> None:
        drawing = self._draw_state(**self.state)
        self.picture.value = drawing.html
        self.twin = drawing.twin
        self.static = self._heading + drawing.html
