"""Explorer: a convolution, product by product. Kernel, stride, padding, dilation, channels; why is the output smaller?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.svg import Canvas
from ..figures.svg_grid import format_value, grid, kernel, legend, text_width
from ..shapes import conv_output_size, effective_kernel
from .controls import Control, Numbers, Slider, State, Table
from .drawing import Discovery, Drawing

if TYPE_CHECKING:
    from .explorer import Explorer

LARGEST = 5
IMAGE: Table = ((1, 2, 0, 1, 3), (0, 1, 5, 2, 1), (2, 4, 1, 0, 2), (1, 0, 2, 3, 1), (3, 1, 1, 2, 0))
WEIGHTS: Table = ((1, 0, -1), (2, 0, -2), (1, 0, -1))
# The channels behind the first, which is the one to edit.
MORE_IMAGES = np.array([[(i * 3 + j * 2) % 4 for j in range(LARGEST)] for i in range(LARGEST)]), np.eye(LARGEST)
MORE_WEIGHTS = np.array([[0, 1, 0], [1, -1, 1], [0, 1, 0]]), np.array([[2, 0, 0], [0, 1, 0], [0, 0, -1]])


def draw_convolution(
    channels: int = 1,
    size: int = LARGEST,
    kernel_size: int = 3,
    padding: int = 0,
    dilation: int = 1,
    stride: int = 1,
    position: int = 0,
    product: int = 0,
    image: Table = IMAGE,
    weights: Table = WEIGHTS,
) -> Drawing:
    """Draw one output pixel of a convolution: its window, the kernel, the sum spelled out; pure, no widgets.

    Parameters
    ----------
    channels, size, kernel_size, padding, dilation, stride
        The convolution: an image of ``channels`` x ``size`` x ``size``, one kernel with as many channels.
    position : int
        Which output pixel, in reading order; those before it are already computed.
    product : int
        How many products of its sum are shown; 0 shows all.
    image, weights : table
        The numbers of the first channel; smaller sizes take the left upper corner.
    """
    from .. import functional as F
    from ..autograd import no_grad

    k, (out, _) = kernel_size, _output(size, kernel_size, padding, dilation, stride)
    x = np.stack([np.array(image), *MORE_IMAGES])[:channels, :size, :size].astype(np.float32)
    w = np.stack([np.array(weights), *MORE_WEIGHTS])[:channels, :k, :k].astype(np.float32)
    with no_grad():
        result = F.conv2d(x[None], w[None], stride=stride, padding=padding, dilation=dilation).numpy()[0, 0]
    oy, ox = divmod(position, out)
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    patch = padded[:, oy * stride :, ox * stride :][
        :, : (k - 1) * dilation + 1 : dilation, : (k - 1) * dilation + 1 : dilation
    ]
    terms = list(zip(patch.ravel().tolist(), w.ravel().tolist(), strict=True))  # channel by channel, row by row
    shown = product or len(terms)
    value = float(result[oy, ox]) if shown == len(terms) else sum(a * b for a, b in terms[:shown])
    now = np.unravel_index(product - 1, w.shape) if product else None
    twin = _twin(size, k, padding, dilation, stride, channels, (oy, ox), out, value, terms, product)
    picture = _picture(padded, w, result, (oy, ox), value, now, padding, dilation, stride).svg(twin)
    given = {"stride": (stride, 1), "padding": (padding, 0), "dilation": (dilation, 1)}
    arguments = "".join(f", {name}={v}" for name, (v, default) in given.items() if v != default)
    sizes = f"⌊({size} + 2·{padding} − {dilation}·({k} − 1) − 1) / {stride}⌋ + 1 = {out}"
    more = " + …" if shown < len(terms) else ""
    total = " + ".join(f"{_signed(a)}·{_signed(b)}" for a, b in terms[:shown])
    return Drawing(
        picture,
        twin,
        (
            f"output size = ⌊(n + 2p − d(k − 1) − 1) / s⌋ + 1 = {sizes}",
            f"output ({oy}, {ox}) = {total}{more} = {format_value(value)}{' so far' if more else ''}",
        ),
        f"F.conv2d(x, weight{arguments})",
        f"F.conv2d(x, weight{arguments})",
    )


def _picture(
    padded: np.ndarray,
    w: np.ndarray,
    result: np.ndarray,
    place: tuple[int, int],
    value: float,
    now: Any,
    padding: int,
    dilation: int,
    stride: int,
) -> Canvas:
    channels, side = padded.shape[:2]
    k, out = w.shape[1], result.shape[0]
    span = effective_kernel(k, dilation)
    gap = 40.0
    # As large as the width allows: input, kernel, products and output side by side, the last two with room for "−2187".
    longest = max(len(format_value(v)) for v in result.ravel())
    share = {3: 1.4, 4: 1.6, 5: 1.9}.get(longest, 1.25)
    cell = min((746 - 3 * gap) / (side + span + share * (k + out)), 44 if channels == 1 else 26)
    wide, size = share * cell, min(max(16.0, 0.52 * cell), 21)
    block = max(side * cell, k * wide) + 36
    height = max(channels * block, out * wide + 36) + 46
    canvas = Canvas(760, height, f"Convolution with a {k} × {k} kernel")
    top, left = place[0] * stride, place[1] * stride
    window = padded[:, top : top + span : dilation, left : left + span : dilation]
    products = window * w
    tall = height - 46
    for c in range(channels):
        middle = 34 + (tall - channels * block) / 2 + c * block + (block - 36) / 2
        y = middle - side * cell / 2
        active = (int(now[1]), int(now[2])) if now is not None and int(now[0]) == c else None

        def role(i: int, j: int, active: tuple[int, int] | None = active) -> str:
            dy, dx = i - top, j - left
            if active is not None and (dy, dx) == (active[0] * dilation, active[1] * dilation):
                return "active"
            if 0 <= dy < span and 0 <= dx < span:
                return "tap" if dy % dilation == 0 and dx % dilation == 0 else "window"
            edge = min(i, j) < padding or max(i, j) >= side - padding
            return "padding" if edge else "image"

        inner = side - 2 * padding
        name = "input" if channels == 1 else f"channel {c}:"
        ring = " and zeros around" if padding and channels == 1 and side * cell > 250 else ""
        label = f"{name} {inner} × {inner}{ring}"
        where = grid(canvas, 4, y, padded[c].tolist(), role=role, cell=cell, size=size, label=label)
        x = where.right + gap
        canvas.text(where.right + gap / 2, middle + 9, "∗", size=30, bold=True)
        label = "kernel" if c == 0 else ""
        weights = kernel(canvas, x, middle - span * cell / 2, w[c], dilation, active, cell=cell, size=size, label=label)
        canvas.text(weights.right + gap / 2, middle + 9, "=", size=30, bold=True)
        right = _products(canvas, weights.right + gap, middle, products[c], wide, size, now, c, first=c == 0)
        if c < channels - 1:
            canvas.text(right - k * wide / 2, middle + block / 2 + 6, "+", size=30, bold=True)
    numbers = [[None if i * out + j > place[0] * out + place[1] else v for j, v in enumerate(row)] for i, row in
               enumerate(result.tolist())]  # fmt: skip
    numbers[place[0]][place[1]] = value

    def done(i: int, j: int) -> str:
        return "output" if (i, j) == place else "hidden" if numbers[i][j] is None else "done"

    y = 34 + (tall - out * wide - 36) / 2
    canvas.text(right + gap / 2, y + out * wide / 2 + 10, "Σ", size=26, bold=True)
    label = f"output {out} × {out}"
    grid(
        canvas, min(right + gap, 752 - text_width(label) - 8), y, numbers, role=done, cell=wide, size=size, label=label
    )
    entries = [("tap", "multiplied"), ("kernel", "weight"), ("output", "their sum")]
    entries += [("padding", "zero padding")] * (padding > 0) + [("window", "skipped")] * (dilation > 1)
    entries += [("active", "this product")] * (now is not None)
    legend(canvas, 4, height - 8, entries, gap=16)
    return canvas


def _products(
    canvas: Canvas, x: float, middle: float, products: np.ndarray, wide: float, size: float, now: Any, channel: int,
    first: bool,
) -> float:  # fmt: skip
    """Draw the products of one channel, those not yet added empty; return the x where they end."""
    k = len(products)
    last = np.inf if now is None else int(np.ravel_multi_index((now[1], now[2]), (k, k))) + (now[0] - channel) * k * k
    numbers = [[v if i * k + j <= last else None for j, v in enumerate(row)] for i, row in enumerate(products.tolist())]

    def role(i: int, j: int) -> str:
        return "active" if i * k + j == last else "plain" if i * k + j < last else "hidden"

    label = "products" if first and k > 1 else ""
    return grid(canvas, x, middle - k * wide / 2, numbers, role=role, cell=wide, size=size, label=label).right


def _twin(
    size: int, k: int, padding: int, dilation: int, stride: int, channels: int, place: tuple[int, int], out: int,
    value: float, terms: list[tuple[float, float]], product: int,
) -> str:  # fmt: skip
    if product:
        a, b = terms[product - 1]
        did = (
            f"Product {product} of {len(terms)}: {_signed(a)} · {_signed(b)} = {format_value(a * b)}; "
            f"output ({place[0]}, {place[1]}) is {format_value(value)} so far."
        )
    else:
        many = f"{len(terms)} products" if len(terms) > 1 else "one product"
        did = f"Output ({place[0]}, {place[1]}) = {format_value(value)}, a sum of {many}"
        did += f" over {channels} channels." if channels > 1 else "."
    change = "smaller than" if out < size else "as large as" if out == size else "larger than"
    span = effective_kernel(k, dilation)
    room = f"{size + 2 * padding} {'padded ' if padding else ''}pixels"
    steps = f" in steps of {stride}" if stride > 1 else ""
    return (
        f"{did} The output is {out} × {out}, {change} the input {size} × {size}: a window of {span} has {out} "
        f"place{'s' if out > 1 else ''} on {room}{steps}."
    )


def _signed(value: float) -> str:
    text = format_value(value)
    return f"({text})" if text.startswith("−") else text


def _output(size: int, k: int, padding: int, dilation: int, stride: int) -> tuple[int, int]:
    return conv_output_size((size, size), (k, k), (stride, stride), (padding, padding), (dilation, dilation))


def _most_places(state: State) -> int:
    out, _ = _output(*(state[name] for name in ("size", "kernel_size", "padding", "dilation", "stride")))
    return out * out - 1


def convolution(**state: Any) -> Explorer:
    """Explore a convolution; ``convolution(stride=2, padding=1, size=4)`` begins there. See ``draw_convolution``."""
    from .explorer import Explorer

    controls: dict[str, Control] = {
        "channels": Slider((1, 2, 3), 1, "channels"),
        "size": Slider((3, 4, 5), 5, "input size"),
        "kernel_size": Slider((1, 2, 3), 3, "kernel"),
        "padding": Slider((0, 1, 2), 0, "padding", limit=lambda s: 2 if s["channels"] == 1 else 1),
        "dilation": Slider(
            (1, 2),
            1,
            "dilation",
            limit=lambda s: max(1, (s["size"] + 2 * s["padding"] - 1) // max(1, s["kernel_size"] - 1)),
        ),
        "stride": Slider((1, 2, 3), 1, "stride"),
        "position": Slider(range(81), 0, "output pixel", limit=_most_places, play=True),
        "product": Slider(range(28), 0, "product", limit=lambda s: s["channels"] * s["kernel_size"] ** 2, play=True),
        "image": Numbers(IMAGE, "image (first channel)"),
        "weights": Numbers(WEIGHTS, "kernel (first channel)"),
    }
    edge = tuple(tuple(0 if j < 2 else 5 for j in range(LARGEST)) for _ in range(LARGEST))
    return Explorer(
        "Convolution, product by product.",
        controls,
        draw_convolution,
        Discovery(
            question="Why is the output smaller than the input, and how much padding keeps the size?",
            path=(("kernel_size", 3), ("padding", 1), ("position", 24)),
            fact="A 3 × 3 kernel has 3 places on 5 pixels; with one ring of zeros it has 5, one for each pixel.",
        ),
        presets={
            "slide: 3 × 3, stride 1, pad 1": {"size": 4, "padding": 1, "position": 15},
            "slide: 3 × 3, stride 2, pad 1": {"size": 4, "padding": 1, "stride": 2, "position": 3},
            "an edge": {"image": edge, "position": 8},
            "three channels": {"channels": 3, "position": 4},
            "dilation 2": {"dilation": 2, "padding": 2, "position": 12},
        },
        name="convolution",
        page={"channels": (1,), "size": (4, 5), "kernel_size": (3,), "stride": (1, 2), "product": (0,)},
        state=state,
    )
