"""Explorer: one pooled picture, brought up again by four rules. Which rule keeps edges, and which puts things in their place?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..figures.svg import Canvas
from ..figures.svg_image import image
from .controls import Choice, Control, Slider, Toggle
from .drawing import Discovery, Drawing
from .upsampling_rules import KERNELS, PICTURES, POOLED, SIZE, brought_up, encoded, shown

if TYPE_CHECKING:
    from .explorer import Explorer

ZOOM = 16  # pixels: the side of the window that is shown larger
_WIDE, _PITCH, _TOP = 144, 152, 32
_NAMES = ("original", "nearest", "bilinear", "max-unpooling", "transposed")
_PLACES = tuple(range(0, SIZE - ZOOM + 1, 8))


def draw_upsampling(
    picture: str = "photo",
    factor: int = 4,
    pool: str = "mean",
    kernel: str = "bilinear",
    row: int = 56,
    column: int = 24,
    errors: bool = False,
) -> Drawing:
    """Draw a picture of 128 x 128 pixels, reduced and brought up again by each rule; no widgets.

    Parameters
    ----------
    picture : str
        "photo" and "class map": the lecture's scene; "stars": one bright pixel in each 8 x 8 window.
    factor : int
        By how much the picture is reduced, 2, 4 or 8.
    pool : str
        What a window becomes: its "mean" or its "maximum". Unpooling takes the places of the maxima in both.
    kernel : str
        Of the transposed convolution: "bilinear", or "learned" (the best for this picture, by least squares).
    row, column : int
        The left upper corner of the window that is shown larger.
    errors : bool
        Show where each result is wrong instead of the result.
    """
    up = brought_up(picture, factor, pool, kernel)
    n, unit = SIZE // factor, "%" if picture == "class map" else ""
    canvas = Canvas(760, 422, f"A {picture} reduced {factor} times and brought up by four rules")
    worst, best = max(up.errors), min(up.errors)
    for place, name in enumerate(_NAMES):
        x = 4.0 + place * _PITCH
        pixels = shown(picture, factor, pool, kernel, place, errors and place > 0)
        what = "its errors" if errors and place else "the result" if place else "the picture"
        canvas.text(x, _TOP - 12, name, anchor="start", bold=True)
        uri = encoded(picture, factor, pool, kernel, place, errors and place > 0)
        where = image(canvas, x, _TOP, _WIDE, pixels, alt=f"{name}: {what}", uri=uri)
        y1, x1, side = where.y + row * where.cell, x + column * where.cell, ZOOM * where.cell
        canvas.frame(x1, y1, side, side, thick=4)
        canvas.frame(x1, y1, side, side, color="yellow", thick=2)
        cut = pixels[row : row + ZOOM, column : column + ZOOM]
        image(canvas, x, _TOP + _WIDE + 10, _WIDE, cut, alt=f"{name}: {what}, the framed window")
        y = _TOP + 2 * _WIDE + 32
        if not place:
            canvas.text(x, y, "wrong pixels" if unit else "mean error", anchor="start", bold=True)
            canvas.text(x, y + 42, f"{SIZE} → {n} → {SIZE}", anchor="start", faint=True)
            canvas.text(x, y + 60, f"pooled: {pool}", anchor="start", faint=True)
            continue
        error = up.errors[place - 1]
        least = f"{error:.1f}" == f"{best:.1f}"
        canvas.text(x, y, f"{error:.1f}{unit}{' · least' if least else ''}", anchor="start", bold=least)
        canvas.rect(x, y + 8, max(2.0, (_WIDE - 4) * error / (worst or 1)), 14, "good" if least else "done", radius=1)
        said = _remark(place, up.zeros, up.differing, kernel)
        for line, words in enumerate(said):
            canvas.text(x, y + 42 + 18 * line, words, anchor="start", faint=True)
    twin = _twin(picture, factor, pool, kernel, up, unit)
    p, k = factor // 2, 2 * factor
    channels = 5 if picture == "class map" else 3 if picture == "photo" else 1
    groups = f", groups={channels}" if channels > 1 else ""
    code = (
        f'F.interpolate(x, scale_factor={factor}, mode="bilinear"); F.max_unpool2d(x, places, {factor}); '
        f"F.conv_transpose2d(x, weight, stride={factor}, padding={p}{groups})"
    )
    return Drawing(
        canvas.svg(twin),
        twin,
        (
            f"nearest: out(y, x) = in(⌊y / {factor}⌋, ⌊x / {factor}⌋)",
            f"max-unpooling: one value in {factor}·{factor} = {factor * factor}; at least "
            f"1 − 1/{factor * factor} = {100 * (1 - 1 / factor**2):.1f}% zeros",
            f"transposed: size (n − 1)s − 2p + k = ({n} − 1)·{factor} − 2·{p} + {k} = {SIZE}",
        ),
        code,
        code,
    )


def _remark(place: int, zeros: float, differing: int, kernel: str) -> tuple[str, ...]:
    if place == 1:
        return ("repeats: blocks,", "steps at edges")
    if place == 2:
        return ("blends: blur,", "no blocks")
    if place == 3:
        return (f"{zeros:.1f}% empty", "the rest in place")
    if kernel != "bilinear":
        return ("kernel fitted to", "this picture")
    return ("= bilinear",) if not differing else ("= bilinear, except", "at the border")


def _twin(picture: str, factor: int, pool: str, kernel: str, up: Any, unit: str) -> str:
    said = [f"{name} {error:.1f}{unit}" for name, error in zip(_NAMES[1:], up.errors, strict=True)]
    what = "share of wrong pixels" if unit else "mean error in grey levels of 255"
    text = (
        f"The {picture} reduced {factor} times by the {pool} and brought up again, {what}: {', '.join(said)}. "
        f"Max-unpooling leaves {up.zeros:.1f}% empty"
    )
    if kernel == "bilinear" and not unit:
        where = f"; the transposed convolution differs from bilinear interpolation in {up.differing:,} pixels"
        text += where + (", all at the border" if 0 < up.differing <= up.ring else "")
    return text + "."


def upsampling(**state: Any) -> Explorer:
    """Explore the ways up side by side; ``upsampling(factor=8, picture="class map")`` begins there."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "picture": Choice(PICTURES, "photo", "picture"),
        "factor": Slider((2, 4, 8), 4, "reduced by"),
        "pool": Choice(POOLED, "mean", "pooled by"),
        "kernel": Choice(KERNELS, "bilinear", "kernel"),
        "row": Slider(_PLACES, 56, "zoom row"),
        "column": Slider(_PLACES, 24, "zoom column", play=True),
        "errors": Toggle(False, "errors"),
    }
    return Explorer(
        "Upsampling compared.",
        controls,
        draw_upsampling,
        Discovery(
            question="Which rule is by far the worst on the photo, and the only one without any error on the stars?",
            path=(("picture", "stars"), ("pool", "maximum"), ("column", 40)),
            fact="Max-unpooling: it puts each maximum back at its place and leaves all else empty, 93.8% at factor 4. "
            "For a photo that is wrong nearly everywhere, for one star in each window it is exact.",
        ),
        presets={
            "the class map": {"picture": "class map"},
            "reduced by 8": {"factor": 8},
            "bed of nails": {"factor": 2, "pool": "maximum"},
            "the dark border": {"row": 0, "column": 0, "factor": 8},
            "where edges err": {"errors": True},
            "stars": {"picture": "stars", "pool": "maximum", "column": 40},
        },
        name="upsampling",
        page={"row": (0, 56), "column": (0, 24, 40), "errors": (False,)},
        state=state,
    )
