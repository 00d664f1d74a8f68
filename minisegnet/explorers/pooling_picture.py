"""Pooling and unpooling: the numbers by the library's kernels, and their picture."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..figures.svg import Canvas
from ..figures.svg_grid import Grid, legend, text_width
from .controls import Table
from .transposed import table

RULES = ("max + switches", "average + nearest")
PUT = ("the network's", "the pooled")
_COLORS = ("orange", "blue", "bluish green", "reddish purple")
_MIDDLE, _SWITCH = 130.0, 46.0
_SWITCHES = 248.0  # where the table of switches begins


class Pooled(NamedTuple):
    """Down and up again, by the library: ``pooled`` (n, n), ``places`` (n, n) flat, ``sent`` up (n, n), ``up`` (size, size)."""

    pooled: np.ndarray
    places: np.ndarray
    sent: np.ndarray
    up: np.ndarray


@lru_cache(maxsize=512)
def down_and_up(rule: str, size: int, kernel: int, stride: int, put: str, image: Table, inside: Table) -> Pooled:
    """Pool the image, and take the pooled numbers or those of ``inside`` up again by the rule."""
    from .. import functional as F
    from ..autograd import no_grad
    from .few_numbers import few_numbers

    x = np.array(image, np.float32)[None, None, :size, :size]
    with no_grad(), few_numbers():
        values, places = F.max_pool2d(x, kernel, stride, return_indices=True)
        if rule != RULES[0]:
            values = F.avg_pool2d(x, kernel, stride)
        n = values.shape[-1]
        sent = values if put == PUT[1] else np.array(inside, np.float32)[None, None, :n, :n]
        if rule == RULES[0]:
            up = F.max_unpool2d(sent, places, kernel, stride, output_size=(size, size))
        else:
            up = F.interpolate(sent, size=(size, size), mode="nearest")
    made = [np.asarray(getattr(a, "data", a))[0, 0] for a in (values, places)]
    return Pooled(
        made[0], made[1], sent[0, 0] if isinstance(sent, np.ndarray) else sent.numpy()[0, 0], up.numpy()[0, 0]
    )


class Scene(NamedTuple):
    """A state, computed."""

    switches: bool
    size: int
    kernel: int
    stride: int
    network: bool
    x: np.ndarray
    made: Pooled
    window: tuple[int, int] | None

    @property
    def n(self) -> int:
        """How many windows there are on each axis."""
        return len(self.made.pooled)

    def inside(self, window: tuple[int, int], row: int, column: int) -> bool:
        """Say whether a pixel lies in a window."""
        top, left = window[0] * self.stride, window[1] * self.stride
        return top <= row < top + self.kernel and left <= column < left + self.kernel

    def at(self, window: tuple[int, int]) -> tuple[int, int]:
        """Return row and column of the switch of a window."""
        row, column = divmod(int(self.made.places[window]), self.size)
        return row, column

    def rivals(self, window: tuple[int, int]) -> list[tuple[int, int]]:
        """Return the other windows with the same switch."""
        return [w for w in np.ndindex(self.n, self.n) if w != window and self.at(w) == self.at(window)]

    def ties(self, window: tuple[int, int]) -> int:
        """Return how often the maximum stands in a window."""
        top, left = window[0] * self.stride, window[1] * self.stride
        patch = self.x[top : top + self.kernel, left : left + self.kernel]
        return int((patch == patch.max()).sum())

    @property
    def restored(self) -> int:
        """How many pixels hold their old number again."""
        return int((self.made.up == self.x).sum())


def picture(scene: Scene) -> Canvas:
    """Draw a scene: input, pooled numbers, what is put back, output; below them the switches."""
    n, size = scene.n, scene.size
    canvas = Canvas(760, 408, "Max-pooling and unpooling" if scene.switches else "Average-pooling and nearest")
    big = 168 / size
    wide = wide_up = max(big, 38.0)
    if not scene.switches and size == 5:  # averages have two decimals
        wide, wide_up = 34.0, 44.0
    small = min(40.0, 140 / n)
    free = 752 - size * (wide + wide_up)
    share = min(46.0, (free - 3 * 22) / (2 * n))
    gap = (free - 2 * n * share) / 3
    x_pool = 4 + size * wide + gap
    x_sent = x_pool + n * share + gap
    x_up = 756 - size * wide_up
    source = Grid(4, _MIDDLE - size * big / 2, size, size, big)
    _input(canvas, scene, wide, big)
    y = _MIDDLE - n * small / 2

    def role(i: int, j: int) -> str:
        return "active" if (i, j) == scene.window else "kernel"

    table(canvas, x_pool, y, scene.made.pooled.tolist(), role, share, small, 16)
    canvas.text(x_pool + n * share / 2, y - 12, "maxima" if scene.switches else "averages", bold=True)
    table(canvas, x_sent, y, scene.made.sent.tolist(), lambda i, j: "object" if (i, j) == scene.window else "good", share,
          small, 16)  # fmt: skip
    canvas.text(x_sent + n * share / 2, y - 12, "put back", bold=True)
    for left in (4 + size * wide, x_pool + n * share, x_sent + n * share):
        canvas.arrow(left + 5, _MIDDLE, left + gap - 5, _MIDDLE)
    said = "rest of the network" if scene.network else "unchanged"
    canvas.text(x_pool + n * share + gap / 2, y - 36, said)
    _output(canvas, scene, x_up, wide_up, big)
    if scene.switches:
        _switches(canvas, scene, source, wide, x_up)
    else:
        canvas.text(380, 260, "no switches: where in its window", bold=True)
        canvas.text(380, 282, "the largest number stood is forgotten", bold=True)
    if n == 2 and not scene.window:
        _same_frames(canvas, scene, wide, big, x_pool, x_sent, y, share, small)
    _counts(canvas, scene)
    entries = [
        ("tap", "maximum"),
        ("output", "its place again"),
        ("zero", "filled with 0"),
        ("active", "claimed more than once"),
    ]
    if not scene.switches:
        entries = [("kernel", "average"), ("good", "put back"), ("done", "copied over its block")]
    elif not any(scene.rivals(w) for w in np.ndindex(n, n)):
        entries.pop()
    legend(canvas, 4, 398, entries, gap=28)
    return canvas


def _input(canvas: Canvas, scene: Scene, wide: float, high: float) -> None:
    chosen = {scene.at(w) for w in np.ndindex(scene.n, scene.n)}
    now = scene.at(scene.window) if scene.window else None
    y = _MIDDLE - scene.size * high / 2

    def role(i: int, j: int) -> str:
        if scene.switches and ((i, j) == now or (now is None and (i, j) in chosen)):
            return "tap"
        return "window" if scene.window and scene.inside(scene.window, i, j) else "image"

    table(canvas, 4, y, scene.x.tolist(), role, wide, high)
    canvas.text(4, y - 12, f"input: {scene.size} × {scene.size}", anchor="start", bold=True)
    if scene.window:
        k, s = scene.kernel, scene.stride
        top, left = scene.window
        canvas.frame(4 + left * s * wide, y + top * s * high, k * wide, k * high, color="orange", thick=4)


def _output(canvas: Canvas, scene: Scene, x: float, wide: float, high: float) -> None:
    windows: list[Any] = list(np.ndindex(scene.n, scene.n))
    claims: dict[tuple[int, int], int] = {}
    for w in windows:
        claims[scene.at(w)] = claims.get(scene.at(w), 0) + 1
    now = scene.at(scene.window) if scene.window else None
    y = _MIDDLE - scene.size * high / 2
    block = {}
    for i, j in np.ndindex(scene.size, scene.size):
        block[i, j] = (i * scene.n // scene.size, j * scene.n // scene.size)

    def role(i: int, j: int) -> str:
        if not scene.switches:
            return "output" if block[i, j] == scene.window else "done"
        if (i, j) not in claims:
            return "zero"
        if now is not None and (i, j) != now:
            return "done"
        return "active" if claims[i, j] > 1 else "output"

    table(canvas, x, y, scene.made.up.tolist(), role, wide, high)
    canvas.text(x, y - 12, f"unpooled: {scene.size} × {scene.size}", anchor="start", bold=True)


def _switches(canvas: Canvas, scene: Scene, source: Grid, wide: float, x_up: float) -> None:
    """Draw the remembered places, and the way of one of them from the input to the output."""
    n, high = scene.n, min(34.0, 104 / scene.n)
    x, y = 380 - n * _SWITCH / 2, _SWITCHES
    table(canvas, x, y, scene.made.places.tolist(), lambda i, j: "active" if (i, j) == scene.window else "kernel",
          _SWITCH, high, 16)  # fmt: skip
    canvas.text(380, y + n * high + 21, f"switches: row · {scene.size} + column", bold=True)
    if not scene.window:
        canvas.arrow(4 + scene.size * wide / 2, source.bottom + 10, x - 8, y + n * high / 2, width=2)
        canvas.arrow(x + n * _SWITCH + 8, y + n * high / 2, x_up + scene.size * wide / 2, source.bottom + 12, width=2)
        return
    row, column = scene.at(scene.window)
    i, j = scene.window
    bus, middle = source.bottom + 16, y + (i + 0.5) * high  # the way runs between the cells: no number is crossed
    start, end = 4 + (column + 1) * wide, x_up + column * wide
    left, right, place = x + j * _SWITCH, x + (j + 1) * _SWITCH, source.y + (row + 0.5) * source.cell
    _way(canvas, [(start - 5, place), (start, place), (start, bus), (left, bus), (left, middle), (left + 10, middle)])
    _way(canvas, [(right - 5, middle), (right, middle), (right, bus), (end, bus), (end, place), (end + 10, place)])


def _way(canvas: Canvas, points: list[tuple[float, float]]) -> None:
    for (x1, y1), (x2, y2) in pairwise(points[:-1]):
        dx, dy = (1.5 * ((b > a) - (b < a)) for a, b in ((x1, x2), (y1, y2)))  # so that corners close
        canvas.line(x1 - dx, y1 - dy, x2 + dx, y2 + dy, color="vermilion", width=3)
    (x1, y1), (x2, y2) = points[-2:]
    canvas.arrow(x1, y1, x2, y2, width=3, head=10)  # in ink: it ends in a coloured cell


def _same_frames(
    canvas: Canvas, scene: Scene, wide: float, high: float, x_pool: float, x_sent: float, y: float, share: float,
    small: float,
) -> None:  # fmt: skip
    """Frame each of four windows, its number and what is put back in one colour."""
    top = _MIDDLE - scene.size * high / 2
    for number, color in enumerate(_COLORS):
        i, j = divmod(number, 2)
        inset = 1.5 + 1.5 * number * (scene.kernel > scene.stride)
        canvas.frame(4 + j * scene.stride * wide + inset, top + i * scene.stride * high + inset,
                     scene.kernel * wide - 2 * inset, scene.kernel * high - 2 * inset, color=color)  # fmt: skip
        for left in (x_pool, x_sent):
            canvas.frame(left + j * share + 3, y + i * small + 3, share - 6, small - 6, color=color)
        if scene.switches:
            canvas.frame(380 + (j - 1) * _SWITCH + 3, _SWITCHES + i * 34 + 3, _SWITCH - 6, 28, color=color)


def _counts(canvas: Canvas, scene: Scene) -> None:
    pixels = scene.size**2
    kept = len({scene.at(w) for w in np.ndindex(scene.n, scene.n)}) if scene.switches else 0
    lines = [("numbers restored", f"{scene.restored} of {pixels}"), ("places restored", f"{kept} of {scene.n**2}")]
    for number, (name, count) in enumerate(lines[: 1 + scene.switches]):
        y = 314 + 30 * number
        canvas.text(756, y, count, anchor="end", bold=True, size=20)
        canvas.text(756 - text_width("00 of 00", 20) * 1.15, y, name, anchor="end")
