"""The explorers of cost and of Dice: what they show, counted by loops, and the lecture's and the papers' numbers."""

import importlib.util
import re
import time
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet import explorers
from minisegnet.explorers.depthwise import SIDES, WIDTHS, draw_depthwise
from minisegnet.explorers.depthwise_costs import Layer, mobilenet
from minisegnet.explorers.dice import draw_dice
from minisegnet.explorers.dice_sets import FIELD, OBJECTS, SHAPES, Edit, by_size, count, make_mask

SVG = "{http://www.w3.org/2000/svg}"


def products_by_loops(kernel, inputs, outputs, size):
    """Count products of one output pixel after another: standard, depthwise, pointwise."""
    standard = depthwise = pointwise = 0
    for _ in range(size * size):
        for _ in range(outputs):
            standard += sum(kernel * kernel for _ in range(inputs))
            pointwise += inputs
        depthwise += sum(kernel * kernel for _ in range(inputs))
    return standard, depthwise, pointwise


@pytest.mark.parametrize(
    "numbers", [(3, 8, 16, 7), (1, 4, 4, 7), (5, 16, 4, 14), (7, 4, 8, 7)], ids=["3x3", "1x1", "5x5", "7x7"]
)
def test_a_layers_products_are_those_of_loops(numbers):
    layer = Layer(*numbers)
    assert (layer.standard, layer.depthwise, layer.pointwise) == products_by_loops(*numbers)
    assert Fraction(layer.separable, layer.standard) == Fraction(1, numbers[2]) + Fraction(1, numbers[0] ** 2)
    kernel, inputs, outputs, size = numbers
    maps_in, maps_out = inputs * size * size, outputs * size * size
    assert layer.standard_bytes == 4 * (maps_in + maps_out + kernel * kernel * inputs * outputs)
    assert layer.separable_bytes == 4 * (3 * maps_in + maps_out + kernel * kernel * inputs + inputs * outputs)


def test_the_library_counts_the_same_products():
    from minisegnet import nn

    layer = Layer(3, 8, 16, 14)
    full = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, bias=False)).summary((8, 14, 14))
    halves = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.Conv2d(8, 16, 1, bias=False))
    assert full.multiply_accumulates == layer.standard
    assert [row.multiply_accumulates for row in halves.summary((8, 14, 14)).rows] == [layer.depthwise, layer.pointwise]


@pytest.mark.parametrize(
    ("state", "millions"),
    [({}, 52.3), ({"width": 0.75}, 29.6), ({"width": 0.75, "side": 160}, 15.1)],
    ids=["separable", "alpha", "alpha and rho"],
)
def test_table_3_of_the_paper(state, millions):
    twin = draw_depthwise(**state).twin
    assert "takes 462,422,016 products" in twin  # the paper prints 462
    parts = [int(number.replace(",", "")) for number in re.findall(r"wise ([\d,]+)", twin)]
    assert round(sum(parts) / 1e6, 1) == millions


def test_the_whole_net_has_the_tables_numbers():
    net = mobilenet()
    assert net.products == 568_740_352
    assert [f"{100 * n / net.products:.2f}" for n in (net.pointwise, net.depthwise, net.first, net.classes)] == [
        "94.86", "3.06", "1.91", "0.18",
    ]  # fmt: skip
    assert f"{net.standard / 1e6:.0f}" == "4867"  # table 4 prints 4866
    exact = {1.0: (568_740_352, 4_231_976), 0.75: (325_400_448, 2_585_560), 0.5: (149_497_088, 1_331_592)}
    exact[0.25] = (41_030_272, 470_072)
    for width, (products, parameters) in exact.items():
        assert (mobilenet(width).products, mobilenet(width).parameters) == (products, parameters)
        assert (
            f"takes {products:,} products and {parameters:,} parameters"
            in draw_depthwise("MobileNet", width=width).twin
        )
    assert [round(mobilenet(1.0, side).products / 1e6) for side in SIDES] == [569, 418, 291, 186]  # it prints 290


@pytest.mark.parametrize("side", [192, 128])
def test_the_thinned_nets_cost_what_the_model_says(side):
    from minisegnet.models import MobileNet

    for width in WIDTHS[1:]:
        summary = MobileNet(width=width).summary((3, side, side))
        net = mobilenet(width, side)
        assert (net.products, net.parameters) == (summary.multiply_accumulates, summary.parameters)


def test_the_areas_are_in_proportion_to_the_products():
    drawing = draw_depthwise(kernel=3, inputs=64, outputs=16, width=0.5, side=160)
    boxes = {}
    for rect in ElementTree.fromstring(drawing.picture).iter(f"{SVG}rect"):
        area = float(rect.attrib["width"]) * float(rect.attrib["height"])
        if float(rect.attrib["y"]) == 52 and "dasharray" not in str(rect.attrib):
            boxes[rect.attrib["fill"]] = area
    standard, depthwise, pointwise = boxes["currentColor"], boxes["#0072B2"], boxes["#E69F00"]
    full, thin = 9 * 64 * 16 * 14 * 14, (9 * 32 * 10 * 10, 32 * 8 * 10 * 10)
    assert depthwise / standard == pytest.approx(thin[0] / full, rel=0.01)
    assert pointwise / standard == pytest.approx(thin[1] / full, rel=0.01)


def test_the_wires_are_where_the_gradient_is_not_zero():
    from minisegnet import functional as F
    from minisegnet.autograd import Tensor

    wires = {}
    for name, groups in (("standard", 1), ("depthwise", 4)):
        touched = np.zeros((4, 4), bool)
        for out in range(4):
            x = Tensor(np.ones((1, 4, 3, 3), np.float32), requires_grad=True)
            F.conv2d(x, np.ones((4, 4 // groups, 3, 3), np.float32), padding=1, groups=groups)[0, out, 1, 1].backward()
            touched[:, out] = x.grad.numpy()[0, :, 1, 1] != 0
        wires[name] = int(touched.sum())
    drawn = draw_depthwise(inputs=4, outputs=4).picture
    thick = len(re.findall(r'<path d="M52[^"]*" stroke="#0072B2" fill="none" stroke-width="3"/>', drawn))
    alone = len(re.findall(r'<path d="M652[^"]*" stroke="#0072B2" fill="none" stroke-width="3"/>', drawn))
    assert thick == wires["standard"]
    assert alone == wires["depthwise"]


def test_the_discovery_fewer_products_and_more_bytes():
    explorer = explorers.depthwise()
    twin = explorer.discover()
    standard, depthwise, pointwise = products_by_loops(3, 128, 128, 1)
    fewer = standard / (depthwise + pointwise)
    maps, weights = 128 * 56 * 56, 9 * 128 * 128
    more = (4 * maps + 9 * 128 + 128 * 128) / (2 * maps + weights)
    assert (f"{fewer:.2f}", f"{more:.2f}") == ("8.41", "1.71")
    assert "8.41 times" in explorer.discovery.fact
    assert "1.71 times more bytes" in explorer.discovery.fact
    assert "are 8.41 times fewer, and the 1 × 1 takes 93.4% of them" in twin
    assert f"{100 * pointwise / (depthwise + pointwise):.1f}" == "93.4"
    assert "The bytes moved are 1.71 times more." in twin
    # With more channels out the ratio comes near to 9, and never reaches it.
    said = [explorer.set(outputs=o) for o in (64, 128, 512, 1024)]
    ratios = [float(re.findall(r"are ([\d.]+) times fewer", twin)[0]) for twin in said]
    assert ratios == sorted(ratios)
    assert ratios[0] == pytest.approx(1 / (1 / 64 + 1 / 9), abs=0.01)
    assert ratios[-1] == pytest.approx(8.92, abs=0.01)


def inside(shape, size, edit, i, j):
    """Say if pixel (i, j) of the image belongs to the mask, by the shape's definition."""
    middle = (FIELD - size) // 2
    boxes = [(0, 0, size)]
    if shape == "four nuclei":
        side = max(1, (size - 2) // 2)
        far = max(size - side, side + 1)
        boxes = [(y, x, side) for y in (0, far) for x in (0, far)]
    dx, dy, grow, wider = edit
    for y, x, side in boxes:
        for shift in range(wider + 1):
            cy, cx = middle + y + dy + side / 2, middle + x + dx + shift + side / 2
            radius = side / 2 + grow
            far_y, far_x = abs(i + 0.5 - cy), abs(j + 0.5 - cx)
            near = max(far_y, far_x) < radius if shape == "square" else far_y**2 + far_x**2 <= radius**2 and radius > 0
            if near:
                return True
    return False


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("size", "edit"),
    [(10, (2, 0, 0, 0)), (7, (-3, 1, 2, 0)), (4, (1, -1, -1, 2)), (16, (6, 5, 0, 0)), (3, (0, 0, -8, 0))],
)
def test_masks_and_counts_are_those_of_loops(shape, size, edit):
    found = alarm = missed = 0
    mask = make_mask(shape, size, Edit(*edit))
    for i in range(FIELD):
        for j in range(FIELD):
            x = inside(shape, size, edit, i, j)
            y = shape != "nothing" and inside(shape, size, (0, 0, 0, 0), i, j)
            assert mask[i, j] == x
            found, alarm, missed = found + (x and y), alarm + (x and not y), missed + (y and not x)
    now = count(shape, size, Edit(*edit))
    assert (now.found, now.alarm, now.missed, now.pixels) == (found, alarm, missed, FIELD**2)
    both = 2 * found + alarm + missed
    assert now.accuracy == pytest.approx(1 - (alarm + missed) / FIELD**2)
    if both:
        assert (
            f"Dice is {2 * found / both:.3f}, IoU {found / (found + alarm + missed):.3f}"
            in draw_dice(shape, size, *edit).twin
        )


def test_the_pixels_drawn_are_the_pixels_counted():
    picture = draw_dice("square", 5, dx=2, dy=1, grow=1).picture
    squares = {color: path.count("z") for path, color in re.findall(r'<path d="(M[^"]*z)" fill="(#\w+)"/>', picture)}
    found = 4 * 5  # X covers columns 1 to 7 and rows 0 to 6 of the square's 5 x 5, counted from its corner
    assert squares == {"#0072B2": found, "#D55E00": 49 - found, "#F0E442": 25 - found}


def test_the_discovery_a_pixel_costs_a_small_square_one_half_and_a_large_one_a_sixteenth():
    explorer = explorers.dice()
    assert "Dice is 0.500" in explorer.discover()
    assert "Dice is 0.938" in explorer.set(object=16)
    assert "0.938" in explorer.discovery.fact
    assert "0.500" in explorer.discovery.fact
    for n, dice in zip(OBJECTS, by_size("square", Edit(1)), strict=True):
        overlap = n * (n - 1)
        assert dice == pytest.approx(2 * overlap / (2 * n * n))
        assert dice == pytest.approx(1 - 1 / n)


def test_the_denominator_is_not_constant():
    explorer = explorers.dice()
    assert "4 pixels found" in (wide := explorer.choose("slide: “the denominator is constant”"))
    assert "Dice is 0.667" in wide  # 2 * 4 / (8 + 4)
    assert "the denominator is 12" in wide
    assert "4 pixels found" in (exact := explorer.set(wider=0))
    assert "Dice is 1.000" in exact  # 2 * 4 / (4 + 4)
    assert "the denominator is 8" in exact


def test_empty_masks():
    explorer = explorers.dice()
    assert "both empty: Dice is 0/0" in explorer.choose("both empty")
    assert "Dice is 0.000" in explorer.choose("four false pixels")
    assert "0.995" in explorer.twin  # accuracy: 4 of 784 pixels are wrong
    assert "Dice is 0.000, IoU 0.000, accuracy 0.959" in explorer.choose("found nothing")  # 32 of 784 are missed


def test_a_mask_never_leaves_the_image():
    explorer = explorers.dice()
    for size in (1, 7, 15, 16):
        for dx, dy in ((6, -6), (-6, 6), (6, 6), (0, 0)):
            explorer.set(shape="square", object=size, dx=dx, dy=dy, grow=6, wider=6)
            state = explorer.state
            side = size + 2 * state["grow"]
            assert f"The mask has {side * (side + state['wider'])} pixels" in explorer.twin


def test_the_point_stands_on_its_line_of_equal_dice():
    drawing = draw_dice("square", 8, dx=2, grow=-1)
    dot = next(c for c in ElementTree.fromstring(drawing.picture).iter(f"{SVG}circle") if c.get("r") == "6.5")
    across, up = (float(dot.attrib["cx"]) - 424) / 296 * 3, (204 - float(dot.attrib["cy"])) / 150
    found, mask, target = 6 * 5, 36, 64
    assert (across, up) == pytest.approx((mask / target, found / target), abs=0.001)
    assert 2 * up / (1 + across) == pytest.approx(2 * found / (mask + target), abs=0.002)


def test_the_benchmark_finds_the_slow_state_and_says_which_limit_is_passed(monkeypatch):
    folder = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location("benchmark_of_explorers", folder / "explorers.py")
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)

    class Slow:
        def _draw_state(self, wait):
            time.sleep(wait)

    drawn = bench.drawings(Slow(), [{"wait": 0.001}, {"wait": 0.001}, {"wait": 0.04}])
    assert drawn.states == 3
    assert drawn.best >= 1
    assert drawn.worst >= 40
    assert drawn.first >= 40
    fast = bench.Drawn(2, 30.0, 1.0, 2.0, 3.0)
    table = bench.page({"slow": drawn, "fast": fast}, {"fast": [100.0, 120.0, 400.0]})
    assert "| fast | 2 | **30.0** | 1.0 | 2.0 | 3.0 | 120 | 400 | yes |" in table
    assert "– | – | no: drawing 4" in table
    assert bench.verdict(fast, [140.0, 151.0, 160.0]) == "no: key 151 ms"
