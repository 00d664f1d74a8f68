"""The view "sizes" of the explorer "U-Net sizes and tiling": every size of a U-Net, and which images fit."""

from __future__ import annotations

from ..figures.svg import Canvas
from .drawing import Drawing
from .tiling_runs import Level, bill, published, sizes

_POWERS = " ¹²³⁴⁵"
_LEFT, _RIGHT, _BOX = 4.0, 540.0, 154.0


def draw_sizes(size: int, depth: int, padding: str) -> Drawing:
    """Draw the sizes level by level, the bill of the net, and the sizes nearby that work."""
    found = sizes(size, depth, padding)
    canvas = Canvas(760, 420, f"A U-Net of depth {depth} on {size} pixels")
    _draw_levels(canvas, found.levels, found.wrong, depth)
    near = published(depth, padding).valid_sizes(size)
    _draw_bill(canvas, size, depth, padding, found.output)
    _draw_line(canvas, size, depth, padding)
    stride = 2**depth
    if found.output is not None:
        parameters, products, memory = bill(size, depth, padding)
        twin = (
            f"An image of {size} × {size} pixels works at depth {depth} with {padding} padding: the output is "
            f"{found.output} × {found.output}, by {parameters:,} parameters and {products / 1e9:.1f} billion products, with "
            f"{memory / 2**20:,.0f} MiB for what the layers put out."
        )
    else:
        at = len(found.levels) if found.levels[-1].down[-1] % 2 else 0
        where = f" at level {at}" if at else ""
        twin = (
            f"An image of {size} × {size} pixels does not work at depth {depth} with {padding} padding: {found.wrong}{where}. "
            f"Sizes nearby that do: {', '.join(map(str, near))}."
        )
    if padding == "valid":
        rule = f"it works if n + 4 is a multiple of 2{_POWERS[depth]} = {stride}: {size} + 4 = {(size + 4) // stride}·{stride}"
        remainder, lost = (size + 4) % stride, 12 * stride - 8
        loss = f"output = n − (12·{stride} − 8) = n − {lost}"
        loss += f" = {size - lost}" if size > lost and not remainder else "" if size > lost else ": nothing is left"
    else:
        rule = f"it works if n is a multiple of 2{_POWERS[depth]} = {stride}: {size} = {size // stride}·{stride}"
        remainder, loss = size % stride, "output = n: padding replaces what each 3 × 3 convolution takes"
    rule += f" + {remainder}" if remainder else ""
    missing = (-size - (4 if padding == "valid" else 0)) % stride
    code = f'models.UNet(1, 2, 64, depth={depth}, padding="{padding}", norm=None).output_size({size})'
    return Drawing(
        canvas.svg(twin),
        twin,
        (rule, loss),
        code,
        f'model(F.pad(x, (0, {missing}, 0, {missing}), mode="reflect"))' if missing else "model(x).shape",
    )


def _draw_levels(canvas: Canvas, levels: tuple[Level, ...], wrong: str, depth: int) -> None:
    """Draw the U: a row a level, sizes on the way down at the left, on the way up at the right."""
    pitch = min(62.0, 300.0 / (depth + 1))
    step = min(34.0, 84.0 / depth)
    tall = min(30.0, pitch - 16)
    for at in range(depth):  # where the net does not get to is left open
        if at >= len(levels):
            canvas.rect(_LEFT + at * step, 28 + at * pitch, _BOX, tall, "hidden")
        if at != len(levels) - 1 and (at >= len(levels) or not levels[at].up):
            canvas.rect(_RIGHT - _BOX - at * step, 28 + at * pitch, _BOX, tall, "hidden")
    if len(levels) <= depth:
        canvas.rect((_LEFT + _RIGHT - _BOX) / 2, 28 + depth * pitch, _BOX, tall, "hidden")
    canvas.text(_LEFT, 16, "down: convolutions, then halved", anchor="start", bold=True)
    canvas.text(_RIGHT, 16, "up: doubled, joined", anchor="end", bold=True)
    for at, level in enumerate(levels):
        y, x = 28 + at * pitch, _LEFT + at * step
        bottom = at == depth
        broken = bool(wrong) and at == len(levels) - 1 and not bottom and not level.up
        x = (_LEFT + _RIGHT - _BOX) / 2 if bottom else x
        canvas.rect(x, y, _BOX, tall, "output" if broken else "window" if bottom else "image")
        ground = "#D55E00" if broken else ""
        canvas.text(x + _BOX / 2, y + tall / 2 + 6, " → ".join(map(str, level.down)), on=ground)
        if broken:
            canvas.text(x + _BOX + 12, y + tall / 2 + 6, f"✗ {wrong}", anchor="start", bold=True)
            continue
        if bottom and wrong:
            canvas.text(x + _BOX + 12, y + tall / 2 + 6, f"✗ {wrong}", anchor="start", bold=True)
        if not bottom and at + 1 < len(levels):
            down = x + _BOX / 2 if at + 1 < depth else (_LEFT + _RIGHT - _BOX) / 2 + 30
            canvas.arrow(down, y + tall, down, y + pitch, width=1.8, head=7)
        if not level.up:
            continue
        right = _RIGHT - _BOX - at * step
        canvas.rect(right, y, _BOX, tall, "good")
        canvas.text(right + _BOX / 2, y + tall / 2 + 6, " → ".join(map(str, level.up)))
        up = right + _BOX / 2 if at + 1 < depth else (_LEFT + _RIGHT + _BOX) / 2 - 30
        canvas.arrow(up, y + pitch, up, y + tall, width=1.8, head=7)
        middle = y + tall / 2
        said = f"crop {level.crop}" if level.crop else "copy"
        if right - x - _BOX > 84:
            between = (x + _BOX + right) / 2
            canvas.line(x + _BOX, middle, between - 36, middle, faint=True)
            canvas.text(between, middle + 6, said, faint=True)
            canvas.arrow(between + 36, middle, right, middle, width=1.5, head=6)


def _draw_bill(canvas: Canvas, size: int, depth: int, padding: str, output: int | None) -> None:
    """Write what the net costs at this size."""
    rows = [("image", f"{size} × {size}")]
    if output is None:
        rows += [("output", "none"), ("", ""), ("", "does not fit")]
    else:
        parameters, products, memory = bill(size, depth, padding)
        rows += [
            ("output", f"{output} × {output}"),
            ("parameters", f"{parameters / 1e6:.2f} M"),
            ("products", f"{products / 1e9:.1f} G"),
            ("memory", f"{memory / 2**20:,.0f} MiB"),
        ]
    for place, (name, value) in enumerate(rows):
        y = 46 + 38 * place
        canvas.text(562, y, name, anchor="start", faint=True)
        canvas.text(756, y, value, anchor="end", bold=True)
        if name:
            canvas.line(562, y + 10, 756, y + 10, faint=True, width=1)


def _draw_line(canvas: Canvas, size: int, depth: int, padding: str) -> None:
    """Draw the sizes around this one: which of them work."""
    model = published(depth, padding)
    half, cell, y = 18, 20.0, 362.0
    canvas.text(4, y - 22, "sizes that work (✓), nearby", anchor="start", bold=True)
    last = -100.0
    for at, n in enumerate(range(size - half, size + half + 1)):
        works = model.output_size(n) is not None
        x = 10 + at * cell
        canvas.rect(x + 1, y, cell - 2, 26, "good" if works else "zero")
        if works:
            canvas.text(x + cell / 2, y + 19, "✓", bold=True)
        if (works and x - last > 40 and abs(n - size) * cell > 40) or n == size:
            canvas.text(x + cell / 2, y + 46, n, bold=n == size)
            last = x
    canvas.frame(10 + half * cell, y - 2, cell, 30, color="vermilion")
