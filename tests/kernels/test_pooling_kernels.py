"""Pooling kernels: indices exactly, ties, NaN, windows at the border, adjoints; three judges (loops, NumPy, PyTorch)."""

import naive
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from kernel_checks import assert_identical, layouts, run_python, unchanged

from minisegnet.arrays import is_channels_last
from minisegnet.kernels.pooling import numba_cpu, reference
from minisegnet.shapes import effective_kernel, pool_output_size

BACKENDS = {"reference": reference, "numba": numba_cpu}
LECTURE = np.array([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]], np.float32)[None, None]


@pytest.fixture(params=BACKENDS)
def kernels(request):
    return BACKENDS[request.param]


@st.composite
def pooling_calls(draw):
    """Images that hold ties, NaN and -infinity, and everything that pooling can be asked to do with them."""
    n, h, w = draw(st.integers(0, 2)), draw(st.integers(1, 8)), draw(st.integers(1, 8))
    c = draw(st.sampled_from([1, 2, 3, 17]))
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = tuple(draw(st.integers(0, effective_kernel(k, d) // 2)) for k, d in zip(kernel, dilation, strict=True))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    odd = draw(st.sampled_from([0.0, 0.3]))
    images = rng.integers(-3, 4, (n, c, h, w)).astype(dtype)
    images[rng.random(images.shape) < odd] = np.nan
    images[rng.random(images.shape) < odd] = -np.inf
    options = (kernel, stride, padding, dilation, draw(st.booleans()))
    try:
        pool_output_size((h, w), *options)
    except ValueError:
        assume(False)
    return images, options


@settings(max_examples=40, deadline=None, derandomize=True)
@given(pooling_calls())
@example(
    (np.zeros((1, 1, 1, 1), np.float32), ((2, 2), (1, 1), (1, 1), (2, 2), False))
)  # the window steps over the image
@example((np.full((2, 3, 2, 2), -np.inf), ((2, 2), (2, 2), (0, 0), (1, 1), True)))
def test_max_pool2d_agrees_with_plain_loops(call):
    images, options = call
    values, indices = naive.max_pool2d(images, *options)
    for name, kernels in BACKENDS.items():
        with unchanged(images):
            result = kernels.max_pool2d(images, *options)
        np.testing.assert_array_equal(result[0], values, err_msg=name)
        np.testing.assert_array_equal(result[1], indices, err_msg=name)
        assert result[0].dtype == images.dtype
        assert result[1].dtype == np.int64


@settings(max_examples=40, deadline=None, derandomize=True)
@given(pooling_calls())
def test_max_pool2d_agrees_with_pytorch(call):
    torch = pytest.importorskip("torch")
    images, (kernel, stride, padding, dilation, ceil_mode) = call
    assume(padding[0] <= kernel[0] // 2 and padding[1] <= kernel[1] // 2)  # PyTorch does not count the dilation here
    values, indices = torch.nn.functional.max_pool2d(
        torch.from_numpy(images.copy()), kernel, stride, padding, dilation, ceil_mode, return_indices=True
    )
    result = numba_cpu.max_pool2d(images, kernel, stride, padding, dilation, ceil_mode)
    np.testing.assert_array_equal(result[0], values)
    holds_a_pixel = result[1] != -1  # where none is, PyTorch's index lies outside the plane
    np.testing.assert_array_equal(result[1][holds_a_pixel], indices.numpy()[holds_a_pixel])


@pytest.fixture
def went(monkeypatch):
    """Record which of the two ways of scattering ran, and whether the one in windows found all places in theirs."""
    calls = []
    for name in ("_scatter_in_windows", "_scatter_to_plane", "_gather_in_windows", "_gather_from_plane"):

        def record(*args, name=name, loops=getattr(numba_cpu, name)):
            calls.append((name, loops(*args)))
            return calls[-1][1]

        monkeypatch.setattr(numba_cpu, name, record)
    return calls


@pytest.mark.parametrize("channels", [1, 3, 16, 80])
@pytest.mark.parametrize("accumulate", [True, False])
def test_indices_in_their_own_windows_are_scattered_in_one_pass(went, rng, channels, accumulate):
    images = rng.standard_normal((2, channels, 10, 14)).astype(np.float32)
    values, indices = numba_cpu.max_pool2d(images, (2, 2), (2, 2))
    result = numba_cpu.scatter_to_plane(values, indices, (10, 14), accumulate)
    assert went == [("_scatter_in_windows", True)]
    assert_identical(result, reference.scatter_to_plane(values, indices, (10, 14), accumulate))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 7, 8, 9, 16, 80])
def test_indices_in_their_own_windows_are_gathered_in_one_pass(went, rng, channels, dtype):
    images, grads = rng.standard_normal((2, 2, channels, 10, 14)).astype(dtype)
    indices = numba_cpu.max_pool2d(images, (2, 2), (2, 2))[1]
    result = numba_cpu.gather_from_plane(grads, indices)
    assert went == [("_gather_in_windows", True) if channels >= 8 else ("_gather_from_plane", None)]
    assert_identical(result, reference.gather_from_plane(grads, indices))


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 8, 4, 6), (1, 15, 2, 3)])
@pytest.mark.parametrize("there", [-1, 2, 13, 137])
def test_a_single_stray_index_is_noticed_when_gathering(went, rng, place, there):
    images, grads = rng.standard_normal((2, 2, 16, 10, 14)).astype(np.float32)
    indices = numba_cpu.max_pool2d(images, (2, 2), (2, 2))[1].copy()
    y, x = place[2:]
    assert there not in {(2 * y + i) * 14 + 2 * x + j for i in (0, 1) for j in (0, 1)}
    indices[place] = there
    result = numba_cpu.gather_from_plane(grads, indices)
    assert went == [("_gather_in_windows", False), ("_gather_from_plane", None)]
    assert_identical(result, reference.gather_from_plane(grads, indices))


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (0, 2, 0, 3), (1, 0, 3, 2), (1, 2, 4, 6)])
@pytest.mark.parametrize("there", [-1, 2, 69, 139, 140, 2**32, -(2**32)])
@pytest.mark.parametrize("accumulate", [True, False])
@pytest.mark.parametrize("channels", [3, 16])
def test_a_single_stray_index_is_noticed(went, rng, place, there, accumulate, channels):
    images = rng.standard_normal((2, channels, 10, 14)).astype(np.float32)
    values, indices = reference.max_pool2d(images, (2, 2), (2, 2))
    here = place[2] * 28 + place[3] * 2  # the first pixel of its window
    indices[place] = there + (here if abs(there) == 2**32 else 0)
    result = numba_cpu.scatter_to_plane(values, indices, (10, 14), accumulate)
    if indices[place] not in (here, here + 1, here + 14, here + 15):
        assert went[0] == ("_scatter_in_windows", False)
        assert went[1][0] == "_scatter_to_plane"
    assert_identical(result, reference.scatter_to_plane(values, indices, (10, 14), accumulate))


@pytest.mark.parametrize("threads", [1, 2, 3, 100])
@pytest.mark.parametrize(("n", "channels"), [(1, 1), (1, 16), (1, 80), (3, 33)])
def test_however_the_channels_are_shared_out_the_sums_are_the_same(monkeypatch, rng, threads, n, channels):
    monkeypatch.setattr(numba_cpu, "get_num_threads", lambda: threads)
    values = rng.standard_normal((n, channels, 4, 5)).astype(np.float32)
    indices = rng.integers(0, 30, values.shape)
    assert_identical(
        numba_cpu.scatter_to_plane(values, indices, (6, 5)), reference.scatter_to_plane(values, indices, (6, 5))
    )


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 2), (2, 4)])
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (3, 3), (9, 8)])
@pytest.mark.parametrize("channels", [1, 17])
def test_small_windows_inside_and_at_every_border(rng, kernel, stride, size, channels):
    images = rng.integers(-2, 3, (2, channels, *size)).astype(np.float32)  # full of ties
    images[rng.random(images.shape) < 0.1] = np.nan
    for padding in ((0, 0), (1, 1), (0, 1)):
        for ceil_mode in (False, True):
            try:
                pool_output_size(size, kernel, stride, padding, (1, 1), ceil_mode)
            except ValueError:
                continue
            options = (kernel, stride, padding, (1, 1), ceil_mode)
            values, indices = numba_cpu.max_pool2d(images, *options)
            expected = reference.max_pool2d(images, *options)
            np.testing.assert_array_equal(values, expected[0])
            np.testing.assert_array_equal(indices, expected[1])


def test_the_rows_of_small_windows_ran(monkeypatch, rng):
    """Without the compiler, the row functions are called from Python and can be counted."""
    run_python("import test_pooling_kernels as t; t.check_which_windows_ran()", NUMBA_DISABLE_JIT="1")


def check_which_windows_ran():
    calls = []
    for name in ("_row_2x2", "_row_3x3", "_window"):

        def record(*args, name=name, loops=getattr(numba_cpu, name)):
            calls.append(name)
            return loops(*args)

        setattr(numba_cpu, name, record)
    images = np.zeros((1, 2, 6, 6), np.float32)
    numba_cpu.max_pool2d(images, (2, 2), (2, 2))
    assert calls == ["_row_2x2"] * 3
    calls.clear()
    numba_cpu.max_pool2d(images, (3, 3), (2, 2), (1, 1))
    assert calls == ["_window"] * 3 + ["_row_3x3", "_window"] * 2  # the first row and the first column touch the border
    calls.clear()
    numba_cpu.max_pool2d(images, (2, 3), (2, 2))
    assert set(calls) == {"_window"}


def test_the_lecture(kernels):
    values, indices = kernels.max_pool2d(LECTURE, (2, 2), (2, 2))
    np.testing.assert_array_equal(values[0, 0], [[5, 6], [7, 8]])
    np.testing.assert_array_equal(indices[0, 0], [[5, 2], [12, 15]])
    unpooled = kernels.scatter_to_plane(np.array([[[[1, 2], [3, 4]]]], np.float32), indices, (4, 4), accumulate=False)
    np.testing.assert_array_equal(unpooled[0, 0], [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]])


def test_first_maximum_wins_and_last_nan(kernels):
    values, indices = kernels.max_pool2d(np.ones((1, 1, 3, 3), np.float32), (3, 3), (3, 3))
    assert (values.item(), indices.item()) == (1, 0)
    image = np.array([[1, np.nan, 3], [np.nan, 5, 2], [1, 2, 2]], np.float32)[None, None]
    values, indices = kernels.max_pool2d(image, (3, 3), (3, 3))
    assert np.isnan(values.item())
    assert indices.item() == 3


def test_padding_is_never_chosen(kernels):
    images = np.full((1, 2, 3, 3), -np.inf, np.float32)
    values, indices = kernels.max_pool2d(images, (3, 3), (2, 2), (1, 1))
    assert np.isneginf(values).all()
    np.testing.assert_array_equal(indices[0, 1], [[0, 1], [3, 4]])


def test_a_window_without_a_pixel_has_no_place_and_no_gradient(kernels):
    values, indices = kernels.max_pool2d(np.zeros((1, 1, 1, 1), np.float32), (2, 2), (1, 1), (1, 1), (2, 2))
    assert np.isneginf(values.item())
    assert indices.item() == -1
    grad = kernels.scatter_to_plane(np.ones((1, 1, 1, 1), np.float32), indices, (1, 1))
    assert grad.item() == 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 2), st.sampled_from([1, 3, 17]), st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32 - 1),
    st.booleans(), st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_scatter_and_gather_agree_with_plain_loops_wherever_the_indices_point(n, c, h, w, seed, accumulate, dtype):
    rng = np.random.default_rng(seed)
    values, plane = rng.standard_normal((n, c, 3, 4)).astype(dtype), rng.standard_normal((n, c, h, w)).astype(dtype)
    indices = rng.integers(-2, h * w + 2, values.shape)  # with duplicates, and outside
    expected = naive.scatter_to_plane(values, indices, (h, w), accumulate)
    sums = naive.scatter_to_plane(abs(values), indices, (h, w), accumulate)
    for kernels in BACKENDS.values():
        with unchanged(values, indices, plane):
            scattered = kernels.scatter_to_plane(values, indices, (h, w), accumulate)
            gathered = kernels.gather_from_plane(plane, indices)
        assert scattered.dtype == gathered.dtype == dtype
        # m numbers added one by one: at most m - 1 roundings of at most eps/2 of the sum of their absolute values.
        most = 12 * np.finfo(dtype).eps / 2 if accumulate else 0.0
        assert (abs(scattered - expected) <= most * sums).all()
        np.testing.assert_array_equal(gathered, naive.gather_from_plane(plane, indices))


@pytest.mark.parametrize("index", [-(2**40), -1, 12, 2**40])
def test_no_index_reads_or_writes_outside_its_plane(kernels, index):
    values, indices = np.ones((2, 1, 1, 1), np.float32), np.full((2, 1, 1, 1), index)
    assert not kernels.scatter_to_plane(values, indices, (3, 4)).any()
    assert not kernels.gather_from_plane(np.ones((2, 1, 3, 4), np.float32), indices).any()


def test_max_unpool2d_with_duplicates_agrees_with_pytorch(kernels, rng):
    torch = pytest.importorskip("torch")
    values, indices = rng.standard_normal((2, 3, 4, 4)), rng.integers(0, 36, (2, 3, 4, 4))
    expected = torch.nn.functional.max_unpool2d(torch.from_numpy(values), torch.from_numpy(indices), 3, 1)
    np.testing.assert_array_equal(kernels.scatter_to_plane(values, indices, (6, 6), accumulate=False), expected)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 2)])
def test_the_gradient_of_pooling_is_pytorchs(kernels, rng, kernel, stride, padding, dilation):
    torch = pytest.importorskip("torch")
    images = rng.standard_normal((2, 3, 9, 8))
    options = [(v, v) for v in (kernel, stride, padding, dilation)]
    values, indices = kernels.max_pool2d(images, *options)
    grad_values = rng.standard_normal(values.shape)
    leaf = torch.from_numpy(images).requires_grad_()
    torch.nn.functional.max_pool2d(leaf, kernel, stride, padding, dilation).backward(torch.from_numpy(grad_values))
    np.testing.assert_allclose(
        kernels.scatter_to_plane(grad_values, indices, (9, 8)), leaf.grad, rtol=1e-13, atol=1e-13
    )


def test_scatter_and_gather_are_adjoint(kernels, rng):
    values, plane = rng.standard_normal((2, 5, 3, 3)), rng.standard_normal((2, 5, 4, 6))
    indices = rng.integers(-1, 24, values.shape)
    there = (kernels.scatter_to_plane(values, indices, (4, 6)) * plane).sum()
    back = (values * kernels.gather_from_plane(plane, indices)).sum()
    assert there == pytest.approx(back, rel=1e-12)


def test_pooling_is_gathering_at_its_indices(kernels, rng):
    images = rng.standard_normal((2, 5, 7, 9)).astype(np.float32)
    values, indices = kernels.max_pool2d(images, (3, 2), (2, 2), (1, 1), (1, 1), True)
    assert_identical(kernels.gather_from_plane(images, indices), values)


@pytest.mark.parametrize("name", ["contiguous", "channels-last", "strided", "upside down", "read-only"])
def test_memory_layout_changes_nothing(kernels, rng, name):
    images = rng.standard_normal((2, 3, 6, 8)).astype(np.float32)
    values, indices = reference.max_pool2d(images, (2, 2), (2, 2))
    given = layouts(images)[name]
    with unchanged(given):
        assert_identical(kernels.max_pool2d(given, (2, 2), (2, 2)), (values, indices))
    scattered = reference.scatter_to_plane(values, indices, (6, 8))
    assert_identical(kernels.scatter_to_plane(layouts(values)[name], layouts(indices)[name], (6, 8)), scattered)
    assert_identical(kernels.gather_from_plane(given, layouts(indices)[name]), values)


def test_compiled_kernels_stay_channels_last(rng):
    images = rng.standard_normal((2, 3, 6, 8)).astype(np.float32)
    values, indices = numba_cpu.max_pool2d(images, (2, 2), (2, 2))
    scattered = numba_cpu.scatter_to_plane(values, indices, (6, 8))
    for result in (values, indices, scattered, numba_cpu.gather_from_plane(scattered, indices)):
        assert is_channels_last(result)


def small_results():
    rng = np.random.default_rng(1)
    images = rng.integers(-3, 4, (3, 19, 13, 11)).astype(np.float32)
    values, indices = numba_cpu.max_pool2d(images, (3, 3), (2, 2), (1, 1), (1, 1), True)
    noise = rng.standard_normal(values.shape).astype(np.float32)
    planes = [numba_cpu.scatter_to_plane(noise, indices, (13, 11), accumulate) for accumulate in (True, False)]
    return values, indices, *planes, numba_cpu.gather_from_plane(planes[0], indices)


def test_threads_change_no_bit():
    run_python(
        "import kernel_checks, test_pooling_kernels as t; kernel_checks.assert_same_with_any_threads(t.small_results)",
        NUMBA_NUM_THREADS="2",
    )


def check_without_compiler():
    images = LECTURE.repeat(2, axis=1)
    images[0, 1, 0, 0] = np.nan
    options = ((3, 3), (2, 2), (1, 1), (1, 1), True)
    values, indices = numba_cpu.max_pool2d(images, *options)
    np.testing.assert_array_equal(values, naive.max_pool2d(images, *options)[0])
    np.testing.assert_array_equal(indices, naive.max_pool2d(images, *options)[1])
    assert type(numba_cpu._max_pool2d).__name__ == "function"
    many = np.random.default_rng(0).integers(-3, 4, (1, 9, 5, 4)).astype(np.float32)  # eight channels at a time
    many[0, :, 2, 1:3] = np.nan
    for size in (2, 3):
        window = ((size, size), (2, 2), (1, 1), (1, 1), True)
        for result, expected in zip(numba_cpu.max_pool2d(many, *window), naive.max_pool2d(many, *window), strict=True):
            np.testing.assert_array_equal(result, expected)
    for accumulate in (True, False):
        scattered = numba_cpu.scatter_to_plane(values, indices, (4, 4), accumulate)
        np.testing.assert_array_equal(scattered, naive.scatter_to_plane(values, indices, (4, 4), accumulate))
    np.testing.assert_array_equal(numba_cpu.gather_from_plane(images, indices), values)


@pytest.mark.parametrize("channels", [7, 8, 9, 16, 17])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eight_channels_at_a_time_and_windows_over_every_border(rng, channels, size, dtype):
    for height, width in ((1, 1), (1, 5), (4, 3), (7, 8)):
        images = rng.integers(-3, 4, (2, channels, height, width)).astype(dtype)  # ties
        images[rng.random(images.shape) < 0.2] = np.nan
        for stride, ceil_mode in ((1, False), (2, False), (2, True), (3, True)):
            window = ((size, size), (stride, stride), (1, 1), (1, 1), ceil_mode)
            expected = naive.max_pool2d(images, *window)
            for result, wanted in zip(numba_cpu.max_pool2d(images, *window), expected, strict=True):
                np.testing.assert_array_equal(result, wanted)


def test_the_loops_run_without_the_compiler():
    run_python("import test_pooling_kernels as t; t.check_without_compiler()", NUMBA_DISABLE_JIT="1")
