"""Curves inside a drawing: axes with numbers, lines with a name at their end, marks; colour never alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .colors import OKABE_ITO
from .svg import SMALLEST, Canvas, number
from .svg_grid import format_value

DASHES = ("", "7 4", "2 4", "10 3 2 3")


@dataclass(frozen=True)
class Plot:
    """Axes on a canvas: ``at(x, y)`` says where a value stands. Made by ``plot``.

    Attributes
    ----------
    canvas : Canvas
    left, top, width, height : float
        The frame, in units of the canvas.
    xs, ys : (first, last)
        The values at the frame's ends.
    """

    canvas: Canvas
    left: float
    top: float
    width: float
    height: float
    xs: tuple[float, float]
    ys: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a value stands; what is outside is brought to the frame."""
        (x0, x1), (y0, y1) = self.xs, self.ys
        across = min(max((x - x0) / ((x1 - x0) or 1.0), 0), 1)
        up = min(max((y - y0) / ((y1 - y0) or 1.0), 0), 1)
        return self.left + self.width * across, self.top + self.height * (1 - up)

    def line(
        self,
        xs: Iterable[float],
        ys: Iterable[float],
        *,
        color: str = "",
        width: float = 2.5,
        style: int = 0,
        name: str = "",
        faint: bool = False,
    ) -> None:
        """Draw a line through the values; ``style`` 0 to 3 is full, dashed, dotted, mixed; ``name`` stands at its end."""
        points = [self.at(x, y) for x, y in zip(xs, ys, strict=True)]
        stroke = OKABE_ITO[color] if color else "currentColor"
        dash = f' stroke-dasharray="{DASHES[style]}"' if style else ""
        look = ' stroke-opacity="0.35"' if faint else ""
        path = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.canvas.raw(
            f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width:g}" '
            f'stroke-linejoin="round"{dash}{look}/>'
        )
        if name:
            x, y = points[-1]
            self.canvas.text(x + 8, y + 5, name, anchor="start")

    def mark(self, x: float, y: float, role: str = "output", radius: float = 6.5) -> tuple[float, float]:
        """Draw a dot at a value and return where it stands."""
        where = self.at(x, y)
        self.canvas.dot(*where, radius, role)
        return where

    def drop(self, x: float, y: float, color: str = "vermilion") -> None:
        """Draw a line from a value down to the axis."""
        px, py = self.at(x, y)
        self.canvas.line(px, py, px, self.top + self.height, color=color)

    def bars(self, xs: Sequence[float], heights: Sequence[float], role: str = "tap", share: float = 0.7) -> None:
        """Draw a bar over each x, ``share`` of the distance wide."""
        (x0, x1), count = self.xs, max(1, len(xs) - 1)
        wide = share * self.width * ((xs[-1] - xs[0]) / count if len(xs) > 1 else x1 - x0) / ((x1 - x0) or 1.0)
        floor = self.at(x0, 0)[1]
        for x, value in zip(xs, heights, strict=True):
            px, py = self.at(x, value)
            if abs(floor - py) >= 0.5:
                self.canvas.rect(px - wide / 2, min(py, floor), wide, abs(floor - py), role, radius=1)


def plot(
    canvas: Canvas,
    left: float,
    top: float,
    width: float,
    height: float,
    xs: tuple[float, float],
    ys: tuple[float, float],
    *,
    x: str = "",
    y: str = "",
    xticks: Sequence[float] = (),
    yticks: Sequence[float] = (),
) -> Plot:
    """Draw axes and return them; (left, top) is the frame's corner, numbers stand outside of it.

    ``x`` is written below (leave 46 units), ``y`` above (leave 24), the numbers of ``yticks`` at the left.
    """
    made = Plot(canvas, left, top, width, height, xs, ys)
    for value in yticks:
        py = made.at(xs[0], value)[1]
        canvas.line(left, py, left + width, py, faint=True, width=1)
        canvas.text(left - 8, py + 6, format_value(value), anchor="end")
    canvas.line(left, top + height, left + width, top + height)
    for value in xticks:
        px = made.at(value, ys[0])[0]
        canvas.line(px, top + height, px, top + height + 5)
        canvas.text(px, top + height + SMALLEST + 6, format_value(value))
    if x:
        canvas.text(left + width / 2, top + height + 2 * SMALLEST + (10 if xticks else -8), x)
    if y:
        canvas.text(left, top - 10, y, anchor="start", bold=True)
    return made
