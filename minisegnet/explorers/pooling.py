"""Explorer: max-pooling, its switches, and max-unpooling. The places come back, the numbers do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.svg_grid import format_value
from ..shapes import pool_output_size
from .controls import Choice, Control, Numbers, Slider, State, Table
from .drawing import Discovery, Drawing
from .pooling_picture import PUT, RULES, Scene, down_and_up, picture

if TYPE_CHECKING:
    from .explorer import Explorer

IMAGE: Table = ((1, 2, 6, 3, 4), (3, 5, 2, 1, 2), (1, 2, 2, 1, 3), (7, 3, 4, 8, 5), (2, 6, 1, 3, 4))
INSIDE: Table = ((1, 2, 5, 6), (3, 4, 7, 8), (5, 6, 1, 2), (7, 8, 3, 4))


def draw_pooling(
    rule: str = RULES[0],
    size: int = 4,
    kernel_size: int = 2,
    stride: int = 2,
    put: str = PUT[0],
    window: int = 0,
    image: Table = IMAGE,
    inside: Table = INSIDE,
) -> Drawing:
    """Draw pooling and unpooling of a small image with its switches; pure, no widgets.

    Parameters
    ----------
    rule : str
        "max + switches" (Zeiler and Fergus, 2014, section 2.1) or "average + nearest".
    size, kernel_size, stride
        The image is the left upper corner, ``size`` x ``size``, of ``image``.
    put : str
        What is taken up: the numbers of ``inside``, as if the rest of the network had made them, or the pooled ones.
    window : int
        Which window is followed from the input to the output, counted from 1; 0 shows all.
    image, inside : table
        The numbers.
    """
    made = down_and_up(rule, size, kernel_size, stride, put, image, inside)
    x = np.array(image, np.float32)[:size, :size]
    n = len(made.pooled)
    at = (int((window - 1) // n), int((window - 1) % n)) if window else None
    scene = Scene(rule == RULES[0], size, kernel_size, stride, put == PUT[0], x, made, at)
    twin = _twin(scene)
    up = "net(y)" if scene.network else "y"
    if scene.switches:
        code = f"y, places = F.max_pool2d(x, {kernel_size}, {stride}, return_indices=True); "
        code += f"up = F.max_unpool2d({up}, places, {kernel_size}, {stride}, output_size=({size}, {size}))"
    else:
        code = f"y = F.avg_pool2d(x, {kernel_size}, {stride}); up = F.interpolate({up}, size=({size}, {size}))"
    return Drawing(picture(scene).svg(twin), twin, _formula(scene), code, code)


def _table(values: np.ndarray) -> str:
    return " / ".join(", ".join(format_value(v) for v in row) for row in values)


def _formula(scene: Scene) -> tuple[str, ...]:
    n, size, k, s = scene.n, scene.size, scene.kernel, scene.stride
    lines = [f"windows = ⌊(n − k) / s⌋ + 1 = ⌊({size} − {k}) / {s}⌋ + 1 = {n}"]
    top, left = (scene.window or (0, 0))[0] * s, (scene.window or (0, 0))[1] * s
    patch = scene.x[top : top + k, left : left + k]
    numbers = ", ".join(format_value(v) for v in patch.ravel())
    if scene.switches:
        row, column = scene.at(scene.window or (0, 0))
        lines.append(f"max({numbers}) = {format_value(patch.max())}")
        lines.append(f"place = row · {size} + column = {row} · {size} + {column} = {row * size + column}")
    else:
        total = format_value(patch.sum())
        lines.append(f"({numbers.replace(', ', ' + ')}) / {k * k} = {total} / {k * k}")
    return tuple(lines)


def _twin(scene: Scene) -> str:
    pixels, made = scene.size**2, scene.made
    kind = f"pooling {scene.kernel} × {scene.kernel}, stride {scene.stride},"
    end = f"{scene.restored} of {pixels} numbers {'is' if scene.restored == 1 else 'are'} restored"
    if not scene.switches:
        if scene.window:
            mean, sent = format_value(made.pooled[scene.window]), format_value(made.sent[scene.window])
            return (
                f"Window {_number(scene)}: its average is {mean}; {sent} is put back and copied over its block. {end}."
            )
        return (
            f"Average-{kind} gives {_table(made.pooled)}. The numbers put back, {_table(made.sent)}, are copied over blocks: "
            f"no place is remembered, {end}."
        )
    if scene.window:
        row, column = scene.at(scene.window)
        said = (
            f"Window {_number(scene)}: its maximum {format_value(made.pooled[scene.window])} stands in row {row}, column "
            f"{column}, place {made.places[scene.window]}; {format_value(made.sent[scene.window])} is put back there."
        )
        if scene.ties(scene.window) > 1:
            said += f" It stands {scene.ties(scene.window)} times in the window: the first in reading order counts."
        if scene.rivals(scene.window):
            said += f" Another window has the same place: {format_value(made.up[row, column])} stays."
        return said
    twice = sum(bool(scene.rivals(w)) for w in np.ndindex(scene.n, scene.n))
    places = len({scene.at(w) for w in np.ndindex(scene.n, scene.n)})
    shared = f" {twice} windows share their places: there the last number stays." if twice else ""
    go = "goes back to one place" if scene.n == 1 else f"go back to {places} places"
    kept = f"{_table(made.pooled)} and remembers place{'s' * (scene.n > 1)} {_table(made.places)}"
    return (
        f"Max-{kind} keeps {kept}. {_table(made.sent)} {go}; the other {pixels - places} pixels are 0: {end}.{shared}"
    )


def _number(scene: Scene) -> str:
    i, j = scene.window or (0, 0)
    return f"{i * scene.n + j + 1} of {scene.n**2}"


def _windows(state: State) -> int:
    n, _ = pool_output_size(
        (state["size"],) * 2, (state["kernel_size"],) * 2, (state["stride"],) * 2, (0, 0), (1, 1), False
    )
    return n * n


def pooling(**state: Any) -> Explorer:
    """Explore max-pooling and unpooling; ``pooling(kernel_size=3, size=5)`` begins with overlapping windows."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "rule": Choice(RULES, RULES[0], "rule"),
        "size": Slider((3, 4, 5), 4, "input size"),
        "kernel_size": Slider((2, 3), 2, "window"),
        "stride": Slider((1, 2, 3), 2, "stride", limit=lambda s: max(2, s["kernel_size"])),
        "put": Choice(PUT, PUT[0], "put back"),
        "window": Slider(range(17), 0, "step (0: all)", limit=_windows, play=True),
        "image": Numbers(IMAGE, "input", 0, 9),
        "inside": Numbers(INSIDE, "put back by the network"),
    }
    ties = ((5, 5, 0, 4, 1), (5, 5, 4, 0, 1), (2, 2, 3, 1, 1), (1, 2, 3, 3, 1), (1, 1, 1, 1, 1))
    return Explorer(
        "Max-pooling and unpooling.",
        controls,
        draw_pooling,
        Discovery(
            question="Put the pooled numbers back with their own switches: how many of the 16 numbers are restored?",
            path=(("window", 0), ("put", PUT[1])),
            fact="4 of 16: the maxima 5, 6, 7 and 8, each in its own place; the other 12 pixels are 0.",
        ),
        presets={
            "slide: 4 × 4": {},
            "slide: the first window": {"window": 1},
            "the maxima themselves": {"put": PUT[1]},
            "windows overlap: 3, stride 2": {"size": 5, "kernel_size": 3, "window": 2},
            "ties": {"image": ties, "window": 1},
            "average + nearest": {"rule": RULES[1], "put": PUT[1]},
        },
        name="pooling",
        page={"size": (4, 5), "kernel_size": (2, 3), "stride": (1, 2)},
        state=state,
    )
