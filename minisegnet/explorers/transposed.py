"""What the two explorers of the transposed convolution share: its geometry, its numbers by four ways, and cells to draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..figures.svg import ROLES, SMALLEST, Canvas
from ..figures.svg_grid import format_value, legend, text_width
from ..shapes import conv_transpose_output_size
from .controls import State, Table

VIEWS = ("scatter", "gather", "matrix", "zero-insertion", "there and back")


class Geometry(NamedTuple):
    """A transposed convolution along one axis; places are counted before the crop, so that place 0 is the first stamp's.

    Attributes
    ----------
    n, k, s, p, extra : int
        Input size, kernel size, stride, padding, output_padding; in pixels.
    """

    n: int
    k: int
    s: int
    p: int
    extra: int

    @property
    def full(self) -> int:
        """How many places the stamps cover, before the crop."""
        return (self.n - 1) * self.s + self.k

    @property
    def out(self) -> int:
        """The output's size (Dumoulin and Visin, 2016, chapter 4)."""
        one = (1, 1)
        return conv_transpose_output_size(
            (self.n, 1), (self.k, 1), (self.s, 1), (self.p, 0), (self.extra, 0), one
        )[0]  # fmt: skip

    @property
    def axis(self) -> int:
        """How many places are drawn: all stamps, and what output_padding keeps behind them."""
        return max(self.full, self.p + self.out)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that a convolution with this kernel, stride and padding takes to ``n``: output_padding 0, 1, ..."""
        return tuple(m for m in range(self.full - 2 * self.p, self.full - 2 * self.p + self.s) if m > 0)

    def kind(self, place: int) -> str:
        """Return what becomes of a place: "cropped", "kept", "extra" (by output_padding) or "empty" (no stamp there)."""
        if not self.p <= place < self.p + self.out:
            return "cropped"
        if not self.terms(place):
            return "empty"
        return "extra" if place >= self.full - self.p else "kept"

    @property
    def kinds(self) -> list[str]:
        """What becomes of each place."""
        return [self.kind(place) for place in range(self.axis)]

    def terms(self, place: int) -> list[tuple[int, int]]:
        """Return the products that meet in a place: (input pixel, weight)."""
        return [(i, place - i * self.s) for i in range(self.n) if 0 <= place - i * self.s < self.k]


class Computed(NamedTuple):
    """One transposed convolution by the library's kernels. Arrays (H, W); in 1-D, H is 1.

    ``out`` is ``conv_transpose2d``; ``full`` the same without crop; ``matrix`` (out, in) its matrix, column by column, and
    ``conv_matrix`` (in, out) the convolution's own; ``by_matrix``, ``by_zeros`` and ``by_gradient`` the output by the other
    ways; ``back`` the output taken down again by the convolution.
    """

    out: np.ndarray
    full: np.ndarray
    matrix: np.ndarray
    conv_matrix: np.ndarray
    by_matrix: np.ndarray
    by_zeros: np.ndarray
    by_gradient: np.ndarray
    back: np.ndarray


@lru_cache(maxsize=512)
def computed(x: Table, w: Table, s: int, p: int, extra: int) -> Computed:
    """Compute all four ways; ``x`` and ``w`` are tables of one row in 1-D (stride, padding then act on columns alone)."""
    from .. import functional as F
    from ..autograd import Tensor, no_grad

    flat = len(w) == 1 and len(x) == 1
    image, weight = np.array(x, np.float32)[None, None], np.array(w, np.float32)[None, None]

    def both(value: int, rest: int) -> tuple[int, int]:
        return (rest if flat else value, value)

    stride, pad, more = both(s, 1), both(p, 0), both(extra, 0)
    pixels = image[0, 0].size
    with no_grad():
        out = F.conv_transpose2d(image, weight, None, stride, pad, more).numpy()[0, 0]
        full = F.conv_transpose2d(image, weight, None, stride).numpy()[0, 0]
        units = np.eye(pixels, dtype=np.float32).reshape(pixels, 1, *image.shape[2:])
        matrix = F.conv_transpose2d(units, weight, None, stride, pad, more).numpy().reshape(pixels, -1).T
        places = np.eye(out.size, dtype=np.float32).reshape(out.size, 1, *out.shape)
        conv_matrix = F.conv2d(places, weight, None, stride, pad).numpy().reshape(out.size, -1).T
        back = F.conv2d(out[None, None], weight, None, stride, pad).numpy()[0, 0]
        wide, cut = stretched(image[0, 0], weight.shape[2:], stride, pad, more)
        by_zeros = F.conv2d(wide[cut][None, None], weight[:, :, ::-1, ::-1].copy()).numpy()[0, 0]
    start = Tensor(np.zeros((1, 1, *out.shape), np.float32), requires_grad=True)
    F.conv2d(start, weight, None, stride, pad).backward(image)  # the gradient of a convolution gathers
    assert start.grad is not None
    by_matrix = (conv_matrix.T @ image.ravel()).reshape(out.shape)
    return Computed(out, full, matrix, conv_matrix, by_matrix, by_zeros, start.grad.numpy()[0, 0], back)


def stretched(
    x: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int], more: tuple[int, int]
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Return the input (H, W) with zeros between and k - 1 around, and the part of it that the crop leaves in use."""
    wide = np.zeros([(n - 1) * s + 1 for n, s in zip(x.shape, stride, strict=True)], x.dtype)
    wide[:: stride[0], :: stride[1]] = x
    wide = np.pad(wide, [(k - 1, k - 1 + m) for k, m in zip(kernel, more, strict=True)])
    cut = [slice(p, size - p) for p, size in zip(pad, wide.shape, strict=True)]
    return wide, (cut[0], cut[1])


def cell(
    canvas: Canvas, x: float, y: float, wide: float, high: float, role: str, content: Any = None, size: float = 17
) -> None:
    """Draw one cell, (x, y) its left upper corner; content of several lines is stacked."""
    look = ROLES[role]
    inset = 1 + look.outline / 4
    if look.outline:
        canvas.rect(x + inset, y + inset, wide - 2 * inset, high - 2 * inset, role)
    if content is None:
        return
    solid = look.opacity == 1 and look.fill.startswith("#")
    lines = [format_value(content)] if not isinstance(content, (list, tuple)) else [str(line) for line in content]
    for number, line in enumerate(lines):
        base = y + high / 2 + size * 0.36 + (number - (len(lines) - 1) / 2) * (size + 1)
        on = look.fill if solid else ""
        canvas.text(x + wide / 2, base, line, size=size, bold=solid, on=on, faint=look.faint)


def table(
    canvas: Canvas, x: float, y: float, values: Sequence[Sequence[Any]], role: Callable[[int, int], str], wide: float,
    high: float = 0, size: float = 17,
) -> None:  # fmt: skip
    """Draw cells that need not be square; strong outlines are drawn last."""
    high = high or wide
    places = [(i, j) for i, row in enumerate(values) for j in range(len(row))]
    for i, j in sorted(places, key=lambda at: ROLES[role(*at)].outline > 1):
        cell(canvas, x + j * wide, y + i * high, wide, high, role(i, j), values[i][j], size)


def place_role(kind: str, strong: bool = False, overlap: bool = False) -> str:
    """Return how a place of the output is drawn."""
    if kind == "cropped":
        return "hidden"
    if strong:
        return "output"
    return {"extra": "good", "empty": "zero"}.get(kind, "window" if overlap else "done")


def sizes_strip(canvas: Canvas, x: float, y: float, g: Geometry, plane: bool = False) -> None:
    """Write which sizes the convolution joins, and which of them output_padding asks for; (x, y) is the text's baseline."""
    if plane:
        down = f"convolution ({g.k} × {g.k}, s = {g.s}, p = {g.p}): {g.n} × {g.n} from"
    else:
        down = f"a convolution ({g.k}, stride {g.s}, padding {g.p}) makes {g.n} from"
    canvas.text(x, y, down, anchor="start")
    at = x + text_width(down) * 1.07 + 6
    for size in g.sizes:
        name = f"{size} × {size}" if plane else f"{size}"
        wide = text_width(name) * 1.15 + 14
        chosen = size == g.out
        cell(canvas, at, y - 19, wide, 27, "output" if chosen else "plain", name, SMALLEST)
        at += wide + 6
    canvas.text(at + 4, y, f"up: output_padding {g.extra}" if g.s > 1 else "up: no choice", anchor="start")


def heading(canvas: Canvas, name: str, rest: str) -> None:
    """Write the view's name and what it says, in one line above the picture."""
    canvas.text(4, 20, name, anchor="start", bold=True, size=17)
    canvas.text(4 + text_width(name, 17) * 1.2 + 10, 20, rest, anchor="start")


def places_legend(canvas: Canvas, y: float, kinds: Sequence[str], first: Sequence[tuple[str, str]]) -> None:
    """Write what the output's colours mean, as far as they occur; ``first`` are other entries, before them."""
    known = {
        "cropped": ("hidden", "cropped by padding"),
        "extra": ("good", "output_padding"),
        "empty": ("zero", "no product"),
    }
    legend(canvas, 4, y, [*first, *(entry for kind, entry in known.items() if kind in kinds)], gap=26)


def signed(value: Any) -> str:
    """Return a number for a sum or product: negative ones in brackets."""
    text = format_value(value)
    return f"({text})" if text.startswith("−") else text


def joined(values: Any) -> str:
    """Return numbers as "1, 2, 3"."""
    return ", ".join(format_value(v) for v in np.ravel(values))


def size_formula(g: Geometry) -> str:
    """Return the output size's formula with this state's numbers."""
    return f"size = (n − 1)s − 2p + k + output_padding = ({g.n} − 1)·{g.s} − 2·{g.p} + {g.k} + {g.extra} = {g.out}"


def given(g: Geometry) -> list[tuple[str, int]]:
    """Return the arguments that are not the default."""
    every = (("stride", g.s, 1), ("padding", g.p, 0), ("output_padding", g.extra, 0))
    return [(name, value) for name, value, default in every if value != default]


def crop_words(g: Geometry) -> str:
    """Return one sentence on padding and output_padding."""
    if not g.p and not g.extra:
        return "Padding 0 crops nothing."
    after = g.p - g.extra
    if after >= 0:
        more = f"; output_padding {g.extra} keeps {g.extra} of them at the end" if g.extra else ""
        return f"Padding {g.p} crops {g.p} at each end{more}."
    cut = f"Padding {g.p} crops {g.p} at the start" if g.p else "Padding 0 crops nothing"
    return f"{cut}; output_padding {g.extra} reaches {-after} beyond the stamps, where no product falls."


def most_inputs(reach: int) -> Callable[[State], int]:
    """Return the limit of the input size: the stamps cover at most ``reach`` places."""
    return lambda s: (reach - s["kernel_size"]) // s["stride"] + 1


def most_padding(state: State) -> int:
    """Return the largest padding that leaves an output of at least one pixel."""
    return ((state["inputs"] - 1) * state["stride"] + state["kernel_size"] - 1) // 2
