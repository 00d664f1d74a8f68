"""Explorer: dilated convolutions, alone and stacked. How many paths reach each input pixel, and which are never seen?"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.svg import Canvas
from ..figures.svg_grid import counts, legend
from ..shapes import effective_kernel, gridding
from .controls import Control, Slider, State
from .drawing import Discovery, Drawing

if TYPE_CHECKING:
    from .explorer import Explorer

REACH = 8  # the rates' sum: what fits into the picture on each side
SIDE = 2 * REACH + 1
_CELL, _STEP = 22, 16.4


@lru_cache(maxsize=128)
def path_counts(rates: tuple[int, ...], row_only: bool = False) -> np.ndarray:
    """Return how many paths lead from each pixel of a SIDE x SIDE image (or one row) to the output pixel in its middle.

    All weights are 1: then the gradient of the output pixel counts the paths, and the library's own kernels do it.
    """
    height = 1 if row_only else SIDE
    x, out = _through(np.zeros((height, SIDE), np.float32), rates)
    out[0, 0, height // 2, REACH].backward()
    return x.grad.numpy()[0, 0].round().astype(int)


def answer(rates: tuple[int, ...], place: int) -> int:
    """Return what the middle output pixel says when one input pixel is 1, ``place`` columns beside the middle."""
    image = np.zeros((SIDE, SIDE), np.float32)
    image[REACH, REACH + place] = 1
    return round(float(_through(image, rates)[1].detach().numpy()[0, 0, REACH, REACH]))


def _through(image: np.ndarray, rates: tuple[int, ...]) -> tuple[Any, Any]:
    from .. import functional as F
    from ..autograd import Tensor

    x = out = Tensor(image[None, None], requires_grad=True)
    tall = 1 if len(image) == 1 else 3
    ones = np.ones((1, 1, tall, 3), np.float32)
    for rate in rates:
        out = F.conv2d(out, ones, padding=(rate if tall == 3 else 0, rate), dilation=(rate if tall == 3 else 1, rate))
    return x, out


def draw_dilation(layers: int = 1, rate1: int = 2, rate2: int = 1, rate3: int = 1, object: int = 0) -> Drawing:
    """Draw what one output pixel sees through 3 x 3 layers of these rates, and an object of one pixel; no widgets.

    Parameters
    ----------
    layers : int
        How many layers, 1 to 3; the rates behind them are not used.
    rate1, rate2, rate3 : int
        The dilation rates, that of the layer next to the input first; their sum is at most 8.
    object : int
        How many columns the object stands beside the output pixel.
    """
    rates = (rate1, rate2, rate3)[:layers]
    paths = path_counts(rates)
    seen = gridding(3, rates)
    row = path_counts(rates, row_only=True)[0]
    twin = _twin(rates, seen.reached, seen.span, object, answer(rates, object), int(row[REACH + object]))
    canvas = Canvas(760, 428, f"Dilated convolution, rates {_joined(rates)}")
    _draw_field(canvas, paths, sum(rates), object)
    _draw_layers(canvas, row, rates, object)
    legend(
        canvas, 4, 420, [("object", "one bright pixel"), ("zero", "never seen (0 paths)"), ("output", "output pixel")]
    )
    spans = "; ".join(f"rate {r}: 3 + 2·({r} − 1) = {effective_kernel(3, r)}" for r in dict.fromkeys(rates))
    layer = "nn.Conv2d(1, 1, 3, padding={0}, dilation={0})"
    chain = ", ".join(layer.format(rate) for rate in rates)
    code = chain if layers == 1 else f"nn.Sequential({chain})"
    return Drawing(
        canvas.svg(twin),
        twin,
        (
            f"effective kernel = k + (k − 1)(r − 1); {spans}",
            f"span = 1 + 2·({' + '.join(map(str, rates))}) = {seen.span}; seen along a row: {seen.reached} of {seen.span}",
            f"weights: {layers} · 9 = {9 * layers}, whatever the rates",
        ),
        code,
        code,
    )


def _draw_field(canvas: Canvas, paths: np.ndarray, reach: int, place: int) -> None:
    """Draw the plane: a number of paths in each pixel that the span covers."""
    numbers = paths.astype(float)
    numbers[np.abs(np.add.outer(np.arange(SIDE) - REACH, np.zeros(SIDE))) > reach] = np.nan
    numbers[np.abs(np.add.outer(np.zeros(SIDE), np.arange(SIDE) - REACH)) > reach] = np.nan
    canvas.rect(2, 24, SIDE * _CELL + 4, SIDE * _CELL + 4)
    where = counts(canvas, 4, 26, numbers, cell=_CELL, label="paths from each pixel to the output pixel", size=16)
    x, y = where.x + REACH * _CELL, where.y + REACH * _CELL
    canvas.frame(x + 1, y + 1, _CELL - 2, _CELL - 2, color="vermilion")
    canvas.frame(x + place * _CELL + 1, y + 1, _CELL - 2, _CELL - 2, thick=5)
    canvas.frame(x + place * _CELL + 1, y + 1, _CELL - 2, _CELL - 2, color="yellow", thick=3)


def _draw_layers(canvas: Canvas, row: np.ndarray, rates: tuple[int, ...], place: int) -> None:
    """Draw the middle row in section: the input below, each layer above it, the output on top, and the ways between."""
    left, top, bottom = 482.0, 66.0, 330.0
    middle = left + REACH * _STEP

    def at(level: int, column: int) -> tuple[float, float]:
        return middle + column * _STEP, bottom - (bottom - top) * level / len(rates)

    needed = [{0}]  # which columns of each level the output pixel needs, from the output down
    for rate in reversed(rates):
        needed.insert(0, {c + step for c in needed[0] for step in (-rate, 0, rate)})
    lit = [{place}]  # where the object's light goes, from the input up
    for rate in rates:
        lit.append({c + step for c in lit[-1] for step in (-rate, 0, rate)})
    canvas.text(left - 90, 16, "along one row, layer by layer", anchor="start", bold=True)
    for bright in (False, True):  # the object's paths are drawn over the others
        for level, rate in enumerate(rates, start=1):
            for upper in sorted(needed[level]):
                for lower in (upper - rate, upper, upper + rate):
                    if (lower in lit[level - 1] and upper in lit[level]) == bright:
                        x1, y1 = at(level - 1, lower)
                        canvas.line(
                            x1, y1, *at(level, upper), color="vermilion" if bright else "", width=3.5 if bright else 1.2,
                            faint=not bright,
                        )  # fmt: skip
    names = ["input", *(f"layer {level}" for level in range(1, len(rates))), "output"]
    for level, name in enumerate(names):
        y = at(level, 0)[1]
        canvas.text(left - 90, y + 5, name, anchor="start")
        if level:
            canvas.text(left - 90, y + 25, f"rate {rates[level - 1]}", anchor="start", faint=True)
        for column in range(-REACH, REACH + 1):
            used = column in needed[level]
            role = "object" if (level, column) == (0, place) else "tap" if used else "hidden"
            if (level, column) == (len(rates), 0):
                role = "output"
            canvas.dot(*at(level, column), 2.5 if role == "hidden" else 6.5, role)
    x, y = at(len(rates), 0)
    ways = int(row[REACH + place])
    said = f"{ways} path{'s' if ways > 1 else ''}" if ways else "no path: not seen"
    canvas.text(x, y - 16, said, bold=True, size=18)
    canvas.text(left - 90, bottom + 32, "paths", anchor="start")
    for column in range(-REACH, REACH + 1):
        inside = abs(column) <= sum(rates)
        canvas.text(
            at(0, column)[0], bottom + 32, int(row[REACH + column]) if inside else "·", bold=column == place,
            faint=not row[REACH + column],
        )  # fmt: skip


def _twin(rates: tuple[int, ...], reached: int, span: int, place: int, ways: int, in_row: int) -> str:
    holes = "every pixel of its span" if reached == span else f"only {reached} of the {span} pixels of its span"
    side = "in the middle" if place == 0 else f"{abs(place)} to the {'left' if place < 0 else 'right'} of the middle"
    if ways == 0:
        seen = "is not seen"
    elif ways == 1:
        seen = "is seen by one path"
    else:
        seen = f"is seen by {ways} paths, {in_row} of them along the row"
    name = "Rate" if len(rates) == 1 else "Rates"
    return f"{name} {_joined(rates)}: along a row the output pixel sees {holes}. The bright pixel {side} {seen}."


def _joined(rates: tuple[int, ...]) -> str:
    return ", ".join(map(str, rates))


def dilation(**state: Any) -> Explorer:
    """Explore dilated convolutions; ``dilation(layers=3, rate1=1, rate2=2, rate3=5)`` begins there."""
    from .explorer import Explorer

    def most(number: int) -> Any:
        def limit(state: State) -> int:
            if number > state["layers"]:
                return 1
            before = sum(state[f"rate{i}"] for i in range(1, number))
            return REACH - before - (state["layers"] - number)

        return limit

    controls: dict[str, Control] = {
        "layers": Slider((1, 2, 3), 1, "layers"),
        "rate1": Slider((1, 2, 3, 4, 5), 2, "rate 1", limit=most(1)),
        "rate2": Slider((1, 2, 3, 4, 5), 1, "rate 2", limit=most(2)),
        "rate3": Slider((1, 2, 3, 4, 5), 1, "rate 3", limit=most(3)),
        "object": Slider(range(-REACH, REACH + 1), 0, "bright pixel", play=True),
    }

    def stack(*rates: int, at: int = 0) -> State:
        return {"layers": len(rates), **{f"rate{i}": r for i, r in enumerate(rates, start=1)}, "object": at}

    return Explorer(
        "Dilated convolution.",
        controls,
        draw_dilation,
        Discovery(
            question="One bright pixel slides along a row: with which rates does the output pixel lose sight of it?",
            path=(("layers", 3), ("rate1", 2), ("rate2", 2), ("rate3", 2), ("object", 1)),
            fact="At rates 2, 2, 2 it blinks out at every second place (7 of 13 are seen); at 1, 2, 5 it never does (17 of 17).",
        ),
        presets={
            "slide: rate = 1": stack(1),
            "slide: rate = 2": stack(2),
            "slide: rate = 3": stack(3),
            "2, 2, 2: a grid of holes": stack(2, 2, 2, at=1),
            "1, 2, 5: no holes": stack(1, 2, 5, at=1),
            "1, 2, 4": stack(1, 2, 4),
        },
        name="dilation",
        state=state,
    )
