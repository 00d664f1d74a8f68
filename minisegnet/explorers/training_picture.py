"""The picture of a training: loss and Dice over the steps as SVG, a pure function of the numbers so far; and its sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from ..figures.colors import OKABE_ITO
from ..figures.curves import smooth

LEFT, WIDTH, RIGHT = 52, 450, 178  # of both curves, in SVG units; the names of the lines stand at their right
LOSS_TOP, LOSS_HEIGHT, DICE_TOP, DICE_HEIGHT = 74, 138, 260, 112
POINTS = 240  # more than that no screen shows
ENDINGS = {
    "": "Ended by an error",
    "finished": "Finished",
    "callback": "Stopped",
    "interrupted": "Stopped by hand",
    "patience": "Stopped early, as it did not get better",
}


@dataclass
class Numbers:
    """What is drawn; all lists may be empty.

    Attributes
    ----------
    loss : one number a step
    validation : (step, loss, Dice) of each validation; NaN where it has no such number
    shown : (step, Dice) of each prediction on the pictures that are watched
    total : int or None
        How many steps there will be.
    seconds : float
        Spent so far.
    ending : str or None
        None while it runs, else a key of ``ENDINGS``.
    """

    loss: Sequence[float] = ()
    validation: Sequence[tuple[int, float, float]] = ()
    shown: Sequence[tuple[int, float]] = ()
    total: int | None = None
    seconds: float = 0.0
    ending: str | None = None
    average: float = field(init=False)

    def __post_init__(self) -> None:
        last = self.loss[-max(1, len(self.loss) // 20) :]
        self.average = float(np.mean(last)) if len(last) else math.nan

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return len(self.loss)

    @property
    def left(self) -> float | None:
        """Seconds still to go at the speed so far, None where that cannot be said."""
        if self.ending is not None or not self.step or self.total is None:
            return None
        return self.seconds / self.step * max(0, self.total - self.step)


def duration(seconds: float) -> str:
    """Return a time as people say it: "8 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def headline(numbers: Numbers) -> str:
    """Return how far it is: "step 120 of 400 · about 14 s left"."""
    steps = f"{numbers.step:,} of {numbers.total:,} steps" if numbers.total is not None else f"{numbers.step:,} steps"
    if numbers.ending is not None:
        return f"{ENDINGS[numbers.ending]}: {steps} in {duration(numbers.seconds)}"
    if not numbers.step:
        return "The first step is on its way"
    left = numbers.left
    return f"{steps} · {f'about {duration(left)} left' if left is not None else duration(numbers.seconds)}"


def sentence(numbers: Numbers) -> str:
    """Return the text twin: everything that the picture says."""
    parts = [headline(numbers).replace(" · ", ", ") + "."]
    if numbers.step:
        begun = next((v for v in numbers.loss if math.isfinite(v)), math.inf)
        parts.append(f"Training loss {numbers.average:.3f}, it began at {begun:.3f}.")
    if numbers.validation:
        step, loss, dice = numbers.validation[-1]
        known = [f"{name} {value:.3f}" for name, value in (("loss", loss), ("Dice", dice)) if not math.isnan(value)]
        parts.append(f"Validation at step {step}: {', '.join(known)}.")
    if numbers.shown and not math.isnan(numbers.shown[-1][1]):
        parts.append("Dice on the pictures shown {1:.3f}, predicted at step {0}.".format(*numbers.shown[-1]))
    if numbers.ending in ("callback", "interrupted"):
        parts.append("The model keeps what it has learned.")
    return " ".join(parts)


def draw(numbers: Numbers) -> str:
    """Return the SVG: how far, the loss, the Dice; colours that work on light and dark, every line named at its end."""
    end = _axis_end(numbers)
    losses = [v for v in (*numbers.loss, *(v[1] for v in numbers.validation)) if math.isfinite(v)]
    top = _ceiling(max(losses, default=1.0))
    low = -_ceiling(-min(losses)) if losses and min(losses) < 0 else 0.0
    done = WIDTH * min(1.0, numbers.step / (numbers.total or max(1, numbers.step)))
    parts = [
        f'<svg viewBox="0 0 {LEFT + WIDTH + RIGHT} 412" role="img" fill="currentColor" xmlns="http://www.w3.org/2000/svg" '
        f'style="display:block;width:100%;max-width:720px;font-size:15px"><title>{escape(sentence(numbers))}</title>',
        f'<text x="{LEFT}" y="20" font-size="18" font-weight="600">{escape(headline(numbers))}</text>',
        f'<rect x="{LEFT}" y="32" width="{WIDTH}" height="8" rx="4" fill-opacity=".15"/>',
        f'<rect x="{LEFT}" y="32" width="{done:.1f}" height="8" rx="4" fill="{OKABE_ITO["sky blue"]}"/>',
    ]
    place = _axes(parts, "loss", LOSS_TOP, LOSS_HEIGHT, low, top, end)
    if numbers.step:
        each = _thinned(np.asarray(numbers.loss))
        mean = _thinned(smooth(np.nan_to_num(np.asarray(numbers.loss, dtype=np.float64)), max(1, numbers.step // 20)))
        parts.append(_line(place, each, OKABE_ITO["sky blue"], 1.2, opacity=0.75))
        parts.append(_line(place, mean, "currentColor", 2.6))
    val = [(v[0], v[1]) for v in numbers.validation if math.isfinite(v[1])]
    parts += _dashed(place, val, OKABE_ITO["vermilion"], "M0-5.5 5.5 0 0 5.5-5.5 0z")
    ends = [("training", "currentColor", numbers.average)] if numbers.step else []
    ends += [("validation", OKABE_ITO["vermilion"], val[-1][1])] if val else []
    parts += _names(ends, lambda v: place(0, v)[1])
    place = _axes(parts, "Dice", DICE_TOP, DICE_HEIGHT, 0.0, 1.0, end, label=True)
    shown = [(s, v) for s, v in numbers.shown if math.isfinite(v)]
    dice = [(v[0], v[2]) for v in numbers.validation if math.isfinite(v[2])]
    parts += _dashed(place, shown, OKABE_ITO["bluish green"], "M-5-5H5V5H-5z")
    parts += _dashed(place, dice, OKABE_ITO["vermilion"], "M0-5.5 5.5 0 0 5.5-5.5 0z")
    ends = [("pictures", OKABE_ITO["bluish green"], shown[-1][1])] if shown else []
    ends += [("validation", OKABE_ITO["vermilion"], dice[-1][1])] if dice else []
    parts += _names(ends, lambda v: place(0, v)[1])
    return "".join(parts) + "</svg>"


def _axis_end(numbers: Numbers) -> int:
    """Return the last step of the axis: the end of the training halved as often as the curve fits, so that it fills it."""
    if numbers.ending is not None:
        return max(1, numbers.step)
    end = numbers.total if numbers.total is not None else 2 ** max(3, math.ceil(math.log2(numbers.step + 1)))
    while end // 2 >= max(8, 1.1 * numbers.step):
        end //= 2
    return max(end, numbers.step, 1)


def _ceiling(value: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten: the axis does not creep while the curve moves."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((m * power for m in (1, 1.5, 2, 3, 5, 7.5) if value <= m * power * 1.0001), 10 * power)


def _axes(parts: list[str], name: str, top: int, height: int, low: float, high: float, end: int, label: bool = False):
    """Draw a frame with three lines; return the function from (step, value) to its place."""

    def place(step: float, value: float) -> tuple[float, float]:
        inside = min(max(value, low), high)
        return round(LEFT + WIDTH * step / end, 1), round(top + height * (1 - (inside - low) / (high - low)), 1)

    parts.append(f'<text x="{LEFT}" y="{top - 12}" font-weight="600">{name}</text>')
    for value in (low, (low + high) / 2, high):
        y = place(0, value)[1]
        parts.append(f'<path d="M{LEFT} {y}h{WIDTH}" stroke="currentColor" stroke-opacity=".18"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 5}" text-anchor="end">{value:.3g}</text>')
    if label:
        for step, anchor in ((0, "start"), (end, "end")):
            x = place(step, low)[0]
            parts.append(f'<text x="{x}" y="{top + height + 22}" text-anchor="{anchor}">{step:,}</text>')
        parts.append(f'<text x="{LEFT + WIDTH / 2}" y="{top + height + 22}" text-anchor="middle">step</text>')
    return place


def _thinned(values: np.ndarray) -> list[tuple[int, float]]:
    """Return at most POINTS of (step, value), the last always among them."""
    chosen = np.unique(np.linspace(0, len(values) - 1, min(POINTS, len(values))).round().astype(int))
    return [(int(i) + 1, float(values[i])) for i in chosen if math.isfinite(values[i])]


def _line(place, points, color: str, width: float, opacity: float = 1.0, dash: str = "") -> str:
    dots = " ".join("{},{}".format(*place(*p)) for p in points)
    return (
        f'<polyline points="{dots}" fill="none" stroke="{color}" stroke-width="{width}" stroke-opacity="{opacity}" '
        f'stroke-linejoin="round"{dash}/>'
    )


def _dashed(place, points, color: str, mark: str) -> list[str]:
    """Return a dashed line with a mark at each point (thinned where they would touch): found without its colour too."""
    if not points:
        return []
    marked = points[:: max(1, len(points) // 20)]
    marks = "".join('<path transform="translate({},{})" d="{}"/>'.format(*place(*p), mark) for p in marked)
    return [_line(place, points, color, 2.2, dash=' stroke-dasharray="7 4"'), f'<g fill="{color}">{marks}</g>']


def _names(ends: list[tuple[str, str, float]], height) -> list[str]:
    """Return name and value of each line at its right end, moved apart where they would overlap."""
    placed = sorted(((height(value), name, color, value) for name, color, value in ends if math.isfinite(value)))
    parts, last, x = [], -math.inf, LEFT + WIDTH + 10
    for y, name, color, value in placed:
        last = max(y + 5, last + 21)
        parts.append(f'<rect x="{x}" y="{last - 11}" width="10" height="10" fill="{color}"/>')
        parts.append(f'<text x="{x + 16}" y="{last}">{name} <tspan font-weight="600">{value:.3f}</tspan></text>')
    return parts
