"""Explorer: the roofline. What does a layer wait for, arithmetic or memory, and what would a faster processor change?

S. Williams, A. Waterman, D. Patterson: Roofline (2009), "The Roofline model": at most min(peak, operations a byte times bandwidth).
"""

from __future__ import annotations

from math import log2, log10
from typing import TYPE_CHECKING, Any, NamedTuple

from ..figures.svg import Canvas
from ..figures.svg_plot import Plot, plot
from .controls import Choice, Control, Slider, Toggle
from .drawing import Discovery, Drawing

if TYPE_CHECKING:
    from .explorer import Explorer

FLOAT = 4  # bytes of a float32
PEAK, BANDWIDTH = 205, 58  # GFLOP/s and GB/s of the two cores in benchmarks/results/cpu_2026-11-23.md
SAVED = 4  # F(4x4, 3x3) takes 36 products for a tile of 16 outputs, where direct sums take 144
KINDS = ("convolution", "1 × 1", "depthwise", "ReLU")
ROLES = ("output", "kernel", "tap", "good")


class Work(NamedTuple):
    """What an operation does at best: arithmetic operations (a product is two), and bytes, each array moved once."""

    name: str
    operations: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Operations for each byte moved."""
        return self.operations / self.bytes

    def speed(self, peak: float, bandwidth: float, saved: int = 1) -> float:
        """Return the GFLOP/s under the roof, counted as direct sums; ``saved`` times fewer are really done."""
        return min(saved * peak, self.intensity * bandwidth)


def work(kind: str, kernel: int, channels: int, size: int) -> Work:
    """Return the work of an operation of ``KINDS``, as many channels out as in, on maps of F x F."""
    maps, k2 = channels * size**2, kernel**2
    if kind == "ReLU":
        return Work("ReLU", maps, FLOAT * 2 * maps)
    if kind == "depthwise":
        return Work(f"depthwise {kernel} × {kernel}", 2 * k2 * maps, FLOAT * (2 * maps + k2 * channels))
    k2 = 1 if kind == "1 × 1" else k2
    name = "1 × 1 convolution" if kind == "1 × 1" else f"{kernel} × {kernel} convolution"
    return Work(name, 2 * k2 * channels * maps, FLOAT * (2 * maps + k2 * channels**2))


def said(value: float) -> str:
    """Return a number with three digits, as people say it: 0.125, 15.8, 1,230."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def draw_roofline(
    operation: str = "convolution",
    kernel: int = 3,
    channels: int = 64,
    size: int = 64,
    peak: int = PEAK,
    bandwidth: int = BANDWIDTH,
    winograd: bool = False,
) -> Drawing:
    """Draw four operations under the roof of a machine; pure, no widgets.

    Parameters
    ----------
    operation : str
        The one that the formula is written for, of ``KINDS``.
    kernel, channels, size : int
        k x k, as many channels out as in, maps of F x F; one image.
    peak, bandwidth : int
        The machine: 10⁹ operations and 10⁹ bytes a second.
    winograd : bool
        Compute 3 x 3 convolutions with four times fewer products.
    """
    works = [work(kind, kernel, channels, size) for kind in KINDS]
    saved = [SAVED if winograd and kind == "convolution" and kernel == 3 else 1 for kind in KINDS]
    speeds = [w.speed(peak, bandwidth, s) for w, s in zip(works, saved, strict=True)]
    ridge = peak / bandwidth
    arithmetic = [w.intensity >= s * ridge for w, s in zip(works, saved, strict=True)]
    twin = _twin(works, speeds, arithmetic, peak, bandwidth, max(saved) > 1)
    canvas = Canvas(760, 424, f"Roofline: {said(peak)} GFLOP/s and {said(bandwidth)} GB/s")
    axes = _axes(canvas)
    _roof(axes, peak, bandwidth, max(saved))
    _points(axes, works, speeds, KINDS.index(operation))
    _table(canvas, works, speeds, arithmetic, peak, KINDS.index(operation), saved)
    roofs = f"blue: memory, {said(bandwidth)} GB/s; orange: arithmetic, {said(peak)} GFLOP/s; "
    canvas.text(4, 416, roofs + f"they meet at {said(ridge)}", anchor="start")
    at = KINDS.index(operation)
    one = works[at]
    code = _code(operation, kernel)
    here = code.replace(")", ', algorithm="winograd")') if saved[at] > 1 else code
    return Drawing(canvas.svg(twin), twin, _formula(operation, kernel, channels, size, one, peak, bandwidth, saved[at]),
                   here, code)  # fmt: skip


def _axes(canvas: Canvas) -> Plot:
    """Draw both logarithmic axes: powers of two across, powers of ten up."""
    axes = plot(canvas, 64, 40, 404, 296, (-4, 14), (0, 6), y="GFLOP/s at most")
    canvas.text(266, 384, "operations a byte")
    for power in range(7):
        y = axes.at(-4, power)[1]
        canvas.line(64, y, 468, y, faint=True, width=1)
        canvas.text(56, y + 6, ("1", "10", "100", "1 000", "10 000", "10⁵", "10⁶")[power], anchor="end")
    for power, name in ((-3, "⅛"), (0, "1"), (3, "8"), (6, "64"), (9, "512"), (12, "4096")):
        x = axes.at(power, 0)[0]
        canvas.line(x, 336, x, 341)
        canvas.text(x, 358, name)
    return axes


def _roof(axes: Plot, peak: float, bandwidth: float, saved: int) -> None:
    """Draw the slope of memory and the flat roof of arithmetic, and a second one where fewer products are needed."""
    ridge = peak / bandwidth
    if saved > 1:
        meet = saved * ridge
        axes.line((log2(ridge), log2(meet)), (log10(peak), log10(saved * peak)), color="blue", style=1)
        axes.line((log2(meet), 14), (log10(saved * peak),) * 2, color="orange", style=1)
        x, y = axes.at(14, log10(saved * peak))
        axes.canvas.text(x, y - 17, f"Winograd: {said(saved * peak)}", anchor="end")
    if log2(ridge) > -4:  # or the slope is left of the frame
        begin = max(-4, -log2(bandwidth))
        axes.line((begin, log2(ridge)), (log10(bandwidth * 2**begin), log10(peak)), color="blue", width=4)
        axes.line((log2(ridge),) * 2, (0, log10(peak)), style=2, width=1.5)
        x, y = axes.at(log2(ridge), 0)
        axes.canvas.text(x + 6, y - 8, said(ridge), anchor="start", bold=True)
    axes.line((log2(ridge), 14), (log10(peak),) * 2, color="orange", width=4)


def _points(axes: Plot, works: list[Work], speeds: list[float], chosen: int) -> None:
    """Draw each operation under the roof, numbered as in the table."""
    for number, (one, speed) in enumerate(zip(works, speeds, strict=True)):
        x, y = axes.at(log2(one.intensity), log10(speed))
        axes.canvas.line(x, y, x, axes.top + axes.height, faint=number != chosen, width=1.5)
    for number, (one, speed, role) in reversed(list(enumerate(zip(works, speeds, ROLES, strict=True)))):
        x, y = axes.at(log2(one.intensity), log10(speed))
        _numbered(axes.canvas, x, y, number + 1, role)


def _numbered(canvas: Canvas, x: float, y: float, number: int, role: str) -> None:
    canvas.raw(
        f'<circle cx="{x:.2f}" cy="{y:.2f}" r="12" fill="var(--jp-layout-color0,#fff)"/>'
    )  # nothing shines through
    canvas.dot(x, y, 12, role)
    ink = {"output": "#D55E00", "tap": "#0072B2"}.get(role, "")
    canvas.text(x, y + 6, number, bold=True, on=ink)


def _table(
    canvas: Canvas,
    works: list[Work],
    speeds: list[float],
    arithmetic: list[bool],
    peak: int,
    chosen: int,
    saved: list[int],
) -> None:
    """Write for each operation what it waits for, and how fast it may be."""
    for number, (one, speed, flat, role, fewer) in enumerate(zip(works, speeds, arithmetic, ROLES, saved, strict=True)):
        y = 46 + 84 * number
        _numbered(canvas, 502, y - 6, number + 1, role)
        canvas.text(522, y, "3 × 3 by Winograd" if fewer > 1 else one.name, anchor="start", bold=True)
        canvas.text(522, y + 22, f"{said(one.intensity)} a byte: {'arithmetic' if flat else 'memory'}", anchor="start")
        canvas.text(522, y + 44, f"{said(speed)} GFLOP/s, {_percent(speed / peak)}", anchor="start")
        if number == chosen:
            canvas.line(488, y - 20, 488, y + 50, color="vermilion", width=4)
    canvas.text(522, 46 + 84 * 4 - 12, "%: of the peak", anchor="start", faint=True)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.0095 else f"{100 * share:.1g}%"


def _code(operation: str, kernel: int) -> str:
    if operation == "ReLU":
        return "F.relu(x)"
    padding = "" if operation == "1 × 1" else f", padding={kernel // 2}"
    return f"F.conv2d(x, weight{padding}{', groups=x.shape[1]' if operation == 'depthwise' else ''})"


def _formula(
    operation: str, kernel: int, channels: int, size: int, one: Work, peak: int, bandwidth: int, saved: int
) -> tuple[str, ...]:
    """Return how the operations, the bytes and the speed of the chosen operation come about."""
    k2, c, f2 = (1 if operation == "1 × 1" else kernel**2), channels, f"{size}²"
    operations, arrays = {
        "ReLU": (f"C·F² = {c}·{f2}", f"4·2·C·F² = 8·{c}·{f2}"),
        "depthwise": (f"2·k²·C·F² = 2·{k2}·{c}·{f2}", f"4·(2·C·F² + k²·C) = 4·(2·{c}·{f2} + {k2}·{c})"),
    }.get(
        operation, (f"2·k²·C·C·F² = 2·{k2}·{c}·{c}·{f2}", f"4·(2·C·F² + k²·C·C) = 4·(2·{c}·{f2} + {k2}·{c}·{c})")
    )  # fmt: skip
    speed, many = one.speed(peak, bandwidth, saved), f"{saved}·" if saved > 1 else ""
    milliseconds = one.operations / speed / 1e6
    return (
        f"operations: {operations} = {one.operations:,}",
        f"bytes: {arrays} = {one.bytes:,}",
        f"at most min({many}{peak}, {said(one.intensity)}·{bandwidth}) = {said(speed)} GFLOP/s: "
        + (f"{said(milliseconds)} ms" if milliseconds >= 0.0995 else f"{said(1000 * milliseconds)} µs"),
    )


def _twin(
    works: list[Work], speeds: list[float], arithmetic: list[bool], peak: int, bandwidth: int, winograd: bool
) -> str:
    def listed(flat: bool) -> str:
        names = [
            f"{w.name} ({said(w.intensity)} operations a byte, {said(v)} GFLOP/s)"
            for w, v, a in zip(works, speeds, arithmetic, strict=True)
            if a == flat
        ]
        return ", ".join(names) or "none of them"

    return (
        f"At {said(peak)} GFLOP/s and {said(bandwidth)} GB/s the roofs meet at {said(peak / bandwidth)} operations a byte. "
        f"Arithmetic bounds: {listed(True)}. Memory bounds: {listed(False)}."
        + (" The 3 × 3 convolution is done by Winograd, with four times fewer products." if winograd else "")
    )


def roofline(**state: Any) -> Explorer:
    """Explore what bounds a layer; ``roofline(peak=6100, bandwidth=336)`` begins with the lecture's Titan X."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "operation": Choice(KINDS, "convolution", "formula of"),
        "kernel": Slider((3, 5, 7), 3, "kernel k"),
        "channels": Slider((1, 2, 4, 8, 16, 32, 64, 128, 256, 512), 64, "channels C"),
        "size": Slider((8, 16, 32, 64, 128, 256), 64, "map side F"),
        "peak": Slider((20, 50, 100, PEAK, 400, 1000, 10 * PEAK, 6100, 67000), PEAK, "peak, GFLOP/s", play=True),
        "bandwidth": Slider((10, 20, BANDWIDTH, 100, 200, 336, 10 * BANDWIDTH, 1000, 3350), BANDWIDTH, "memory, GB/s"),
        "winograd": Toggle(False, "Winograd"),
    }
    return Explorer(
        "The roofline: what a layer waits for.",
        controls,
        draw_roofline,
        Discovery(
            question="A processor ten times faster, with the memory of the old one: which layers become ten times faster?",
            path=(("peak", 400), ("peak", 1000), ("peak", 10 * PEAK)),
            fact="Only the 3 × 3 convolution, from 205 to 2,050 GFLOP/s; the 1 × 1 convolution comes to 921, 4.5 times; "
            "depthwise and ReLU stay where they were: they wait for memory.",
        ),
        presets={
            "the CPU of our tables": {},
            "the lecture's Titan X (data sheet)": {"peak": 6100, "bandwidth": 336},
            "an H100 (data sheet)": {"peak": 67000, "bandwidth": 3350},
            "few channels": {"channels": 2},
            "a large depthwise kernel": {"operation": "depthwise", "kernel": 7},
            "Winograd": {"winograd": True},
            "Winograd where memory is the limit": {"winograd": True, "channels": 8, "peak": 6100, "bandwidth": 58},
        },
        name="roofline",
        page={"kernel": (3, 7), "channels": (2, 8, 64, 512), "size": (64,), "peak": (205, 2050, 6100, 67000),
              "bandwidth": (58, 336, 3350), "operation": ("convolution", "depthwise")},
        state=state,
    )  # fmt: skip
