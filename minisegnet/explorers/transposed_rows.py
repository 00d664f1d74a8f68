"""The pictures of a transposed convolution along one axis: the views share it, so that the output stays in its place."""

from __future__ import annotations

from typing import Any

from ..figures.svg import Canvas
from ..figures.svg_grid import format_value, text_width
from . import transposed as shared
from .transposed import Computed, Geometry, cell, signed

_LEFT, _HIGH = 112.0, 36.0


def product(names: Any, i: int, j: int, letters: bool) -> str:
    """Return the product of input i and weight j as it is written: "az" or "2·3"."""
    return f"{names[0][i]}{names[1][j]}" if letters else f"{signed(names[0][i])}·{signed(names[1][j])}"


def spelled(names: Any, g: Geometry, place: int, letters: bool) -> str:
    """Return the sum that a place of the output is: "az + bx"."""
    return " + ".join(product(names, i, j, letters) for i, j in g.terms(place)) or "0"


def _content(names: Any, g: Geometry, numbers: Computed, place: int, letters: bool, wide: float, until: int) -> Any:
    """Return what a place of the output shows when the first ``until`` input pixels have stamped."""
    terms = [(i, j) for i, j in g.terms(place) if i < until]
    if not terms:
        return "0" if until >= g.n else None
    if letters:
        lines = [("+" if number else "") + product(names, i, j, True) for number, (i, j) in enumerate(terms)]
        return lines if text_width("".join(lines), 17) > wide - 8 else ["".join(lines)]
    if until >= g.n and g.kind(place) != "cropped":
        return numbers.out[0, place - g.p]
    return sum(names[0][i] * names[1][j] for i, j in terms) if until < g.n else numbers.full[0, place]


def aligned(
    view: str, g: Geometry, row: Any, filter_: Any, names: Any, numbers: Computed, step: int, letters: bool
) -> Canvas:
    """Draw the views that share one axis: the output row stands at the same place in each of them."""
    wide = min(92.0, (752 - _LEFT) / (g.axis + g.k - 1))
    first = _LEFT + (g.k - 1) / 2 * wide
    region = max(196.0, 54 + 40 * g.n)
    top = 36.0
    bottom = top + region
    stacked = max(len(g.terms(q)) for q in range(g.axis)) if letters else 1
    fits = not letters or text_width("+".join(["ax"] * stacked), 17) <= wide - 8
    high = _HIGH if fits else _HIGH + 18 * (stacked - 1)
    canvas = Canvas(760, bottom + high + 98, f"Transposed convolution, 1-D: {view}")
    until = min(step, g.n) if view == "scatter" and step else g.n
    chosen = None if view in ("scatter", "there and back") or not step else step - 1 + g.p
    draw = {"scatter": _scatter, "gather": _graph, "there and back": _graph, "zero-insertion": _zeros}[view]
    draw(canvas, g, names, numbers, step, letters, first, wide, top, bottom)
    now = range((until - 1) * g.s, (until - 1) * g.s + g.k) if view == "scatter" and step else ()
    kinds = g.kinds
    for q, kind in sorted(enumerate(kinds), key=lambda at: at[0] == chosen or at[0] in now):
        overlap = len([1 for i, _ in g.terms(q) if i < until]) > 1
        role = shared.place_role(kind, q == chosen or q in now, overlap)
        content = _content(names, g, numbers, q, letters, wide, until)
        if chosen is not None and kind != "cropped" and q > chosen:
            content = None
        cell(canvas, first + q * wide, bottom, wide, high, role, content)
        canvas.text(first + (q + 0.5) * wide, bottom + high + 19, len(g.terms(q)), bold=len(g.terms(q)) > 1)
    canvas.frame(first + g.p * wide, bottom - 1, g.out * wide, high + 2, color="vermilion")
    canvas.text(4, bottom + high / 2 + 6, f"output: {g.out}", anchor="start", bold=True, size=17)
    canvas.text(4, bottom + high + 19, "products", anchor="start")
    shared.places_legend(canvas, bottom + high + 54, kinds, [("done", "output"), ("window", "overlap: a sum")])
    shared.sizes_strip(canvas, 4, bottom + high + 87, g)
    return canvas


def _scatter(
    canvas: Canvas, g: Geometry, names: Any, numbers: Computed, step: int, letters: bool, first: float, wide: float,
    top: float, bottom: float,
) -> None:  # fmt: skip
    on = f"{g.s} place{'s' * (g.s > 1)} on"
    shared.heading(canvas, "scatter", f"each input pixel stamps the filter, each time {on} in the output")
    until = min(step, g.n) if step else g.n
    at = (until - 1) * g.s if step else 0
    canvas.text(4, top + 24, "filter", anchor="start")
    for j, weight in enumerate(names[1]):
        cell(canvas, first + (at + j) * wide, top, wide, _HIGH, "kernel", weight)
    gap = (bottom - top - _HIGH - 22) / g.n
    for i, value in enumerate(names[0]):
        y = top + _HIGH + 8 + i * gap + (gap - _HIGH) / 2
        if i == 0:
            canvas.text(4, y + 24, "input", anchor="start")
        now = bool(step) and i == until - 1
        cell(canvas, 62, y, 44, _HIGH, "tap" if now or (not step and i < until) else "image", value)
        if i >= until:
            continue
        canvas.arrow(110, y + _HIGH / 2, first + i * g.s * wide - 3, y + _HIGH / 2, width=2, head=8)
        for j in range(g.k):
            content = product(names, i, j, True) if letters else names[0][i] * names[1][j]
            x = first + (i * g.s + j) * wide
            cell(canvas, x, y, wide, _HIGH, "active" if now else "kernel", content)
            later = [row for row, _ in g.terms(i * g.s + j) if i < row < until]
            below = y + (later[0] - i) * gap if later else bottom
            canvas.line(x + wide / 2, y + _HIGH, x + wide / 2, below, faint=True)


def _graph(
    canvas: Canvas, g: Geometry, names: Any, numbers: Computed, step: int, letters: bool, first: float, wide: float,
    top: float, bottom: float,
) -> None:  # fmt: skip
    """Draw the ways between input and output: the same in both directions."""
    back = canvas.title.endswith("back")
    if back:
        shared.heading(canvas, "there and back", "the convolution goes the same ways down, with the same weights")
        chosen = step - 1 if step else None
    else:
        shared.heading(canvas, "gather", "each output pixel adds up the input pixels that reach it, each by one weight")
        chosen = step - 1 + g.p if step else None
    rows = 2 if back else 1
    below = top + rows * (_HIGH + 4)
    canvas.text(4, top + 24, "input", anchor="start")
    if back:
        canvas.text(4, top + _HIGH + 28, "came back", anchor="start")
    edges = [(i, j) for i in range(g.n) for j in range(g.k)]

    def lit(i: int, j: int) -> bool:
        if g.kind(i * g.s + j) == "cropped":
            return False
        return chosen is None or (i == chosen if back else i * g.s + j == chosen)

    def ends(i: int, j: int) -> tuple[float, float, float, float]:
        upper, lower = first + (i * g.s + g.k / 2) * wide, first + (i * g.s + j + 0.5) * wide
        return upper, below, lower, bottom - 2

    for i, j in sorted(edges, key=lambda edge: lit(*edge)):
        x1, y1, x2, y2 = ends(i, j)
        if not lit(i, j):
            canvas.line(x1, y1, x2, y2, faint=True)
        elif back:
            canvas.arrow(x2, y2, x1, y1, width=2)
        else:
            canvas.arrow(x1, y1, x2, y2, width=2)
    for i, j in edges:
        if not lit(i, j):
            continue
        x1, y1, x2, y2 = ends(i, j)
        share = 0.5 if g.k == 1 else 0.24 + 0.5 * j / (g.k - 1)
        x, y = x1 + (x2 - x1) * share, y1 + (y2 - y1) * share
        canvas.dot(x, y, 13, "active")
        canvas.text(x, y + 6, format_value(names[1][j]), bold=True, on="#E69F00")
    for i, value in enumerate(names[0]):
        x = first + (i * g.s + g.k / 2) * wide - 24
        reached = any(lit(i, j) for j in range(g.k))
        cell(canvas, x, top, 48, _HIGH, "image" if back or not reached or chosen is None else "tap", value)
        if back:
            shown = chosen is None or i <= chosen
            now = i == chosen or chosen is None
            cell(canvas, x, top + _HIGH + 2, 48, _HIGH, "output" if now else "done" if shown else "hidden",
                 numbers.back[0, i] if shown else None)  # fmt: skip


def _zeros(
    canvas: Canvas, g: Geometry, names: Any, numbers: Computed, step: int, letters: bool, first: float, wide: float,
    top: float, bottom: float,
) -> None:  # fmt: skip
    around = f"k − 1 − p = {g.k - 1 - g.p} around" if g.k > g.p else "the ends cut off"
    shared.heading(canvas, "zero-insertion", f"s − 1 = {g.s - 1} between, {around}; then a convolution with stride 1")
    chosen = step - 1 + g.p if step else g.p
    gap = (bottom - top - 2 * _HIGH) / 3
    upper, lower = top + gap * 0.5, top + gap * 1.5 + _HIGH
    left = first - (g.k - 1) / 2 * wide  # a window of k places has its middle over the output place that it makes
    canvas.text(4, upper + 14, "input with", anchor="start")
    canvas.text(4, upper + 33, "zeros", anchor="start")
    used = range(g.p, g.p + g.out + g.k - 1)
    for u in range(g.axis + g.k - 1):
        inner = u - (g.k - 1)
        own = 0 <= inner <= (g.n - 1) * g.s
        source = own and inner % g.s == 0
        inside = chosen <= u < chosen + g.k
        role = ("tap" if inside else "image") if source else "zero" if own else "padding"
        if u not in used:
            role = "hidden"
        content = names[0][inner // g.s] if source else 0 if u in used else None
        cell(canvas, left + u * wide, upper, wide, _HIGH, role, content)
    canvas.frame(left + chosen * wide - 1, upper - 3, g.k * wide + 2, _HIGH + 6, color="orange", thick=4)
    canvas.text(4, lower + 14, "filter", anchor="start")
    canvas.text(4, lower + 33, "turned round", anchor="start")
    for j in range(g.k):
        x = left + (chosen + j) * wide
        here = g.k - 1 - j
        meets = (chosen, here) and any(weight == here for _, weight in g.terms(chosen))
        cell(canvas, x, lower, wide, _HIGH, "active" if meets else "kernel", names[1][here])
        canvas.line(x + wide / 2, upper + _HIGH + 4, x + wide / 2, lower, faint=not meets)
    middle = first + (chosen + 0.5) * wide
    canvas.arrow(middle, lower + _HIGH, middle, bottom - 3)


def matrix(g: Geometry, names: Any, numbers: Computed, step: int, letters: bool) -> Canvas:
    """Draw the convolution's matrix, and beside it its transpose times the input."""
    high = min(32.0, 268 / g.axis)
    canvas = Canvas(760, 66 + max(g.axis * high, 160, g.n * high + 84) + 84, "Transposed convolution, 1-D: matrix")
    shared.heading(canvas, "matrix", "the convolution’s matrix C goes down; its transpose Cᵀ goes up")
    chosen = step - 1 + g.p if step else None
    top = 66.0
    longest = max(len(spelled(names, g, q, letters)) for q in range(g.axis)) if letters else 5
    result = max(66.0, longest * 9.2 + 10)
    square = min(46.0, (752 - result - 132) / (g.axis + g.n + 1))
    size = 16
    kinds = g.kinds

    def weight(i: int, q: int) -> Any:
        j = q - i * g.s
        if kinds[q] == "cropped" or letters:
            return names[1][j] if 0 <= j < g.k else "·"
        value = numbers.conv_matrix[i, q - g.p]
        return value if 0 <= j < g.k else "·"

    def role(i: int, q: int) -> str:
        reaches = 0 <= q - i * g.s < g.k
        if kinds[q] == "cropped":
            return "hidden"
        if q == chosen:
            return "active" if reaches else "window"
        return "kernel" if reaches else "plain"

    canvas.text(4, top - 12, f"C: {g.out} pixels to {g.n}", anchor="start")
    down = [[weight(i, q) for q in range(g.axis)] for i in range(g.n)]
    shared.table(canvas, 4, top, down, role, square, high, size)
    under = top + g.n * high + 28
    notes = ["each column of C is a row of Cᵀ"]
    if "cropped" in kinds:
        notes += ["what lies on padding’s zeros in C", "is what padding crops in Cᵀ"]
    for number, note in enumerate(notes):
        canvas.text(4, under + 21 * number, note, anchor="start")
    x = max(4 + g.axis * square + 40, 310.0)
    canvas.text(x, top - 12, f"Cᵀ: {g.n} pixels to {g.out}", anchor="start")
    up = [[weight(i, q) for i in range(g.n)] for q in range(g.axis)]
    shared.table(canvas, x, top, up, lambda q, i: role(i, q), square, high, size)
    x += g.n * square + 10
    middle = top + g.axis * high / 2
    canvas.text(x + 8, middle + 6, "·", size=26, bold=True)
    x += 24
    inputs = [[value] for value in names[0]]
    reach = {i for i, _ in g.terms(chosen)} if chosen is not None else set(range(g.n))
    shared.table(canvas, x, middle - g.n * high / 2, inputs, lambda i, _: "tap" if i in reach else "image", square + 8,
                 high, size)  # fmt: skip
    x += square + 8
    canvas.text(x + 16, middle + 7, "=", size=24, bold=True)
    x += 32
    canvas.text(x + result, top - 12, f"output: {g.out}", anchor="end", bold=True)
    for q, kind in enumerate(kinds):
        shown = kind != "cropped" and (chosen is None or q <= chosen)
        value = (
            spelled(names, g, q, True).replace(" ", "") if letters else numbers.by_matrix[0, q - g.p] if shown else None
        )
        role_ = shared.place_role(kind, q == chosen, len(g.terms(q)) > 1)
        if kind == "cropped":
            value = value if letters else numbers.full[0, q]
        cell(canvas, x, top + q * high, result, high, role_, value if shown or kind == "cropped" else None, size)
    canvas.frame(x - 1, top + g.p * high, result + 2, g.out * high, color="vermilion")
    shared.places_legend(canvas, canvas.height - 44, kinds, [("kernel", "weight"), ("window", "sum")])
    shared.sizes_strip(canvas, 4, canvas.height - 11, g)
    return canvas
