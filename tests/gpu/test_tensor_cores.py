"""Convolution as matrix products, in float32 and on tensor cores: numbers, exactness, order, and every check broken in turn."""

from pathlib import Path

import numpy as np
import pytest
from gpu import cupy_stand_in, emulator, mutants
from gpu.emulator import EmulationError
from gpu.test_convolution_on_gpu import GEOMETRY, arguments, at_random, bound, on_gpu

import minisegnet as ms
from minisegnet import backend
from minisegnet.kernels.convolution import reference

DIRECTIONS = ("conv2d", "conv2d_relu", "conv2d_grad_input", "conv2d_grad_weight")
FOLDER = Path(__file__).resolve().parents[2] / "minisegnet" / "kernels"
WIDE = [  # N, C, H, W, O, kernel, stride, padding, dilation, groups
    (1, 17, 9, 8, 65, (3, 3), (1, 1), (1, 1), (1, 1), 1),  # two tiles of rows, two of columns
    (2, 66, 5, 6, 24, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (1, 16, 8, 9, 33, (4, 4), (2, 2), (1, 1), (1, 1), 1),
    (2, 6, 12, 11, 10, (2, 3), (1, 2), (0, 1), (2, 1), 2),
]


@pytest.fixture(params=["highest", "high"])
def precision(request):
    ms.set_float32_matmul_precision(request.param)
    yield request.param
    ms.set_float32_matmul_precision("highest")


def run(gpu, name, given, options, algorithm="direct"):
    on = on_gpu(gpu, given)
    return getattr(backend.kernels_for(on[0]), name)(*on, **options, algorithm=algorithm).get()


def limit(name, given, options, precision):
    """Return how far results may be off: roundings of the sum, and with TF32 half a unit of 2^-10 for each factor."""
    rounding = bound(name, given, options)
    if precision == "highest":
        return rounding
    sizes = [abs(v) if isinstance(v, np.ndarray) else v for v in given]
    return rounding + 1.01 * 2**-10 * getattr(reference, name.removesuffix("_relu"))(*sizes, **options)


@pytest.mark.parametrize("geometry", [*GEOMETRY, *WIDE], ids=str)
@pytest.mark.parametrize("name", DIRECTIONS)
def test_the_numbers_are_those_of_the_reference(gpu, name, geometry, precision, rng):
    given, options = arguments(name, geometry, np.float32, rng)
    expected = getattr(reference, name)(*given, **options)
    found = run(gpu, name, given, options)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert (abs(found - expected) <= limit(name, given, options, precision)).all()


@pytest.mark.parametrize("name", DIRECTIONS)
def test_geometry_at_random(gpu, name, precision, rng):
    for _ in range(6):
        geometry = at_random(rng, room=9, channels=6, outputs=6)
        given, options = arguments(name, geometry, np.float32, rng)
        expected = getattr(reference, name)(*given, **options)
        off = abs(run(gpu, name, given, options) - expected)
        assert (off <= limit(name, given, options, precision)).all(), geometry


@pytest.mark.parametrize("name", DIRECTIONS)
def test_whole_numbers_are_exact(gpu, name, precision, rng):
    given, options = arguments(name, WIDE[2], np.float32, rng)
    given = tuple(np.rint(8 * v) if isinstance(v, np.ndarray) else v for v in given)
    expected = getattr(reference, name)(*given, **options)
    np.testing.assert_array_equal(run(gpu, name, given, options), expected)


def test_tf32_rounds_both_factors_and_float32_none(gpu):
    one = np.ones((1, 8, 8, 8), np.float32)
    weight = np.full((8, 8, 1, 1), 1 + 2**-12, np.float32)  # half a unit of TF32 would be 2^-11
    try:
        for name, wanted in (("highest", 8 + 2**-9), ("high", 8)):
            ms.set_float32_matmul_precision(name)
            assert (run(gpu, "conv2d", (one, weight), {}) == wanted).all()
    finally:
        ms.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("name", DIRECTIONS)
def test_the_same_bits_at_every_run(gpu, name, precision, rng):
    """The emulation runs threads in another order each time."""
    given, options = arguments(name, WIDE[0], np.float32, rng)
    np.testing.assert_array_equal(run(gpu, name, given, options), run(gpu, name, given, options))


def test_a_sum_over_many_pixels_is_made_of_slices(gpu, rng):
    given, options = arguments(
        "conv2d_grad_weight", (2, 3, 20, 20, 4, (1, 1), (1, 1), (0, 0), (1, 1), 1), np.float32, rng
    )
    found = run(gpu, "conv2d_grad_weight", given, options)
    expected = reference.conv2d_grad_weight(*given, **options)
    assert (abs(found - expected) <= bound("conv2d_grad_weight", given, options)).all()


def test_the_algorithm_that_was_asked_for_ran(gpu, rng):
    if not hasattr(cupy_stand_in, "LAUNCHED") or gpu is not cupy_stand_in.MODULE:
        pytest.skip("on a real GPU nobody writes down which kernels ran")
    for name in DIRECTIONS:
        plain = name.removesuffix("_relu")
        for geometry, algorithm, wanted in (
            (GEOMETRY[0], "direct", f"{plain}_gemm"),
            (GEOMETRY[0], "shifts", plain),
            (GEOMETRY[0], "auto", plain),
            (GEOMETRY[2], "auto", plain),  # depthwise
            ((1, 9, 9, 8, 9, (3, 3), (1, 1), (1, 1), (1, 1), 1), "auto", f"{plain}_gemm"),
        ):
            given, options = arguments(name, geometry, np.float32, rng)
            cupy_stand_in.LAUNCHED.clear()
            run(gpu, name, given, options, algorithm)
            assert cupy_stand_in.LAUNCHED[0] == wanted, (name, geometry, algorithm)
        given, options = arguments(name, GEOMETRY[0], np.float64, rng)
        with pytest.raises(ValueError, match=f'{name}: algorithm "direct" serves float32, got float64'):
            run(gpu, name, given, options)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r'precision must be "highest" \(float32\) or "high" \(TF32\), got .medium'):
        ms.set_float32_matmul_precision("medium")
    assert ms.get_float32_matmul_precision() == "highest"


def calls(rng):
    """Yield (kernel, arguments): two tiles of columns or rows, more steps than one, borders on all sides, strides, groups."""
    for channels, outputs, size, kernel, stride, padding, dilation, groups in (
        (8, 6, (5, 8), (3, 2), (2, 1), (1, 2), (1, 2), 2),
        (4, 3, (5, 8), (2, 3), (1, 2), (0, 1), (2, 1), 1),
        (66, 2, (3, 2), (1, 1), (1, 1), (0, 0), (1, 1), 1),
        (2, 66, (3, 2), (1, 1), (1, 1), (0, 0), (1, 1), 1),
    ):
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        shapes = (2, channels, *size), (outputs, channels // groups, *kernel), (outputs,)
        x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        yield "conv2d_relu", (x, w, b), options
        grad = rng.standard_normal(reference.conv2d(x, w, b, **options).shape).astype(np.float32)
        yield "conv2d_grad_input", (grad, w, size), options
        yield "conv2d_grad_weight", (grad, x, kernel), options


def unnoticed(precision, planted, mistakes, work, monkeypatch):
    """Return the mistakes that change nothing."""
    ms.set_float32_matmul_precision(precision)

    def noticed():
        for name, given, options, expected in work:
            try:
                found = run(cupy_stand_in.MODULE, name, given, options)
            except EmulationError as error:
                return str(error)
            if not np.allclose(found, expected, rtol=1e-2, atol=3e-2, equal_nan=True):
                return f"{name} gives other numbers"
        return None

    return mutants.survivors(lambda code: planted if "_gemm(" in code else code, mistakes, noticed, monkeypatch)


@pytest.mark.skipif(emulator.missing() is not None, reason=str(emulator.missing()))
def test_every_planted_mistake_is_noticed(monkeypatch, rng):
    """Of those in lines for tensor cores alone, or without them, by the one that has them."""
    source = (FOLDER / "convolution" / "cuda_gpu_gemm.cu").read_text(encoding="utf-8")
    instructions = (FOLDER / "cuda_gpu_instructions.cu").read_text(encoding="utf-8")
    planted, mistakes = mutants.plant(source)
    work = [(name, given, options, getattr(reference, name)(*given, **options)) for name, given, options in calls(rng)]
    alive = mistakes
    try:
        for precision in ("highest", "high"):
            with monkeypatch.context() as patched:
                alive = unnoticed(precision, instructions + planted, alive, work, patched)
    finally:
        ms.set_float32_matmul_precision("highest")
    lines = source.splitlines()
    kinds = [mistake.what for mistake in mistakes]
    assert kinds.count("no barrier") == source.count("__syncthreads();") == 3
    assert kinds.count("no wait") == source.count("copy_async_wait<") == 1
    told = [f"line {m.line}: {lines[m.line - 1].strip()}   <- {m.what}" for m in alive]
    assert not told, "\n".join([f"{len(told)} of {len(mistakes)} mistakes went unnoticed", *told])
