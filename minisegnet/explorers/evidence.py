"""Explorer: evidence and influence. What one output pixel hangs on, where one cell of the waist lands, what flips a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.svg import Canvas
from ..figures.svg_grid import Grid
from ..figures.svg_image import heat, image
from ..figures.svg_plot import plot
from .controls import Choice, Control, Slider
from .drawing import Discovery, Drawing
from .evidence_runs import CELL, SEED, SQUARE, evidence_of, growth, influence_of, probability
from .unet_levels import LEVELS, SIZE, field, tissue

if TYPE_CHECKING:
    from .explorer import Explorer

VIEWS = ("evidence", "influence", "occluder")
GREY = 128
STRONGEST = 0.7  # change of a score: the end of the scale for all cells of the waist, so that weak ones look weak
LAST = len(LEVELS) - 1


def draw_evidence(
    view: str = "evidence", row: int = 48, column: int = 32, square_row: int = 0, square_column: int = 0
) -> Drawing:
    """Draw one state on synthetic tissue and the pre-trained U-Net; no widgets needed.

    Parameters
    ----------
    view : "evidence" (the gradient of one output pixel, over the image), "influence" (what a cell of the waist changes in the
        output) or "occluder" (a grey square laid over the image)
    row, column : the output pixel; its cell of the waist in the view "influence"
    square_row, square_column : the first pixel of the occluder
    """
    if view not in VIEWS:
        raise ValueError(f"view must be one of {VIEWS}, got {view!r}")
    if view == "occluder":
        return _draw_occluder(row, column, square_row, square_column)
    influence = view == "influence"
    values = influence_of(row // CELL, column // CELL) if influence else evidence_of(row, column)
    centre = tuple((p // CELL + 0.5) * CELL if influence else p + 0.5 for p in (row, column))
    sides, shares = growth(values, centre, CELL if influence else 1)
    largest = float(values.max())
    half, most = (next(n for n, share in zip(sides, shares, strict=True) if share >= part) for part in (0.5, 0.9))
    sees = field(LAST)
    area = 100 * half * half / sees**2
    if influence:
        twin = (
            f"Cell ({row // CELL}, {column // CELL}) of the waist, {CELL} × {CELL} pixels wide, set to zero: scores change by "
            f"{largest:.2f} at most, "
            f"half of all change lies in {half} × {half} pixels around it, 90% in {most} × {most}."
        )
        formula: tuple[str, ...] = (
            f"influence = |score with the cell − score without it|, at most {largest:.2f}",
            f"cell = (⌊{row} / 16⌋, ⌊{column} / 16⌋) = ({row // CELL}, {column // CELL})",
        )
        code = "waist = model.bottleneck(x) * mask  # then upwards as before"
        torch = "model.bottleneck.register_forward_hook(lambda module, x, waist: waist * mask)"
    else:
        twin = (
            f"Output pixel ({row}, {column}) can see {sees} × {sees} pixels, more than the whole image, but half of its "
            f"gradient lies in {half} × {half} pixels and 90% in {most} × {most}."
        )
        formula = (
            f"theoretical: {sees} × {sees} = {sees * sees:,} pixels",
            f"half of the gradient: {half} × {half} = {half * half:,} pixels, {area:.1f}% of that area",
        )
        score = f"s = model(x)[0, :, {row}, {column}]; (s[1] - s[0]).backward()"
        code = f"{score}; heat = np.abs(x.grad.numpy()).sum(axis=1)"
        torch = f"{score}; heat = x.grad.abs().sum(dim=1)"
    canvas = Canvas(760, 428, "Influence of a cell of the waist" if influence else "Evidence for an output pixel")
    where = _picture(
        canvas,
        _glow(values, STRONGEST if influence else largest),
        "what changes in the output" if influence else "what the pixel hangs on",
    )
    for side, color in ((most, "sky blue"), (half, "orange")):
        _square(canvas, where, centre, side, color)
    if influence:
        _box(canvas, where, row // CELL * CELL, column // CELL * CELL, CELL, "yellow")
    else:
        _target(canvas, where, row, column)
    _curve(canvas, sides, shares, half, most, sees, influence)
    return Drawing(canvas.svg(twin), twin, formula, code, torch)


def _draw_occluder(row: int, column: int, square_row: int, square_column: int) -> Drawing:
    before, after = probability(), probability(square_row, square_column)
    was, now = float(before[row, column]), float(after[row, column])
    flips = (was > 0.5) != (now > 0.5)
    gap = max(
        square_row - row, row - square_row - SQUARE + 1, square_column - column, column - square_column - SQUARE + 1
    )
    if gap <= 0:
        place = "covers it"
    else:
        place = f"lies {gap} pixel{'s' if gap > 1 else ''} away from it"
    names = ["background", "nucleus"]
    said = f"flips it to {names[now > 0.5]}" if flips else f"leaves it {names[now > 0.5]}"
    changed = (before > 0.5) != (after > 0.5)
    away = changed.copy()
    away[square_row : square_row + SQUARE, square_column : square_column + SQUARE] = False
    twin = (
        f"The grey square {place} and {said}: pixel ({row}, {column}) is nucleus with probability {was:.2f} without the "
        f"square and {now:.2f} with it."
    )
    shown = tissue(SEED).copy()
    shown[square_row : square_row + SQUARE, square_column : square_column + SQUARE] = GREY
    shown[changed] = (shown[changed] * 0.25 + 0.75 * np.array([213, 94, 0])).astype(np.uint8)
    canvas = Canvas(760, 428, "Occluder")
    where = _picture(canvas, shown, "orange: the class has changed")
    _box(canvas, where, square_row, square_column, SQUARE, "sky blue")
    _target(canvas, where, row, column)
    axes = plot(canvas, 450, 76, 270, 254, (0, 2), (0, 1), y="", yticks=(0, 0.5, 1))
    canvas.text(585, 46, "probability of a nucleus", bold=True)
    for x, value in ((0.5, was), (1.5, now)):
        axes.bars([x], [round(value, 2)], role="output" if value > 0.5 else "tap", share=0.25)
        px, py = axes.at(x, round(value, 2))
        canvas.text(px, py - 8, f"{value:.2f}", bold=True, size=18)
        canvas.text(px, 354, "without square" if x < 1 else "with square")
        canvas.text(px, 374, names[value > 0.5], bold=True)
    canvas.line(*axes.at(0, 0.5), *axes.at(2, 0.5), width=3)
    canvas.text(585, 412, "the pixel flips" if flips else "the pixel stays", bold=True, size=20)
    return Drawing(
        canvas.svg(twin),
        twin,
        (
            f"without: p = {was:.2f} {'>' if was > 0.5 else '≤'} 0.5; with: p = {now:.2f} {'>' if now > 0.5 else '≤'} 0.5",
            f"square: {SQUARE} × {SQUARE} pixels of grey {GREY}, distance {max(gap, 0)}",
        ),
        f"model.predict(covered)[1, {row}, {column}] > 0.5",
        f"model(covered).softmax(dim=1)[0, 1, {row}, {column}] > 0.5",
    )


def _glow(values: np.ndarray, top: float) -> np.ndarray:
    """Return the tissue in grey, the heat of values (H, W) laid over by square roots (little is seen too), ``top`` the end."""
    share = np.sqrt(np.clip(values / (top or 1.0), 0, 1))[..., None]
    grey = 70 + 0.7 * tissue(SEED).mean(axis=2, keepdims=True)
    return (grey * (1 - share) + share * heat(0.4 + 0.6 * share[..., 0], low=0.0, high=1.0)).round().astype(np.uint8)


def _picture(canvas: Canvas, pixels: np.ndarray, label: str) -> Grid:
    return image(canvas, 4, 30, 384, pixels, alt=f"Tissue, {SIZE} by {SIZE} pixels; {label}", label=label, jpeg=True)


def _box(canvas: Canvas, where: Grid, top: float, left: float, side: float, color: str) -> None:
    place = where.x + left * where.cell, where.y + top * where.cell, side * where.cell, side * where.cell
    canvas.frame(*place, thick=5)
    canvas.frame(*place, color=color, thick=3)


def _square(canvas: Canvas, where: Grid, centre: tuple[float, ...], side: int, color: str) -> None:
    """Draw a square around a place, cut off where the image ends."""
    (top, bottom), (left, right) = ((max(0.0, c - side / 2), min(float(SIZE), c + side / 2)) for c in centre)
    place = [v * where.cell for v in (left, top, right - left, bottom - top)]
    canvas.frame(where.x + place[0], where.y + place[1], place[2], place[3], color=color)


def _target(canvas: Canvas, where: Grid, row: int, column: int) -> None:
    x, y = where.middle(row, column)
    canvas.dot(x, y, 7, "object")


def _curve(
    canvas: Canvas, sides: tuple[int, ...], shares: tuple[float, ...], half: int, most: int, sees: int, influence: bool
) -> None:
    """Draw how much lies inside a square, over the square's side; the theoretical field is where the axis ends."""
    what = "changes" if influence else "gradient"
    axes = plot(
        canvas, 456, 60, 280, 240, (0, sees), (0, 1), x="side of a square around it, pixels", y=f"share of the {what} inside",
        xticks=(0, 50, 100, 150, sees), yticks=(0, 0.5, 1),
    )  # fmt: skip
    alike = [sees * n / 20 for n in range(21)]
    axes.line(alike, [round((n / 20) ** 2, 2) for n in range(21)], faint=True, style=1)
    axes.line((*sides, sees), (*shares, 1.0))
    for side, part, color, words in ((half, 0.5, "orange", "half"), (most, 0.9, "sky blue", "90%")):
        axes.drop(side, part, color)
        y = axes.mark(side, part, "kernel" if color == "orange" else "window")[1]
        canvas.text(axes.at(side, part)[0] + 12, y + 20, f"{words}: {side} px", anchor="start", bold=True)
    canvas.line(736, 60, 736, 300, width=3)
    if influence:
        words = "yellow: the cell's own 16 × 16 pixels"
    else:
        words = f"end of the axis: all it can see, {sees} px"
    canvas.text(596, 384, words)
    canvas.text(596, 408, "dashed: if all pixels counted alike", faint=True)


def evidence(**state: Any) -> Explorer:
    """Explore evidence and influence; ``evidence(view="occluder", square_row=40, square_column=8)`` begins there."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "view": Choice(VIEWS, "evidence", "show"),
        "row": Slider(range(0, SIZE, 8), 48, "pixel row"),
        "column": Slider(range(0, SIZE, 8), 32, "pixel column"),
        "square_row": Slider(range(0, SIZE - SQUARE + 1, 8), 40, "square row"),
        "square_column": Slider(range(0, SIZE - SQUARE + 1, 8), 64, "square column", play=True),
    }
    return Explorer(
        "Evidence and influence.",
        controls,
        draw_evidence,
        Discovery(
            question="Can a grey square flip a pixel that it does not touch?",
            path=(("view", "occluder"), ("square_column", 40), ("square_column", 8)),
            fact="Yes: nine pixels beside it the square turns background (0.00) into nucleus (0.96).",
        ),
        presets={
            "what a pixel hangs on": {"view": "evidence"},
            "a pixel of a corner": {"view": "evidence", "row": 0, "column": 0},
            "where a waist cell lands": {"view": "influence", "row": 16, "column": 8},
            "the square on the pixel": {"view": "occluder", "square_column": 24},
            "beside it: it flips": {"view": "occluder", "square_column": 8},
        },
        name="evidence",
        page={
            "row": (24, 48, 80),
            "column": (32, 64),
            "square_row": (0, 24, 40, 64),
            "square_column": (8, 24, 40, 64),
        },
        state=state,
    )
