"""A test of the tests: every check, loop end, barrier and size in the .cu files is broken in turn, and it must be noticed."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from gpu import cupy_stand_in, emulator, mutants
from gpu.emulator import EmulationError

from minisegnet import backend
from minisegnet.kernels.contract import KERNELS
from minisegnet.kernels.optimizer.steps import adam_constants, sgd_constants

pytestmark = pytest.mark.skipif(emulator.missing() is not None, reason=str(emulator.missing()))

FOLDER = Path(__file__).resolve().parents[2] / "minisegnet" / "kernels"
SURVIVE = {  # what changes no result, by the text of its line and what was done to it
    (
        "pooling",
        "if (written_in_windows(strays, windows, row / out_height)) return;",
        "no check",
    ): "bounds nobody reads",
    (
        "pooling",
        "if (place < 0 || place >= size) continue;",
        "no check",
    ): "wider bounds: more rows are read, for nothing",
    ("pooling", "if (bounds[2 * row + 1] < first || bounds[2 * row] >= stop) continue;", "no check"): "as before",
}


def reference_of(name):
    if name not in KERNELS:
        return steps_of("numba_cpu", name)
    return getattr(importlib.import_module(f"minisegnet.kernels.{KERNELS[name].family}.reference"), name)


def steps_of(place, name):
    """Return an optimizer's step that gives back the arrays which it changes."""

    def step(*arrays_and_constants):
        *arrays, constants = arrays_and_constants
        changed = tuple(a.copy() for a in arrays)
        importlib.import_module(f"minisegnet.kernels.optimizer.{place}").step(name, changed, constants)
        return changed

    return step


def calls(family, rng):
    """Yield (kernel, arguments) that lead to every line of a family's kernels."""
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    if family == "convolution":
        for groups, kernel, stride, padding, dilation in (
            (2, (3, 2), (2, 1), (1, 2), (1, 2)),
            (1, (2, 3), (1, 2), (0, 1), (2, 1)),
            (1, (3, 2), (2, 1), (1, 0), (1, 1)),
        ):
            place = stride, padding, dilation, groups
            x, w, b = normal(2, 2 * groups, 5, 7), normal(3 * groups, 2, *kernel), normal(3 * groups)
            yield "conv2d", (x, w, b, *place)
            yield "conv2d_relu", (x, w, b, *place)
            grad = normal(*reference_of("conv2d")(x, w, b, *place).shape)
            yield "conv2d_grad_input", (grad, w, (5, 7), *place)
            yield "conv2d_grad_weight", (grad, x, kernel, *place)
    elif family == "pooling":
        x = rng.integers(-3, 3, (2, 2, 7, 5)).astype(np.float32)
        x[0, 0, 3, 2] = np.nan
        x[0, 1, 2:4] = -np.inf
        for place in (
            ((3, 2), (2, 1), (1, 0), (1, 2)),
            ((2, 3), (1, 2), (1, 1), (2, 1)),
            ((2, 2), (5, 4), (1, 1), (8, 6)),
        ):
            yield "max_pool2d", (x, *place)
        for plane, (oh, ow) in (((6, 8), (3, 4)), ((5, 3), (4, 2))):
            indices = rng.integers(-3, plane[0] * plane[1] + 4, (2, 2, oh, ow))
            if plane == (6, 8):
                own = (16 * np.arange(3)[:, None] + 2 * np.arange(4)) + np.array([0, 1, 8, 9])[
                    rng.integers(0, 4, (3, 4))
                ]
                indices[0] = own
            for accumulate in (True, False):
                yield "scatter_to_plane", (normal(2, 2, oh, ow), indices, plane, accumulate)
            yield "gather_from_plane", (normal(2, 2, *plane), indices)
    elif family == "resampling":
        for size, to in (((3, 5), (7, 4)), ((4, 2), (3, 9))):
            yield "resize_bilinear", (normal(2, 2, *size), to)
            yield "resize_bilinear_grad", (normal(2, 2, *to), size)
    elif family == "normalization":
        for shape in ((2, 3, 5, 4), (3, 2, 13, 11)):
            x, w, b = normal(*shape), normal(shape[1]), normal(shape[1])
            yield "batch_norm", (x, w, b)
            yield "batch_norm_relu", (x, w, b)
            mean, variance = x.mean((0, 2, 3), np.float64), x.var((0, 2, 3), np.float64)
            yield "batch_norm_relu_grad", (normal(*shape), x, w, b, mean, variance)
    elif family == "optimizer":
        data, grad, mean, square = normal(4, 7), normal(4, 7), normal(4, 7), normal(4, 7) ** 2
        for decoupled in (True, False):
            yield (
                "adam",
                (data, grad, mean, square, adam_constants(data.dtype, 3, 0.1, (0.8, 0.9), 1e-3, 0.2, decoupled)),
            )
        for momentum, nesterov in ((0.0, False), (0.9, False), (0.9, True)):
            yield "sgd", (data, grad, mean, sgd_constants(data.dtype, 0.1, momentum, 0.6, 0.2, nesterov))
    else:
        logits, target = normal(2, 3, 7) * [1, 1, 1, 1, 1, 1, 1000], rng.integers(0, 3, (2, 7))
        logits, weight = logits.astype(np.float32), np.array([[0, 1, 1, 2, 0, 1, 1]] * 2, np.float32)
        yield "softmax_cross_entropy", (logits, target, weight)
        _, log_sum_exp = reference_of("softmax_cross_entropy")(logits, target, weight)
        yield "softmax_cross_entropy_grad", (normal(2, 7), logits, target, weight, log_sum_exp)


def noticed(work):
    """Return what is wrong with a family's kernels, or nothing."""
    for name, given, expected in work:
        on = tuple(cupy_stand_in.asarray(v) if isinstance(v, np.ndarray) else v for v in given)
        try:
            seat = getattr(backend.kernels_for(on[0]), name) if name in KERNELS else steps_of("cuda_gpu", name)
            found = seat(*on)
        except EmulationError as error:
            return str(error)
        for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (found, expected)), strict=True):
            if not np.allclose(a.get(), b, rtol=1e-4, atol=1e-4, equal_nan=True):
                return f"{name} gives other numbers"
    return None


@pytest.mark.parametrize("family", ["convolution", "pooling", "resampling", "normalization", "loss", "optimizer"])
def test_every_planted_mistake_is_noticed(family, monkeypatch, rng):
    source = (FOLDER / family / "cuda_gpu.cu").read_text(encoding="utf-8")
    planted, mistakes = mutants.plant(source)
    work = []
    for name, given in calls(family, rng):
        work.append((name, given, reference_of(name)(*given)))
    lines = source.splitlines()
    alive = [
        f"line {m.line}: {lines[m.line - 1].strip()}   <- {m.what}"
        for m in mutants.survivors(lambda code: planted, mistakes, lambda: noticed(work), monkeypatch)
        if (family, lines[m.line - 1].strip(), m.what) not in SURVIVE
    ]
    assert not alive, "\n".join([f"{len(alive)} of {len(mistakes)} mistakes went unnoticed", *alive])
    kinds = {k: len(list(v)) for k, v in itertools.groupby(sorted(m.what.split(" ")[0] for m in mistakes))}
    assert source.count("__syncthreads") == kinds.get("no", 0) - source.count("if (")
    assert len(mistakes) >= (3 if family == "optimizer" else 14)
