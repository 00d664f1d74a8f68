"""The CUDA convolutions against the reference, over geometry at random and at the edges; emulated where there is no GPU."""

import numpy as np
import pytest

from minisegnet import backend
from minisegnet.kernels.convolution import reference
from minisegnet.shapes import conv_output_size

DIRECTIONS = ("conv2d", "conv2d_relu", "conv2d_grad_input", "conv2d_grad_weight")
GEOMETRY = [  # N, C, H, W, O, kernel, stride, padding, dilation, groups
    (2, 3, 5, 7, 4, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 4, 6, 5, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2),
    (1, 6, 9, 8, 6, (3, 3), (2, 3), (2, 3), (2, 1), 6),
    (2, 5, 1, 1, 3, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (1, 2, 3, 3, 2, (3, 3), (1, 1), (4, 5), (3, 2), 1),  # more padding than image
    (1, 1, 1, 9, 1, (1, 4), (1, 5), (0, 2), (1, 1), 1),
    (3, 2, 8, 3, 17, (2, 2), (2, 2), (0, 0), (1, 1), 1),
    (0, 3, 5, 5, 2, (3, 3), (1, 1), (1, 1), (1, 1), 1),  # no images
    (2, 33, 4, 3, 5, (3, 3), (1, 1), (1, 1), (1, 1), 1),
]


def at_random(rng, room, channels, outputs):
    """Return a geometry: fewer than ``room`` pixels more than a kernel needs, fewer channels and outputs a group than said."""
    groups = int(rng.integers(1, 4))
    kernel, stride, dilation = (tuple(map(int, rng.integers(1, 4, 2))) for _ in range(3))
    padding = tuple(map(int, rng.integers(0, 3, 2)))
    h, w = ((k - 1) * d + 1 + int(rng.integers(0, room)) for k, d in zip(kernel, dilation, strict=True))
    n, c, o = int(rng.integers(1, 3)), groups * int(rng.integers(1, channels)), groups * int(rng.integers(1, outputs))
    return n, c, h, w, o, kernel, stride, padding, dilation, groups


def arguments(name, geometry, dtype, rng):
    """Return what a kernel takes, as NumPy arrays, positional and by name."""
    n, c, h, w, o, kernel, stride, padding, dilation, groups = geometry
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    size = conv_output_size((h, w), kernel, stride, padding, dilation)
    input = rng.standard_normal((n, c, h, w)).astype(dtype)
    weight = rng.standard_normal((o, c // groups, *kernel)).astype(dtype)
    grad = rng.standard_normal((n, o, *size)).astype(dtype)
    if name == "conv2d_grad_input":
        return (grad, weight, (h, w)), options
    if name == "conv2d_grad_weight":
        return (grad, input, kernel), options
    return (input, weight, rng.standard_normal(o).astype(dtype)), options


def on_gpu(gpu, values):
    return tuple(gpu.asarray(v) if isinstance(v, np.ndarray) else v for v in values)


def bound(name, given, options):
    """Return how far sums of products in this type may be off, number by number."""
    name = name.removesuffix("_relu")
    sizes = [abs(v) if isinstance(v, np.ndarray) else v for v in given]
    terms = getattr(reference, name)(*(np.ones_like(v) if isinstance(v, np.ndarray) else v for v in given), **options)
    return (terms + 2) * np.finfo(given[0].dtype).eps * getattr(reference, name)(*sizes, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
@pytest.mark.parametrize("name", DIRECTIONS)
def test_the_numbers_are_those_of_the_reference(gpu, name, geometry, dtype, rng):
    given, options = arguments(name, geometry, dtype, rng)
    expected = getattr(reference, name)(*given, **options)
    on = on_gpu(gpu, given)
    found = getattr(backend.kernels_for(on[0]), name)(*on, **options)
    assert isinstance(found, gpu.ndarray)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    assert (abs(found.get() - expected) <= bound(name, given, options)).all()


@pytest.mark.parametrize("name", DIRECTIONS)
def test_geometry_at_random(gpu, name, rng):
    for _ in range(20):
        geometry = at_random(rng, room=5, channels=3, outputs=4)
        given, options = arguments(name, geometry, np.float32, rng)
        on = on_gpu(gpu, given)
        found = getattr(backend.kernels_for(on[0]), name)(*on, **options).get()
        expected = getattr(reference, name)(*given, **options)
        assert (abs(found - expected) <= bound(name, given, options)).all(), geometry


def test_strides_without_bias_and_a_nan(gpu, rng):
    input = rng.standard_normal((2, 6, 5, 4)).astype(np.float32).transpose(0, 3, 1, 2)[:, ::2]
    weight = rng.standard_normal((3, 2, 3, 3)).astype(np.float32)
    on = gpu.asarray(rng.standard_normal((2, 6, 5, 4)).astype(np.float32))
    on[...] = gpu.asarray(np.ascontiguousarray(input.transpose(0, 2, 3, 1))[..., [0, 1, 0, 1]])
    strided = on.transpose(0, 3, 1, 2)[:, :2]
    assert not strided.flags.c_contiguous
    kernels = backend.kernels_for(strided)
    found = kernels.conv2d(strided, gpu.asarray(weight), padding=(1, 1)).get()
    np.testing.assert_allclose(found, reference.conv2d(input, weight, padding=(1, 1)), rtol=1e-4, atol=1e-4)
    nan = gpu.asarray(np.full((1, 2, 3, 3), np.nan, np.float32))
    assert np.isnan(kernels.conv2d_relu(nan, gpu.asarray(weight)).get()).all()


@pytest.mark.parametrize("name", DIRECTIONS)
def test_what_only_the_cpu_can_do_is_refused(gpu, name, rng):
    given, options = arguments(name, GEOMETRY[0], np.float32, rng)
    kernel = getattr(backend.kernels_for(gpu.asarray(given[0])), name)
    with pytest.raises(
        ValueError, match=f'{name}: on a GPU, algorithm must be "auto", "direct" or "shifts", got .winograd'
    ):
        kernel(*on_gpu(gpu, given), **options, algorithm="winograd")
    with pytest.raises(ValueError, match="algorithm must be one of"):
        kernel(*on_gpu(gpu, given), **options, algorithm="fft")
