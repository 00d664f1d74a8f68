"""Explorer: checkerboards. Where a transposed convolution's stamps overlap unevenly, a pattern is printed on every image.

Source: Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", Distill (2016).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.svg import Canvas
from ..figures.svg_image import heat, image
from ..figures.svg_plot import plot
from ..shapes import overlap_count
from .controls import Choice, Control, Slider
from .drawing import Discovery, Drawing

if TYPE_CHECKING:
    from .explorer import Explorer

INPUTS = 28  # pixels a side of what is enlarged
KERNELS, STRIDES = (1, 2, 3, 4, 5, 6), (1, 2, 3, 4)
WEIGHTS = ("all equal", "random")
HOW = ("transposed", "resize + conv")
PICTURES = ("even grey", "tissue")


@lru_cache(maxsize=2)
def _picture(name: str) -> np.ndarray:
    """Return what is enlarged, float64 (INPUTS, INPUTS), 0 to 1."""
    if name == "even grey":
        return np.full((INPUTS, INPUTS), 0.5)
    from ..data import synthetic_tissue

    grey = synthetic_tissue(1, size=(4 * INPUTS, 4 * INPUTS), seed=1)[0][0].mean(axis=2) / 255
    return grey.reshape(INPUTS, 4, INPUTS, 4).mean(axis=(1, 3))


@lru_cache(maxsize=16)
def _weights(kernel: int, kind: str) -> np.ndarray:
    """Return positive weights (kernel, kernel) whose sum is 1."""
    weights = (
        np.ones((kernel, kernel)) if kind == "all equal" else np.random.default_rng(3).random((kernel, kernel)) + 0.2
    )
    return weights / weights.sum()


@lru_cache(maxsize=256)
def enlarged(kernel: int, stride: int, weights: str, how: str, picture: str) -> np.ndarray:
    """Return the picture enlarged ``stride`` times by the library, without the border that a stamp reaches half."""
    from .. import functional as F
    from ..autograd import no_grad
    from .few_numbers import few_numbers

    x, w = _picture(picture)[None, None], _weights(kernel, weights)[None, None]
    with no_grad(), few_numbers():
        if how == "transposed":
            result = F.conv_transpose2d(x, w * stride**2, stride=stride).numpy()[0, 0]
        else:
            large = x.repeat(stride, axis=2).repeat(stride, axis=3)  # nearest neighbour
            result = F.conv2d(large, w).numpy()[0, 0]
    edge = kernel - 1 if how == "transposed" else 0
    return result[edge : len(result) - edge, edge : len(result) - edge] if edge else result


def ripple(kernel: int, stride: int, weights: str, how: str) -> float:
    """Return by how many percent an even grey is not even any more: (largest - smallest) / mean, inside."""
    inside = enlarged(kernel, stride, weights, how, "even grey")
    whole = len(inside) // stride * stride  # as many of each kind of pixel
    inside = inside[:whole, :whole]
    return 100 * float(inside.max() - inside.min()) / float(inside.mean())


@lru_cache(maxsize=256)
def spectrum(kernel: int, stride: int, weights: str, how: str, picture: str) -> np.ndarray:
    """Return the brightness of the spectrum, the mean taken away, frequency 0 in the middle; 0 to 1.

    Its side, 24, 36 or 48, is a multiple of every stride, so that the peaks fall on single cells.
    """
    inside = enlarged(kernel, stride, weights, how, picture)
    side = min(48, len(inside) // 12 * 12)
    part = inside[:side, :side] - inside[:side, :side].mean()
    power = np.fft.fftshift(np.abs(np.fft.fft2(part))) / part.size
    return np.clip(np.log10(power / 1e-4 + 1) / 3.5, 0, 1)


def draw_checkerboard(
    kernel: int = 3, stride: int = 2, weights: str = "all equal", how: str = "transposed", picture: str = "even grey"
) -> Drawing:
    """Draw the overlaps of a transposed convolution, the pattern it prints, and its spectrum; no widgets.

    Parameters
    ----------
    kernel, stride : int
        Of the transposed convolution, or of the convolution after the enlargement by ``stride``.
    weights : str
        "all equal" or "random" (positive).
    how : str
        "transposed", or "resize + conv": nearest neighbour, then a convolution.
    picture : str
        "even grey" or "tissue".
    """
    transposed = how == "transposed"
    counts = overlap_count(INPUTS, kernel, stride) if transposed else (kernel,) * (INPUTS * stride)
    inner = sorted(set(counts[kernel - 1 : len(counts) - kernel + 1])) if transposed else [kernel]
    amount = ripple(kernel, stride, weights, how)
    flat = amount < 0.05
    divides = kernel % stride == 0
    canvas = Canvas(760, 352, "Checkerboard")
    _draw_counts(canvas, counts)
    _draw_kernel(canvas, _weights(kernel, weights), kernel, "even" if flat else f"ripple {amount:.0f}%")
    shown = enlarged(kernel, stride, weights, how, picture)
    view = shown[:36, :36] if picture == "even grey" else shown
    low, high = (0.3, 0.7) if picture == "even grey" else np.percentile(view, (0.5, 99.5))
    canvas.text(316, 18, f"output, {len(view)} × {len(view)} pixels", anchor="start", bold=True)
    image(canvas, 316, 28, 214, np.clip((view - low) / (high - low), 0, 1), alt="The enlarged picture")
    canvas.text(546, 18, "its spectrum", anchor="start", bold=True)
    power = spectrum(kernel, stride, weights, how, picture)
    where = image(canvas, 546, 28, 210, heat(power, low=0, high=1), alt="Brightness of the frequencies")
    for a in range(stride):
        for b in range(stride):
            # Frequency a/stride, brought to the middle as fftshift does, and drawn around its cell.
            row, column = ((len(power) * n // stride + len(power) // 2) % len(power) for n in (a, b))
            if a or b:
                x, y = where.middle(row, column)
                x, y = min(max(x, where.x + 9), where.right - 9), min(max(y, where.y + 9), where.bottom - 9)
                canvas.frame(x - 9, y - 9, 18, 18, color="bluish green")
    if stride > 1:
        canvas.text(546, 262, f"frames: multiples of 1/{stride},", anchor="start")
        canvas.text(546, 283, "the pattern's frequencies", anchor="start")
    twin = _twin(kernel, stride, weights, transposed, inner, amount, flat, divides)
    code = (
        f"F.conv_transpose2d(x, weight, stride={stride})"
        if transposed
        else f'F.conv2d(F.interpolate(x, scale_factor={stride}, mode="nearest"), weight)'
    )
    reach = " or ".join(map(str, inner))
    return Drawing(
        canvas.svg(twin),
        twin,
        (
            f"{kernel} / {stride} = {kernel // stride}" + ("" if divides else f" remainder {kernel % stride}")
            + f": {reach} stamps along an axis" if transposed else f"every output pixel reads {kernel} along an axis",
            f"in the plane: {' or '.join(str(v) for v in sorted({a * b for a in inner for b in inner}))} products",
        ),
        code,
        code,
    )  # fmt: skip


def _draw_counts(canvas: Canvas, counts: tuple[int, ...]) -> None:
    """Draw how many stamps reach each of the first output pixels along an axis."""
    first = counts[:24]
    axes = plot(
        canvas, 30, 34, 262, 130, (-0.6, 23.6), (0, 6), x="output pixel", y="stamps per output pixel",
        xticks=(0, 6, 12, 18, 23), yticks=(0, 2, 4, 6),
    )  # fmt: skip
    axes.bars(range(len(first)), first)
    for place, count in enumerate(first):
        if count == 0:
            x, y = axes.at(place, 0)
            canvas.text(x, y - 4, "0", bold=True)


def _draw_kernel(canvas: Canvas, weights: np.ndarray, kernel: int, said: str) -> None:
    """Draw the kernel as shades, and beside it what it does to an even grey."""
    canvas.text(30, 244, f"kernel {kernel} × {kernel}", anchor="start", bold=True)
    cell = 92 / kernel
    for (i, j), value in np.ndenumerate(weights):
        x, y = 30 + j * cell, 254 + i * cell
        canvas.rect(x, y, cell, cell, "plain", radius=1)
        canvas.shade(x + 1, y + 1, cell - 2, cell - 2, float(value / weights.max()), "orange")
    canvas.text(150, 290, "on an even grey:", anchor="start")
    canvas.text(150, 318, said, anchor="start", bold=True, size=22)


def _twin(
    kernel: int, stride: int, weights: str, transposed: bool, inner: list[int], amount: float, flat: bool, divides: bool
) -> str:
    if not transposed:
        return (
            f"Enlarged {stride} times by nearest neighbour, then a {kernel} × {kernel} convolution: every pixel reads "
            f"{kernel * kernel} numbers, and an even grey stays even."
        )
    reach = " or ".join(map(str, inner))
    begin = f"Kernel {kernel}, stride {stride}: inside, {reach} stamp{'s' * (inner != [1])} reach a pixel along an axis"
    if kernel < stride:
        return f"{begin}: some get none, and stay empty."
    if flat:
        return f"{begin}, and an even grey stays even."
    if divides:
        return f"{begin}, as many everywhere; but the weights differ from place to place, so a ripple of {amount:.0f}% is left."
    return f"{begin}: an even grey gets a ripple of {amount:.0f}%."


def checkerboard(**state: Any) -> Explorer:
    """Explore checkerboards; ``checkerboard(kernel=4)`` begins there. See ``draw_checkerboard``."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "kernel": Slider(KERNELS, 3, "kernel"),
        "stride": Slider(STRIDES, 2, "stride"),
        "weights": Choice(WEIGHTS, "all equal", "weights"),
        "how": Choice(HOW, "transposed", "enlarge by"),
        "picture": Choice(PICTURES, "even grey", "picture"),
    }
    return Explorer(
        "Checkerboards.",
        controls,
        draw_checkerboard,
        Discovery(
            question="Kernel 3 with stride 2 prints a checkerboard on an even grey: does a kernel of 4?",
            path=(("kernel", 4),),
            fact="No: 4 is a multiple of 2, so 2 stamps reach every inner pixel along an axis. With 3 it is 1 or 2.",
        ),
        presets={
            "slide: 3 × 3, stride 2": {},
            "4 × 4, stride 2": {"kernel": 4},
            "4 × 4, weights that differ": {"kernel": 4, "weights": "random"},
            "the cure: resize + conv": {"how": "resize + conv", "weights": "random"},
            "on tissue": {"weights": "random", "picture": "tissue"},
            "holes": {"kernel": 2, "stride": 3},
        },
        name="checkerboard",
        state=state,
    )
