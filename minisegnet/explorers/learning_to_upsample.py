"""Explorer: a transposed convolution learns to upsample, from random numbers and from the bilinear kernel.

The kernel of 4 x 4 with stride 2 and its bilinear start are those of Long, Shelhamer and Darrell (2015), section 3.3.
"""

from __future__ import annotations

from functools import lru_cache
from math import log10
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..figures.svg import Canvas
from ..figures.svg_grid import format_value
from ..figures.svg_image import image
from ..figures.svg_plot import Plot, plot
from .controls import Choice, Control, Slider
from .drawing import Discovery, Drawing

if TYPE_CHECKING:
    from .explorer import Explorer

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
STARTS = ("random", "bilinear", "zeros")
TARGETS = ("bilinear rule", "the picture itself")
SIDE = 16  # pixels of what is brought up
_RATE, _MOMENTUM = 0.2, 0.9
_LOWEST = -5.0  # the power of ten where the axis of errors ends


class Learning(NamedTuple):
    """What was recorded: kernels (steps, 4, 4) and mean squared errors, one each of ``STEPS``."""

    kernels: np.ndarray
    errors: np.ndarray


@lru_cache(maxsize=1)
def _data() -> tuple[np.ndarray, np.ndarray]:
    """Return small pictures (N, 1, SIDE, SIDE) around 0, and the same at twice the size, (N, 1, 2 SIDE, 2 SIDE)."""
    from ..data import synthetic_tissue

    grey = synthetic_tissue(6, size=(64, 64), seed=3)[0].mean(axis=3) / 255
    large = grey.reshape(6, 2, 32, 2, 32).swapaxes(2, 3).reshape(-1, 1, 32, 32)
    large = large[::12] - large[::12].mean(axis=(2, 3), keepdims=True)
    large = large / large.std()
    return large.reshape(-1, 1, SIDE, 2, SIDE, 2).mean(axis=(3, 5)), large


def bilinear_kernel() -> np.ndarray:
    """Return the 4 x 4 kernel whose transposed convolution with stride 2 and padding 1 is bilinear interpolation."""
    along = np.array([0.25, 0.75, 0.75, 0.25])
    return np.outer(along, along)


@lru_cache(maxsize=2)
def _goal(target: str) -> np.ndarray:
    """Return what the layer is to give, without the border that bilinear interpolation repeats."""
    from .. import functional as F
    from ..autograd import no_grad
    from .few_numbers import few_numbers

    small, large = _data()
    if target == "the picture itself":
        return large[:, :, 2:-2, 2:-2]
    with no_grad(), few_numbers():
        result: np.ndarray = F.interpolate(small, scale_factor=2, mode="bilinear").numpy()
    return result[:, :, 2:-2, 2:-2]


def learn(start: str, target: str) -> Learning:
    """Return what was recorded of one start (of ``STARTS``) and one target (of ``TARGETS``)."""
    return _learn_all()[start, target]


@lru_cache(maxsize=1)
def _learn_all() -> dict[tuple[str, str], Learning]:
    """Train a kernel for each start and target by the library's own tape and optimizer; always the same numbers.

    The six learn side by side, as the output channels of one layer: no channel's loss depends on another's kernel, so each
    gets the gradient that it would get alone, and the steps cost hardly more than those of one.
    """
    from .. import Tensor, optim
    from .. import functional as F
    from .few_numbers import few_numbers

    first = {
        "random": np.random.default_rng(5).normal(0, 0.4, (4, 4)),
        "bilinear": bilinear_kernel(),
        "zeros": np.zeros((4, 4)),
    }
    names = [(start, target) for target in TARGETS for start in STARTS]
    weight = Tensor(np.stack([first[start] for start, _ in names])[None], requires_grad=True)  # (1, 6, 4, 4)
    optimizer = optim.SGD([weight], lr=_RATE, momentum=_MOMENTUM)
    small = _data()[0]
    goal = Tensor(np.concatenate([_goal(target) for _, target in names], axis=1))
    kernels, errors = [], []
    with few_numbers():  # 96
        for step in range(STEPS[-1] + 1):
            up = F.conv_transpose2d(small, weight, stride=2, padding=1)[:, :, 2:-2, 2:-2]
            apart = up - goal
            squares = apart * apart
            if step in STEPS:
                kernels.append(weight.detach().numpy()[0].copy())
                errors.append(squares.detach().numpy().mean(axis=(0, 2, 3)))
            optimizer.zero_grad()
            (squares.mean() * len(names)).backward()  # the sum of the six mean squared errors
            optimizer.step()
    ways, found = np.array(kernels), np.array(errors)
    return {name: Learning(ways[:, i], found[:, i]) for i, name in enumerate(names)}


def brought_up(kernel: np.ndarray) -> np.ndarray:
    """Return the first picture brought up by a kernel, (2 SIDE, 2 SIDE)."""
    from .. import functional as F
    from ..autograd import no_grad
    from .few_numbers import few_numbers

    with no_grad(), few_numbers():
        result: np.ndarray = F.conv_transpose2d(_data()[0][:1], kernel[None, None], stride=2, padding=1).numpy()[0, 0]
    return result


def draw_learning_to_upsample(start: str = "random", target: str = "bilinear rule", step: int = 0) -> Drawing:
    """Draw the kernel after some steps, what it brings up, and the error of all starts; no widgets.

    Parameters
    ----------
    start : str
        "random", "bilinear" or "zeros".
    target : str
        What it is to give: what bilinear interpolation gives, or the picture from which the small one was made.
    step : int
        One of ``STEPS``.
    """
    learned = {name: learn(name, target) for name in STARTS}
    at = STEPS.index(step)
    kernel, error = learned[start].kernels[at], float(learned[start].errors[at])
    canvas = Canvas(760, 424, "A transposed convolution learns to upsample")
    _draw_kernel(canvas, kernel, step)
    _draw_errors(canvas, learned, start, at)
    small, large = _data()[0][0, 0], _goal(target)[0, 0]
    wide = 146.0
    for place, (name, pixels) in enumerate(
        (("input 16 × 16", small), ("output 32 × 32", brought_up(kernel)), ("target", large))
    ):
        shown = np.clip((pixels + 2.6) / 4.2, 0, 1)
        image(canvas, 290 + place * (wide + 14), 266, wide, shown, alt=name, label=name)
    far = float(np.abs(kernel - bilinear_kernel()).max())
    total = float(kernel.sum())
    distance = f"its numbers are at most {_two(far)} away from the bilinear kernel's"
    twin = (
        f"From {start if start != 'bilinear' else 'the bilinear kernel'}, step {step}: the mean squared error is {_small(error)}; "
        f"{distance}, and their sum is {_two(total)}."
    )
    return Drawing(
        canvas.svg(twin),
        twin,
        (
            f"error = mean of (output − target)² = {_small(error)}",
            "bilinear: (0.25, 0.75, 0.75, 0.25) along each axis; the sum is 2 · 2 = 4",
        ),
        "F.conv_transpose2d(x, weight, stride=2, padding=1)",
        "F.conv_transpose2d(x, weight, stride=2, padding=1)",
    )


def _two(value: float) -> str:
    return format_value(f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−"))


def _small(error: float) -> str:
    return f"{error:.2f}" if error >= 0.1 else f"{error:.4f}" if error >= 1e-4 else "below 0.0001"


def _draw_kernel(canvas: Canvas, kernel: np.ndarray, step: int) -> None:
    """Draw the sixteen numbers: orange above 0, blue and hatched below."""
    canvas.text(4, 18, f"kernel after {step} step{'s' * (step != 1)}", anchor="start", bold=True)
    cell = 62.0
    for (i, j), value in np.ndenumerate(kernel):
        x, y = 4 + j * cell, 28 + i * cell
        canvas.rect(x + 1, y + 1, cell - 2, cell - 2, "zero" if value < -0.005 else "plain")
        canvas.shade(x + 1, y + 1, cell - 2, cell - 2, min(1.0, abs(value)), "orange" if value > 0 else "sky blue")
        canvas.text(x + cell / 2, y + cell / 2 + 7, _two(value), size=19)
    canvas.text(4, 302, "orange: above 0", anchor="start", faint=True)
    canvas.text(4, 324, "blue, hatched: below 0", anchor="start", faint=True)
    canvas.text(4, 352, f"sum {_two(float(kernel.sum()))}", anchor="start", bold=True)
    canvas.text(4, 374, "(4: an even grey keeps", anchor="start", faint=True)
    canvas.text(4, 396, "its brightness)", anchor="start", faint=True)


def _height(error: float) -> float:
    """Return where an error stands on the axis: its logarithm, not below the axis' end."""
    return log10(max(float(error), 10**_LOWEST))


def _draw_errors(canvas: Canvas, learned: dict[str, Learning], start: str, at: int) -> None:
    """Draw the error over the recorded steps, a line for each start."""
    axes = plot(
        canvas, 336, 34, 290, 166, (0, len(STEPS) - 1), (_LOWEST, 0.2), y="mean squared error",
    )  # fmt: skip
    for power in range(int(_LOWEST), 1):
        y = axes.at(0, power)[1]
        canvas.line(336, y, 626, y, faint=True, width=1)
        canvas.text(330, y + 6, f"{10.0**power:.{-power}f}", anchor="end")
    for place in (0, 1, 3, 5, 7, 9):
        canvas.text(axes.at(place, 0)[0], 222, STEPS[place])
    canvas.text(642, 222, "step", anchor="start")
    colors = {"random": "vermilion", "bilinear": "blue", "zeros": "bluish green"}
    for style, (name, color) in enumerate(colors.items()):
        width = 4 if name == start else 2
        axes.line(range(len(STEPS)), [_height(e) for e in learned[name].errors], color=color, style=style, width=width)
        Plot(canvas, 642, 60.0 + 24 * style, 26, 0, (0, 1), (0, 1)).line(
            (0, 1), (0, 0), color=color, style=style, width=width
        )
        canvas.text(674, 65 + 24 * style, name, anchor="start", bold=name == start)
    axes.mark(at, _height(learned[start].errors[at]))


def learning_to_upsample(**state: Any) -> Explorer:
    """Explore how upsampling is learned; ``learning_to_upsample(start="bilinear", step=256)`` begins there."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "start": Choice(STARTS, "random", "start"),
        "target": Choice(TARGETS, "bilinear rule", "target"),
        "step": Slider(STEPS, 0, "step", play=True),
    }
    return Explorer(
        "Learning to upsample.",
        controls,
        draw_learning_to_upsample,
        Discovery(
            question="The kernel begins with random numbers: does it find the bilinear kernel by itself?",
            path=(("start", "random"), ("target", "bilinear rule"), ("step", 256)),
            fact="Yes, where bilinear is what is asked for. Asked for the picture itself it finds another, with a smaller error.",
        ),
        presets={
            "random, at the end": {"step": 256},
            "bilinear start": {"start": "bilinear"},
            "the picture itself, random": {"target": "the picture itself", "step": 256},
            "the picture itself, bilinear": {"target": "the picture itself", "start": "bilinear", "step": 256},
        },
        name="learning_to_upsample",
        state=state,
    )
