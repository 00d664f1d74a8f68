"""The sliding window, evidence and influence, feature maps: what they say is counted again here, in plain loops and integers."""

import itertools
import re

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet import data, explorers, models
from minisegnet.autograd import Tensor, no_grad
from minisegnet.explorers.evidence_runs import evidence_of, growth, influence_of, probability
from minisegnet.explorers.feature_maps import levels
from minisegnet.explorers.sliding_window import used, windows_done
from minisegnet.explorers.sliding_window_runs import difference, products, rings
from minisegnet.explorers.unet_levels import LEVELS, SIZE, field, tissue


def counted(patch, size, padded, dense):
    """Count products of 5x5 (1 to 4), 5x5 (4 to 8), then linear 16 and 2, by each layer's side."""
    lost, pool, side = (0 if padded else 4), 2, patch
    last = (patch // 4) if padded else ((patch - 4) // 2 - 4) // 2  # the plane that the linear layer reads
    side = size - lost
    total = side * side * 25 * 4
    if dense:
        side = side - 1 - (0 if padded else 8)
        total += side * side * 25 * 4 * 8
        side = side - 2 - 4 * (last - 1)
    else:
        side = side // pool - lost
        total += side * side * 25 * 4 * 8
        side = side // pool - (last - 1)
    return total + side * side * (8 * last * last * 16 + 16 * 2)


@pytest.mark.parametrize(("patch", "padded"), [(p, z) for p in (16, 20, 24) for z in (False, True)])
def test_products_of_the_sliding_window_and_of_one_pass(patch, padded):
    assert products(patch, patch, padded) == counted(patch, patch, padded, False)
    for size, dense in itertools.product((32, 40, 48), (False, True)):
        assert products(patch, size, padded, dense) == counted(patch, size, padded, dense)


def test_the_ratio_is_in_the_sentence():
    twin = explorers.sliding_window().choose("a label for every pixel")
    slid, once = 625 * counted(16, 16, False, False), counted(16, 40, False, True)
    assert f"All windows take {slid:,} products, one pass {once:,}: a ratio of {slid / once:.1f}" in twin
    assert "computed 144 times" in twin  # every place of the first layer but the outer ones is in 12 x 12 windows


@pytest.mark.parametrize(("stride", "step", "what"), [(4, 24, 0), (2, 7, 0), (8, 12, 1), (1, 3, 1)])
def test_how_often_is_counted_window_by_window(stride, step, what):
    names = ("first-layer sums", "pixels")
    size, patch, kernel = 32, 16, 1 if what else 5
    done, row = windows_done(patch, size, stride, step)
    tops = list(itertools.product(range(0, size - patch + 1, stride), repeat=2))
    assert len(tops) == row * row
    counts = {}
    for top, left in tops[:done]:
        for i, j in itertools.product(range(patch - kernel + 1), repeat=2):
            counts[top + i, left + j] = counts.get((top + i, left + j), 0) + 1
    shown = used(patch, size, stride, done, False, names[what])
    assert shown.shape == (size - kernel + 1,) * 2
    assert {tuple(map(int, at)): int(n) for at, n in np.ndenumerate(shown) if n} == counts


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_equal_without_padding_and_nowhere_with_it(stride):
    places = (32 - 16) // stride + 1
    assert difference(16, 32, stride, False).shape == (places, places)
    assert difference(16, 32, stride, False).max() < 1e-12
    assert (difference(16, 32, stride, True) > 1e-6).all()


def test_the_discovery_of_the_sliding_window():
    explorer = explorers.sliding_window(step=24)
    assert "both give the same scores" in explorer.twin
    assert "largest difference 0.00" in explorer.drawing.formula[2]
    assert explorer.discover().endswith("with padding 49 of 49 scores differ.")
    # 5x5 with 2 zeros around: a ring of 2; the pool makes it 1; the second layer adds 2
    assert rings(16, 40) == (2, 2 // 2 + 2)
    assert (5 // 2, -(-(5 // 2) // 2) + 5 // 2) == (2, 3)


def test_the_square_flips_a_pixel_that_it_does_not_touch():
    explorer = explorers.evidence()
    twin = explorer.discover()
    state = explorer.state
    rows = range(state["square_row"], state["square_row"] + 16)
    columns = range(state["square_column"], state["square_column"] + 16)
    assert (state["row"], state["column"]) == (48, 32)
    assert min(max(abs(48 - r), abs(32 - c)) for r, c in itertools.product(rows, columns)) == 9
    model = models.load_pretrained("nuclei")
    image = data.synthetic_tissue(1, size=(96, 96), seed=3)[0][0]
    before = model.predict(image)[1, 48, 32]
    covered = np.array(image)
    for r, c in itertools.product(rows, columns):
        covered[r, c] = 128
    after = model.predict(covered)[1, 48, 32]
    assert before < 0.05
    assert after > 0.9
    assert f"probability {before:.2f} without the square and {after:.2f} with it" in twin
    assert f"({before:.2f}) into nucleus ({after:.2f})" in explorer.discovery.fact


@pytest.mark.parametrize("pixel", [(48, 32), (0, 0)])
def test_the_gradient_says_what_a_small_change_does(pixel):
    row, column = pixel
    heat = evidence_of(row, column)
    assert heat.shape == (SIZE, SIZE)
    near = [heat[max(0, row - r) : row + r + 1, max(0, column - r) : column + r + 1].sum() for r in range(SIZE)]
    sides, shares = growth(heat, (row + 0.5, column + 0.5), 1)
    assert sides[:3] == (1, 3, 5)
    assert np.allclose(shares, [total / heat.sum() for total in near[: len(shares)]], atol=0.006)
    half = next(n for n, share in zip(sides, shares, strict=True) if share >= 0.5)
    assert f"gradient lies in {half} × {half} pixels" in explorers.evidence(row=row, column=column).twin
    assert 100 * half * half < 5 * field(len(LEVELS) - 1) ** 2  # much in little
    if row:
        model, image = models.load_pretrained("nuclei"), np.asarray(tissue(3), dtype=np.float32) / 255

        def margin(pixels):
            chance = model.predict(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[1, row, column]
            return np.log(chance / (1 - chance))

        y, x = np.unravel_index(heat.argmax(), heat.shape)
        moved = image.copy()
        moved[y, x] += 0.01 * 1
        assert abs(margin(moved) - margin(image)) <= 0.01 * heat[y, x] * 1.5  # the sum of absolute values is the bound


def test_the_influence_of_a_cell_is_what_changes_without_it():
    model = models.load_pretrained("nuclei")
    image = np.asarray(tissue(3), dtype=np.float32).transpose(2, 0, 1)[None] / np.float32(255)

    def scores():
        with no_grad():
            return model(np.ascontiguousarray(image)).numpy()[0]

    def without(module, inputs, output):
        kept = output.numpy().copy()
        kept[0, :, 1, 0] = 0
        return Tensor(kept)

    before = scores()
    model.bottleneck.register_forward_hook(without)
    after = scores()
    change = np.abs((after[1] - after[0]) - (before[1] - before[0]))
    assert np.allclose(influence_of(1, 0), change, atol=1e-4)
    assert 0.5 < change.max() < 0.7  # a single cell moves little, the skips carry the rest; no cell moves more
    explorer = explorers.evidence()
    assert f"scores change by {change.max():.2f} at most" in explorer.choose("where a waist cell lands")
    assert all(influence_of(i, j).max() < 0.7 for i, j in itertools.product(range(6), repeat=2))
    y, x = np.unravel_index(change.argmax(), change.shape)
    assert max(16 - y, y - 31, x - 15) < 16  # near its own place, rows 16 to 31, columns 0 to 15
    assert probability().shape == (96, 96)


def test_sizes_of_the_maps_by_arithmetic():
    explorer = explorers.feature_maps()
    for level, name in enumerate(LEVELS, start=1):
        depth = 4 - abs(level - 5)
        channels, side = 8 * 2**depth, 96 // 2**depth
        assert f"{name.capitalize()}: {channels} maps of {side} × {side} cells, {channels * side * side:,} numbers" in (
            explorer.set(level=level)
        )
        maps, shown = levels(3)[level - 1]
        assert maps.shape == (channels, side, side)
        assert len(set(shown)) == 8
    assert (8 * 96 * 96, 128 * 6 * 6, 16 * 16) == (73728, 4608, 256)
    for number in ("73,728", "4,608", "256"):
        assert number in explorer.discovery.fact


def test_what_a_cell_sees_by_arithmetic():
    seen, jump, fields = 1, 1, []
    for _ in range(5):
        seen += 2 * 2 * jump  # two 3x3 convolutions
        fields.append(seen)
        seen, jump = seen + jump, 2 * jump  # a pool of 2
    assert [field(level) for level in range(5)] == fields == [5, 14, 32, 68, 140]
    for up in range(1, 5):  # from a cell of a decoder's map back to the image, for cells at every phase
        widest = 0
        for start in range(64):
            low = high = start
            for _ in range(up):
                low, high = (
                    (low - 2) // 2,
                    (high + 2) // 2,
                )  # two 3x3 convolutions; the cells whose 2x2 stamps lie there
            for _ in range(4):
                low, high = 2 * (low - 2), 2 * (high + 2) + 1  # two 3x3 convolutions, a pool of 2
            widest = max(widest, high + 2 - (low - 2) + 1)
        assert field(4 + up) == widest


def test_numbers_of_the_drawing_are_rounded():
    for explorer in (explorers.evidence(), explorers.sliding_window(), explorers.feature_maps()):
        assert not re.findall(r"\d\.\d{3,}", explorer.drawing.words)
