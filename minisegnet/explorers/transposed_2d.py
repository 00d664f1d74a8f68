"""Explorer: a transposed convolution in the plane. One kernel in four views; the convolution's ring of zeros is the crop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.svg_grid import format_value
from . import transposed as shared
from .controls import Choice, Control, Numbers, Slider, State, Table
from .drawing import Discovery, Drawing
from .transposed import VIEWS, Geometry, signed
from .transposed_planes import RECALL, Scene, draw, rows_of, through_input

if TYPE_CHECKING:
    from .explorer import Explorer

INPUT: Table = ((1, 2, 1, 3), (3, 4, 2, 1), (2, 1, 3, 2), (1, 3, 1, 4))
WEIGHTS: Table = ((1, 2, 3, 1), (4, 5, 6, 2), (7, 8, 9, 1), (1, 2, 1, 1))
REACH = 7  # places that stamps may cover on each axis


def draw_transposed_2d(
    view: str = "scatter",
    kernel_size: int = 3,
    stride: int = 2,
    inputs: int = 2,
    padding: int = 1,
    output_padding: int = 1,
    step: int = 0,
    x: Table = INPUT,
    weights: Table = WEIGHTS,
) -> Drawing:
    """Draw a transposed convolution of a small image in one of its views; pure, no widgets.

    Parameters
    ----------
    view : str
        One of ``VIEWS``, or "recall: convolution": the ordinary convolution that is transposed, on an image of its own.
    kernel_size, stride, inputs, padding, output_padding
        The transposed convolution of ``inputs`` x ``inputs`` pixels; the same on both axes.
    step : int
        Which input pixel stamps, or which output pixel is asked for, counted from 1 in reading order; 0 shows all.
    x, weights : table
        The numbers; smaller sizes take the left upper corner.
    """
    g = Geometry(inputs, kernel_size, stride, padding, output_padding)
    pixels = np.array(x, np.float32)[:inputs, :inputs]
    kernel = np.array(weights, np.float32)[:kernel_size, :kernel_size]
    numbers = shared.computed(rows_of(pixels), rows_of(kernel), stride, padding, output_padding)
    image = np.array([[(3 * i + 2 * j) % 5 for j in range(g.out)] for i in range(g.out)], np.float32)
    scene = Scene(view, g, pixels, kernel, numbers, step, image, _down(image, kernel, g))
    twin = _twin(scene)
    wanted = shared.given(g)
    arguments = "".join(f", {name}={value}" for name, value in wanted)
    down = "".join(f", {name}={value}" for name, value in wanted if name != "output_padding")
    code = f"F.conv_transpose2d(x, weight{arguments})"
    if view == RECALL:
        code = f"F.conv2d(image, weight{down})"
    elif view == "there and back":
        code = f"F.conv2d({code}, weight{down})"
    return Drawing(draw(scene).svg(twin), twin, _formula(scene), code, code)


def _down(image: np.ndarray, kernel: np.ndarray, g: Geometry) -> np.ndarray:
    from .. import functional as F
    from ..autograd import no_grad

    with no_grad():
        return F.conv2d(image[None, None], kernel[None, None], stride=g.s, padding=g.p).numpy()[0, 0]


def _sum(scene: Scene, place: tuple[int, int]) -> str:
    return " + ".join(f"{signed(scene.x[at])}·{signed(scene.w[by])}" for at, by in scene.meet(place)) or "0"


def _formula(scene: Scene) -> tuple[str, ...]:
    g = scene.g
    if scene.view == RECALL:
        size = f"size = ⌊(m + 2p − k) / s⌋ + 1 = ⌊({g.out} + 2·{g.p} − {g.k}) / {g.s}⌋ + 1 = {g.n}"
        return (size, f"up again: (n − 1)s − 2p + k + output_padding = {g.out}")
    if scene.view == "there and back":
        first, was = format_value(scene.numbers.back[0, 0]), format_value(scene.x[0, 0])
        return (shared.size_formula(g), f"conv(output)[0, 0] = {first}; input[0, 0] = {was}")
    if scene.view == "scatter" and scene.pixel:
        i, j = scene.pixel
        stamp = f"stamp = {format_value(scene.x[i, j])} · kernel, from place ({i * g.s}, {j * g.s}) on"
        return (shared.size_formula(g), stamp)
    middle = max(range(g.p, g.p + g.out), key=lambda q: len(g.terms(q)))
    place = scene.place or (middle, middle)
    at = (place[0] - g.p, place[1] - g.p)
    total = f" = {format_value(scene.numbers.out[at])}" if scene.meet(place) else ""
    return (shared.size_formula(g), f"output {at} = {_sum(scene, place)}{total}")


def _rows(values: np.ndarray) -> str:
    return " / ".join(" ".join(format_value(v) for v in row) for row in values)


def _square(size: int) -> str:
    return f"{size} × {size}"


def _twin(scene: Scene) -> str:
    g = scene.g
    if scene.view == RECALL:
        ring = f" with {g.p} ring{'s' * (g.p > 1)} of zeros around" if g.p else ""
        if scene.pixel:
            i, j = scene.pixel
            return (
                f"A convolution: the window at row {i * g.s}, column {j * g.s} of the image{ring} becomes result "
                f"{(i, j)}, {format_value(scene.down[i, j])}."
            )
        return (
            f"A convolution takes {_square(g.out)} pixels{ring} to {_square(g.n)}, in steps of {g.s}. "
            "Turn the arrows round, and the ring is what the transposed convolution crops."
        )
    came = f"{_square(g.n)} input pixels become {_square(g.out)}."
    if scene.view == "there and back":
        same = np.array_equal(scene.numbers.back, scene.x)
        verdict = "the same by chance" if same else "the size comes back, the numbers do not"
        if g.n == 2:
            told = f"takes them to {_rows(scene.numbers.back)}; the input was {_rows(scene.x)}"
        else:
            first = f"{format_value(scene.x[0, 0])} returns as {format_value(scene.numbers.back[0, 0])}"
            told = f"takes them to {_square(g.n)} again; the first pixel, {first}"
        return f"{came} The convolution {told}: {verdict}."
    crop = shared.crop_words(g).replace("at each end", "on each side").replace("at the end", "at the bottom and right")
    if scene.pixel:
        i, j = scene.pixel
        return (
            f"Stamp {scene.step} of {g.n**2}: input {(i, j)} = {format_value(scene.x[i, j])} times the kernel, laid down "
            f"at row {i * g.s}, column {j * g.s}. {crop}"
        )
    if scene.place:
        at = (scene.place[0] - g.p, scene.place[1] - g.p)
        count = len(scene.meet(scene.place))
        many = f"a sum of {count} products" if count > 1 else "one product" if count else "0: no product falls there"
        value = f", {format_value(scene.numbers.out[at])}" if count else ""
        return f"Output pixel {at} is {many}{value}. {crop}"
    kept = range(g.p, g.p + g.out)
    sums = sum(len(scene.meet((r, c))) > 1 for r in kept for c in kept)
    where = f"In {sums} of them stamps overlap and add up" if sums else "No stamps overlap"
    return f"{came} {where}. {crop}"


def _most_inputs(state: State) -> int:
    return shared.most_inputs(REACH - (state["stride"] == 1))(state)  # at stride 1 the sums are longest


def _most_steps(state: State) -> int:
    g = Geometry(state["inputs"], state["kernel_size"], state["stride"], state["padding"], state["output_padding"])
    return g.n**2 if through_input(state["view"]) else g.out**2


def transposed_2d(**state: Any) -> Explorer:
    """Explore a transposed convolution of an image; ``transposed_2d(view="gather", step=6)`` begins there."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "view": Choice((*VIEWS, RECALL), "scatter", "view"),
        "kernel_size": Slider((1, 2, 3, 4), 3, "kernel"),
        "stride": Slider((1, 2, 3), 2, "stride"),
        "inputs": Slider((2, 3, 4), 2, "input size", limit=_most_inputs),
        "padding": Slider((0, 1, 2), 1, "padding", limit=shared.most_padding),
        "output_padding": Slider(
            (0, 1, 2), 1, "output_padding", limit=lambda s: min(s["stride"] - 1, s["padding"] + 1)
        ),
        "step": Slider(range(82), 0, "step (0: all)", limit=_most_steps, play=True),
        "x": Numbers(INPUT, "input", -5, 5),
        "weights": Numbers(WEIGHTS, "kernel"),
    }
    recall = {"view": RECALL, "output_padding": 0}
    return Explorer(
        "Transposed convolution, 2-D.",
        controls,
        draw_transposed_2d,
        Discovery(
            question="It is also called deconvolution: does a convolution with the same kernel bring the input back?",
            path=(("padding", 1), ("output_padding", 1), ("view", "there and back")),
            fact="No: the size comes back, the numbers do not; 1 2 / 3 4 returns as 545 892 / 1102 1519.",
        ),
        presets={
            "slide: recall, stride 1": {**recall, "stride": 1, "inputs": 4, "step": 6},
            "slide: recall, stride 2": {**recall, "output_padding": 1, "step": 2},
            "slide: 2 × 2 to 4 × 4": {"step": 2},
            "without output_padding: 3 × 3": {"output_padding": 0},
            "who reaches the middle?": {"view": "gather", "step": 6},
            "its matrix": {"view": "matrix", "step": 6},
            "zeros between": {"view": "zero-insertion", "step": 6},
        },
        name="transposed_2d",
        page={
            "kernel_size": (3,),
            "stride": (1, 2),
            "inputs": (2, 4),
            "padding": (0, 1),
            "output_padding": (0, 1),
            "step": range(17),
        },
        state=state,
    )
