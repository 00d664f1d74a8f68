"""Explorer: a training, watched while it runs. ``fit(..., callbacks=[explorers.monitor(x, y)])``.

It works in the thread that trains, between the steps: it sets the values of widgets and never clears an output, so
nothing flickers. The Stop button arrives while the cell runs where the notebook has subshells (JupyterLab 4.4 and
ipykernel 7 on); elsewhere the notebook's own stop button ends the training in the same way. When all is over the live
widgets make room for a static picture, which stays in the notebook.
"""

from __future__ import annotations

import base64
import io
import math
import sys
import time
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.raster import as_image, overlay_image
from .training_picture import Numbers, draw, duration, headline, sentence

if TYPE_CHECKING:
    from ..nn import Module
    from ..training import TrainingState

DRAWING_SHARE, PREDICTION_SHARE = 0.007, 0.013  # of the time since the start, at most
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
    question = "What is lost when you press Stop?"
    fact = "Nothing: the step is finished, and the model keeps what it has learned."

    def __init__(
        self, images: Any, targets: Any = None, goal: Mapping[str, float] | None = None, live: bool | None = None
    ):
        data = np.asarray(getattr(images, "data", images))
        if data.ndim == 3:
            data = data[None]
        if data.ndim != 4 or not len(data) or data.dtype.kind != "f":
            raise ValueError(
                f"images must be floats (N, C, H, W), as the network takes them, got {data.dtype} {data.shape}"
            )
        self.images = data
        self.targets = None if targets is None else np.asarray(getattr(targets, "data", targets))
        if self.targets is not None and self.targets.ndim == 2:
            self.targets = self.targets[None]
        if self.targets is not None and (self.targets.ndim != 3 or len(self.targets) != len(data)):
            raise ValueError(f"targets must be labels ({len(data)}, H, W), one map an image, got {self.targets.shape}")
        self.goal = dict(goal or {})
        if not set(self.goal) <= {"dice", "loss"}:
            raise ValueError(f'goal may name "dice" and "loss", got {sorted(self.goal)}')
        self._views = [_viewable(image) for image in data[:3]]
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
        self.picture = _jpeg(self._mosaic())

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
        if _in_notebook() if self.live is None else self.live:
            self.panel = _live(self)
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
        width = _shown_width(len(self._views))
        return (
            f'{STYLE}<div class="ms-panel ms-training"><div style="display:flex;flex-wrap:wrap;gap:16px">'
            f'<div style="flex:1 1 480px;max-width:720px">{draw(self.numbers)}</div>'
            f'<div>{self._caption()}<img alt="{escape(self._alt(), quote=True)}" width="{width}" src="{data}"/></div></div>'
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
            self.predictions = _labels(state.model, self.images)
            score = _dice(self.predictions, self.targets)
            self.problem = ""
        except (ValueError, TypeError) as error:
            self.problem = f"The pictures cannot be predicted: {error}."
            return
        self.shown.append((state.step, score))
        self.picture = _jpeg(self._mosaic())
        if self.panel is not None:
            self.panel.images.value = self.picture
            self.panel.caption.value = self._caption()

    def _say(self, now: float) -> None:
        self._said = now
        if self.panel is not None:
            self.panel.words.value = f'<p class="text-twin">{escape(self.twin)}</p>{self._formula()}'
        else:
            print(self.twin, flush=True)

    def _formula(self) -> str:
        """Return the Dice of the pictures with its numbers in it, where there is one class beside the background."""
        if self.predictions is None or self.targets is None or not math.isfinite(self.shown[-1][1]):
            return ""
        labels, targets, known = _comparable(self.predictions, self.targets)
        if max(labels.max(), targets[known].max(initial=0)) > 1:
            return "<p>Dice = 2·|X∩Y| / (|X| + |Y|), X predicted and Y target, the mean over the classes</p>"
        found, guessed, wanted = (
            int((k & known).sum()) for k in ((labels == 1) & (targets == 1), labels == 1, targets == 1)
        )
        score = self.shown[-1][1]
        return (
            "<p>Dice of the pictures = 2·|X∩Y| / (|X| + |Y|) = "
            f"2·{found:,} / ({guessed:,} + {wanted:,}) = {score:.3f}, X predicted and Y target</p>"
        )

    def _caption(self) -> str:
        columns = ["picture"] + ["target"] * (self.targets is not None)
        columns.append(f"at step {self.shown[-1][0]}" if self.shown else "soon")
        cells = "".join(f'<span style="flex:1;padding-left:2px">{c}</span>' for c in columns)
        return f'<div style="display:flex;width:{_shown_width(len(self._views))}px;font-size:15px;font-weight:600">{cells}</div>'

    def _alt(self) -> str:
        count = len(self._views)
        return f"{count} picture{'s' * (count > 1)}, each beside its label maps: {self.twin}"

    def _mosaic(self) -> np.ndarray:
        """Return the pictures (H, W, 3): a row each with the image, its target where given, and the prediction over it."""
        rows = []
        for index, view in enumerate(self._views):
            maps = [] if self.targets is None else [self.targets[index]]
            maps.append(np.zeros(view.shape[:2], int) if self.predictions is None else self.predictions[index])
            size = tuple(min(side) for side in zip(view.shape[:2], *(m.shape for m in maps), strict=True))
            tiles = [_middle(view, size)] + [overlay_image(_middle(view, size), _middle(m, size)) for m in maps]
            rows.append(
                np.concatenate([np.pad(t, ((2, 2), (2, 2), (0, 0)), constant_values=255) for t in tiles], axis=1)
            )
        width = max(row.shape[1] for row in rows)
        rows = [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
        return np.concatenate(rows)


def _labels(model: Module, images: np.ndarray) -> np.ndarray:
    """Return the label maps (N, H, W) that a model gives, on whatever device it is."""
    from ..arrays import to_device
    from ..autograd import Tensor
    from ..metrics import labels_of
    from ..models.sliding_window import predicting

    with predicting(model):
        return to_device(labels_of(model(Tensor(to_device(images, model.device)))), "cpu")


def _dice(labels: np.ndarray, targets: np.ndarray | None) -> float:
    """Return the Dice of all pixels together, the mean over the classes but 0 that occur; NaN where nothing is to compare."""
    if targets is None:
        return math.nan
    labels, targets, known = _comparable(labels, targets)
    scores = []
    for label in range(1, int(max(labels.max(), targets[known].max(initial=0))) + 1):
        guess, truth = (labels == label) & known, targets == label
        both = int(guess.sum()) + int(truth.sum())
        scores += [2 * int((guess & truth).sum()) / both] if both else []
    return float(np.mean(scores)) if scores else math.nan


def _comparable(labels: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both maps in the size that they share, and where the target is known."""
    size = tuple(min(a, b) for a, b in zip(labels.shape[1:], targets.shape[1:], strict=True))
    targets = _middle(targets, size, first=1)
    return _middle(labels, size, first=1), targets, targets != 255


def _middle(array: np.ndarray, size: tuple[int, ...], first: int = 0) -> np.ndarray:
    """Return the middle ``size`` of two axes: a net without padding sees less than it was given."""
    top, left = ((array.shape[first + k] - size[k]) // 2 for k in (0, 1))
    return array[(slice(None),) * first + (slice(top, top + size[0]), slice(left, left + size[1]))]


def _viewable(image: np.ndarray) -> np.ndarray:
    """Return an input of a network (C, H, W) as a picture uint8 (H, W, 3), stretched to 0..1 where it was normalized."""
    image = image[:3] if len(image) >= 3 else image[:1]
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        image = (image - low) / max(high - low, 1e-9)
    return as_image(np.clip(image, 0, 1).transpose(1, 2, 0))


def _jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    scale = max(1, round(640 / max(pixels.shape)))
    buffer = io.BytesIO()
    Image.fromarray(pixels.repeat(scale, 0).repeat(scale, 1)).save(buffer, format="JPEG", quality=85, subsampling=0)
    return buffer.getvalue()


def _shown_width(count: int) -> int:
    """Return how wide the pictures are shown: three rows of them are as high as the curves."""
    return {1: 400, 2: 360}.get(count, 340)


def _in_notebook() -> bool:
    """Return whether a kernel runs this, with widgets at hand."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is None:
        return False
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        return False
    return True


def _live(monitor: Monitor) -> Any:
    """Build and display the widgets; what a notebook stores of them is a line of text, as the picture comes at the end."""
    from IPython.display import display

    from ..course.panel import Panel, html, widgets

    button = widgets.Button(
        description="Stop", icon="stop", tooltip="End the training after this step and keep the model"
    )
    button.on_click(monitor.stop)
    curves, words, caption = html(draw(monitor.numbers)), html(""), html(monitor._caption())
    curves.layout.flex, curves.layout.max_width = "1 1 480px", "720px"
    width = _shown_width(len(monitor._views))
    images = widgets.Image(value=monitor.picture, format="jpeg", layout={"width": f"{width}px"})
    beside = widgets.VBox([caption, images], layout={"flex": "0 0 auto"})
    row = widgets.HBox(
        [curves, beside], layout={"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "0 16px"}
    )
    question = html(f"<p>&nbsp; <strong>Training, live.</strong> &nbsp;{escape(Monitor.question)}</p>")
    head = widgets.HBox([button, question], layout={"align_items": "center", "flex_flow": "row wrap"})
    panel = Panel([head, row, words, html(CODE)], twin="Training, live.")
    panel.button, panel.curves, panel.images, panel.caption, panel.words = button, curves, images, caption, words
    bundle = {k: v for k, v in panel._repr_mimebundle_().items() if k != "text/html"}
    display(bundle, raw=True)
    _settle(button)
    return panel


def _settle(button: Any) -> None:
    """Let clicks arrive while a cell runs.

    ipykernel 7.4 sends a click to the thread that made the button: ours, which trains, and would read it when all is
    over. Without its note of that thread the click goes to the notebook's subshell, a thread that listens all the time.
    """
    vars(button.comm).pop("_reply_subshell_id", None)


def monitor(
    images: Any, targets: Any = None, *, goal: Mapping[str, float] | None = None, live: bool | None = None
) -> Monitor:
    """Watch a training: loss, Dice and what the network predicts on fixed images; a button stops it and keeps the model.

    Give it to ``fit`` among its callbacks. Watching costs less than 3% of the training's time: frames come a few times a
    second, predictions every few seconds, and less often where they cost more. Nothing else changes: the same steps are
    taken, the same numbers drawn. In a terminal it prints a line every ten seconds.

    Parameters
    ----------
    images : float (N, C, H, W) or (C, H, W)
        As the network takes them; the first three are shown, all count for the Dice.
    targets : int (N, H, W), optional
        Their label maps; 255 is left out.
    goal : mapping, optional
        ``{"dice": 0.8}`` or ``{"loss": 0.1}``: the stored text then says whether it was reached, and no digits.
    live : bool, optional
        Widgets or not; by default they are shown in a notebook.
    """
    return Monitor(images, targets, goal, live)


__all__ = ["Monitor", "duration", "monitor"]
