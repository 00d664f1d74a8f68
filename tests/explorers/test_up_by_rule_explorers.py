"""The explorers of the transposed convolution and of pooling: what they show agrees with plain loops over the definition."""

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet import explorers
from minisegnet.explorers.pooling import IMAGE, INSIDE, draw_pooling
from minisegnet.explorers.pooling_picture import RULES, down_and_up
from minisegnet.explorers.transposed import VIEWS, Geometry, computed
from minisegnet.explorers.transposed_1d import INPUT, WEIGHTS, draw_transposed_1d
from minisegnet.explorers.transposed_2d import INPUT as PLANE
from minisegnet.explorers.transposed_2d import WEIGHTS as KERNEL
from minisegnet.explorers.transposed_2d import draw_transposed_2d

SVG = "{http://www.w3.org/2000/svg}"
GEOMETRIES = [
    (n, k, s, p, extra)
    for n, k, s in itertools.product((2, 3), (1, 2, 3, 4), (1, 2, 3))
    for p, extra in itertools.product((0, 1, 2), range(s))
    if 2 * p < (n - 1) * s + k
]


def stamped(x, w, s, p, extra):
    """Lay every stamp down, add up, then crop: in plain loops, on one axis."""
    places = [0] * ((len(x) - 1) * s + len(w) + p + extra)
    for i, j in itertools.product(range(len(x)), range(len(w))):
        places[i * s + j] += x[i] * w[j]
    return places[p : (len(x) - 1) * s + len(w) - p + extra]


def convolved(image, w, s, p):
    """Sum the products of each window, in plain loops; image and kernel are square tables."""
    size, k = len(image), len(w)
    count = len(range(0, size + 2 * p - k + 1, s))
    result = [[0] * count for _ in range(count)]
    for r, c, i, j in itertools.product(range(count), range(count), range(k), range(k)):
        y, x = r * s + i - p, c * s + j - p
        if 0 <= y < size and 0 <= x < size:
            result[r][c] += image[y][x] * w[i][j]
    return result


def stamped_plane(x, w, s, p, extra):
    """Lay every stamp down in the plane, add up, then crop: in plain loops."""
    full = (len(x) - 1) * s + len(w)
    places = [[0] * (full + p + extra) for _ in range(full + p + extra)]
    for i, j, a, b in itertools.product(range(len(x)), range(len(x)), range(len(w)), range(len(w))):
        places[i * s + a][j * s + b] += x[i][j] * w[a][b]
    return [row[p : full - p + extra] for row in places[p : full - p + extra]]


def texts(drawing):
    """Return what is written in the picture, with its place."""
    found = ElementTree.fromstring(drawing.picture).iter(f"{SVG}text")
    return [(t.text, float(t.get("x")), float(t.get("y"))) for t in found]


def places_of(drawing):
    """Return the numbers of the output's places while stamps are laid: they stand on the right, before their label."""
    written = texts(drawing)
    at = next(i for i, (text, _, _) in enumerate(written) if text.startswith("output: "))
    return {(round(x), round(y)): text for text, x, y in written[:at] if x > 380}


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_all_ways_give_the_sums_of_the_stamps(k):
    geometries = [geometry for geometry in GEOMETRIES if geometry[1] == k]
    assert len(geometries) > 12
    for n, _, s, p, extra in geometries:
        x, w = INPUT[0][:n], WEIGHTS[0][:k]
        wanted = stamped(x, w, s, p, extra)
        numbers = computed((x,), (w,), s, p, extra)
        for way in (numbers.out, numbers.by_matrix, numbers.by_zeros, numbers.by_gradient):
            assert way[0].tolist() == wanted, (n, k, s, p, extra)
        assert Geometry(n, k, s, p, extra).out == len(wanted)
        assert np.array_equal(numbers.matrix, numbers.conv_matrix.T)
        drawing = draw_transposed_1d("gather", k, s, n, p, extra)
        assert f"become {len(wanted)}: {', '.join(map(str, wanted))}." in drawing.twin


@pytest.mark.parametrize(
    ("k", "s", "n", "p", "extra"), [(3, 2, 2, 1, 1), (4, 2, 2, 1, 0), (2, 3, 2, 0, 1), (3, 1, 4, 1, 0)]
)
def test_all_ways_agree_in_the_plane(k, s, n, p, extra):
    x, w = tuple(r[:n] for r in PLANE[:n]), tuple(r[:k] for r in KERNEL[:k])
    wanted = stamped_plane(x, w, s, p, extra)
    numbers = computed(x, w, s, p, extra)
    for way in (numbers.out, numbers.by_matrix, numbers.by_zeros, numbers.by_gradient):
        assert way.tolist() == wanted
    assert numbers.back.tolist() == convolved(wanted, w, s, p)


def test_the_slides_letters():
    explorer = explorers.transposed_1d()
    assert "become 5: ax, ay, az + bx, by, bz." in explorer.choose("slide: a, b and x, y, z")
    written = [text for text, _, _ in texts(explorer.drawing)]
    assert all(text in written for text in ("a", "b", "x", "y", "z", "ax", "az", "bx", "az+bx", "bz"))


def test_the_slides_two_by_two_becomes_four_by_four():
    explorer = explorers.transposed_2d()
    wanted = [[5, 14, 10, 12], [14, 36, 24, 30], [15, 34, 20, 24], [24, 55, 32, 36]]
    assert stamped_plane([[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]], 2, 1, 1) == wanted
    cells = places_of(draw_transposed_2d(step=4))
    xs, ys = sorted({x for x, _ in cells})[1:], sorted({y for _, y in cells})[1:]  # without the ring that padding crops
    assert [[cells[x, y] for x in xs] for y in ys] == [[str(v) for v in row] for row in wanted]
    assert "2 × 2 input pixels become 3 × 3" in explorer.choose("without output_padding: 3 × 3")
    assert explorer.drawing.formula[0].endswith("= (2 − 1)·2 − 2·1 + 3 + 0 = 3")


@pytest.mark.parametrize(
    ("preset", "stride", "size"), [("slide: recall, stride 1", 1, 4), ("slide: recall, stride 2", 2, 2)]
)
def test_the_recall_slides_are_convolutions_of_four_by_four(preset, stride, size):
    explorer = explorers.transposed_2d()
    explorer.choose(preset)
    image = [[(3 * i + 2 * j) % 5 for j in range(4)] for i in range(4)]
    result = convolved(image, [row[:3] for row in KERNEL[:3]], stride, 1)
    assert len(result) == size
    row, column = divmod(explorer.state["step"] - 1, size)
    assert f"becomes result {(row, column)}, {result[row][column]}." in explorer.twin
    assert f"A convolution takes 4 × 4 pixels with 1 ring of zeros around to {size} × {size}" in explorer.set(step=0)
    written = [text for text, _, _ in texts(explorer.drawing)]
    assert all(str(value) in written for value in itertools.chain(*result))


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_stamp_by_stamp_the_sums_grow(step):
    numbers = iter((1, 2, 3, 4))
    x = [[v if v <= step else 0 for v in (next(numbers), next(numbers))] for _ in range(2)]
    wanted = stamped_plane(x, [row[:3] for row in KERNEL[:3]], 2, 0, 0)
    whole = places_of(draw_transposed_2d(step=4, padding=0, output_padding=0))
    xs, ys = sorted({x for x, _ in whole}), sorted({y for _, y in whole})
    assert (len(xs), len(ys)) == (5, 5)
    cells = places_of(draw_transposed_2d(step=step, padding=0, output_padding=0))
    shown = {(ys.index(y), xs.index(x)): text for (x, y), text in cells.items()}
    assert shown == {(r, c): str(v) for r, row in enumerate(wanted) for c, v in enumerate(row) if v}


@pytest.mark.parametrize("geometry", [(3, 2, 3, 1, 0), (2, 1, 3, 0, 0), (4, 3, 2, 1, 1)])
def test_the_marked_inputs_are_where_the_gradient_is_not_zero(geometry):
    from minisegnet import functional as F
    from minisegnet.autograd import Tensor

    k, s, n, p, extra = geometry
    table = tuple(tuple(4 * i + j - 7 if i < n and j < n else 0 for j in range(4)) for i in range(4))
    table = tuple(tuple(max(-5, min(5, v)) for v in row) for row in table)
    out = Geometry(n, k, s, p, extra).out
    for place in range(out * out):
        x = Tensor(np.zeros((1, 1, n, n), np.float32), requires_grad=True)
        ones = np.ones((1, 1, k, k), np.float32)
        F.conv_transpose2d(x, ones, None, s, p, extra)[0, 0, place // out, place % out].backward()
        wanted = [table[i][j] for i, j in zip(*np.nonzero(x.grad.numpy()[0, 0]), strict=True)]
        drawing = draw_transposed_2d("gather", k, s, n, p, extra, place + 1, table)
        marked = re.findall(r'data-on="#0072B2">([−\d]+)<', drawing.picture)
        assert sorted(int(v.replace("−", "-")) for v in marked) == sorted(wanted)


def test_what_padding_crops_is_a_ghost_and_what_output_padding_keeps_is_no_ghost():
    def ghosts(**state):
        return draw_transposed_2d(**state).picture.count('stroke-dasharray="1.5 3.5"')

    legend = 1
    assert ghosts(padding=0, output_padding=0) == 0
    assert ghosts(padding=1, output_padding=0) == 5 * 5 - 3 * 3 + legend
    assert ghosts(padding=1, output_padding=1) == 5 * 5 - 4 * 4 + legend


def test_the_output_stands_at_the_same_place_in_the_views_of_the_row():
    views = [draw_transposed_1d(view, 3, 2, 3, 1, 1) for view in VIEWS if view != "matrix"]
    values = stamped(INPUT[0][:3], WEIGHTS[0][:3], 2, 1, 1)
    rows = []
    for drawing in views:
        written = texts(drawing)
        y = next(y for text, _, y in written if text == "products") - 19 - 18 + 17 * 0.36
        rows.append([(text, x) for text, x, at in written if abs(at - y) < 0.1 and x > 112])
        shown = sorted(rows[-1], key=lambda cell: cell[1])
        assert [text for text, _ in shown][1:] == [str(v) for v in values]
    assert all(sorted(row) == sorted(rows[0]) for row in rows)


def test_the_discovery_of_the_row_output_padding_chooses_a_size_and_keeps_a_product():
    assert [len(range(0, size + 2 - 3 + 1, 2)) for size in (2, 3, 4, 5)] == [1, 2, 2, 3]
    without, with_it = (stamped((2, 5), (1, 2, 3), 2, 1, extra) for extra in (0, 1))
    assert without == [4, 11, 10]
    assert with_it == [4, 11, 10, 5 * 3]
    explorer = explorers.transposed_1d(padding=1)
    assert "become 3: 4, 11, 10." in explorer.twin
    explorer.reset()
    assert "become 4: 4, 11, 10, 15." in explorer.discover()
    assert "3 come out: 4, 11, 10." in explorer.discovery.fact
    assert "15 = 5·3" in explorer.discovery.fact
    sizes = [text for text, x, y in texts(explorer.drawing) if y > 300 and text in "345" and x > 300]
    assert sizes == ["3", "4"]


def test_without_padding_output_padding_reaches_places_without_a_product():
    twin = explorers.transposed_1d(output_padding=1, view="gather", step=6).twin
    assert stamped((2, 5), (1, 2, 3), 2, 0, 1)[-1] == 0
    assert "is 0: no product falls there" in twin
    assert "where no product falls" in twin


def test_the_discovery_of_the_plane_the_convolution_does_not_bring_the_input_back():
    w = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    back = convolved(stamped_plane([[1, 2], [3, 4]], w, 2, 1, 1), w, 2, 1)
    assert back == [[545, 892], [1102, 1519]]
    explorer = explorers.transposed_2d()
    assert "takes them to 545 892 / 1102 1519; the input was 1 2 / 3 4" in explorer.discover()
    assert "1 2 / 3 4 returns as 545 892 / 1102 1519" in explorer.discovery.fact
    assert "the same by chance" in explorer.set(x=((0,) * 4,) * 4)


def pooled_by_hand(image, k, s):
    """Return the maxima and their flat places, the first of a tie, by loops."""
    size = len(image)
    starts = range(0, size - k + 1, s)
    maxima, places = [], []
    for top, left in itertools.product(starts, starts):
        best = None
        for i, j in itertools.product(range(top, top + k), range(left, left + k)):
            if best is None or image[i][j] > image[best[0]][best[1]]:
                best = i, j
        maxima.append(image[best[0]][best[1]])
        places.append(best[0] * size + best[1])
    return maxima, places, len(starts)


@pytest.mark.parametrize(
    ("size", "k", "s"), [(4, 2, 2), (5, 3, 2), (5, 2, 1), (4, 3, 1), (5, 2, 2), (3, 2, 1), (5, 3, 3)]
)
def test_pooling_and_unpooling_agree_with_loops(size, k, s):
    image = [row[:size] for row in IMAGE[:size]]
    maxima, places, n = pooled_by_hand(image, k, s)
    inside = [INSIDE[i][j] for i in range(n) for j in range(n)]
    up = [0] * (size * size)
    for place, value in zip(places, inside, strict=True):
        up[place] = value  # a later window overwrites
    made = down_and_up(RULES[0], size, k, s, "the network's", IMAGE, INSIDE)
    assert made.pooled.ravel().tolist() == maxima
    assert made.places.ravel().tolist() == places
    assert made.up.ravel().tolist() == up
    restored = sum(a == b for a, b in zip(up, itertools.chain(*image), strict=True))
    drawing = draw_pooling(size=size, kernel_size=k, stride=s)
    assert f"{restored} of {size * size} numbers" in drawing.twin
    assert f"{len(set(places))} of {n * n}" in [text for text, _, _ in texts(drawing)]


def test_the_slides_numbers_and_the_discovery_of_pooling():
    explorer = explorers.pooling()
    assert "keeps 5, 6 / 7, 8 and remembers places 5, 2 / 12, 15. 1, 2 / 3, 4 go back to 4 places" in explorer.twin
    image = [row[:4] for row in IMAGE[:4]]
    maxima, places, _ = pooled_by_hand(image, 2, 2)
    assert (maxima, places) == ([5, 6, 7, 8], [5, 2, 12, 15])
    assert "4 of 16 numbers are restored" in explorer.discover()
    flat = list(itertools.chain(*image))
    up = dict(zip(places, maxima, strict=True))
    assert sum(up.get(i, 0) == value for i, value in enumerate(flat)) == 4
    assert len(flat) - len(up) == 12
    assert explorer.discovery.fact.startswith("4 of 16: the maxima 5, 6, 7 and 8")


def test_ties_and_shared_places_are_told():
    explorer = explorers.pooling()
    assert "stands 4 times in the window: the first in reading order counts" in explorer.choose("ties")
    assert "place 0;" in explorer.twin
    twin = explorer.choose("windows overlap: 3, stride 2")
    maxima, places, _ = pooled_by_hand(IMAGE, 3, 2)
    assert places[0] == places[1] == 2
    assert "Another window has the same place: 2 stays." in twin
    assert "2 windows share their places: there the last number stays." in explorer.set(window=0)


def test_averages_are_copied_over_blocks():
    explorer = explorers.pooling()
    twin = explorer.choose("average + nearest")
    means = [sum(IMAGE[2 * i + a][2 * j + b] for a in (0, 1) for b in (0, 1)) / 4 for i in (0, 1) for j in (0, 1)]
    assert means == [2.75, 3, 3.25, 3.75]
    assert "gives 2.75, 3 / 3.25, 3.75." in twin
    made = down_and_up(RULES[1], 4, 2, 2, "the pooled", IMAGE, INSIDE)
    assert made.up.tolist() == [[means[2 * (i // 2) + j // 2] for j in range(4)] for i in range(4)]
