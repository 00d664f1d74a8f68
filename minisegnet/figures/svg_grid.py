"""Grids of cells with numbers: images, kernels, outputs, and counts, drawn alike in every lesson."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from .svg import ROLES, SMALLEST, Canvas


class Grid(NamedTuple):
    """Where a grid stands on the canvas: its left upper corner, rows, columns, and the size of a cell."""

    x: float
    y: float
    rows: int
    columns: int
    cell: float

    @property
    def right(self) -> float:
        """The x where the grid ends."""
        return self.x + self.columns * self.cell

    @property
    def bottom(self) -> float:
        """The y where the grid ends."""
        return self.y + self.rows * self.cell

    def middle(self, row: float, column: float) -> tuple[float, float]:
        """Return the centre of a cell."""
        return self.x + (column + 0.5) * self.cell, self.y + (row + 0.5) * self.cell


def format_value(value: Any) -> str:
    """Return a number as a cell shows it: whole numbers bare, others with two decimals, a true minus sign."""
    if isinstance(value, str):
        return value
    rounded = round(float(value), 2)
    text = f"{rounded:.0f}" if rounded == int(rounded) else f"{rounded:.2f}".rstrip("0")
    return text.replace("-0", "0", 1).replace("-", "−") if rounded == 0 else text.replace("-", "−")


def grid(
    canvas: Canvas,
    x: float,
    y: float,
    values: Any,
    *,
    role: str | Callable[[int, int], str] = "plain",
    cell: float = 34,
    size: float = SMALLEST + 1,
    label: str = "",
    axes: bool = False,
    origin: int = 0,
) -> Grid:
    """Draw a grid of numbers and return where it stands.

    Parameters
    ----------
    canvas, x, y
        Where; (x, y) is the left upper corner of the first cell, ``label`` stands above it.
    values : (rows, columns)
        Numbers, or text; None leaves a cell empty.
    role : str or function of (row, column)
        How each cell is drawn, a name of ``svg.ROLES``.
    axes : bool
        Number the rows and columns, from ``origin``.
    """
    rows = [list(row) for row in values]
    where = Grid(x, y, len(rows), len(rows[0]) if rows else 0, cell)
    if label:
        canvas.text(x, y - (26 if axes else 10), label, anchor="start", bold=True)
    if axes:
        for j in range(where.columns):
            canvas.text(where.middle(0, j)[0], y - 7, j + origin, faint=True)
        for i in range(where.rows):
            canvas.text(x - 8, where.middle(i, 0)[1] + 6, i + origin, anchor="end", faint=True)
    strong = []
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            name = role if isinstance(role, str) else role(i, j)
            if not ROLES[name].outline:
                continue
            if ROLES[name].outline > 1:  # drawn last: a neighbour must not cover its outline
                strong.append((i, j, name, value))
            else:
                _cell(canvas, where, i, j, name, value, size)
    for i, j, name, value in strong:
        _cell(canvas, where, i, j, name, value, size)
    return where


def _cell(canvas: Canvas, where: Grid, i: int, j: int, name: str, value: Any, size: float) -> None:
    look = ROLES[name]
    x, y = where.middle(i, j)
    inset = 1 + look.outline / 4
    side = where.cell - 2 * inset
    canvas.rect(x - side / 2, y - side / 2, side, side, name)
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return
    solid = look.opacity == 1 and look.fill.startswith("#")
    ground = look.fill if solid else ""
    canvas.text(x, y + size * 0.36, format_value(value), size=size, bold=solid, on=ground, faint=look.faint)


def dilated(weights: Any, rate: int) -> list[list[Any]]:
    """Return a kernel (KH, KW) with its gaps: the weights ``rate`` cells apart, None in between."""
    taps = [list(row) for row in weights]
    height, width = (len(taps) - 1) * rate + 1, (len(taps[0]) - 1) * rate + 1
    return [
        [taps[i // rate][j // rate] if i % rate == 0 and j % rate == 0 else None for j in range(width)]
        for i in range(height)
    ]


def kernel(canvas: Canvas, x: float, y: float, weights: Any, rate: int = 1, active: Any = None, **options: Any) -> Grid:
    """Draw a kernel with its dilation gaps; ``active`` is the (row, column) of the weight in use."""
    cells = dilated(weights, rate)
    here = (active[0] * rate, active[1] * rate) if active is not None else None

    def role(i: int, j: int) -> str:
        if (i, j) == here:
            return "active"
        return "kernel" if i % rate == 0 and j % rate == 0 else "gap"

    return grid(canvas, x, y, cells, role=role, **options)


def counts(canvas: Canvas, x: float, y: float, numbers: Any, *, cell: float = 34, **options: Any) -> Grid:
    """Draw how often each cell is used: the number, a shade that grows with it, hatched where it is 0, empty where NaN."""
    table = np.asarray(numbers, dtype=float)
    top = max(1.0, float(np.nanmax(table)))
    for (i, j), count in np.ndenumerate(table):
        if count > 0:
            canvas.shade(x + j * cell + 1, y + i * cell + 1, cell - 2, cell - 2, 0.2 + 0.8 * count / top, "sky blue")

    def role(i: int, j: int) -> str:
        return "nothing" if np.isnan(table[i, j]) else "plain" if table[i, j] else "zero"

    return grid(canvas, x, y, table.tolist(), cell=cell, role=role, **options)


def window(canvas: Canvas, where: Grid, row: int, column: int, height: int, width: int, color: str = "blue") -> None:
    """Frame the cells (row, column) to (row + height, column + width) of a grid."""
    canvas.frame(
        where.x + column * where.cell, where.y + row * where.cell, width * where.cell, height * where.cell, color=color
    )


def legend(canvas: Canvas, x: float, y: float, entries: Iterable[tuple[str, str]], *, gap: float = 22) -> float:
    """Write what each role means, (role, meaning) in a row from (x, y), and return the x where it ends."""
    for role, meaning in entries:
        canvas.rect(x, y - 14, 18, 18, role)
        canvas.text(x + 25, y, meaning, anchor="start")
        x += 25 + text_width(meaning) + gap
    return x


def text_width(text: str, size: float = SMALLEST) -> float:
    """Return about how wide a text is, in units; drawing code that must not overlap leaves a little more."""
    return sum(0.3 if c in "il.,:;'| " else 0.85 if c in "mwMW%" else 0.56 for c in text) * size
