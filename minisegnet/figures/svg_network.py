"""Networks as drawings: tensors as boxes with their sizes, and a diagram made from a model itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .colors import OKABE_ITO
from .svg import Canvas, Svg, number

if TYPE_CHECKING:
    from ..nn import Module


def tensor_box(
    canvas: Canvas, x: float, y: float, size: tuple[int, int, int], *, unit: float = 1.0, color: str = "sky blue"
) -> tuple[float, float]:
    """Draw a tensor C x H x W as a box and return the right lower corner of its front.

    The front is H * unit tall and W * unit wide (8 units at least), the depth grows with the logarithm of C: thousands of
    channels stay drawable, and twice as many are always one step deeper. The sizes stand below.
    """
    channels, height, width = size
    tall, wide = max(8.0, height * unit), max(8.0, width * unit)
    deep = 3.0 * max(1, channels).bit_length()
    fill = OKABE_ITO[color]
    corner = f"{number(x)} {number(y)}"
    look = 'stroke="currentColor" stroke-opacity="0.7" stroke-width="1.2"'
    canvas.raw(
        f'<path d="M{corner}l{number(deep)} {number(-deep)}h{number(wide)}l{number(-deep)} {number(deep)}z" '
        f'fill="{fill}" fill-opacity="0.25" {look}/>'
        f'<path d="M{number(x + wide)} {number(y)}l{number(deep)} {number(-deep)}v{number(tall)}l{number(-deep)} '
        f'{number(deep)}z" fill="{fill}" fill-opacity="0.6" {look}/>'
        f'<path d="M{corner}h{number(wide)}v{number(tall)}h{number(-wide)}z" fill="{fill}" fill-opacity="0.42" {look}/>'
    )
    return x + wide, y + tall


class Stage(NamedTuple):
    """Neighbouring layers that leave the size (C, H, W) alone, drawn as one: what they are, and their kind."""

    layers: tuple[str, ...]
    size: tuple[int, int, int]
    kind: str


def stages(model: Module, input_shape: tuple[int, int, int]) -> list[Stage]:
    """Return the stages of a model on an image of (C, H, W), read from its own graph; nothing is computed.

    Parameters
    ----------
    model : Module
        Any network whose layers return images; rows that return anything else are left out.
    input_shape : tuple
        Channels, height, width of the image.
    """
    summary: Any = model.summary(input_shape)
    found = [Stage(("image",), input_shape, "image")]
    for row in summary.rows:
        if len(row.output_shape) < 3:
            continue
        size = tuple(row.output_shape[-3:])
        before = found[-1].size
        if row.kind == "Cat":
            kind = "join"
        else:
            kind = "down" if size[1] < before[1] else "up" if size[1] > before[1] else "same"
        if size == before and kind != "join" and found[-1].kind != "image":
            found[-1] = Stage((*found[-1].layers, row.kind), found[-1].size, found[-1].kind)
        else:
            found.append(Stage((row.kind,), size, kind))
    return found


def network(model: Module, input_shape: tuple[int, int, int], *, title: str = "") -> Svg:
    """Draw a model from left to right: each stage a bar as tall as its image (by its logarithm), channels above it.

    The diagram is read from the model's own graph, so it cannot differ from what the model does.
    """
    drawn = stages(model, input_shape)
    name = title or type(model).__name__
    columns = 1 if len(drawn) < 2 else min(len(drawn), 13)
    lines = -(-len(drawn) // columns)
    pitch, block = 748 / max(columns, 8), 232.0
    canvas = Canvas(760, 40 + lines * block + 34, f"The network {name}")
    canvas.text(6, 20, f"{name}, {len(drawn)} stages", anchor="start", bold=True)
    top_size = max(stage.size[1] for stage in drawn)
    for place, stage in enumerate(drawn):
        line, column = divmod(place, columns)
        middle, y = 6 + (column + 0.5) * pitch, 40 + line * block + 100
        tall = 150 * (stage.size[1].bit_length() / top_size.bit_length()) ** 1.5
        wide = min(pitch - 14, 6 + 2.6 * stage.size[0].bit_length())
        canvas.rect(middle - wide / 2, y - tall / 2, wide, tall, _ROLES[stage.kind])
        canvas.text(middle, y - tall / 2 - 7, stage.size[0])
        canvas.text(middle, y + tall / 2 + 19, stage.size[1], faint=True)
        if place:
            canvas.text(middle - pitch / 2, y + 6, _SIGNS[stage.kind], bold=True)
    at = 6.0
    for kind, words in _WORDS.items():
        if any(stage.kind == kind for stage in drawn):
            canvas.rect(at, canvas.height - 26, 18, 18, _ROLES[kind])
            canvas.text(at + 25, canvas.height - 11, words, anchor="start")
            at += 40 + 9 * len(words)
    down, up = (sum(stage.kind == kind for stage in drawn) for kind in ("down", "up"))
    smallest = min(stage.size[1] for stage in drawn)
    last = drawn[-1].size
    return canvas.svg(
        f"{name} on {input_shape[1]} × {input_shape[2]} pixels: {down} times down to {smallest} rows, {up} times up, "
        f"to {last[0]} channels of {last[1]} × {last[2]}."
    )


_ROLES = {"image": "object", "down": "active", "up": "good", "same": "window", "join": "kernel"}
_SIGNS = {"image": "", "down": "↘", "up": "↗", "same": "→", "join": "⊕"}
_WORDS = {"image": "image", "same": "same height", "down": "↘ goes down", "up": "↗ goes up", "join": "⊕ joined"}
