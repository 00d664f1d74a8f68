"""The whole of MobileNet v1 as a picture: products as area, layer by layer, and their shares."""

from __future__ import annotations

from ..figures.svg import Canvas
from ..figures.svg_grid import legend
from .depthwise_costs import FULL, Net, in_short, mobilenet, times
from .drawing import Drawing

# ImageNet top-1 of the paper by width at 224 (table 6) and by image side at width 1 (table 7).
TOP_1 = {(1.0, 224): 70.6, (0.75, 224): 68.4, (0.5, 224): 63.7, (0.25, 224): 50.6,
         (1.0, 192): 69.1, (1.0, 160): 67.2, (1.0, 128): 64.4}  # fmt: skip


def draw_net(width: float, side: int) -> Drawing:
    """Draw MobileNet v1 of this width on images of this side: the whole, layer by layer, and where the products are."""
    published, net = mobilenet(), mobilenet(width, side)
    total = net.products
    shares = [100 * part / total for part in (net.pointwise, net.depthwise, net.first, net.classes)]
    fewer = published.standard / total
    twin = (
        f"MobileNet of width {width:g} on {side} × {side} pixels takes {total:,} products and {net.parameters:,} parameters, "
        f"{times(fewer)} fewer products than the full net with standard convolutions. "
        f"{shares[0]:.2f}% of them are 1 × 1 convolutions, {shares[1]:.2f}% depthwise."
    )
    canvas = Canvas(760, 412, "MobileNet v1: products as area, layer by layer")
    canvas.text(4, 16, "products as area", anchor="start", bold=True)
    big = 200.0
    canvas.rect(4, 30, big, big, "image")
    canvas.text(4 + big / 2, 56, "standard, full size")
    canvas.text(4 + big / 2, 80, in_short(published.standard), bold=True, size=20)
    for amount, role in ((published.products, "padding"), (total, "kernel")):
        edge = big * (amount / published.standard) ** 0.5
        canvas.rect(4, 30 + big - edge, edge, edge, role, radius=0)
    canvas.text(82, 200, "separable", anchor="start")
    canvas.text(82, 222, in_short(total), anchor="start", bold=True, size=20)
    _draw_layers(canvas, published, net)
    _draw_shares(canvas, shares)
    top = TOP_1.get((width, side))
    said = f"ImageNet top-1 in the paper: {top:.1f}%." if top else "In the paper this pair is one point of figure 4."
    canvas.text(4, 400, f"{net.parameters:,} parameters. {said}", anchor="start")
    code = f"models.MobileNet(width={width:g}).summary((3, {side}, {side}))"
    return Drawing(
        canvas.svg(twin),
        twin,
        (
            f"Σ over 13 layers of k²·αC·(ρF)² + αC·αO·(ρF)² = {net.depthwise:,} + {net.pointwise:,}",
            f"+ first layer {net.first:,} + classes {net.classes:,} = {total:,}",
            f"α = {width:g}, ρ = {side}/{FULL}",
        ),
        code,
        f"with torch.utils.flop_counter.FlopCounterMode(): model(torch.zeros(1, 3, {side}, {side}))  # 2 a product",
    )


def _draw_layers(canvas: Canvas, published: Net, net: Net) -> None:
    """Draw a bar for each layer, the published net's as a ghost behind; channels and sizes below."""
    left, floor, step, tall = 262.0, 230.0, 33.0, 176.0
    most = max(layer.separable for layer in published.layers)
    parts = [((net.first, "object"),), *(((n.pointwise, "kernel"), (n.depthwise, "tap")) for n in net.layers)]
    parts.append(((net.classes, "good"),))
    ghosts = [published.first, *(layer.separable for layer in published.layers), published.classes]
    canvas.text(left - 22, 16, "products, layer by layer", anchor="start", bold=True)
    for tenth in (0, 20, 40):
        y = floor - tall * tenth * 1e6 / most
        canvas.line(left, y, left + 15 * step, y, faint=tenth > 0, width=1)
        canvas.text(left - 6, y + 6, f"{tenth} M" if tenth else "0", anchor="end")
    for place, (stack, ghost) in enumerate(zip(parts, ghosts, strict=True)):
        x, y = left + place * step + 4, floor
        canvas.rect(x, floor - tall * ghost / most, step - 8, tall * ghost / most, "padding", radius=0)
        for value, role in stack:
            height = tall * value / most
            canvas.rect(x, y - height, step - 8, height, role, radius=0)
            y -= height
    groups: list[tuple[str, str, int]] = [("first", "", 1)]
    for layer in net.layers:
        name, size = str(layer.outputs), f"{layer.size}²"
        if groups[-1][0] == name:
            groups[-1] = (name, groups[-1][1], groups[-1][2] + 1)
        else:
            groups.append((name, size, 1))
    x = left
    for name, size, count in [*groups, ("fc", "", 1)]:
        middle = x + count * step / 2
        canvas.text(middle, floor + 20, name)
        canvas.text(middle, floor + 40, size, faint=True)
        x += count * step
    canvas.text(left - 6, floor + 40, "size", anchor="end", faint=True)


def _draw_shares(canvas: Canvas, shares: list[float]) -> None:
    """Draw the products' shares as one bar, and name them."""
    canvas.text(4, 306, "where the products are", anchor="start", bold=True)
    roles = ("kernel", "tap", "object", "good")
    x = 4.0
    for share, role in zip(shares, roles, strict=True):
        canvas.rect(x, 316, 7.52 * share, 26, role, radius=0)
        x += 7.52 * share
    names = ("1 × 1", "depthwise", "first", "classes (fc)")
    entries = [(role, f"{name} {share:.2f}%") for role, name, share in zip(roles, names, shares, strict=True)]
    legend(canvas, 4, 370, entries, gap=34)
