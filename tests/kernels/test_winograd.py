"""Winograd's convolution over its own geometry: parts, phases, tails; its bound is that of ``test_convolution_kernels.py``."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kernel_checks import run_python
from test_convolution_kernels import DIRECTIONS, Case, forced, one_thread, winograd_bound  # noqa: F401

from minisegnet.kernels.convolution import numba_cpu, numba_cpu_linear_map, numba_cpu_winograd, reference
from minisegnet.kernels.convolution import numba_cpu_winograd_phases as phases
from minisegnet.kernels.convolution import numba_cpu_winograd_strided as strided
from minisegnet.kernels.convolution.numba_cpu_winograd_tiles import FILTER, INPUT, OUTPUT, starts


@pytest.mark.parametrize("part", [1, 2**14, 2**30])
@pytest.mark.parametrize("shape", [(3, 20, 17, 30), (1, 7, 9, 8), (2, 33, 8, 8)])
def test_winograd_in_parts_of_any_size(part, shape, monkeypatch):
    """Many parts of few tiles, all tiles at once, and the order of loops for deep layers: which one runs is a matter of sizes."""
    monkeypatch.setattr(numba_cpu_winograd, "PART", part)
    monkeypatch.setattr(numba_cpu_winograd, "DEEP", 8 * part)
    case = Case(shape, (19, shape[1], 3, 3), padding=(1, 1), dilation=(1, 2), dtype=np.float32)
    for direction in DIRECTIONS:
        case.check(forced("winograd"), direction, winograd=True)


WAYS = ("_convolve_tiles", "_convolve_deep", "_sum_parts", "_sum_tiles", "_sum_deep")


def ways_of(case, monkeypatch):
    """Return which of the loops ran for each direction."""
    ran = []
    with monkeypatch.context() as patch:
        for name in WAYS:
            function = getattr(numba_cpu_winograd, name)
            patch.setattr(numba_cpu_winograd, name, lambda *a, name=name, f=function: ran.append(name) or f(*a))
        for direction in DIRECTIONS:
            case.check(forced("winograd"), direction, winograd=True)
    return ran


@pytest.mark.parametrize(
    ("case", "ways"),
    [
        (((1, 16, 40, 90), (16, 16, 3, 3)), [*WAYS[:1] * 2, "_sum_parts"]),
        (((1, 56, 92, 92), (64, 56, 3, 3)), [*WAYS[:1] * 2, "_sum_tiles"]),
        (((1, 136, 8, 8), (72, 136, 3, 3)), ["_convolve_deep", "_convolve_deep", "_sum_deep"]),
    ],
)
def test_winograd_takes_each_way_where_it_is_meant(case, ways, monkeypatch):
    assert ways_of(Case(*case, padding=(1, 1), dtype=np.float32), monkeypatch) == ways


def test_the_bound_of_winograd_comes_from_winograd():
    """The chain of maps that gives the bound gives, without absolute values, the convolution itself."""
    for case in (
        Case((2, 3, 9, 6), (4, 3, 3, 3), padding=(1, 0)),
        Case((1, 2, 9, 13), (3, 2, 3, 3), (1, 1), (6, 1), (2, 5)),
        Case((2, 3, 12, 9), (4, 3, 3, 3), (2, 2), (1, 1), extra=(1, 0)),
        Case((1, 2, 14, 11), (3, 2, 4, 5), (2, 2), (1, 3)),
        Case((1, 2, 9, 13), (3, 2, 2, 3), (3, 1), (0, 1)),
    ):
        for direction in DIRECTIONS:
            np.testing.assert_allclose(
                winograd_bound(case, direction, exact=True), case.call(reference, direction), atol=1e-12
            )


@pytest.mark.usefixtures("one_thread")
@given(st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_winograd_over_any_size(data):
    sizes, padding = data.draw(st.tuples(*[st.integers(1, 14)] * 2)), data.draw(st.tuples(*[st.integers(0, 6)] * 2))
    dilation = data.draw(st.tuples(*[st.integers(1, 5)] * 2))
    assume(all(n + 2 * p > 2 * d for n, p, d in zip(sizes, padding, dilation, strict=True)))
    images, channels, outputs = (data.draw(st.integers(*ends)) for ends in ((0, 3), (1, 20), (1, 35)))
    case = Case((images, channels, *sizes), (outputs, channels, 3, 3), (1, 1), padding, dilation, dtype=np.float32)
    for direction in DIRECTIONS:
        case.check(forced("winograd"), direction, winograd=True)


@pytest.mark.parametrize("channels", [24, 64])
def test_winograd_is_as_accurate_as_published(channels):
    """Relative to the largest output, a few millionths: about five times direct sums (Lavin and Gray, 2016, table 4)."""
    case = Case((1, channels, 32, 32), (32, channels, 3, 3), padding=(1, 1), dtype=np.float32)
    for direction in DIRECTIONS:
        exact = case.as_type(np.float64).call(reference, direction)
        error = abs(case.call(forced("winograd"), direction) - exact)
        assert np.sqrt((error**2).mean() / (exact**2).mean()) < 3e-6


TAILS = [(16, 17), (20, 33), (24, 8), (33, 40), (8, 24), (40, 20), (9, 7), (80, 65)]


@pytest.mark.parametrize("dilation", [1, 2, 4, 8])
@pytest.mark.parametrize(("channels", "outputs"), TAILS)
def test_winograd_with_awkward_channels_and_dilation(channels, outputs, dilation):
    shape, pad = (1, channels, 19, 34), (dilation, dilation)
    case = Case(shape, (outputs, channels, 3, 3), (1, 1), pad, pad, dtype=np.float32)
    for direction in DIRECTIONS:
        case.check(forced("winograd"), direction, winograd=True)


@pytest.mark.parametrize("channels", [3, 20])
def test_a_floor_is_where_the_output_ends(channels):
    case = Case((2, channels, 9, 14), (20, channels, 3, 3), padding=(1, 1), dtype=np.float32)
    case.input[0, 1, 2, 3] = np.nan
    output = case.call(forced("winograd"), "conv2d")
    for floor in (0.0, 0.5, np.inf):
        case.options["floor"] = floor
        np.testing.assert_array_equal(case.call(forced("winograd"), "conv2d"), np.maximum(output, np.float32(floor)))
    assert np.isnan(output).any()
    assert (output < 0).any()


@given(st.integers(0, 70), st.integers(1, 9))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_tiles_cover_every_pixel_once(size, distance):
    pixels = [first + i * distance for first in starts(size, distance) for i in range(4)]
    assert sorted(p for p in pixels if p < size) == list(range(size))
    assert numba_cpu_winograd.tiles(size, distance) == sum(
        -(-len(range(p, size, distance)) // 4) for p in range(distance)
    )


@pytest.mark.parametrize(
    ("matrix", "operations"),
    [(INPUT, 12), (OUTPUT, 10), (np.transpose(OUTPUT), 9), (FILTER, 9), (np.transpose(FILTER), 11)],
)
def test_a_constant_matrix_is_multiplied_with_shared_sums(matrix, operations):
    matrix = np.array(matrix)
    numbers = list(np.random.default_rng(0).normal(size=matrix.shape[1]))
    count = []
    counted = numba_cpu_linear_map.Arithmetic(
        *(lambda *a, f=f: count.append(1) or f(*a) for f in numba_cpu_linear_map.PLAIN)
    )
    result = numba_cpu_linear_map.multiply(matrix.tolist(), numbers, counted)
    np.testing.assert_allclose(result, matrix @ numbers, rtol=0, atol=1e-14)
    assert len(count) == operations


def test_winograd_can_be_stepped_through_without_the_compiler():
    run_python(
        "import numba, numpy as np, test_convolution_kernels as t\n"
        "assert numba.config.DISABLE_JIT\n"
        "for shape, outputs, d in [((1, 2, 5, 6), 3, 1), ((2, 3, 7, 4), 18, 2)]:\n"
        "    case = t.Case(shape, (outputs, shape[1], 3, 3), (1, 1), (d, d), (d, d), dtype=np.float32)\n"
        "    for direction in t.DIRECTIONS:\n"
        "        case.check(t.forced('winograd'), direction, winograd=True)\n",
        NUMBA_DISABLE_JIT="1",
    )


STRIDED = [(3, 2, 1, 81), (4, 2, 1, 100), (5, 2, 2, 121), (2, 2, 0, 64), (3, 3, 0, 144)]


@pytest.mark.parametrize(("kernel", "stride", "padding", "products"), STRIDED)
def test_a_stride_takes_as_many_products_as_its_phases_have_points(kernel, stride, padding, products):
    for direction in DIRECTIONS:
        plan = phases.plan(direction, (kernel, kernel), (stride, stride), (padding, padding))
        assert plan.used.sum() == products
        assert sorted(plan.taps[plan.taps >= 0]) == list(range(kernel**2))  # each tap once
        assert phases.saving(direction, (kernel, kernel), (stride, stride)) >= 16 * kernel**2 / products


@pytest.mark.parametrize("part", [1, 2**14, 2**30])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), (2, 2)), ((4, 4), (2, 2)), ((5, 3), (2, 1)), ((2, 7), (3, 3))])
@pytest.mark.parametrize(("channels", "outputs"), [(3, 5), (16, 17), (20, 33), (24, 8), (33, 40)])
def test_strided_winograd_in_parts_of_any_size(channels, outputs, kernel, stride, part, monkeypatch):
    monkeypatch.setattr(strided, "PART", part)
    monkeypatch.setattr(strided, "SHARED", 8 * part)
    case = Case((2, channels, 35, 30), (outputs, channels, *kernel), stride, (1, 1), dtype=np.float32)
    for direction in DIRECTIONS:
        case.check(forced("winograd"), direction, winograd=True)


@pytest.mark.usefixtures("one_thread")
@given(st.data())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_strided_winograd_over_any_size(data):
    sizes, padding = data.draw(st.tuples(*[st.integers(1, 19)] * 2)), data.draw(st.tuples(*[st.integers(0, 4)] * 2))
    stride = data.draw(st.tuples(*[st.integers(1, 4)] * 2).filter(lambda pair: pair != (1, 1)))
    kernel = tuple(data.draw(st.integers(1, 2 * s + 1)) for s in stride)
    room = [n + 2 * p - k for n, p, k in zip(sizes, padding, kernel, strict=True)]
    assume(min(room) >= 0)
    extra = tuple(
        min(r % s, n - 1) if data.draw(st.booleans()) else 0 for r, s, n in zip(room, stride, sizes, strict=True)
    )
    images, channels, outputs = (data.draw(st.integers(*ends)) for ends in ((0, 3), (1, 20), (1, 20)))
    shape = (images, channels, *sizes), (outputs, channels, *kernel)
    case = Case(*shape, stride, padding, dtype=np.float32, extra=extra)
    for direction in DIRECTIONS:
        case.check(forced("winograd"), direction, winograd=True)


@pytest.mark.parametrize(
    ("images", "size", "weight", "stride", "names"),
    [
        (4, 128, (64, 32, 4, 4), 2, ["winograd", "winograd", "winograd"]),
        (4, 128, (64, 32, 3, 3), 2, ["winograd", "winograd", "direct"]),  # sums over tiles save too little
        (4, 128, (64, 32, 2, 2), 2, ["direct"] * 3),  # one tap a phase: nothing is saved
        (4, 128, (64, 32, 6, 6), 2, ["direct"] * 3),  # more than three taps a phase
        (8, 128, (16, 16, 4, 4), 2, ["direct"] * 3),  # few channels
        (1, 64, (64, 64, 4, 4), 2, ["direct"] * 3),  # few tiles
    ],
)
def test_strides_go_by_winograd_where_it_pays(images, size, weight, stride, names):
    sizes = size // stride, size, size // stride
    for direction, n, name in zip(DIRECTIONS, sizes, names, strict=True):
        steps = (stride, stride)
        assert numba_cpu.choose(direction, np.dtype(np.float32), images, (n, n), weight, steps) == name
