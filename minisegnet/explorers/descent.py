"""Explorer: learning. A 3 x 3 kernel learns, step by step, to do what a target kernel does; too large a rate diverges."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..figures.svg import Canvas
from ..figures.svg_grid import format_value, grid, kernel
from ..figures.svg_image import image, signed
from ..figures.svg_plot import plot
from .controls import Choice, Control, Slider
from .drawing import Discovery, Drawing

if TYPE_CHECKING:
    from .explorer import Explorer

PICTURE = (
    (-1, 1, 1, 1, -1, 1, 0, 0),
    (1, -1, 1, 1, -1, -1, -1, 0),
    (1, 0, 1, -1, -1, -1, -1, 1),
    (-1, -1, 1, -1, 1, 1, 0, 0),
    (1, 0, 1, 0, -1, 0, 1, -1),
    (-1, -1, 0, 1, 0, 1, -1, 1),
    (0, -1, -1, -1, 1, -1, 1, 1),
    (0, 0, -1, 1, 1, -1, -1, 0),
)
TARGETS = {
    "edges": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
    "a cross": ((0, 1, 0), (1, 1, 1), (0, 1, 0)),
}
RATES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
STEPS = 40


class Moment(NamedTuple):
    """A step of the training: the weights (3, 3), the loss there, its gradient (3, 3), and the output (6, 6)."""

    weight: np.ndarray
    loss: float
    gradient: np.ndarray
    output: np.ndarray


@lru_cache(maxsize=32)
def descent_run(target: str, rate: float) -> tuple[Moment, ...]:
    """Return all steps of gradient descent from a kernel of zeros, in float64, by the library's own tape.

    The loss is the mean square of the difference between what the learned kernel gives and what the target gives.
    """
    from .. import functional as F
    from ..autograd import Tensor
    from .few_numbers import few_numbers

    picture = np.array(PICTURE, np.float64)[None, None]
    with few_numbers():
        wanted = F.conv2d(picture, np.array(TARGETS[target], np.float64)[None, None]).numpy()
        weight, moments = np.zeros((1, 1, 3, 3)), []
        for _ in range(STEPS + 1):
            learned = Tensor(weight, requires_grad=True)
            output = F.conv2d(picture, learned)
            off = output - wanted
            loss = (off * off).mean()
            loss.backward()
            assert learned.grad is not None
            gradient = learned.grad.numpy()
            moments.append(Moment(weight[0, 0], float(loss.data), gradient[0, 0], output.detach().numpy()[0, 0]))
            weight = weight - rate * gradient
    return tuple(moments)


def draw_descent(target: str = "edges", rate: float = 0.1, step: int = 0) -> Drawing:
    """Draw one step of a kernel that learns; no widgets.

    Parameters
    ----------
    target : str
        What it shall learn to do, a name of ``TARGETS``.
    rate : float
        The learning rate.
    step : int
        How many steps have been taken, 0 to 40.
    """
    moments = descent_run(target, rate)
    now, start = moments[step], moments[0]
    twin = _twin(rate, step, start.loss, now)
    canvas = Canvas(760, 404, f"A kernel learns, step {step}")
    cell = 48
    kernel(canvas, 6, 34, TARGETS[target], cell=cell, label="target kernel")
    grid(canvas, 176, 34, _short(now.weight), role="kernel", cell=cell, size=16, label=f"learned, step {step}")
    grid(canvas, 346, 34, _short(now.gradient), cell=cell, size=16, label="gradient of loss")
    wanted = moments[0].output - _difference(target, moments[0].output)
    reach = float(np.abs(wanted).max())
    side = 126
    for x, values, name in (
        (6, wanted, "it shall give"),
        (176, now.output, "it gives"),
        (346, now.output - wanted, "difference"),
    ):
        image(canvas, x, 230, side, signed(values, reach), alt=f"{name}: 6 by 6 pixels", label=name)
    canvas.text(4, 386, "orange: above 0, blue: below 0, white: 0. No difference: all white.", anchor="start")
    _draw_loss(canvas, [m.loss for m in moments], step)
    weight, slope = float(now.weight[0, 2]), float(now.gradient[0, 2])
    after = weight - rate * slope
    return Drawing(
        canvas.svg(twin),
        twin,
        (
            f"loss = mean of (it gives − it shall give)² = {said(now.loss)}",
            "weight ← weight − rate · gradient; upper right: "
            f"{said(weight)} − {rate:g} · ({said(slope)}) = {said(after)}",
        ),
        f"optimizer = optim.SGD([weight], lr={rate:g})",
        f"optimizer = torch.optim.SGD([weight], lr={rate:g})",
    )


def _difference(target: str, output: np.ndarray) -> np.ndarray:
    """Return output minus what the target gives, by the library's kernel."""
    from ..kernels.convolution.reference import conv2d

    picture, weight = (np.array(v, np.float64)[None, None] for v in (PICTURE, TARGETS[target]))
    return output - conv2d(picture, weight)[0, 0]


def _draw_loss(canvas: Canvas, losses: list[float], step: int) -> None:
    """Draw the loss over the steps on a logarithmic axis; what is too large or small stays at the frame."""
    powers = np.log10(np.maximum(losses, 1e-8))
    axes = plot(canvas, 560, 34, 186, 318, (0, STEPS), (-6, 4), x="step", y="loss", xticks=(0, 10, 20, 30, 40))
    for power, name in ((-6, "10⁻⁶"), (-4, "10⁻⁴"), (-2, "0.01"), (0, "1"), (2, "100"), (4, "10⁴")):
        y = axes.at(0, power)[1]
        canvas.line(560, y, 746, y, faint=True, width=1)
        canvas.text(552, y + 6, name, anchor="end")
    axes.line(range(STEPS + 1), powers, color="blue", faint=True)
    axes.line(range(step + 1), powers[: step + 1], color="blue", width=3)
    axes.mark(step, float(powers[step]), "output")


def _short(values: np.ndarray) -> list[list[str]]:
    return [[said(v, 1) for v in row] for row in values]


def said(value: float, digits: int = 2) -> str:
    """Return a number as it fits into a cell: few digits, a power of ten where it is large."""
    if abs(value) >= 1000:
        power = int(np.floor(np.log10(abs(value))))
        return f"{'−' if value < 0 else ''}{abs(value) / 10**power:.0f}e{power}"
    digits = 0 if abs(value) >= 9.95 else digits
    return format_value(round(value + 1e-9, digits))  # the same where a sum ends just below a half


def _twin(rate: float, step: int, start: float, now: Moment) -> str:
    if step == 0:
        return f"Before the first step all weights are 0 and the loss is {said(start)}; the rate is {rate:g}."
    compared = now.loss / start
    if compared > 1:
        verdict = "more than at the start: each step goes too far"
    elif compared < 1e-4:
        verdict = "less than a ten-thousandth of the start: it does what the target does"
    else:
        verdict = f"{100 * compared:.2g}% of the start"
    loss = said(now.loss) if now.loss >= 0.005 else "below 0.01"
    steps = f"{step} step{'s' if step > 1 else ''}"
    return f"After {steps} at rate {rate:g} the loss is {loss}, {verdict}."


def descent(**state: Any) -> Explorer:
    """Explore gradient descent on the nine weights of a kernel; ``descent(rate=0.5, step=10)`` begins there."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "target": Choice(tuple(TARGETS), "edges", "target"),
        "rate": Slider(RATES, 0.1, "learning rate"),
        "step": Slider(range(STEPS + 1), 0, "step", play=True),
    }
    return Explorer(
        "Learning.",
        controls,
        draw_descent,
        Discovery(
            question="The larger the learning rate, the faster it learns: up to where?",
            path=(("step", 5), ("rate", 0.6), ("rate", 1.0), ("rate", 1.2)),
            fact="Up to 0.6 a larger rate learns faster; at 1 the weights swing to and fro; at 1.2 the loss grows with every step.",
        ),
        presets={
            "the start": {},
            "one step": {"step": 1},
            "it has learned": {"rate": 0.2, "step": 20},
            "too slow": {"rate": 0.02, "step": 20},
            "to and fro": {"rate": 1.0, "step": 5},
            "too large a rate": {"rate": 1.2, "step": 12},
        },
        name="descent",
        page={"step": (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 35, 40)},
        state=state,
    )
