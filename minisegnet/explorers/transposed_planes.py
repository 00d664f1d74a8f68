"""The pictures of a transposed convolution in the plane: input left, kernel in the middle, output with its ring right."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..figures.svg import Canvas
from ..figures.svg_grid import format_value, text_width
from . import transposed as shared
from .transposed import Computed, Geometry, table

RECALL = "recall: convolution"
GAP = 40.0
_TOP, _TALL = 62.0, 268.0
_COLORS = ("orange", "blue", "bluish green", "reddish purple")


class Scene(NamedTuple):
    """A state, computed: ``x`` (n, n), ``w`` (k, k), ``image`` (out, out) and ``down`` (n, n) what a convolution makes of it."""

    view: str
    g: Geometry
    x: np.ndarray
    w: np.ndarray
    numbers: Computed
    step: int
    image: np.ndarray
    down: np.ndarray

    @property
    def axis(self) -> int:
        """How many places are drawn; the convolution has its whole ring of zeros, even where no window comes."""
        ring = self.g.out + 2 * self.g.p
        return max(self.g.axis, ring) if self.view == RECALL else self.g.axis

    @property
    def pixel(self) -> tuple[int, int] | None:
        """The input pixel that the step is about, in the views that go through the input."""
        return divmod(self.step - 1, self.g.n) if self.step and through_input(self.view) else None

    @property
    def place(self) -> tuple[int, int] | None:
        """The place of the output that the step is about, counted before the crop, in the other views."""
        if not self.step or through_input(self.view):
            return None
        row, column = divmod(self.step - 1, self.g.out)
        return row + self.g.p, column + self.g.p

    def meet(self, place: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Return the products of a place: (input pixel, weight) as (row, column) each."""
        rows, columns = self.g.terms(place[0]), self.g.terms(place[1])
        return [((i, j), (a, b)) for i, a in rows for j, b in columns]


def through_input(view: str) -> bool:
    """Say whether the steps of a view go through the input's pixels; else through the output's."""
    return view in ("scatter", "there and back", RECALL)


def draw(scene: Scene) -> Canvas:
    """Draw a scene in its view."""
    canvas = Canvas(760, 430, f"Transposed convolution, 2-D: {scene.view}")
    said = {
        "scatter": f"each input pixel stamps the kernel, each time {scene.g.s} on; overlaps add up",
        "gather": "each output pixel adds up the input pixels that reach it, each by one weight",
        "matrix": "every pixel a row or column: C goes down, its transpose Cᵀ goes up",
        "zero-insertion": f"s − 1 = {scene.g.s - 1} between, zeros around; then a convolution with stride 1",
        "there and back": "the convolution goes the same ways down, with the same weights",
        RECALL: "each window becomes one pixel; padding is the ring of zeros",
    }
    shared.heading(canvas, scene.view, said[scene.view])
    if scene.view == "matrix":
        _matrices(canvas, scene)
    else:
        _three(canvas, scene)
    return canvas


def _values(scene: Scene) -> list[list[Any]]:
    """Return what the places of the output show: partial sums while stamps are laid, empty where no step was yet."""
    g, rows = scene.g, []
    until = scene.step if scene.pixel and scene.view == "scatter" else g.n**2
    part = np.where(np.arange(g.n**2).reshape(g.n, g.n) < until, scene.x, 0)
    sums = np.zeros((scene.axis, scene.axis))
    if until < g.n**2:
        made = shared.computed(rows_of(part), rows_of(scene.w), g.s, 0, 0).full
    else:
        made = scene.numbers.full
    sums[: g.full, : g.full] = made
    if until == g.n**2:  # what is kept is what conv_transpose2d returns
        sums[g.p : g.p + g.out, g.p : g.p + g.out] = scene.numbers.out
    if scene.view == RECALL:
        sums[:] = 0
        sums[g.p : g.p + g.out, g.p : g.p + g.out] = scene.image
    for r in range(scene.axis):
        row: list[Any] = []
        for c in range(scene.axis):
            reached = any(i * g.n + j < until for (i, j), _ in scene.meet((r, c)))
            blank = until < g.n**2 and not reached
            if scene.place and kind(g, r, c) != "cropped" and (r, c) > scene.place:
                blank = True
            row.append(None if blank else sums[r, c])
        rows.append(row)
    return rows


def kind(g: Geometry, row: int, column: int) -> str:
    """Return what becomes of a place in the plane; see ``Geometry.kind``."""
    both = (g.kind(row), g.kind(column))
    return next((name for name in ("cropped", "empty", "extra") if name in both), "kept")


def rows_of(values: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Return an array as tuples, for the cache."""
    return tuple(tuple(row) for row in values.tolist())


def _needed(values: list[list[Any]], least: float, room: float = 1.28) -> float:
    """Return the width of cells in which every number has room, ``least`` or more."""
    longest = max(text_width(format_value(v)) for row in values for v in row if v is not None)
    return max(least, longest * room + 6)


def _three(canvas: Canvas, scene: Scene) -> None:
    g, pixel, place = scene.g, scene.pixel, scene.place
    zeros = scene.view == "zero-insertion"
    values = _values(scene)
    high = min(46.0, _TALL / scene.axis)
    wide = _needed([*values, *scene.numbers.full.tolist()], high, 1.12 if zeros else 1.28)
    side = g.out + g.k - 1 if zeros else g.n
    below = 0.0  # the width of the results on the left, where there are any
    if scene.view == "there and back":
        below = _needed(scene.numbers.back.tolist(), 30)
    elif scene.view == RECALL:
        below = _needed(scene.down.tolist(), 30)
    free = 752 - 2 * GAP - scene.axis * wide
    square = min(46.0, (free - g.n * below) / g.k if below else free / (side + g.k), _TALL / side)
    below = max(below, square)
    total = side * below + (0 if zeros else g.k * _weights_wide(scene, square)) + scene.axis * wide + 2 * GAP
    spare = max(0.0, 752 - total - zeros * g.k * square) / 4
    gap = GAP + min(spare, 30)
    middle = _TOP + _TALL / 2
    right = _left(canvas, scene, square, below, middle)
    right = _kernel(canvas, scene, right + gap, gap, square, middle)
    x = right + gap
    y = middle - scene.axis * high / 2
    recall = scene.view == RECALL
    now = set()
    if pixel and scene.view != "there and back":
        now = {(pixel[0] * g.s + a, pixel[1] * g.s + b) for a in range(g.k) for b in range(g.k)}

    def role(r: int, c: int) -> str:
        what = kind(g, r, c)
        if recall:
            inside = (r, c) in now
            return ("tap" if inside else "image") if what != "cropped" else "window" if inside else "padding"
        many = len(g.terms(r)) * len(g.terms(c))
        until = scene.step if pixel and scene.view == "scatter" else g.n**2
        many = sum(i * g.n + j < until for (i, j), _ in scene.meet((r, c)))
        return shared.place_role(what, (r, c) == place or (r, c) in now, many > 1)

    table(canvas, x, y, values, role, wide, high, 17 if wide > 40 and high > 36 else 16)
    name = f"image: {g.out} × {g.out}" if recall else f"output: {g.out} × {g.out}"
    canvas.text(x, y - 12, name, anchor="start", bold=True)
    canvas.frame(x + g.p * wide - 1, y + g.p * high - 1, g.out * wide + 2, g.out * high + 2, color="vermilion")
    if scene.view == "scatter" and not pixel and g.n == 2:
        for at, color in enumerate(_COLORS):
            i, j = divmod(at, 2)
            inset = 1.5 + 2 * at
            canvas.frame(x + j * g.s * wide + inset, y + i * g.s * high + inset, g.k * wide - 2 * inset,
                         g.k * high - 2 * inset, color=color, thick=2)  # fmt: skip
    elif pixel:
        i, j = pixel
        canvas.frame(x + j * g.s * wide, y + i * g.s * high, g.k * wide, g.k * high, color="orange", thick=4)
    kinds = [kind(g, r, c) for r in range(scene.axis) for c in range(scene.axis)]
    if recall:
        ring = [("padding", "zero padding")] * ("cropped" in kinds)
        shared.places_legend(
            canvas, 372, (), [("image", "pixel"), ("tap", "in the window"), ("kernel", "weight"), *ring]
        )
    else:
        shared.places_legend(canvas, 372, kinds, [("done", "output"), ("window", "overlap: a sum")])
    shared.sizes_strip(canvas, 4, 412, g, plane=True)


def _weights_wide(scene: Scene, square: float) -> float:
    """Return the width of the kernel's cells: the products below them need room."""
    if not scene.step or scene.view in ("zero-insertion", "there and back"):
        return square
    most = -np.max(np.abs(scene.w)) * max(np.max(np.abs(scene.x)), np.max(scene.image))
    return max(square, text_width(format_value(most)) + 5)


def _left(canvas: Canvas, scene: Scene, square: float, below: float, middle: float) -> float:
    """Draw the input (with zeros in between, or with what came back below it) and return where it ends."""
    g, pixel, place = scene.g, scene.pixel, scene.place
    if scene.view == "zero-insertion":
        return _stretched(canvas, scene, square, middle)
    back, recall = scene.view == "there and back", scene.view == RECALL
    high = min(square, (_TALL - 44) / (2 * g.n)) if back else square
    y = _TOP + 4 if back else middle - g.n * high / 2
    reach = {at for at, _ in scene.meet(place)} if place else set()

    def role(i: int, j: int) -> str:
        if (i, j) == pixel and recall:
            return "output"
        return "tap" if (i, j) == pixel or (i, j) in reach else "image"

    if recall:
        shown = [[v if not pixel or (i, j) <= pixel else None for j, v in enumerate(row)]
                 for i, row in enumerate(scene.down.tolist())]  # fmt: skip
        table(canvas, 4, y, shown, lambda i, j: "output" if (i, j) == pixel else "done" if shown[i][j] is not None else
              "hidden", below, high)  # fmt: skip
        canvas.text(4, y - 12, f"result: {g.n} × {g.n}", anchor="start", bold=True)
        return 4 + g.n * below
    table(canvas, 4, y, scene.x.tolist(), role, below if back else square, high, 17 if square > 30 else 16)
    canvas.text(4, y - 12, f"input: {g.n} × {g.n}", anchor="start", bold=True)
    if scene.view == "scatter" and not pixel and g.n == 2:
        for at, color in enumerate(_COLORS):
            i, j = divmod(at, 2)
            canvas.frame(4 + j * square + 3, y + i * high + 3, square - 6, high - 6, color=color, thick=3)
    if back:
        y += g.n * high + 40
        shown = [[v if not pixel or (i, j) <= pixel else None for j, v in enumerate(row)]
                 for i, row in enumerate(scene.numbers.back.tolist())]  # fmt: skip
        table(canvas, 4, y, shown, lambda i, j: "output" if (i, j) == pixel or not pixel else "done", below, high, 16)
        canvas.text(4, y - 12, "came back", anchor="start", bold=True)
    return 4 + g.n * (below if back else square)


def _stretched(canvas: Canvas, scene: Scene, square: float, middle: float) -> float:
    """Draw the input with zeros between and around, and the window of the output pixel in question."""
    g = scene.g
    row, column = scene.place or (g.p, g.p)
    wide, cut = shared.stretched(scene.x, (g.k, g.k), (g.s, g.s), (g.p, g.p), (g.extra, g.extra))
    cells = wide[cut]
    y = middle - len(cells) * square / 2

    def role(i: int, j: int) -> str:
        inner = [at + g.p - (g.k - 1) for at in (i, j)]
        own = all(0 <= v <= (g.n - 1) * g.s for v in inner)
        source = own and all(v % g.s == 0 for v in inner)
        inside = 0 <= i - row + g.p < g.k and 0 <= j - column + g.p < g.k
        return ("tap" if inside else "image") if source else "zero" if own else "padding"

    table(canvas, 4, y, cells.tolist(), role, square, size=16)
    canvas.text(4, y - 12, "input with zeros", anchor="start", bold=True)
    canvas.frame(4 + (column - g.p) * square - 1, y + (row - g.p) * square - 1, g.k * square + 2, g.k * square + 2,
                 color="orange", thick=4)  # fmt: skip
    return 4 + len(cells) * square


def _kernel(canvas: Canvas, scene: Scene, x: float, gap: float, square: float, middle: float) -> float:
    """Draw the kernel, below it the products of the step, and the arrows; return where it ends."""
    g, pixel, place = scene.g, scene.pixel, scene.place
    zeros, back, recall = (scene.view == v for v in ("zero-insertion", "there and back", RECALL))
    with_products = bool(scene.step) and not zeros and not back
    wide = square if zeros else _weights_wide(scene, square)
    high = min(square, (_TALL - 44) / (2 * g.k)) if with_products else square
    used = {weight for _, weight in scene.meet(place or (g.p, g.p))} if place or zeros else set()
    if pixel:
        used = {(a, b) for a in range(g.k) for b in range(g.k)}
    weights = scene.w[::-1, ::-1] if zeros else scene.w

    def role(a: int, b: int) -> str:
        weight = (g.k - 1 - a, g.k - 1 - b) if zeros else (a, b)
        return "active" if weight in used and (place or zeros) else "kernel"

    block = g.k * high * (1 + with_products) + 40 * with_products
    y = middle - block / 2
    table(canvas, x, y, weights.tolist(), role, wide, high, 17 if high > 30 else 16)
    canvas.text(x + g.k * wide / 2, y - 12, "turned round" if zeros else "kernel", bold=True)
    if with_products:
        products: list[list[Any]] = [[None] * g.k for _ in range(g.k)]
        if pixel and recall:
            patch = np.zeros((scene.axis, scene.axis))
            patch[g.p : g.p + g.out, g.p : g.p + g.out] = scene.image
            top, left = pixel[0] * g.s, pixel[1] * g.s
            products = (patch[top : top + g.k, left : left + g.k] * scene.w).tolist()
        elif pixel:
            products = (scene.x[pixel] * scene.w).tolist()
        elif place:
            for source, (a, b) in scene.meet(place):
                products[a][b] = float(scene.x[source] * scene.w[a, b])
        y += g.k * high + 40
        label = f"times {format_value(scene.x[pixel])}" if pixel and not recall else "products"
        canvas.text(x + g.k * wide / 2, y - 12, label, bold=True)
        table(canvas, x, y, products, lambda a, b: "hidden" if products[a][b] is None else "plain", wide, high, 16)
    right = x + g.k * wide
    for start in (x - gap, right):
        if recall:
            canvas.arrow(start + gap - 6, middle, start + 6, middle)
        elif back:
            canvas.arrow(start + 6, middle - 60, start + gap - 6, middle - 60)
            canvas.arrow(start + gap - 6, middle + 72, start + 6, middle + 72, color="vermilion")
        else:
            canvas.arrow(start + 6, middle, start + gap - 6, middle)
    return right


def _matrices(canvas: Canvas, scene: Scene) -> None:
    """Draw C and its transpose, with numbers where they are readable, else as patterns; one row of the transpose is marked."""
    g, place, numbers = scene.g, scene.place, scene.numbers
    rows, columns = g.out**2, g.n**2
    chosen = (place[0] - g.p) * g.out + place[1] - g.p if place else None
    written = rows <= 16
    high = min(32.0, 288 / max(rows, columns if written else 1))
    result = _needed([[v] for v in numbers.out.ravel().tolist()], 24)
    wide = min(34.0 if written else 14.0, (752 - 150 - result) / (rows + columns + 1))
    top = 66.0
    tap = {(i, q) for q in range(rows) for (i, _) in
           [(a * g.n + b, 0) for (a, b), _ in scene.meet((q // g.out + g.p, q % g.out + g.p))]}  # fmt: skip
    canvas.text(4, top - 12, f"C: {columns} × {rows}", anchor="start", bold=True)
    x_up = 4 + rows * wide + 44
    canvas.text(x_up, top - 12, f"Cᵀ: {rows} × {columns}", anchor="start", bold=True)
    for i in range(columns):
        for q in range(rows):
            inside = (i, q) in tap
            if not (inside or written):
                continue
            role = "active" if inside and q == chosen else "kernel" if inside else "plain" if q != chosen else "window"
            value = (format_value(numbers.conv_matrix[i, q]) if inside else None) if written else None
            if not written:
                role = "tap" if inside and q == chosen else "kernel"
                inset = 0.3
                canvas.rect(4 + q * wide + inset, top + i * high + inset, wide - 2 * inset, high - 2 * inset, role, 1)
                canvas.rect(
                    x_up + i * wide + inset, top + q * high + inset, wide - 2 * inset, high - 2 * inset, role, 1
                )
                continue
            shared.cell(canvas, 4 + q * wide, top + i * high, wide, high, role, value, 16)
            shared.cell(canvas, x_up + i * wide, top + q * high, wide, high, role, value, 16)
    canvas.frame(2, top - 2, rows * wide + 4, columns * high + 4, thick=1)
    canvas.frame(x_up - 2, top - 2, columns * wide + 4, rows * high + 4, thick=1)
    if chosen is not None:
        canvas.frame(4 + chosen * wide - 1, top - 3, wide + 2, columns * high + 6, color="vermilion", thick=2)
        canvas.frame(x_up - 3, top + chosen * high - 1, columns * wide + 6, high + 2, color="vermilion", thick=2)
    note = top + columns * high + 34
    lines = ("each row of Cᵀ is a column of C:", "one output pixel, and who reaches it")
    for line in lines if note < 340 else ():
        canvas.text(4, note, line, anchor="start")
        note += 22
    x = x_up + columns * wide + 14
    middle = top + rows * high / 2
    if written:
        canvas.text(x, middle + 6, "·", size=26, bold=True)
        x += 12
        reach = {i for i, q in tap if q == chosen}
        inputs = [[v] for v in scene.x.ravel().tolist()]
        table(canvas, x, max(top, middle - columns * high / 2), inputs,
              lambda i, _: "tap" if i in reach or chosen is None else "image", 28, high, 16)  # fmt: skip
        x += 28
        canvas.text(x + 14, middle + 7, "=", size=24, bold=True)
        x += 28
        values = [
            [v if chosen is None or q <= chosen else None] for q, v in enumerate(numbers.by_matrix.ravel().tolist())
        ]
        table(canvas, x, top, values, lambda q, _: "output" if q == chosen else "done", result, high, 16)
        canvas.text(x + result, top - 12, "output", anchor="end", bold=True)
    elif chosen is not None:
        value = format_value(numbers.by_matrix.ravel()[chosen])
        y = min(top + chosen * high + 6, 310)
        for number, line in enumerate((f"row {chosen}", "· input", f"= {value}")):
            canvas.text(x, y + 22 * number, line, anchor="start", bold=True)
    shared.places_legend(canvas, 372 + 14, (), [("kernel", "weight"), ("plain", "zero")] if written else
                         [("kernel", "weight; elsewhere zero")])  # fmt: skip
    shared.sizes_strip(canvas, 4, 420, g, plane=True)
