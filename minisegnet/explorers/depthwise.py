"""Explorer: depthwise separable convolution, its cost as area. Nine times fewer products: is it nine times faster?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..figures.svg import Canvas
from ..figures.svg_grid import legend, text_width
from .controls import Choice, Control, Slider
from .depthwise_costs import FULL, Layer, in_short, in_words, mobilenet
from .depthwise_net import draw_net
from .drawing import Discovery, Drawing

if TYPE_CHECKING:
    from .explorer import Explorer

VIEWS = ("one layer", "MobileNet")
CHANNELS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
WIDTHS = (1.0, 0.75, 0.5, 0.25)
SIDES = (224, 192, 160, 128)
_SIDE = 180.0  # the standard convolution is a square of this side


def draw_depthwise(
    view: str = "one layer",
    kernel: int = 3,
    inputs: int = 512,
    outputs: int = 512,
    size: int = 14,
    width: float = 1.0,
    side: int = FULL,
) -> Drawing:
    """Draw what a separable convolution costs beside a standard one, or the whole of MobileNet; pure, no widgets.

    Parameters
    ----------
    view : {"one layer", "MobileNet"}
        The whole net has its own kernel, channels and sizes; of the others it takes ``width`` and ``side``.
    kernel, inputs, outputs, size : int
        The layer: k x k, C channels in, O out, maps of F x F where the image has 224 x 224.
    width : float
        The width multiplier, alpha: all channels are thinned by it.
    side : int
        The image's side; the resolution multiplier rho is ``side / 224``.
    """
    if view == "MobileNet":
        return draw_net(width, side)
    full = Layer(kernel, inputs, outputs, size)
    return _draw_layer(full, full.thinner(width, side), width, side)


def _draw_layer(full: Layer, thin: Layer, width: float, side: int) -> Drawing:
    whole, both = full.standard, thin.separable
    fewer, bytes_ratio = whole / both, full.standard_bytes / thin.separable_bytes
    share = 100 * thin.pointwise / both
    twin = (
        f"A standard {full.kernel} × {full.kernel} convolution takes {whole:,} products; depthwise {thin.depthwise:,} "
        f"and pointwise {thin.pointwise:,} are {in_words(fewer)}, and the 1 × 1 takes {share:.1f}% of them. "
        f"The bytes moved are {in_words(bytes_ratio)}."
    )
    canvas = Canvas(760, 428, "Standard and depthwise separable convolution: products as area")
    _draw_areas(canvas, full, thin, width, side)
    _draw_wires(canvas, thin)
    _draw_bars(canvas, full, thin, fewer, bytes_ratio)
    k2, multiplied = full.kernel**2, (width, side) != (1.0, FULL)
    thinned = "α²ρ²·" if multiplied else ""
    share_one = f"{width:g}²·({side}/{FULL})²·" if multiplied else ""
    same = f", {thin.inputs}, {full.kernel}, padding={full.kernel // 2}, groups={thin.inputs})"
    code = f"nn.Sequential(nn.Conv2d({thin.inputs}{same}, nn.Conv2d({thin.inputs}, {thin.outputs}, 1))"
    return Drawing(
        canvas.svg(twin),
        twin,
        (
            f"standard: k²·C·O·F² = {k2}·{full.inputs}·{full.outputs}·{full.size}² = {whole:,}",
            f"separable: k²·C·F² + C·O·F² = {k2}·{thin.inputs}·{thin.size}² + {thin.inputs}·{thin.outputs}·{thin.size}²"
            f" = {both:,}",
            f"ratio = {thinned}(1/O + 1/k²) = {share_one}(1/{thin.outputs} + 1/{k2}) = {both / whole:.4f}",
        ),
        code,
        code,
    )


def _draw_areas(canvas: Canvas, full: Layer, thin: Layer, width: float, side: int) -> None:
    """Draw the products as rectangles: all of one scale, so that the halves are parts of the whole."""
    top, shrink = 52.0, side / FULL
    k, k2 = full.kernel, full.kernel**2
    canvas.text(4, 16, "products as area", anchor="start", bold=True)
    canvas.rect(4, top, _SIDE, _SIDE, "image")
    for row in range(1, k2 if k2 <= 25 else 0):  # one stripe is one weight of the kernel: C times O products a pixel
        canvas.line(4, top + row * _SIDE / k2, 4 + _SIDE, top + row * _SIDE / k2, faint=True, width=1)
    canvas.text(4, top - 10, f"standard {k} × {k}", anchor="start")
    canvas.text(4 + _SIDE / 2, top + _SIDE / 2 + 6, in_short(full.standard), bold=True, size=20)
    canvas.text(203, top + _SIDE / 2 + 8, "→", size=24, bold=True)
    # Sides in proportion: k²·C rows of F pixels each high, O columns of F pixels each wide.
    high, wide = _SIDE * thin.inputs / full.inputs * shrink, _SIDE * thin.outputs / full.outputs * shrink
    across = _SIDE / full.outputs
    ghost = (thin.inputs, thin.outputs, thin.size) != (full.inputs, full.outputs, full.size)
    x, x2 = 222.0, 318.0
    if ghost:
        canvas.rect(x, top, max(across, 1.5), _SIDE, "padding", radius=0)
        canvas.rect(x2, top, _SIDE, _SIDE / k2, "padding", radius=0)
    if across * shrink > 6:
        canvas.rect(x, top, across * shrink, high, "tap", radius=0)
    else:  # an outline would be wider than what it holds
        thick = max(across * shrink, 2)
        canvas.line(x + thick / 2, top, x + thick / 2, top + high, color="blue", width=round(thick, 2))
    canvas.text(x, top - 10, "depthwise", anchor="start")
    canvas.text(296, top + _SIDE / 2 + 8, "+", size=24, bold=True)
    if high / k2 > 4:
        canvas.rect(x2, top, wide, high / k2, "kernel", radius=0)
    else:
        canvas.line(x2, top + 1, x2 + wide, top + 1, color="orange", width=max(round(high / k2, 2), 2))
    canvas.text(x2, top - 10, "pointwise 1 × 1", anchor="start")
    canvas.text(x, top + _SIDE + 22, in_short(thin.depthwise), anchor="start")
    below = top + (_SIDE + 22 if k == 1 else max(high, _SIDE * ghost) / k2 + 24)
    canvas.text(x2, below, in_short(thin.pointwise), anchor="start")
    if k > 1:
        canvas.text(x2, top + 116, f"1/O = 1/{thin.outputs}: the strip", anchor="start")
        canvas.text(x2, top + 140, f"1/k² = 1/{k2}: the slab", anchor="start")


def _draw_wires(canvas: Canvas, thin: Layer) -> None:
    """Draw which input channel feeds which output channel: few stand for many."""
    left, top, step = 526.0, 72.0, 31.0
    n, m = min(thin.inputs, 4), min(thin.outputs, 5)
    k = thin.kernel
    canvas.text(left - 10, 16, "which channel feeds which", anchor="start", bold=True)

    def at(x: float, index: int, count: int) -> tuple[float, float]:
        return x, top + (index + (5 - count) / 2) * step

    def wires(x1: float, count1: int, x2: float, count2: int, mix: bool, thick: bool) -> None:
        for i in range(count1):
            for j in range(count2):
                if mix or i == j:
                    canvas.line(*at(x1, i, count1), *at(x2, j, count2), color="blue" if thick else "orange",
                                width=3 if thick else 1.6)  # fmt: skip

    one, two, three, four, five = left, left + 74, left + 126, left + 172, left + 224
    wires(one, n, two, m, mix=True, thick=True)
    wires(three, n, four, n, mix=False, thick=True)
    wires(four, n, five, m, mix=True, thick=False)
    for x, count, role in ((one, n, "image"), (two, m, "output"), (three, n, "image"), (four, n, "plain"),
                           (five, m, "output")):  # fmt: skip
        for index in range(count):
            px, py = at(x, index, count)
            canvas.dot(px, py, 8, "done" if role == "plain" else role)
    canvas.text((one + two) / 2, top - 32, "standard")
    canvas.text((three + five) / 2, top - 32, "separable")
    for x, count in ((one, thin.inputs), (two, thin.outputs), (three, thin.inputs), (four, thin.inputs),
                     (five, thin.outputs)):  # fmt: skip
        canvas.text(min(x, 758 - text_width(str(count)) / 2), top + 4 * step + 30, count)
    weights = f"{k} × {k}" if k > 1 else "1 × 1"
    canvas.line(left - 10, 248, left + 12, 248, color="blue", width=3)
    canvas.text(left + 18, 254, f"{weights} weights", anchor="start")
    canvas.line(left + 140, 248, left + 158, 248, color="orange", width=1.6)
    canvas.text(left + 164, 254, "1 weight", anchor="start")


def _draw_bars(canvas: Canvas, full: Layer, thin: Layer, fewer: float, bytes_ratio: float) -> None:
    """Draw products and bytes moved, standard above separable: they need not go together."""
    rows = (
        ("products", 292.0, full.standard, thin.depthwise, thin.pointwise, fewer, ""),
        ("bytes moved", 364.0, full.standard_bytes, thin.depthwise_bytes, thin.pointwise_bytes, bytes_ratio, "B"),
    )
    for name, y, whole, spatial, mix, ratio, unit in rows:
        canvas.text(4, y + 6, name, anchor="start", bold=True)
        x, room = 204.0, 310.0
        scale = room / max(whole, spatial + mix)
        for offset, label, parts in (
            (-12, "standard", ((whole, "image"),)),
            (14, "separable", ((spatial, "tap"), (mix, "kernel"))),
        ):
            canvas.text(x - 8, y + offset + 16, label, anchor="end")
            at = x
            for value, role in parts:
                canvas.rect(at, y + offset, max(scale * value, 1.5), 22, role, radius=0)
                at += max(scale * value, 1.5)
            canvas.text(at + 8, y + offset + 17, in_short(sum(v for v, _ in parts), unit), anchor="start")
        canvas.text(756, y + 18, in_words(ratio).replace("times", "×"), anchor="end", bold=True, size=18)
    legend(canvas, 204, 422, [("tap", "depthwise"), ("kernel", "pointwise 1 × 1")])
    canvas.text(756, 422, "float32, each array moved once", anchor="end", faint=True)


def depthwise(**state: Any) -> Explorer:
    """Explore depthwise separable convolution; ``depthwise(view="MobileNet", width=0.5)`` begins there."""
    from .explorer import Explorer

    mobilenet()  # the net's numbers are read off the model once, so that no drawing waits for them
    controls: dict[str, Control] = {
        "view": Choice(VIEWS, "one layer", "show"),
        "kernel": Slider((1, 3, 5, 7), 3, "kernel k"),
        "inputs": Slider(CHANNELS, 512, "channels in C"),
        "outputs": Slider(CHANNELS, 512, "out O", play=True),
        "size": Slider((7, 14, 28, 56, 112), 14, "map side F"),
        "width": Slider(WIDTHS, 1.0, "width α"),
        "side": Slider(SIDES, FULL, "image side"),
    }
    return Explorer(
        "Depthwise separable convolution: cost as area.",
        controls,
        draw_depthwise,
        Discovery(
            question="Eight to nine times fewer products: is it as many times faster?",
            path=(("inputs", 128), ("outputs", 128), ("size", 56)),
            fact="With 128 channels on 56 × 56 the products fall 8.41 times, yet 1.71 times more bytes are moved: "
            "where memory is the limit, it is not faster at all.",
        ),
        presets={
            "slide: MobileNet": {"view": "MobileNet"},
            "paper: table 3": {},
            "table 3: α = 0.75, ρ = 0.714": {"width": 0.75, "side": 160},
            "few channels out": {"outputs": 8},
            "fewer products, more bytes": {"inputs": 128, "outputs": 128, "size": 56},
            "MobileNet 0.5, 160": {"view": "MobileNet", "width": 0.5, "side": 160},
        },
        name="depthwise",
        page={
            "kernel": (3, 5),
            "inputs": (128, 512),
            "outputs": (8, 128, 512),
            "size": (14, 56),
            "width": WIDTHS,
            "side": (224, 160),
        },
        state=state,
    )
