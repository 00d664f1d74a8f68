"""The explorers of convolution and dilation: every edge value draws, and what is shown agrees with arithmetic by hand."""

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet import explorers
from minisegnet.explorers.controls import Slider, settle
from minisegnet.explorers.convolution import IMAGE, WEIGHTS, draw_convolution
from minisegnet.explorers.dilation import REACH, answer, draw_dilation, path_counts
from minisegnet.figures.svg import SMALLEST, WIDEST
from minisegnet.shapes import gridding

SVG = "{http://www.w3.org/2000/svg}"


def edge_states(explorer):
    """Yield each control at its ends, from the start and from every preset, as a hand would move it."""
    for preset in (None, *explorer.presets):
        for name, control in explorer.controls.items():
            for value in control.values[:1] + control.values[-1:] if isinstance(control, Slider) else []:
                explorer.reset() if preset is None else explorer.choose(preset)
                state = settle(explorer.controls, {**explorer.state, name: value})
                yield state


@pytest.mark.parametrize("name", ["convolution", "dilation"])
def test_every_edge_of_every_control_draws_valid_svg_of_readable_size(name):
    explorer = getattr(explorers, name)()
    for control in explorer.controls.values():
        if isinstance(control, Slider) and isinstance(control.values, range):
            object.__setattr__(control, "values", tuple(control.values))
    seen = {repr(s): s for s in edge_states(explorer)}
    assert len(seen) > 15
    for state in seen.values():
        drawing = explorer._draw_state(**state)
        root = ElementTree.fromstring(drawing.picture)
        width, height = map(float, root.get("viewBox").split()[2:])
        assert width <= WIDEST
        for text in root.iter(f"{SVG}text"):
            assert float(text.get("font-size")) >= SMALLEST
            assert 0 <= float(text.get("x")) <= width
            assert 0 <= float(text.get("y")) <= height
        for rect in root.iter(f"{SVG}rect"):
            assert float(rect.get("x")) + float(rect.get("width")) <= width, state
            assert float(rect.get("y")) + float(rect.get("height")) <= height, state
        assert drawing.twin in root.find(f"{SVG}desc").text


def by_hand(image, weights, k, padding, dilation, stride, oy, ox):
    """Sum the products by loops over the definition."""
    total = 0
    for i, j in itertools.product(range(k), range(k)):
        y, x = oy * stride + i * dilation - padding, ox * stride + j * dilation - padding
        if 0 <= y < len(image) and 0 <= x < len(image):
            total += image[y][x] * weights[i][j]
    return total


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize(("dilation", "stride"), [(1, 1), (2, 1), (1, 2), (2, 3)])
def test_the_convolution_shows_the_sums_that_loops_give(k, padding, dilation, stride):
    out = len(range(0, 5 + 2 * padding - (k - 1) * dilation, stride))
    last = out * out - 1
    drawing = draw_convolution(kernel_size=k, padding=padding, dilation=dilation, stride=stride, position=last)
    value = by_hand(IMAGE, WEIGHTS, k, padding, dilation, stride, out - 1, out - 1)
    assert f"Output ({out - 1}, {out - 1}) = {str(value).replace('-', '−')}," in drawing.twin
    assert f"The output is {out} × {out}" in drawing.twin
    assert drawing.formula[0].endswith(f"= {out}")
    values = [by_hand(IMAGE, WEIGHTS, k, padding, dilation, stride, *divmod(p, out)) for p in range(last + 1)]
    texts = [t.text for t in ElementTree.fromstring(drawing.picture).iter(f"{SVG}text")]
    at = texts.index(f"output {out} × {out}")
    assert texts[at + 1 : at + 1 + len(values)] == [str(v).replace("-", "−") for v in values]


def test_product_by_product_the_sum_grows_to_the_librarys_value():
    total = 0
    for product in range(1, 10):
        i, j = divmod(product - 1, 3)
        total += IMAGE[1 + i][2 + j] * WEIGHTS[i][j]
        drawing = draw_convolution(position=5, product=product)
        assert drawing.twin.startswith(f"Product {product} of 9:")
        assert f"output (1, 2) is {str(total).replace('-', '−')} so far" in drawing.twin
    assert f"= {str(total).replace('-', '−')}" in draw_convolution(position=5).formula[1]


def test_the_highlighted_cells_of_the_input_are_where_the_gradient_is_not_zero():
    from minisegnet import functional as F
    from minisegnet.autograd import Tensor

    x = Tensor(np.zeros((1, 1, 5, 5), np.float32), requires_grad=True)
    F.conv2d(x, np.ones((1, 1, 3, 3), np.float32), padding=1, dilation=2)[0, 0, 1, 2].backward()
    touched = x.grad.numpy()[0, 0] != 0
    image = tuple(tuple(9 if hit else 0 for hit in row) for row in touched)
    drawing = draw_convolution(padding=1, dilation=2, position=1 * 3 + 2, image=image)
    marked = re.findall(r'fill="#fff"[^>]*data-on="#0072B2"[^>]*>(\d)<', drawing.picture)
    assert sorted(marked) == sorted(["9"] * int(touched.sum()) + ["0"] * (9 - int(touched.sum())))


def test_the_discovery_of_the_convolution():
    explorer = explorers.convolution()
    assert "3 × 3, smaller than the input 5 × 5" in explorer.twin
    assert "5 × 5, as large as the input 5 × 5" in explorer.discover()
    assert len(range(5 - 3 + 1)) == 3
    assert len(range(5 + 2 - 3 + 1)) == 5
    assert "has 3 places on 5 pixels" in explorer.discovery.fact
    for name, shape in (("slide: 3 × 3, stride 1, pad 1", "4 × 4"), ("slide: 3 × 3, stride 2, pad 1", "2 × 2")):
        assert f"The output is {shape}" in explorer.choose(name)


def paths_by_hand(rates):
    """Count the ways from the output down, one step at a time."""
    ways = {0: 1}
    for rate in rates:
        ways = {c: sum(ways.get(c - s, 0) for s in (-rate, 0, rate)) for c in range(-REACH, REACH + 1)}
    return [ways.get(c, 0) for c in range(-REACH, REACH + 1)]


@pytest.mark.parametrize(
    "rates", [(1,), (2,), (3,), (2, 2), (1, 2), (1, 1, 1), (2, 2, 2), (1, 2, 5), (1, 2, 4), (5, 2, 1)]
)
def test_path_counts_are_those_counted_by_hand(rates):
    row = paths_by_hand(rates)
    assert path_counts(rates, row_only=True)[0].tolist() == row
    assert path_counts(rates).tolist() == np.outer(row, row).tolist()
    assert tuple(np.flatnonzero(row) - REACH) == gridding(3, rates).offsets
    for place in (-REACH, -1, 0, 1, 2, REACH):
        assert answer(rates, place) == row[REACH] * row[REACH + place]


def test_the_discovery_of_dilation_the_pixel_blinks_out_at_2_2_2_and_never_at_1_2_5():
    explorer = explorers.dilation()
    assert explorer.discover().endswith("is not seen.")
    assert explorer.code == "explorers.dilation(layers=3, rate2=2, rate3=2, object=1)"
    for place in range(-6, 7):
        assert ("is not seen" in explorer.set(object=place)) == (place % 2 == 1)
    explorer.choose("1, 2, 5: no holes")
    assert all("is not seen" not in explorer.set(object=place) for place in range(-REACH, REACH + 1))
    assert "(7 of 13 are seen)" in explorer.discovery.fact
    assert sum(n > 0 for n in paths_by_hand((2, 2, 2))) == 7
    assert sum(n > 0 for n in paths_by_hand((1, 2, 5))) == 17


@pytest.mark.parametrize("rate", [1, 2, 3])
def test_the_slides_rates_touch_nine_pixels(rate):
    twin = explorers.dilation().choose(f"slide: rate = {rate}")
    assert twin.startswith(f"Rate {rate}: along a row the output pixel sees")
    assert np.count_nonzero(path_counts((rate,))) == 9
    assert f"= {2 * rate + 1}" in draw_dilation(1, rate).formula[0]


def test_rates_never_leave_the_picture():
    explorer = explorers.dilation(layers=3, rate1=2, rate2=2, rate3=4)
    explorer.set(rate1=5)
    assert explorer.state["rate1"] + explorer.state["rate2"] + explorer.state["rate3"] == REACH
    explorer.set(layers=1)
    assert (explorer.state["rate2"], explorer.state["rate3"]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("convolution", {"size": 4, "stride": (1, 2)}),
        ("dilation", {"rate1": (1, 2), "rate2": 2, "rate3": 2, "object": (0, 1)}),
    ],
)
def test_a_saved_page_is_small(name, keep, tmp_path):
    page = getattr(explorers, name)().save_html(tmp_path / "page.html", **keep)
    assert 20_000 < page.stat().st_size < 1_500_000


def test_the_whole_page_of_the_convolution_fits(tmp_path):
    page = explorers.convolution().save_html(tmp_path / "page.html")
    assert page.stat().st_size < 3_000_000
    text = page.read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in ("slide: 3 × 3, stride 2, pad 1", "an edge", "dilation 2"))
    assert '"three channels"' not in text  # the page keeps one channel
