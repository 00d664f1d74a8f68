"""Explorer: the sliding window. What is computed again and again, one pass instead, and when both are equal."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.svg import Canvas
from ..figures.svg_image import heat, image
from .controls import Choice, Control, Slider, State, Toggle
from .drawing import Discovery, Drawing
from .sliding_window_runs import KERNEL, NET_STRIDE, difference, products, rings, tissue

if TYPE_CHECKING:
    from .explorer import Explorer

COUNTED = ("first-layer sums", "pixels")
STEPS = 24  # the last step is the last window, however many there are


def windows_done(patch: int, size: int, stride: int, step: int) -> tuple[int, int]:
    """Return how many windows are done at a step, the one in view included, and how many there are in a row."""
    row = (size - patch) // stride + 1
    return 1 + step * (row * row - 1) // STEPS, row


@lru_cache(maxsize=512)
def used(patch: int, size: int, stride: int, done: int, padded: bool, what: str = COUNTED[0]) -> np.ndarray:
    """Return how often each sum of the first layer (or each pixel) was computed (or read), int (H, W), after ``done`` windows."""
    shrinks = KERNEL - 1 if what == COUNTED[0] and not padded else 0
    row, span = (size - patch) // stride + 1, patch - shrinks
    counts = np.zeros((size - shrinks, size - shrinks), dtype=int)
    for n in range(done):
        y, x = n // row * stride, n % row * stride
        counts[y : y + span, x : x + span] += 1
    return counts


def draw_sliding_window(
    patch: int = 16, size: int = 40, stride: int = 4, padded: bool = False, counted: str = COUNTED[0], step: int = 0
) -> Drawing:
    """Draw one state: the image with its window, how often the same is computed, where one pass differs; no widgets needed.

    Parameters
    ----------
    patch, size, stride : sides of the patch and of the image, and from one window to the next, pixels
    padded : the classifier's convolutions pad with zeros
    counted : one of ``COUNTED``
    step : 0 to 24, from the first window to the last
    """
    done, row = windows_done(patch, size, stride, step)
    counts = used(patch, size, stride, done, padded, counted)
    top = int(used(patch, size, stride, row * row, padded, counted).max())
    apart = difference(patch, size, stride, padded)
    slid, dense = row * row * products(patch, patch, padded), stride % NET_STRIDE != 0
    once = products(patch, size, padded, dense)
    same = float(apart.max()) < 1e-9
    wrong = int((apart > 1e-9).sum())
    agree = "both give the same scores" if same else f"with padding {wrong} of {row * row} scores differ"
    later = "" if done == row * row else f" (at the end {top})"
    twin = (
        f"{done} of {row * row} windows are done: the busiest of the {counted} "
        f"{'was computed' if counted == COUNTED[0] else 'was read'} {_times(int(counts.max()))}{later}. All windows "
        f"take {slid:,} products, one pass {once:,}: a ratio of {_ratio(slid, once)}; {agree}."
    )
    canvas = Canvas(760, 424, "Sliding window")
    y, x = (done - 1) // row * stride, (done - 1) % row * stride
    wide = 226.0
    canvas.text(4, 18, f"{size} × {size}, window {done}", anchor="start", bold=True)
    photo = image(canvas, 4, 28, wide, tissue(size), alt="Tissue in grey")
    box = photo.x + x * photo.cell, photo.y + y * photo.cell, patch * photo.cell, patch * photo.cell
    canvas.frame(*box, thick=6)
    canvas.frame(*box, color="yellow", thick=3)
    if padded:  # what the zeros around the patch have spoiled after the first layer
        ring = KERNEL // 2 * photo.cell
        canvas.frame(box[0] + ring, box[1] + ring, box[2] - 2 * ring, box[3] - 2 * ring, color="vermilion", thick=2.5)
    what = "first-layer sums: how often" if counted == COUNTED[0] else "pixels: read how often"
    canvas.text(266, 18, what, anchor="start", bold=True)
    side = len(counts)
    image(canvas, 266, 28, wide, heat(_lifted(counts, top), low=0, high=top), alt=f"Counts from 0 to {counts.max()}")
    _scale(canvas, 266, 266, wide, top)
    canvas.text(379, 306, f"{side} × {side}", faint=True)
    canvas.text(528, 18, "scores: |one pass − slid|", anchor="start", bold=True)
    shown = heat(apart, low=0, high=max(float(apart.max()), 1e-6))
    shown[np.arange(row * row).reshape(row, row) >= done] = 140  # not asked for yet
    image(canvas, 528, 28, wide, shown, alt=f"Differences: {agree}")
    if not same:
        _scale(canvas, 528, 266, wide, f"{apart.max():.2f}")
    canvas.text(641, 306, f"{row} × {row} scores: {'all equal' if same else f'{wrong} differ'}", bold=True)
    if done < row * row:
        canvas.text(641, 277 if same else 330, "grey: not done yet", faint=True)
    _bars(canvas, slid, once)
    return Drawing(
        canvas.svg(twin), twin, _formula(patch, size, stride, padded, row, slid, once, dense), *_code(stride)
    )


def _ratio(slid: int, once: int) -> str:
    return f"{slid / once:.{2 if slid < 1.1 * once else 1}f}"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _lifted(counts: np.ndarray, top: Any) -> np.ndarray:
    """Return counts as brightness: 1 of many is told from 0, which alone is black."""
    return np.where(counts > 0, 0.22 * top + 0.78 * counts, 0)


def _scale(canvas: Canvas, x: float, y: float, wide: float, top: Any) -> None:
    """Draw the scale of colours below a heat map."""
    ramp = heat(_lifted(np.arange(64)[None].repeat(4, axis=0), 63), low=0, high=63)
    image(canvas, x + 24, y, wide - 90, ramp, alt="Scale of colours")
    canvas.text(x + 8, y + 12, 0)
    canvas.text(x + wide - 58, y + 12, top, anchor="start")


def _bars(canvas: Canvas, slid: int, once: int) -> None:
    """Draw both costs as bars on one scale."""
    longest = 430.0
    for y, name, count, role in ((328, "all windows", slid, "active"), (364, "one pass", once, "good")):
        canvas.text(4, y + 19, name, anchor="start", bold=True)
        length = max(2.0, longest * count / max(slid, once))
        canvas.rect(124, y, length, 26, role, radius=1)
        canvas.text(124 + length + 10, y + 19, f"{count:,} products", anchor="start")
    canvas.text(124, 414, f"ratio {_ratio(slid, once)}", anchor="start", bold=True, size=18)


def _formula(
    patch: int, size: int, stride: int, padded: bool, row: int, slid: int, once: int, dense: bool
) -> tuple[str, ...]:
    each = products(patch, patch, padded)
    lines = [
        f"windows: (⌊({size} − {patch}) / {stride}⌋ + 1)² = {row}² = {row * row}",
        f"sliding: {row * row} · {each:,} = {slid:,}; one pass{' (strides dilated away)' if dense else ''}: {once:,}",
    ]
    if padded:
        first, second = rings(patch, size)
        lines.append(
            f"zeros around each patch spoil a ring of {first} of {patch} after layer 1, of {second} of {patch // 2} after layer 2"
        )
    else:
        lines.append(f"without padding: largest difference {difference(patch, size, stride, padded).max():.2f}")
    return tuple(lines)


def _code(stride: int) -> tuple[str, str]:
    if stride % NET_STRIDE:
        return (
            "scores = dilate_instead_of_stride(network)(image)",
            "patches = image.unfold(2, P, s).unfold(3, P, s)",
        )
    return (
        "scores = to_fully_convolutional(classifier)(image)",
        "conv.weight.data = linear.weight.data.view(O, C, h, w)",
    )


def sliding_window(**state: Any) -> Explorer:
    """Explore the sliding window; ``sliding_window(stride=1, step=24)`` begins with all windows done."""
    from .explorer import Explorer

    def last(state: State) -> int:
        return STEPS if state["size"] > state["patch"] else 0

    controls: dict[str, Control] = {
        "patch": Slider((16, 20, 24), 16, "patch"),
        "size": Slider((32, 40, 48), 40, "image size"),
        "stride": Slider((1, 2, 4, 8), 4, "stride"),
        "padded": Toggle(False, "padding"),
        "counted": Choice(COUNTED, COUNTED[0], "count"),
        "step": Slider(range(STEPS + 1), 0, "windows", limit=last, play=True),
    }
    return Explorer(
        "Sliding window.",
        controls,
        draw_sliding_window,
        Discovery(
            question="One pass shares the work of all windows: does it give the same scores, also with padding?",
            path=(("step", STEPS), ("padded", True)),
            fact="Without padding the largest difference is 0.00; with padding all 49 scores differ: "
            "each patch ends in zeros where the image goes on.",
        ),
        presets={
            "slide: extract a patch": {"step": 0},
            "all windows": {"step": STEPS},
            "a label for every pixel": {"stride": 1, "step": STEPS},
            "windows hardly overlap": {"stride": 8, "step": STEPS},
            "with padding": {"padded": True, "step": STEPS},
        },
        name="sliding_window",
        page={"size": (40,), "counted": (COUNTED[0],), "step": (0, 6, 12, 18, STEPS)},
        state=state,
    )
