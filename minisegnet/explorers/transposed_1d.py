"""Explorer: a transposed convolution along one axis. One filter, four views, one output; what padding crops is a ghost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.svg_grid import format_value
from . import transposed as shared
from .controls import Choice, Control, Numbers, Slider, State, Table, Toggle
from .drawing import Discovery, Drawing
from .transposed import VIEWS, Computed, Geometry
from .transposed_rows import aligned, matrix, product, spelled

if TYPE_CHECKING:
    from .explorer import Explorer

INPUT: Table = ((2, 5, 1, 4),)
WEIGHTS: Table = ((1, 2, 3, 4),)
REACH = 9  # places that stamps may cover


def draw_transposed_1d(
    view: str = "scatter",
    kernel_size: int = 3,
    stride: int = 2,
    inputs: int = 2,
    padding: int = 0,
    output_padding: int = 0,
    step: int = 0,
    letters: bool = False,
    x: Table = INPUT,
    weights: Table = WEIGHTS,
) -> Drawing:
    """Draw a transposed convolution of a row of pixels in one of its views; pure, no widgets.

    Parameters
    ----------
    view : str
        "scatter" (each input pixel stamps the filter), "gather" (each output pixel asks who reaches it), "matrix" (the
        convolution's matrix, transposed), "zero-insertion" (zeros between, the filter turned round), "there and back".
    kernel_size, stride, inputs, padding, output_padding
        The transposed convolution of ``inputs`` pixels.
    step : int
        How many input pixels have stamped ("scatter"), or which output pixel is asked for (counted from 1); 0 shows all.
    letters : bool
        Letters in place of numbers: inputs a, b, ..., weights x, y, z, w.
    x, weights : table
        The numbers, one row each; the first ``inputs`` and ``kernel_size`` of them are used.
    """
    g = Geometry(inputs, kernel_size, stride, padding, output_padding)
    row, filter_ = x[0][:inputs], weights[0][:kernel_size]
    numbers = shared.computed((row,), (filter_,), stride, padding, output_padding)
    letters = letters and view != "there and back"
    names = ("abcd"[:inputs], "xyzw"[:kernel_size]) if letters else (row, filter_)
    twin = _twin(view, g, row, filter_, names, numbers, step, letters)
    canvas = matrix(g, names, numbers, step, letters) if view == "matrix" else None
    picture = canvas or aligned(view, g, row, filter_, names, numbers, step, letters)
    wanted = shared.given(g)
    plain = "".join(f", {name}={value}" for name, value in wanted)
    pairs = "".join(f", {name}=({int(name == 'stride')}, {value})" for name, value in wanted)
    code, torch = f"F.conv_transpose2d(x[:, :, None], w[:, :, None]{pairs})", f"F.conv_transpose1d(x, w{plain})"
    if view == "there and back":
        code = f"F.conv2d({code}, w[:, :, None], stride=(1, {stride}), padding=(0, {padding}))"
        torch = f"F.conv1d({torch}, w, stride={stride}, padding={padding})"
    words = (shared.size_formula(g), _formula(view, g, row, filter_, names, numbers, step, letters))
    return Drawing(picture.svg(twin), twin, words, code, torch)


def _formula(
    view: str, g: Geometry, row: Any, filter_: Any, names: Any, numbers: Computed, step: int, letters: bool
) -> str:
    if view == "there and back":
        return f"conv(output) = {shared.joined(numbers.back)}; the input was {shared.joined(row)}"
    if view == "scatter" and step:
        i = min(step, g.n) - 1
        parts = [product(names, i, j, letters) for j in range(g.k)]
        return f"stamp {step}, from place {i * g.s} on: {', '.join(parts)}"
    place = step - 1 + g.p if step else max(range(g.p, g.p + g.out), key=lambda q: len(g.terms(q)))
    total = "" if letters or not g.terms(place) else f" = {format_value(numbers.out[0, place - g.p])}"
    return f"output {place - g.p} = {spelled(names, g, place, letters)}{total}"


def _twin(
    view: str, g: Geometry, row: Any, filter_: Any, names: Any, numbers: Computed, step: int, letters: bool
) -> str:
    if letters:
        result = ", ".join(spelled(names, g, q, True) for q in range(g.p, g.p + g.out))
    else:
        result = shared.joined(numbers.out)
    came = f"{g.n} input pixels become {g.out}: {result}."
    if view == "there and back":
        same = np.array_equal(numbers.back[0], np.array(row, np.float32))
        verdict = "the same by chance" if same else "the size comes back, the numbers do not"
        back = shared.joined(numbers.back)
        return f"{came} The convolution takes them to {back}; the input was {shared.joined(row)}: {verdict}."
    crop = shared.crop_words(g)
    if not step:
        sums = sum(len(g.terms(q)) > 1 for q in range(g.p, g.p + g.out))
        where = f"In {sums} of them stamps overlap and add up" if sums else "No stamps overlap"
        return f"{came} {where}. {crop}"
    if view == "scatter":
        i = min(step, g.n) - 1
        made = [product(names, i, j, True) if letters else format_value(row[i] * filter_[j]) for j in range(g.k)]
        return (
            f"Stamp {i + 1} of {g.n}: input {format_value(names[0][i])} times the filter is {', '.join(made)}, "
            f"laid down from place {i * g.s} on. {crop}"
        )
    place = step - 1 + g.p
    count = len(g.terms(place))
    total = "" if letters or not count else f" = {format_value(numbers.out[0, step - 1])}"
    many = f"a sum of {count} products" if count > 1 else "one product"
    said = f"{many}: {spelled(names, g, place, letters)}{total}" if count else "0: no product falls there"
    return f"Output pixel {step - 1}, counted from 0, is {said}. {crop}"


def _most_steps(state: State) -> int:
    g = Geometry(state["inputs"], state["kernel_size"], state["stride"], state["padding"], state["output_padding"])
    return g.n if state["view"] in ("scatter", "there and back") else g.out


def transposed_1d(**state: Any) -> Explorer:
    """Explore a transposed convolution of a row; ``transposed_1d(view="matrix", padding=1)`` begins there."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "view": Choice(VIEWS, "scatter", "view"),
        "kernel_size": Slider((1, 2, 3, 4), 3, "filter size"),
        "stride": Slider((1, 2, 3), 2, "stride"),
        "inputs": Slider((2, 3, 4), 2, "input size", limit=shared.most_inputs(REACH)),
        "padding": Slider((0, 1, 2), 0, "padding", limit=shared.most_padding),
        "output_padding": Slider((0, 1, 2), 0, "output_padding", limit=lambda s: s["stride"] - 1),
        "step": Slider(range(REACH + 3), 0, "step (0: all)", limit=_most_steps, play=True),
        "letters": Toggle(False, "letters"),
        "x": Numbers(INPUT, "input"),
        "weights": Numbers(WEIGHTS, "filter"),
    }
    return Explorer(
        "Transposed convolution, 1-D.",
        controls,
        draw_transposed_1d,
        Discovery(
            question="A convolution (3, stride 2, padding 1) takes 3 pixels to 2, and 4 as well. Going up from 2: which size "
            "comes out, and does output_padding append a zero?",
            path=(("padding", 1), ("step", 0), ("output_padding", 1)),
            fact="Without output_padding 3 come out: 4, 11, 10. With output_padding = 1 a fourth stays, 15 = 5·3: a product that "
            "padding had cropped, not a zero.",
        ),
        presets={
            "slide: a, b and x, y, z": {"letters": True},
            "which of two sizes?": {"padding": 1, "output_padding": 1},
            "its matrix": {"view": "matrix", "letters": True, "padding": 1},
            "zeros between": {"view": "zero-insertion", "padding": 1, "step": 2},
            "does it invert?": {"view": "there and back", "padding": 1, "output_padding": 1},
            "even overlap: 4, stride 2": {"kernel_size": 4, "inputs": 3, "padding": 1},
        },
        name="transposed_1d",
        page={
            "kernel_size": (3,),
            "stride": (2,),
            "inputs": (2, 3),
            "padding": (0, 1),
            "output_padding": (0, 1),
            "step": range(7),
        },
        state=state,
    )
