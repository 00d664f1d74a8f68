"""Algorithms by name: each computes what it should, it is that one which ran, and what it cannot compute is an error.

Bounds on errors are those of ``test_convolution_kernels``: derived from what rounding allows.
"""

import functools
import inspect
import re
import threading

import naive
import numpy as np
import pytest
from kernel_checks import assert_identical, run_python
from test_convolution_kernels import DIRECTIONS, Case

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import nn
from minisegnet.kernels.contract import ALGORITHMS, KERNELS
from minisegnet.kernels.convolution import numba_cpu, reference, reference_winograd

f32 = {"dtype": np.float32}
ANY = {
    "16 channels, 3x3": Case((2, 16, 9, 10), (17, 16, 3, 3), padding=(1, 1), **f32),
    "80 channels, 3x3": Case((1, 80, 7, 5), (65, 80, 3, 3), padding=(2, 0), **f32),
    "one pixel": Case((2, 33, 1, 1), (40, 33, 3, 3), padding=(1, 1), **f32),
    "one pixel, 1x1": Case((1, 64, 1, 1), (20, 64, 1, 1), **f32),
    "1x1": Case((2, 67, 6, 5), (2, 67, 1, 1), **f32),
    "an image, 5x5": Case((1, 3, 11, 14), (24, 3, 5, 5), padding=(2, 2), **f32),
    "7x7, stride 2": Case((1, 21, 17, 16), (18, 21, 7, 7), (2, 2), (3, 3), **f32),
    "2x2, stride 2": Case((2, 48, 8, 6), (23, 48, 2, 2), (2, 2), **f32),
    "4x3, stride 3 and 2": Case((1, 17, 14, 12), (33, 17, 4, 3), (3, 2), (1, 2), extra=(1, 0), **f32),
    "dilated": Case((1, 20, 13, 12), (19, 20, 3, 3), padding=(4, 2), dilation=(4, 2), **f32),
    "groups": Case((2, 34, 6, 7), (40, 17, 3, 3), padding=(1, 1), groups=2, **f32),
}
CASES = {
    "direct": ANY,
    "shifts": ANY | {"doubles": Case((2, 18, 7, 6), (17, 18, 3, 3), padding=(1, 1))},
    "winograd": {
        "16 channels": ANY["16 channels, 3x3"],
        "80 channels": ANY["80 channels, 3x3"],
        "one pixel": ANY["one pixel"],
        "last tiles of one pixel": Case((2, 40, 9, 5), (24, 40, 3, 3), padding=(1, 1), **f32),
        "wide padding": Case((1, 20, 3, 17), (31, 20, 3, 3), padding=(3, 4), **f32),
        "few channels": Case((1, 1, 12, 6), (2, 1, 3, 3), **f32),
        "dilated": ANY["dilated"],
        "2x2, stride 2": ANY["2x2, stride 2"],
        "4x3, stride 3 and 2": ANY["4x3, stride 3 and 2"],
        "3x3, stride 2": Case((2, 20, 19, 33), (33, 20, 3, 3), (2, 2), (1, 1), **f32),
        "4x4, stride 2": Case((1, 33, 24, 18), (17, 33, 4, 4), (2, 2), (1, 1), **f32),
        "5x5, stride 2": Case((1, 24, 21, 14), (40, 24, 5, 5), (2, 2), (2, 2), **f32),
        "dilated, phases of one pixel": Case((1, 17, 5, 8), (33, 17, 3, 3), padding=(8, 8), dilation=(8, 8), **f32),
    },
    "depthwise": {
        "16 channels": Case((2, 16, 9, 7), (16, 1, 3, 3), padding=(1, 1), groups=16, **f32),
        "67 channels, strided": Case((1, 67, 8, 11), (67, 1, 3, 3), (2, 1), (1, 0), groups=67, **f32),
        "two filters a channel, dilated": Case((1, 17, 9, 8), (34, 1, 3, 3), (1, 1), (2, 2), (2, 2), 17, **f32),
        "one pixel": Case((2, 33, 1, 1), (33, 1, 3, 3), padding=(1, 1), groups=33, **f32),
        "doubles": Case((2, 20, 5, 6), (20, 1, 3, 2), groups=20),
    },
}
PAIRS = [(name, label) for name in CASES for label in CASES[name]]


def by_name(name, module=numba_cpu):
    """Return the kernels, each told to use this algorithm."""
    return {direction: functools.partial(getattr(module, direction), algorithm=name) for direction in DIRECTIONS}


@pytest.fixture
def ran(monkeypatch):
    """Return the list of (direction, algorithm) that compiled kernels run from now on."""
    seen = []
    for direction in (*DIRECTIONS, "conv2d_relu"):

        def spy(name, function, direction=direction):
            return lambda *a, **k: seen.append((direction, name)) or function(*a, **k)

        spies = {name: spy(name, function) for name, function in numba_cpu.ALGORITHMS[direction].items()}
        monkeypatch.setitem(numba_cpu.ALGORITHMS, direction, spies)
    return seen


@pytest.mark.parametrize(("name", "label"), PAIRS)
def test_each_algorithm_by_name(name, label, ran):
    case = CASES[name][label]
    for direction in DIRECTIONS:
        case.check(by_name(name), direction, winograd=name == "winograd")
    assert ran == [(direction, name) for direction in DIRECTIONS]


@pytest.mark.parametrize("name", CASES)
def test_convolution_and_relu_take_the_name_too(name, ran):
    for label, case in list(CASES[name].items())[:3]:
        options = case.options | {"algorithm": name}
        output = numba_cpu.conv2d(case.input, case.weight, case.bias, **options)
        fused = numba_cpu.conv2d_relu(case.input, case.weight, case.bias, **options)
        np.testing.assert_array_equal(fused, np.maximum(output, 0), err_msg=label)
    assert {algorithm for _, algorithm in ran} == {name}


def everything():
    """Check one case of each algorithm, in all directions, from three Python threads at once; for fresh processes."""
    first = {name: CASES[name][label] for name, label in reversed(PAIRS)}
    failures = []

    def work(name):
        try:
            for _ in range(3):
                for direction in DIRECTIONS:
                    first[name].check(by_name(name), direction, winograd=name == "winograd")
        except BaseException as error:
            failures.append(f"{name}: {error!r}")

    workers = [threading.Thread(target=work, args=(name,)) for name in first]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures


@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_all_algorithms_at_once_under_every_threading_layer(layer):
    module = {"omp": "omppool", "tbb": "tbbpool"}.get(layer, layer)
    pytest.importorskip(f"numba.np.ufunc.{module}", exc_type=ImportError)
    code = "import numba, test_algorithms as t\nt.everything()\nassert numba.threading_layer() == {!r}"
    run_python(code.format(layer), NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2")


def small():
    """Check every algorithm on arrays that plain Python can compute."""
    tiny = Case((1, 2, 5, 4), (3, 2, 3, 3), padding=(1, 1), **f32)
    apart = Case((1, 2, 5, 6), (1, 2, 3, 3), padding=(2, 2), dilation=(2, 2), **f32)
    depthwise = Case((1, 2, 4, 4), (2, 1, 3, 3), (2, 1), (1, 1), groups=2, **f32)
    strided = Case((1, 2, 6, 5), (2, 2, 4, 3), (2, 2), (1, 1), **f32)
    for name, cases in {"direct": (tiny, apart), "shifts": (tiny, apart), "winograd": (tiny, apart, strided)}.items():
        for case in cases:
            for direction in DIRECTIONS:
                case.check(by_name(name), direction, winograd=name == "winograd")
    for direction in DIRECTIONS:
        depthwise.check(by_name("depthwise"), direction)


def test_without_the_compiler():
    run_python("import numba, test_algorithms as t\nassert numba.config.DISABLE_JIT\nt.small()", NUMBA_DISABLE_JIT="1")


REFUSED = [  # algorithm, case, what the message says
    ("winograd", Case((1, 2, 6, 6), (3, 2, 5, 5), **f32), "needs a 3x3 kernel.*this is float32 with a 5x5 kernel"),
    ("winograd", Case((1, 2, 9, 6), (3, 2, 6, 3), (2, 1), **f32), r"at most 2 stride \+ 1 taps.*stride \(2, 1\)"),
    ("winograd", Case((1, 2, 9, 6), (3, 2, 3, 3), (2, 2), dilation=(2, 1), **f32), r"dilation \(2, 1\)"),
    ("winograd", Case((1, 2, 6, 6), (2, 1, 3, 3), groups=2, **f32), "groups=2"),
    ("winograd", Case((1, 2, 6, 6), (3, 2, 3, 3)), "this is float64"),
    ("depthwise", Case((1, 4, 6, 6), (4, 2, 3, 3), groups=2, **f32), "one channel each.* on 2 of 4 channels"),
    ("direct", Case((1, 2, 6, 6), (3, 2, 3, 3)), 'float32; "shifts" sums float64'),
    (
        "Winograd",
        Case((1, 2, 6, 6), (3, 2, 3, 3), **f32),
        "one of auto, direct, winograd, shifts, depthwise, got 'Wino",
    ),
]


@pytest.mark.parametrize(("name", "case", "message"), REFUSED)
def test_what_an_algorithm_cannot_compute_is_an_error(name, case, message):
    for direction in DIRECTIONS:
        with pytest.raises(ValueError, match=message):
            case.call(by_name(name), direction)


@pytest.mark.parametrize("name", CASES)
def test_names_that_serve_one_direction_serve_all(name):
    """A network that went forward comes back."""
    for case in CASES[name].values():
        options = case.options
        assert numba_cpu.fits(
            *(name, case.input.dtype, case.weight.shape, options["stride"], options["dilation"], options["groups"])
        )


DOUBLES = {
    "tiles and a rest": Case((2, 3, 9, 6), (4, 3, 3, 3), padding=(1, 0)),
    "one pixel": Case((1, 2, 1, 1), (3, 2, 3, 3), padding=(1, 1)),
    "wide padding": Case((1, 2, 3, 7), (2, 2, 3, 3), padding=(4, 3)),
    "dilated": Case((2, 2, 8, 11), (3, 2, 3, 3), padding=(2, 3), dilation=(2, 3)),
    "phases without a pixel": Case((1, 2, 2, 3), (2, 2, 3, 3), padding=(5, 5), dilation=(5, 5)),
    "strided": Case((2, 3, 12, 9), (4, 3, 4, 3), (2, 2), (1, 1)),
    "strided, rows that nobody reads": Case((1, 2, 13, 12), (3, 2, 5, 2), (2, 3), (2, 0), extra=(0, 1)),
    "no images": Case((0, 2, 5, 4), (3, 2, 3, 3), padding=(1, 1)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("label", DOUBLES)
def test_winograd_to_be_read(label, dtype, monkeypatch):
    """NumPy's Winograd is held against plain loops; with absolute values everywhere, it computes its own bound."""
    case, magnitudes = DOUBLES[label].as_type(dtype), {}
    with monkeypatch.context() as patch:
        for matrix in ("INPUT", "FILTER", "OUTPUT"):
            patch.setattr(reference_winograd, matrix, abs(getattr(reference_winograd, matrix)))
        for direction in DIRECTIONS:
            magnitudes[direction] = case.call(by_name("winograd", reference), direction, absolute=True)
    for direction in DIRECTIONS:
        result = case.call(by_name("winograd", reference), direction)
        expected = case.as_type(np.float64).call(naive, direction)
        terms = case.grad_output[:, 0].size + max(case.weight.shape[:2]) + 64
        assert result.dtype == dtype
        assert result.shape == expected.shape
        assert (abs(result - expected) <= terms * np.finfo(dtype).eps * magnitudes[direction] + 1e-300).all()


def test_the_reference_takes_other_names_for_plain_sums_and_winograd_for_winograd():
    case = DOUBLES["tiles and a rest"]
    for direction in DIRECTIONS:
        plain = case.call(reference, direction)
        for name in ("auto", "direct", "shifts", "depthwise"):
            assert_identical(case.call(by_name(name, reference), direction), plain)
        assert (case.call(by_name("winograd", reference), direction) != plain).any()
        with pytest.raises(ValueError, match="one of auto, direct"):
            case.call(by_name("fft", reference), direction)
    for case in (Case((1, 2, 6, 6), (3, 2, 2, 3)), Case((1, 2, 9, 6), (3, 2, 6, 3), (2, 1))):
        for direction in DIRECTIONS:
            with pytest.raises(ValueError, match=r"needs a 3x3 kernel and stride 1 .*groups 1"):
                case.call(by_name("winograd", reference), direction)


@pytest.mark.parametrize("name", ["direct", "winograd", "shifts"])
def test_layers_use_it_forward_and_backward(name, ran):
    x = ms.Tensor(np.random.default_rng(0).normal(size=(1, 4, 6, 6)).astype(np.float32), requires_grad=True)
    with ms.use_backend("numba"):
        nn.Conv2d(4, 6, 3, padding=1, algorithm=name)(x).sum().backward()
        nn.ConvTranspose2d(4, 6, 3, padding=1, algorithm=name)(x).sum().backward()
        nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, algorithm=name), nn.ReLU())(x).sum().backward()
    assert {algorithm for _, algorithm in ran} == {name}
    assert len(ran) >= 9


def test_a_layer_shows_it_where_it_was_chosen_and_saves_nothing_of_it():
    for layer in (nn.Conv2d, nn.ConvTranspose2d):
        assert "algorithm" not in repr(layer(2, 3, 3))
        chosen = layer(2, 3, 3, algorithm="winograd")
        assert "algorithm='winograd'" in repr(chosen)
        assert list(chosen.state_dict()) == ["weight", "bias"]
        with pytest.raises(ValueError, match=re.escape("got 'fast'")):
            layer(2, 3, 3, algorithm="fast")
    for function in (F.conv2d, F.conv_transpose2d):
        with pytest.raises(ValueError, match="algorithm must be one of"):
            function(np.ones((1, 2, 5, 5), np.float32), np.ones((2, 2, 3, 3), np.float32), algorithm="fast")


def test_a_function_of_ones_own_need_not_know_of_it():
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)

    def mine(input, weight, bias=None):
        return reference.conv2d(input, weight, bias)

    with ms.use_kernels(conv2d=mine):
        F.conv2d(x, w)
        with pytest.raises(
            TypeError, match="no parameter 'algorithm', but a layer of this network uses algorithm='direct'"
        ):
            F.conv2d(x, w, algorithm="direct")


def test_every_name_is_an_algorithm_and_the_last_parameter():
    assert set(ALGORITHMS) == {"auto", *numba_cpu.MODULES}
    for name in (*DIRECTIONS, "conv2d_relu"):
        assert list(KERNELS[name].signature.parameters)[-1] == "algorithm"
    for function in (F.conv2d, F.conv_transpose2d, nn.Conv2d.__init__, nn.ConvTranspose2d.__init__):
        assert list(inspect.signature(function).parameters)[-1] == "algorithm"
