"""Where a convolution by direct sums reads and writes: its phases, the jumps in memory, and how the work is divided.

The idea is told in ``numba_cpu_direct.py``. Here is its arithmetic, on sizes alone. Plans are kept: a network asks for few of
them, and making one takes longer than a small convolution.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ...shapes import Size
from .numba_cpu_tile import COLUMNS, LANES

PIXELS = 96  # about how many output pixels share one reading of the weights
DEPTH = 256  # about how many products follow one another: so much of the weights stays in the first-level cache
BAND = 2**16  # bytes of an image that a copied band has, or of its results: they stay in the second-level cache
TASKS = 16  # at least so many pieces of work, where there are enough
Places = list[tuple[int, int]]  # (place under the kernel, offset in the image) along one axis


class Phase(NamedTuple):
    """Output pixels (y0 + step m, x0 + step q), m and q counting from 0 to ``size``, and the places they read."""

    start: Size
    size: Size
    rows: Places
    columns: Places


class Weights(NamedTuple):
    """Where the numbers of a weight lie in memory."""

    groups: int
    columns: np.ndarray  # for each output channel of a group, where its numbers begin
    channel_step: int  # from one input channel to the next
    group_step: int


class Plan(NamedTuple):
    """What the loops need to know: all of it numbers, made once for a geometry."""

    weights: Weights
    padded: int  # output channels of a group, rounded up to what register blocks write
    places: np.ndarray  # under the kernel, of all phases one after the other
    jumps: np.ndarray  # from the first number that a pixel reads to where a run of numbers begins
    table: np.ndarray  # (phases, 9): y0, x0, rows, columns, first run, runs, their length, first place, places
    image: tuple[int, ...]  # the images' shape, and the results', as the loops see them
    result: tuple[int, ...]
    read: Size  # from one pixel of a phase to the next, in the image
    write: Size  # and in the result
    corner: Size  # where the first pixel begins to read
    around: Size  # if bands are copied with zeros around: the rows that a pixel reads, and the columns that a row reads
    amount: Size  # rows and columns of a band
    size: Size  # of the largest phase
    parts: int  # so many pieces of work share the output channels of a band
    holes: bool  # pixels that no kernel meets, between stamps that are further apart than they are wide


@functools.lru_cache(maxsize=256)
def plan_forward(
    input: tuple[int, ...],
    weight: tuple[int, ...],
    size: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    planes: bool = False,
) -> Plan:
    """Plan ``conv2d`` for arrays of these shapes and an output of this size; ``planes``: of images in ordinary memory."""
    outputs, channels, height, width = weight
    rows, columns = (
        [(k, k * dilation[axis] - padding[axis]) for k in range(n)] for axis, n in enumerate((height, width))
    )
    taps = height * width
    starts = np.arange(outputs // groups) * (channels * taps)
    weights = Weights(groups, starts, taps, outputs // groups * channels * taps)
    result = (input[0], *size, outputs)
    return _plan([Phase((0, 0), size, rows, columns)], _last(input), weights, width, stride, (1, 1), result, planes)


@functools.lru_cache(maxsize=256)
def plan_backward(
    grad_output: tuple[int, ...],
    weight: tuple[int, ...],
    size: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
    planes: bool = False,
) -> Plan:
    """Plan ``conv2d_grad_input`` for arrays of these shapes and an input of this size; ``planes`` as in ``plan_forward``."""
    outputs, channels, height, width = weight

    def along(axis: int, kernel: int) -> list[tuple[int, int, Places]]:
        """Input pixel y + s m was read by output pixel m + (y + p - d k) / s at place k, where that is whole."""
        n, s, p, d = size[axis], stride[axis], padding[axis], dilation[axis]
        here = [
            [(k, (y + p - d * k) // s) for k in range(kernel) if (y + p - d * k) % s == 0] for y in range(min(s, n))
        ]
        return [(y, -(-(n - y) // s), sorted(at, key=lambda pair: pair[1])) for y, at in enumerate(here)]

    rows, columns = along(0, height), along(1, width)
    taps, result, write = height * width, (grad_output[0], *size, channels * groups), stride
    starts, first = np.arange(channels) * taps, columns[0][2] if columns else []
    alike = all([m for _, m in at] == [m for _, m in first] for _, _, at in columns)
    if first and alike and groups == 1 and 1 < stride[1] == len(columns) and size[1] % stride[1] == 0:
        # neighbours along the width read the same pixels (any 2x2 up-convolution): as many more channels of one wide pixel
        starts = np.concatenate([starts + at[0][0] - first[0][0] for _, _, at in columns])
        result, write = (result[0], size[0], size[1] // stride[1], len(starts)), (stride[0], 1)
        columns = columns[:1]
    phases = [Phase((y, x), (m, q), ys, xs) for y, m, ys in rows for x, q, xs in columns]
    weights = Weights(groups, starts, channels * taps, outputs // groups * channels * taps)
    return _plan(phases, _last(grad_output), weights, width, (1, 1), write, result, planes)


def _last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in channels-last order."""
    return shape[0], shape[2], shape[3], shape[1]


def _plan(
    phases: list[Phase],
    image: tuple[int, ...],
    weights: Weights,
    kernel_width: int,
    read: Size,
    write: Size,
    result: tuple[int, ...],
    planes: bool,
) -> Plan:
    """Return the plan for all phases with pixels to be computed; shapes are channels-last. Bands of ``planes`` are copied."""
    working = [p for p in phases if p.rows and p.columns and min(p.size) > 0]
    holes = len(working) < len(phases)
    nothing = np.zeros(0, np.int64)
    outputs, tail = len(weights.columns), (len(weights.columns) - 1) % COLUMNS + 1
    padded = outputs - tail + (LANES if tail <= LANES else COLUMNS)
    if not working or 0 in image + result:
        none = (0, 0)
        return Plan(
            weights, padded, nothing, nothing, np.zeros((0, 9), np.int64), image, result,
            read, write, none, none, none, none, 1, holes,
        )  # fmt: skip
    images, height, width, total = image
    channels = total // weights.groups
    offsets = [[np.array([m for _, m in axis]) for axis in (p.rows, p.columns)] for p in working]
    low, high = ([int(f([f(o[axis]) for o in offsets])) for axis in (0, 1)] for f in (np.min, np.max))
    size = max(p.size[0] for p in working), max(p.size[1] for p in working)
    reach = [b - a + 1 for a, b in zip(low, high, strict=True)]  # what one pixel of all phases reads
    spans = [(n - 1) * r + k for n, r, k in zip(size, read, reach, strict=True)]  # what all of them read
    inside = not planes and min(low) >= 0 and low[0] + spans[0] <= height and low[1] + spans[1] <= width
    row = width if inside else spans[1]

    places: list[int] = []
    jumps: list[int] = []
    table: list[list[int]] = []
    for p, (ys, xs) in zip(working, offsets, strict=True):
        here = [ky * kernel_width + kx for ky, _ in p.rows for kx, _ in p.columns]
        down, across, depth = (ys - low[0]) * row * total, (xs - low[1]) * total, channels
        if weights.groups == 1 and total < 64 and (np.diff(xs) == 1).all():
            across, depth = across[:1], len(xs) * total  # neighbours in memory: one long run
        elif depth > DEPTH and depth % DEPTH == 0:
            across, depth = (across[:, None] + np.arange(0, depth, DEPTH)).reshape(-1), DEPTH
        runs = (down[:, None] + across).reshape(-1).tolist()
        table.append([*p.start, *p.size, len(jumps), len(runs), depth, len(places), len(here)])
        places += here
        jumps += runs

    if len(places) == 1 and read == write == (1, 1) and inside and (height, width) == size == result[1:3]:
        pixels = images * height * width  # all pixels of all images are one long row
        image, result, size = (1, 1, pixels, total), (1, 1, pixels, result[3]), (1, pixels)
        table[0][2:4] = size
    amount = max(1, PIXELS // size[1]), size[1]
    if size[0] == 1 and inside:
        amount = 1, PIXELS
    elif not inside:  # a band is copied, and the rows around it with it: it had better be high
        fitting = BAND // (4 * max(read[0] * row * total, write[0] * result[2] * result[3]))
        amount = max(reach[0], PIXELS // size[1], min(fitting, images * size[0] // TASKS)), size[1]
    jobs = image[0] * -(-size[0] // amount[0]) * -(-size[1] // amount[1])
    panels = len(table) * weights.groups * -(-outputs // COLUMNS)
    parts = 1 if jobs >= TASKS else min(panels, -(-TASKS // max(jobs, 1)))
    around = (0, 0) if inside else (reach[0], spans[1])
    return Plan(
        weights, padded, np.array(places, np.int64), np.array(jumps, np.int64), np.array(table, np.int64), image, result,
        read, write, (low[0], low[1]), around, amount, size, parts, holes,
    )  # fmt: skip
