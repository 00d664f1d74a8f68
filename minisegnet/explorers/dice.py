"""Explorer: Dice. A mask moved, grown, shrunk against a target: what does one pixel cost, and is the denominator constant?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.colors import ERROR_STYLES
from ..figures.svg import Canvas, number
from ..figures.svg_plot import plot
from .controls import Choice, Control, Slider, State
from .dice_sets import FIELD, OBJECTS, SHAPES, Counts, Edit, both_sets, by_size, count
from .drawing import Discovery, Drawing

if TYPE_CHECKING:
    from .explorer import Explorer

_CELL, _LEFT, _TOP = 12.0, 4.0, 28.0
_GROW = tuple(range(-8, 7))
_REACH = 3  # the plot shows masks up to three times as large as the target


def draw_dice(
    shape: str = "disk", object: int = 10, dx: int = 2, dy: int = 0, grow: int = 0, wider: int = 0
) -> Drawing:
    """Draw a mask X over a target Y, its place among the lines of equal Dice, and the same error on other sizes; pure.

    Parameters
    ----------
    shape : {"disk", "square", "four nuclei", "nothing"}
        The target; with "nothing" it is empty, and the mask a disk.
    object : int
        How many pixels the target measures across.
    dx, dy : int
        By how many pixels the mask lies too far to the right, and down.
    grow, wider : int
        How many pixels the mask is too large on every side (or too small), and to the right.
    """
    edit = Edit(dx, dy, grow, wider)
    from ..metrics import dice, iou

    now = count(shape, object, edit)
    scores = [measure(*both_sets(shape, object, edit), empty="nan") for measure in (dice, iou)]
    twin = _twin(now, *scores)
    canvas = Canvas(760, 428, "Dice: a mask X, a target Y, and lines of equal Dice")
    _draw_field(canvas, shape, object, edit)
    _draw_counts(canvas, now, *scores)
    if shape == "nothing":
        _draw_empty(canvas, now)
    else:
        _draw_lines(canvas, shape, object, edit, now, scores[0])
        _draw_sizes(canvas, shape, object, edit, scores[0])
    return Drawing(
        canvas.svg(twin),
        twin,
        (
            f"Dice = 2·|X ∩ Y| / (|X| + |Y|) = 2·{now.found} / ({now.mask} + {now.target}) = {_say(scores[0])}",
            f"= 2·TP / (2·TP + FP + FN) = {2 * now.found} / ({2 * now.found} + {now.alarm} + {now.missed})",
            f"IoU = TP / (TP + FP + FN) = Dice / (2 − Dice) = {_say(scores[1])}",
        ),
        "metrics.dice(mask, target, empty=1.0)",
        "2 * (mask & target).sum() / (mask.sum() + target.sum())",
    )


def _draw_field(canvas: Canvas, shape: str, size: int, edit: Edit) -> None:
    """Draw the image's pixels: found, false alarm and missed by colour and pattern, both outlines on top."""
    mask, target = both_sets(shape, size, edit)
    side = FIELD * _CELL
    canvas.text(_LEFT, 16, f"mask X on target Y, {FIELD} × {FIELD} pixels", anchor="start", bold=True)
    ticks = "".join(
        f"M{number(_LEFT + i * _CELL)} {number(_TOP)}v{number(side)}M{number(_LEFT)} {number(_TOP + i * _CELL)}h{number(side)}"
        for i in range(FIELD + 1)
    )
    canvas.raw(f'<path d="{ticks}" stroke="currentColor" stroke-opacity="0.13" fill="none"/>')
    for style, cells in zip(ERROR_STYLES, (mask & target, mask & ~target, target & ~mask), strict=False):
        corners = [(_LEFT + j * _CELL, _TOP + i * _CELL) for i, j in np.argwhere(cells).tolist()]
        if not corners:
            continue
        one = number(_CELL)
        squares = "".join(f"M{number(x)} {number(y)}h{one}v{one}h-{one}z" for x, y in corners)
        canvas.raw(f'<path d="{squares}" fill="{style.color}"/>')
        if style.pattern == "diagonal":
            canvas.raw(_strokes("".join(f"M{number(x)} {number(y + _CELL)}l{one} -{one}" for x, y in corners)))
        elif style.pattern == "dots":
            middle = _CELL / 2
            dots = "".join(f"M{number(x + middle - 1)} {number(y + middle)}h2" for x, y in corners)
            canvas.raw(_strokes(dots, 2.4))
    _outline(canvas, target, 3)
    _outline(canvas, mask, 3, dashed=True)


def _strokes(path: str, width: float = 1.2) -> str:
    return f'<path d="{path}" stroke="#000" stroke-width="{width:g}" fill="none"/>'


def _outline(canvas: Canvas, cells: np.ndarray, width: float, dashed: bool = False) -> None:
    """Draw the boundary of a set of pixels: the target's is full, the mask's dashed."""
    framed = np.pad(cells, 1)
    lines = []
    for i, j in np.argwhere(framed[1:, 1:-1] != framed[:-1, 1:-1]).tolist():
        lines.append(f"M{number(_LEFT + j * _CELL)} {number(_TOP + i * _CELL)}h{number(_CELL)}")
    for i, j in np.argwhere(framed[1:-1, 1:] != framed[1:-1, :-1]).tolist():
        lines.append(f"M{number(_LEFT + j * _CELL)} {number(_TOP + i * _CELL)}v{number(_CELL)}")
    dash = f' stroke-dasharray="{number(_CELL * 0.55)} {number(_CELL * 0.45)}"' if dashed else ""
    if lines:
        canvas.raw(f'<path d="{"".join(lines)}" stroke="currentColor" stroke-width="{width:g}" fill="none"{dash}/>')


def _draw_counts(canvas: Canvas, now: Counts, dice: float, iou: float) -> None:
    """Write the counts under their patterns, and the scores."""
    y, x = _TOP + FIELD * _CELL + 24, _LEFT
    for style, many in zip(ERROR_STYLES, (now.found, now.alarm, now.missed), strict=False):
        canvas.raw(
            f'<rect x="{number(x)}" y="{number(y - 14)}" width="18" height="18" rx="3" fill="{style.color}" '
            'stroke="currentColor" stroke-opacity="0.6"/>'
        )
        if style.pattern == "diagonal":
            canvas.raw(_strokes(f"M{number(x)} {number(y - 4)}l10 -10M{number(x + 4)} {number(y + 4)}l14 -14"))
        elif style.pattern == "dots":
            canvas.raw(
                _strokes("".join(f"M{number(x + a)} {number(y - 14 + b)}h2" for a in (4, 12) for b in (5, 13)), 2.4)
            )
        canvas.text(x + 24, y, f"{style.short} {many}", anchor="start")
        x += 90
    for name, dash in (("Y", ""), ("X", ' stroke-dasharray="6.6 5.4"')):
        canvas.raw(f'<path d="M{number(x)} {number(y - 5)}h18" stroke="currentColor" stroke-width="3"{dash}/>')
        canvas.text(x + 21, y, name, anchor="start")
        x += 36
    words = f"Dice {_say(dice)}"
    canvas.text(_LEFT, y + 28, words, anchor="start", bold=True, size=20)
    canvas.text(_LEFT + 336, y + 28, f"IoU {_say(iou)}, accuracy {now.accuracy:.3f}", anchor="end")


def _draw_lines(canvas: Canvas, shape: str, size: int, edit: Edit, now: Counts, dice: float) -> None:
    """Draw overlap over the size of X: Dice is the same along each line, and the lines are not level."""
    canvas.text(392, 16, "overlap |X ∩ Y| over the size of X", anchor="start", bold=True)
    whole = now.target
    axes = plot(canvas, 424, 54, 296, 150, (0, _REACH * whole), (0, whole), x="size of X in pixels",
                xticks=(0, whole, 2 * whole, 3 * whole), yticks=(0, whole))  # fmt: skip
    points = " ".join(
        f"{number(px)},{number(py)}" for px, py in (axes.at(0, 0), axes.at(whole, whole), axes.at(0, whole))
    )
    canvas.raw(f'<polygon points="{points}" fill="currentColor" fill-opacity="0.09"/>')
    px, py = axes.at(0.04 * whole, 0.86 * whole)
    canvas.text(px, py + 6, "impossible", anchor="start", faint=True)
    for level in (0.2, 0.4, 0.6, 0.8, 1.0):
        first = level / (2 - level)  # where the line leaves the diagonal; it ends at the frame
        last = min(2 / level - 1, _REACH)
        axes.line((first * whole, last * whole), (first * whole, level * (1 + last) / 2 * whole), width=1.5, faint=True)
        px, py = axes.at(last * whole, level * (1 + last) / 2 * whole)
        name, inside = f"Dice {level:g}" if level == 1 else f"{level:g}", last < _REACH
        canvas.text(px + (0 if inside else 4), py + (-6 if inside else 6), name, anchor="middle" if inside else "start")
    trail = [count(shape, size, edit._replace(grow=grow)) for grow in _GROW]
    axes.line([s.mask for s in trail], [s.found for s in trail], color="blue", width=2, style=2)
    canvas.text(axes.left + axes.width, axes.top + axes.height - 10, "··· X as it grows", anchor="end", faint=True)
    px, py = axes.mark(now.mask, now.found)
    if now.mask > _REACH * whole:
        canvas.text(px - 14, py + (24 if py < 90 else -14), f"→ |X| = {now.mask}", anchor="end", bold=True)
    else:
        left = now.mask > 1.6 * whole
        below = py < 150
        canvas.text(px + (-10 if left else 10), py + (25 if below else -10), _say(dice), bold=True, size=18,
                    anchor="end" if left else "start")  # fmt: skip


def _draw_sizes(canvas: Canvas, shape: str, size: int, edit: Edit, dice: float) -> None:
    """Draw what the same error costs objects of every size."""
    scores = by_size(shape, edit)
    axes = plot(canvas, 424, 296, 296, 84, (OBJECTS[0], OBJECTS[-1]), (0, 1), xticks=(1, 4, 8, 12, 16), yticks=(0, 0.5, 1),
                x="object size in pixels across")  # fmt: skip
    canvas.text(392, 280, "Dice after the same error, by object size", anchor="start", bold=True)
    axes.line(OBJECTS, scores, color="blue")
    for other, value in zip(OBJECTS, scores, strict=True):
        axes.mark(other, value, "tap", radius=3)
    axes.drop(size, dice)
    axes.mark(size, dice)


def _draw_empty(canvas: Canvas, now: Counts) -> None:
    """Draw Dice over the size of X where there is nothing to find: a jump, and a corner where it is 0 / 0."""
    canvas.text(392, 16, "nothing to find: Dice over the size of X", anchor="start", bold=True)
    most = max(8, 2 * now.mask)
    axes = plot(canvas, 424, 54, 296, 150, (0, most), (0, 1), x="size of X in pixels", xticks=(0, most // 2, most),
                yticks=(0, 0.5, 1))  # fmt: skip
    axes.line((most / 64, most), (0, 0), color="blue")
    axes.mark(0, 1, "plain" if now.mask else "output")
    px, py = axes.at(0, 1)
    canvas.text(px + 14, py + 28, "1 by Kaggle's rule (others: 0, or left out)", anchor="start")
    canvas.text(px + 14, py + 52, "0 / 0: nothing there, nothing found", anchor="start")
    if now.mask:
        px, py = axes.mark(now.mask, 0)
        canvas.text(max(px, 500), py - 16, f"{_count(now.mask, 'false pixel')}: Dice 0", bold=True)
    for line, words in enumerate(("An empty target makes Dice a switch:", "one false pixel and it falls from 1 to 0.",
                                  "A mean over images depends on this rule.")):  # fmt: skip
        canvas.text(392, 292 + 26 * line, words, anchor="start")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _say(value: float) -> str:
    return "0/0" if np.isnan(value) else f"{value:.3f}"


def _twin(now: Counts, dice: float, iou: float) -> str:
    if np.isnan(dice):
        return (
            "Target and mask are both empty: Dice is 0/0. Kaggle's rule says 1: nothing to find, nothing found; "
            f"accuracy is {now.accuracy:.3f}."
        )
    many = f"{_count(now.found, 'pixel')} found, {_count(now.alarm, 'false alarm')}, {now.missed} missed"
    return (
        f"{many}: Dice is {dice:.3f}, IoU {iou:.3f}, accuracy {now.accuracy:.3f}. "
        f"The mask has {_count(now.mask, 'pixel')}, the target {now.target}: the denominator is {now.mask + now.target}."
    )


def _most_growth(state: State) -> int:
    """Return how far the mask may grow before it leaves the image."""
    start = (FIELD - state["object"]) // 2
    room = min(start - abs(state["dx"]), start - abs(state["dy"]))
    return min(room, FIELD - state["object"] - start - max(abs(state["dx"]), abs(state["dy"])))


def _most_width(state: State) -> int:
    start = (FIELD - state["object"]) // 2
    return int(FIELD - (start + state["dx"] + state["grow"] + state["object"]))


def dice(**state: Any) -> Explorer:
    """Explore the Dice coefficient; ``dice(shape="square", object=4, dx=1)`` begins there. See ``draw_dice``."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "shape": Choice(SHAPES, "disk", "target"),
        "object": Slider(OBJECTS, 10, "object size", play=True),
        "dx": Slider(range(-6, 7), 2, "move right"),
        "dy": Slider(range(-6, 7), 0, "move down"),
        "grow": Slider(_GROW, 0, "grow", limit=_most_growth, play=True),
        "wider": Slider(range(7), 0, "wider", limit=_most_width),
    }
    return Explorer(
        "Dice: a mask moved, grown, shrunk.",
        controls,
        draw_dice,
        Discovery(
            question="The mask is one pixel off: does a small object lose as much as a large one?",
            path=(("shape", "square"), ("dx", 1), ("object", 16), ("object", 2)),
            fact="One pixel to the right leaves Dice 0.938 of a square 16 pixels wide and 0.500 of one 2 wide: 1 − 1/n.",
        ),
        presets={
            "slide: perfect overlap": {"dx": 0},
            "slide: “the denominator is constant”": {"shape": "square", "object": 2, "dx": 0, "wider": 2},
            "one pixel, large": {"shape": "square", "object": 16, "dx": 1},
            "one pixel, small nuclei": {"shape": "four nuclei", "object": 10, "dx": 1},
            "found nothing": {"object": 6, "dx": 0, "grow": -3},
            "both empty": {"shape": "nothing", "object": 2, "dx": 0, "grow": -1},
            "four false pixels": {"shape": "nothing", "object": 2, "dx": 0},
        },
        name="dice",
        page={"object": (2, 6, 10, 16), "dx": (0, 1, 2), "dy": (0,), "grow": (-3, -1, 0, 2), "wider": (0, 2)},
        state=state,
    )
