"""What all explorers share: controls above, a picture made by a pure function below, a text twin, a declared discovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..course.panel import Panel, html, widgets
from ..figures.svg import Svg, on_paper
from .controls import Cells, Control, Numbers, State, accept, settle
from .drawing import DRAWING_STYLE, Discovery, Drawing
from .inputs import SliderInput, input_for
from .page import save_page

__all__ = ["Discovery", "Drawing", "Explorer"]


class Explorer(Panel):
    """Widgets bound to a picture: ``draw(**state)`` is called whenever a control changes, and sets one HTML widget.

    Parameters
    ----------
    title : str
        What is explored; the heading.
    controls : dict of declared controls
        Names of the state, in the order in which they are shown; a ``limit`` may read those declared before it.
    draw : function
        ``draw(**state)`` returns a ``Drawing``; it depends on nothing else.
    discovery : Discovery
        The question that the explorer answers, and the way to the answer.
    presets : dict, optional
        Names of states worth seeing ("the slide's example"), each with the values that differ from the start.
    name : str, optional
        The function in ``minisegnet.explorers`` that makes this explorer: ``code`` is then a line that shares the state.
    page : dict, optional
        Which values of which controls a saved page offers, where all of them would be too many.
    state : dict, optional
        Where to begin, where it differs from the declared start.
    """

    def __init__(
        self,
        title: str,
        controls: Mapping[str, Control],
        draw: Callable[..., Drawing],
        discovery: Discovery,
        *,
        presets: Mapping[str, State] | None = None,
        name: str = "",
        page: Mapping[str, Sequence[Any]] | None = None,
        state: Mapping[str, Any] | None = None,
    ):
        self.title, self.controls, self.discovery, self._draw_state = title, dict(controls), discovery, draw
        self.name, self.page = name, dict(page or {})
        self._start: State = {key: control.start for key, control in self.controls.items()}
        self.presets = {key: accept(self.controls, preset) for key, preset in (presets or {}).items()}
        self.inputs = {key: input_for(control) for key, control in self.controls.items()}
        self._heading = f"<p><strong>{escape(title)}</strong> &nbsp;{escape(discovery.question)}</p>"
        self.picture, self._busy = html(""), False
        super().__init__([html(f"<style>{DRAWING_STYLE}</style>{self._heading}"), *self._rows(), self.picture])
        for widget in self.inputs.values():
            widget.observe(self._moved, "value")
        self.set(**(state or {}))

    def _rows(self) -> list[Any]:
        """Return the rows of widgets: sliders and choices; tables to edit; presets, reset and the projector's switch."""
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        tables = [key for key, control in self.controls.items() if isinstance(control, (Numbers, Cells))]
        rows = [widgets.HBox([w for key, w in self.inputs.items() if key not in tables], layout=wrap)]
        buttons = []
        for key in (*self.presets, "reset"):
            button = widgets.Button(description=key, layout={"width": "max-content"})
            button.on_click(lambda _, key=key: self.reset() if key == "reset" else self.choose(key))
            buttons.append(button)
        self.projector = widgets.ToggleButton(
            value=False,
            description="projector",
            tooltip="large type, the picture as wide as the page",
            layout={"width": "max-content"},
        )
        self.projector.observe(
            lambda change: self.add_class("ms-projector") if change["new"] else self.remove_class("ms-projector"),
            "value",
        )
        rows.append(widgets.HBox([*buttons, self.projector], layout=wrap))
        if tables:
            box = widgets.HBox(
                [self.inputs[key] for key in tables],
                layout={"flex_flow": "row wrap", "grid_gap": "20px", "display": "none"},
            )
            self.editor = widgets.ToggleButton(description="change the numbers", layout={"width": "max-content"})
            self.editor.observe(
                lambda change: setattr(box.layout, "display", "flex" if change["new"] else "none"), "value"
            )
            rows[-1].children += (self.editor,)
            rows.append(box)
        return rows

    @property
    def state(self) -> State:
        """The value of every control, by name."""
        return {name: widget.value for name, widget in self.inputs.items()}

    @property
    def code(self) -> str:
        """The line that opens this explorer in this state: to be shared, or pasted into a lesson."""
        changed = {key: value for key, value in self.state.items() if value != self._start[key]}
        arguments = ", ".join(f"{key}={value!r}" for key, value in changed.items())
        return f"explorers.{self.name}({arguments})"

    def set(self, **state: Any) -> str:
        """Move controls and return the text twin; sliders that would be out of range come back to the nearest value."""
        target = settle(self.controls, {**self.state, **accept(self.controls, state)})
        self._busy = True
        for name, widget in self.inputs.items():
            if isinstance(widget, SliderInput):
                widget.allow(target)
            widget.value = target[name]
        self._busy = False
        self._draw()
        return self.twin

    def choose(self, preset: str) -> str:
        """Go to a preset and return the text twin."""
        if preset not in self.presets:
            raise ValueError(f"there is no preset {preset!r}; there are {list(self.presets)}")
        return self.set(**{**self._start, **self.presets[preset]})

    def reset(self) -> str:
        """Go back to the start and return the text twin."""
        return self.set(**self._start)

    def discover(self) -> str:
        """Walk the declared path and return the text twin at its end."""
        for name, value in self.discovery.path:
            self.set(**{name: value})
        return self.twin

    def save_html(self, path: str | Path, **keep: Any) -> Path:
        """Write one page that works without Python or a network: a teacher's web site, slides, a gallery.

        Every possible state is drawn beforehand: at most 2,000 of them, and 3 MB. A keyword keeps one value of a control, or
        a few: ``save_html("x.html", rate=(1, 2, 3), step=0)``. Tables can be typed in here, on the page there are the presets.
        Raises ``ValueError`` where the page would be too large; the message says how many states each control makes.
        """
        return save_page(self, path, keep)

    def _moved(self, change: Any) -> None:
        if not self._busy:
            self.set()

    def _draw(self) -> None:
        drawing = self._draw_state(**self.state)
        self.drawing = drawing
        self.twin = drawing.twin
        self.picture.value = drawing.html
        self.static = f"<style>{DRAWING_STYLE}</style>{self._heading}{drawing.html}"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**options)
        if isinstance(self.drawing.picture, Svg):  # for places that show pictures but clean HTML
            bundle["image/svg+xml"] = on_paper(self.drawing.picture)
        return bundle
