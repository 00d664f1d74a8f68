"""Explorer: a training, watched while it runs. ``fit(..., callbacks=[explorers.monitor(x, y)])``.

It works in the thread that trains, between the steps: it sets the values of widgets and never clears an output, so
nothing flickers. The Stop button arrives while the cell runs where the notebook has subshells (JupyterLab 4.4 and
ipykernel 7 on); elsewhere the notebook's own stop button ends the training in the same way. When all is over the live
widgets make room for a static picture, which stays in the notebook.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import to_device
from ..autograd import unwrap
from . import live
from .drawing import Discovery
from .training_picture import Numbers, draw, headline, sentence
from .watched_pictures import dice_formula, dice_of_pictures, jpeg, mosaic, predicted_labels, shown_width, viewable

if TYPE_CHECKING:
    from ..training import TrainingState

DRAWING_SHARE, PREDICTION_SHARE = 0.006, 0.01  # of the time since the start, at most
FRAME_SECONDS, PREDICTION_SECONDS, LINE_SECONDS = 0.3, 2.0, 10.0
CODE = (
    "<p>here: <code>fit(…, callbacks=[explorers.monitor(x, y)])</code> &nbsp; "
    "PyTorch: <code>loss = criterion(model(x), y); loss.backward(); optimizer.step()</code></p>"
)
WORDS = {"dice": "Dice", "loss": "loss"}


class Monitor:
    """A callback of ``fit`` that shows the training; make it by ``explorers.monitor``.

    ``twin`` says what is on the screen; ``stop()`` does what the button does; ``spent`` is what watching has cost, in
    seconds. ``panel`` holds the widgets while a training runs in a notebook.
    """

    shows_progress = True
    code = CODE
    discovery = Discovery(
        question="What is lost when you press Stop?",
        path=(("stop", True),),  # the one control there is
        fact="Nothing: the step is finished, and the model keeps what it has learned.",
    )

    def __init__(
        self, images: Any, targets: Any = None, goal: Mapping[str, float] | None = None, live: bool | None = None
    ):
        data = to_device(unwrap(images), "cpu")
        if data.ndim == 3:
            data = data[None]
        if data.ndim != 4 or not len(data) or data.dtype.kind != "f":
            raise ValueError(
                f"images must be floats (N, C, H, W), as the network takes them, got {data.dtype} {data.shape}"
            )
        self.images = data
        self.targets = None if targets is None else to_device(unwrap(targets), "cpu")
        if self.targets is not None and self.targets.ndim == 2:
            self.targets = self.targets[None]
        if self.targets is not None and (self.targets.ndim != 3 or len(self.targets) != len(data)):
            raise ValueError(f"targets must be labels ({len(data)}, H, W), one map an image, got {self.targets.shape}")
        self.goal = dict(goal or {})
        if not set(self.goal) <= {"dice", "loss"}:
            raise ValueError(f'goal may name "dice" and "loss", got {sorted(self.goal)}')
        self.views = [viewable(image) for image in data[:3]]
        self.live = live
        self.panel: Any = None
        self._reset()

    def _reset(self) -> None:
        self.spent = self._drawing = self._predicting = 0.0
        self._draw_cost, self._predict_cost = 0.004, math.nan
        self._began = self._drawn = self._predicted = self._said = time.perf_counter()
        self.wanted = self._news = False
        self.shown: list[tuple[int, float]] = []
        self.predictions: np.ndarray | None = None
        self.numbers, self.problem = Numbers(), ""
        self.picture = jpeg(mosaic(self.views, self.targets, self.predictions))

    @property
    def twin(self) -> str:
        """What the picture says, in words."""
        return sentence(self.numbers) + (f" {self.problem}" if self.problem else "")

    def stop(self, _: Any = None) -> None:
        """End the training after the step that it is in."""
        self.wanted = True  # read by the thread that trains, after its step
        if self.panel is not None:
            self.panel.button.disabled = True
            self.panel.button.description = "Stopping after this step"

    def start(self, state: TrainingState) -> None:
        """Show the panel; ``fit`` calls it before the first step."""
        self._reset()
        self.numbers = self._read(state)
        if live.in_notebook() if self.live is None else self.live:
            self.panel = live.show(self)
        self._began = self._drawn = self._predicted = self._said = time.perf_counter()

    def __call__(self, state: TrainingState) -> None:
        """Stop if that is wanted; bring the picture up to date if it is due and costs little; ``fit`` calls it each step."""
        if self.wanted:
            state.stop = True
        now = time.perf_counter()
        elapsed = now - self._began
        # Before the first prediction nobody knows its cost; a third of a step is a forward pass.
        cost = elapsed / max(1, state.step) / 3 if math.isnan(self._predict_cost) else self._predict_cost
        affordable = self._predicting + cost <= PREDICTION_SHARE * elapsed
        if affordable and now - self._predicted >= PREDICTION_SECONDS:
            self._predict(state)
            self._predicted = time.perf_counter()
            self._predict_cost = self._predicted - now
            self._predicting += self._predict_cost
            self._news, now = True, self._predicted
        affordable = self._drawing + self._draw_cost <= DRAWING_SHARE * elapsed
        if self.panel is not None and affordable and now - self._drawn >= FRAME_SECONDS:
            self.numbers = self._read(state)
            self.panel.curves.value = draw(self.numbers)
            if self._news:  # a screen reader is told now and then only
                self._say(now)
                self._news = False
            self._drawn = time.perf_counter()
            self._draw_cost = self._drawn - now
            self._drawing += self._draw_cost
        elif self.panel is None and now - self._said >= LINE_SECONDS:
            self.numbers = self._read(state)
            self._say(now)
        self.spent = self._drawing + self._predicting

    def finish(self, state: TrainingState) -> None:
        """Predict once more and leave the static picture behind; ``fit`` calls it at the end, after an error too."""
        begin = time.perf_counter()
        if state.history.stopped:
            self._predict(state)
        self.numbers = self._read(state, ending=state.history.stopped)
        if self.panel is not None:
            from IPython.display import display

            panel, self.panel = self.panel, None
            panel.children = ()
            panel.layout.display = "none"
            display({"text/plain": self.verdict(), "text/html": self.static()}, raw=True)
        elif self.live is None:
            print(self.twin)
        self.spent += time.perf_counter() - begin

    def verdict(self) -> str:
        """Return what may be compared from run to run: whether it ended as planned, and the goals with their margins."""
        numbers = self.numbers
        begun = numbers.loss[0] if numbers.step else math.nan
        known = {
            "dice": numbers.shown[-1][1] if numbers.shown else math.nan,
            "loss": numbers.average,
        }
        goals = [
            f"{WORDS[name]} {'<' if name == 'loss' else '>'} {goal:.2f}: "
            f"{known[name] < goal if name == 'loss' else known[name] > goal}"
            for name, goal in self.goal.items()
        ]
        ended = headline(numbers).rsplit(" in ", 1)[0]
        return f"{ended}. {'; '.join(goals or [f'the loss fell: {numbers.average < begun}'])}."

    def static(self) -> str:
        """Return the HTML that stays: curves, pictures, the text twin; no script, no address."""
        from ..course.panel import STYLE

        data = "data:image/jpeg;base64," + base64.b64encode(self.picture).decode("ascii")
        width = shown_width(len(self.views))
        return (
            f'{STYLE}<div class="ms-panel ms-training"><div style="display:flex;flex-wrap:wrap;gap:16px">'
            f'<div style="flex:1 1 480px;max-width:720px">{draw(self.numbers)}</div>'
            f'<div>{self.caption()}<img alt="{escape(self._alt(), quote=True)}" width="{width}" src="{data}"/></div></div>'
            f'<p class="text-twin">{escape(self.twin)}</p>{self._formula()}{CODE}</div>'
        )

    def _read(self, state: TrainingState, ending: str | None = None) -> Numbers:
        history = state.history
        validation = [(int(v["step"]), v.get("loss", math.nan), v.get("dice", math.nan)) for v in history.validation]
        seconds = history.seconds[-1] if history.seconds else 0.0
        return Numbers(history.loss, validation, list(self.shown), state.total, seconds, ending)

    def _predict(self, state: TrainingState) -> None:
        """Predict the pictures, off the tape and with the modes put back; a failure is told and stops no training."""
        try:
            self.predictions = predicted_labels(state.model, self.images)
            score = dice_of_pictures(self.predictions, self.targets)
            self.problem = ""
        except (ValueError, TypeError) as error:
            self.problem = f"The pictures cannot be predicted: {error}."
            return
        self.shown.append((state.step, score))
        self.picture = jpeg(mosaic(self.views, self.targets, self.predictions))
        if self.panel is not None:
            self.panel.images.value = self.picture
            self.panel.caption.value = self.caption()

    def _say(self, now: float) -> None:
        self._said = now
        if self.panel is not None:
            self.panel.words.value = f'<p class="text-twin">{escape(self.twin)}</p>{self._formula()}'
        else:
            print(self.twin, flush=True)

    def _formula(self) -> str:
        return dice_formula(self.predictions, self.targets, self.shown[-1][1] if self.shown else math.nan)

    def caption(self) -> str:
        """Return the heads of the pictures' columns."""
        columns = ["picture"] + ["target"] * (self.targets is not None)
        columns.append(f"at step {self.shown[-1][0]}" if self.shown else "soon")
        cells = "".join(f'<span style="flex:1;padding-left:2px">{c}</span>' for c in columns)
        return f'<div style="display:flex;width:{shown_width(len(self.views))}px;font-size:15px;font-weight:600">{cells}</div>'

    def _alt(self) -> str:
        count = len(self.views)
        return f"{count} picture{'s' * (count > 1)}, each beside its label maps: {self.twin}"


def monitor(
    images: Any = None, targets: Any = None, *, goal: Mapping[str, float] | None = None, live: bool | None = None
) -> Monitor:
    """Watch a training: loss, Dice and what the network predicts on fixed images; a button stops it and keeps the model.

    Give it to ``fit`` among its callbacks. Watching costs less than 3% of the training's time: frames come a few times a
    second, predictions every few seconds, and less often where they cost more. Nothing else changes: the same steps are
    taken, the same numbers drawn. In a terminal it prints a line every ten seconds.

    Parameters
    ----------
    images : float (N, C, H, W) or (C, H, W), optional
        As the network takes them; the first three are shown, all count for the Dice. Synthetic tissue by default, for a
        network that takes three channels from 0 to 1 and tells nuclei (class 1) from the rest.
    targets : int (N, H, W), optional
        Their label maps; 255 is left out.
    goal : mapping, optional
        ``{"dice": 0.8}`` or ``{"loss": 0.1}``: the stored text then says whether it was reached, and no digits.
    live : bool, optional
        Widgets or not; by default they are shown in a notebook.
    """
    if images is None:
        from ..data import synthetic_tissue

        pictures, instances = synthetic_tissue(3, size=(96, 96), seed=3)
        images = (pictures.transpose(0, 3, 1, 2) / 255).astype(np.float32)  # (N, H, W, C) -> (N, C, H, W)
        targets = (instances > 0).astype(np.int64) if targets is None else targets
    return Monitor(images, targets, goal, live)


__all__ = ["Monitor", "monitor"]
