"""Facts of the explorers of sizes, of checkerboards and of learning to upsample, by arithmetic of their own."""

import importlib
import itertools

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet import explorers
from minisegnet.explorers.checkerboard import KERNELS, STRIDES, draw_checkerboard, enlarged, ripple
from minisegnet.explorers.sizes import CHAINS, LARGEST, alike, draw_sizes, follow

learning = importlib.import_module("minisegnet.explorers.learning_to_upsample")  # the module, not the function


def places(n, kernel, stride, padding):
    """Count the places of a window by walking."""
    return len(range(-padding, n + padding - kernel + 1, stride))


@pytest.mark.parametrize("size", [*range(1, 20), LARGEST])
def test_sizes_of_the_strided_chain_are_counted_by_walking(size):
    way = follow("3 × 3, stride 2, and back", size, 0)
    down = places(size, 3, 2, 1)
    assert way.sizes == [size, down, 2 * down - 1]
    assert follow("3 × 3, stride 2, and back", size, 1).sizes[-1] == 2 * down
    assert way.unread[0] == (size + 2) - ((down - 1) * 2 + 3)


def test_pools_halve_and_only_multiples_of_sixteen_come_back():
    for size in range(16, LARGEST + 1):
        way = follow("U-Net: four pools", size, 0)
        assert way.waist == size // 16
        assert (way.sizes[-1] == size) == (size % 16 == 0)
        assert alike("U-Net: four pools", size) == [n for n in range(1, LARGEST + 17) if n // 16 == size // 16]
    assert follow("U-Net: four pools", 9, 0).sizes == [9, 4, 2, 1, 0, 0, 0, 0, 0]
    assert "used up" in draw_sizes("U-Net: four pools", 9).twin


def test_the_discovery_of_sizes_three_and_four_both_become_two():
    assert [places(n, 3, 2, 1) for n in (2, 3, 4, 5)] == [1, 2, 2, 3]
    explorer = explorers.sizes()
    assert "3 and 4 both reach it with 2" in explorer.twin
    assert "On the way up it becomes 3, not 4." in explorer.set(size=4)
    assert explorer.discover().endswith("On the way up it is 4 again.")
    for chain in CHAINS:
        assert explorer.set(chain=chain, size=16)


def stamps(n, kernel, stride):
    """Lay down ``n`` stamps and count; inside only."""
    counts = [0] * ((n - 1) * stride + kernel)
    for i, tap in itertools.product(range(n), range(kernel)):
        counts[i * stride + tap] += 1
    return counts[kernel - 1 : len(counts) - kernel + 1]


@pytest.mark.parametrize(("kernel", "stride"), list(itertools.product(KERNELS, STRIDES)))
def test_with_equal_weights_the_pattern_is_the_product_of_the_stamps(kernel, stride):
    counts = np.array(stamps(28, kernel, stride), dtype=float)
    pattern = np.outer(counts, counts)
    shown = enlarged(kernel, stride, "all equal", "transposed", "even grey")
    np.testing.assert_allclose(shown, 0.5 * stride**2 * pattern / kernel**2, atol=1e-12)
    even = counts.min() == counts.max()
    assert even == (kernel % stride == 0)
    assert (ripple(kernel, stride, "all equal", "transposed") < 1e-9) == even
    said = " or ".join(str(int(c)) for c in sorted(set(counts)))
    assert f"inside, {said} stamp" in draw_checkerboard(kernel, stride).twin


def test_resize_and_convolution_is_even_with_any_weights_and_equal_stamps_are_not_enough():
    for kernel, stride in itertools.product(KERNELS, STRIDES):
        assert ripple(kernel, stride, "random", "resize + conv") < 1e-9
    assert ripple(4, 2, "random", "transposed") > 10
    assert "a ripple of" in draw_checkerboard(4, 2, "random").twin


def test_the_discovery_of_the_checkerboard():
    explorer = explorers.checkerboard()
    assert "1 or 2 stamps" in explorer.twin
    assert "ripple of 133%" in explorer.twin  # (4 - 1) / 1.5^2
    assert explorer.discover().endswith("an even grey stays even.")


def bilinear_by_hand(small):
    """Enlarge twice by bilinear interpolation, pixel by pixel, half-pixel centres."""
    side = len(small)
    large = np.zeros((2 * side, 2 * side))
    for i, j in np.ndindex(large.shape):
        y, x = (i + 0.5) / 2 - 0.5, (j + 0.5) / 2 - 0.5
        for a, b in itertools.product((0, 1), (0, 1)):
            row, column = int(np.floor(y)) + a, int(np.floor(x)) + b
            share = (1 - abs(y - row)) * (1 - abs(x - column))
            large[i, j] += share * small[min(max(row, 0), side - 1), min(max(column, 0), side - 1)]
    return large


def test_the_bilinear_kernel_is_bilinear_interpolation_inside():
    small = learning._data()[0][0, 0]
    up = learning.brought_up(learning.bilinear_kernel())
    np.testing.assert_allclose(up[2:-2, 2:-2], bilinear_by_hand(small)[2:-2, 2:-2], atol=1e-12)


def best_kernel(target):
    """Solve for the kernel with the least squared error, one equation a pixel."""
    small, goal = learning._data()[0], learning._goal(target)
    columns = []
    for i, j in np.ndindex(4, 4):
        one = np.zeros((len(small), 2 * learning.SIDE + 4, 2 * learning.SIDE + 4))
        one[:, i : i + 2 * learning.SIDE : 2, j : j + 2 * learning.SIDE : 2] = small[:, 0]
        columns.append(one[:, 1:-3, 1:-3][:, 2:-2, 2:-2].ravel())
    solution, *_ = np.linalg.lstsq(np.array(columns).T, goal.ravel(), rcond=None)
    error = np.mean((np.array(columns).T @ solution - goal.ravel()) ** 2)
    return solution.reshape(4, 4), error


@pytest.mark.parametrize("start", learning.STARTS)
def test_every_start_finds_the_best_kernel_there_is(start):
    for target in learning.TARGETS:
        kernel, error = best_kernel(target)
        learned = learning.learn(start, target)
        np.testing.assert_allclose(learned.kernels[-1], kernel, atol=0.004)
        assert learned.errors[-1] <= error + 1e-4
    np.testing.assert_allclose(best_kernel("bilinear rule")[0], learning.bilinear_kernel(), atol=1e-9)


def test_the_discovery_of_learning_bilinear_is_found_and_is_not_the_best_for_pictures():
    explorer = explorers.learning_to_upsample()
    assert "at most 0.00 away" in explorer.discover()
    bilinear = learning.learn("bilinear", "the picture itself")
    assert bilinear.errors[-1] < 0.95 * bilinear.errors[0]
    assert np.abs(best_kernel("the picture itself")[0] - learning.bilinear_kernel()).max() > 0.1
