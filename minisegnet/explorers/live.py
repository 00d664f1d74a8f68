"""The live panel of a training monitor: is there a notebook, does it read clicks while a cell runs, the widgets."""

from __future__ import annotations

import sys
from html import escape
from typing import TYPE_CHECKING, Any

from .training_picture import draw
from .watched_pictures import shown_width

if TYPE_CHECKING:
    from .monitor import Monitor


def in_notebook() -> bool:
    """Return whether a kernel runs this, with widgets at hand."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is None:
        return False
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        return False
    return True


def show(monitor: Monitor) -> Any:
    """Build and display the widgets; what a notebook stores of them is a line of text, as the picture comes at the end."""
    from IPython.display import display

    from ..course.panel import Panel, html, widgets

    button = widgets.Button(
        description="Stop", icon="stop", tooltip="End the training after this step and keep the model"
    )
    button.on_click(monitor.stop)
    curves, words, caption = html(draw(monitor.numbers)), html(""), html(monitor.caption())
    curves.layout.flex, curves.layout.max_width = "1 1 480px", "720px"
    width = shown_width(len(monitor.views))
    images = widgets.Image(value=monitor.picture, format="jpeg", layout={"width": f"{width}px"})
    beside = widgets.VBox([caption, images], layout={"flex": "0 0 auto"})
    row = widgets.HBox(
        [curves, beside], layout={"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "0 16px"}
    )
    question = html(f"<p>&nbsp; <strong>Training, live.</strong> &nbsp;{escape(monitor.discovery.question)}</p>")
    if not _reads_clicks():
        button.disabled = True
        question.value += (
            "<p>&nbsp; This kernel reads no button while it trains: the ■ of the toolbar stops in the same way.</p>"
        )
    head = widgets.HBox([button, question], layout={"align_items": "center", "flex_flow": "row wrap"})
    panel = Panel([head, row, words, html(monitor.code)], twin="Training, live.")
    panel.button, panel.curves, panel.images, panel.caption, panel.words = button, curves, images, caption, words
    bundle = {k: v for k, v in panel._repr_mimebundle_().items() if k != "text/html"}
    display(bundle, raw=True)
    _settle(button)
    return panel


def _reads_clicks() -> bool:
    """Return whether this kernel listens while a cell runs: ipykernel does from version 7 on."""
    kernel = getattr(sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None, "kernel", None)
    return kernel is None or bool(getattr(kernel, "_supports_kernel_subshells", False))


def _settle(button: Any) -> None:
    """Let clicks arrive while a cell runs.

    ipykernel 7.4 sends a click to the thread that made the button: ours, which trains, and would read it when all is
    over. Without its note of that thread the click goes to the notebook's subshell, a thread that listens all the time.
    """
    vars(button.comm).pop("_reply_subshell_id", None)
