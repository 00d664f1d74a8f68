"""Which products a strided convolution takes by Winograd's way: phases, their taps, and the points where these are not zero.

The idea is told in ``numba_cpu_winograd_strided.py``. Here is its arithmetic, on sizes alone; plans are kept.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np

from ...shapes import Size
from .numba_cpu_winograd_tiles import FILTER

TILES = 256  # below which the weights' transforms are too large a part
ENOUGH, ENOUGH_FOR_SUMS = 1.5, 2.0  # products saved from which on tiles pay; sums over tiles pass the third cache
WRITE, ADD, ZERO = 0, 1, 2  # what becomes of a product: it is written, added, or there is none


class Axis(NamedTuple):
    """One axis of a strided kernel: the pixel where tiles begin to read, and the taps of each phase.

    ``kind``: 6 if all three taps are used; 5 if only the first two are, 4 if only the last two: the tile begins a pixel later.
    """

    begin: int
    kind: int
    taps: tuple[tuple[int, int, int], ...]  # by phase: the place under the kernel of taps 0, 1, 2; -1: none


class Plan(NamedTuple):
    """What the loops need to know of a geometry."""

    begin: Size
    kind: int
    taps: np.ndarray  # (phases, 9): places under the kernel, -1 where there is none
    points: np.ndarray  # places (of 36) at which products are taken
    used: np.ndarray  # (phases, points): whether the transformed kernel of a phase may differ from zero there
    runs: np.ndarray  # (runs, 4): number of a point, first of some neighbouring phases, how many, WRITE, ADD or ZERO


@functools.lru_cache(maxsize=256)
def plan(direction: str, kernel: Size, stride: Size, padding: Size) -> Plan:
    """Return the plan for one of the kernels' names; along no axis has a kernel more than 2 stride + 1 taps."""
    forward = direction != "conv2d_grad_input"
    axes = [_axis(forward, *sizes) for sizes in zip(kernel, stride, padding, strict=True)]
    kinds = [axis.kind for axis in axes]
    if kinds[0] != kinds[1]:  # one kind for both axes: the whole matrices serve all
        axes = [_axis(forward, *sizes, whole=True) for sizes in zip(kernel, stride, padding, strict=True)]
    rows, columns = axes
    pairs = [(y, x) for y in rows.taps for x in columns.taps]
    taps = [[-1 if -1 in (ky, kx) else ky * kernel[1] + kx for ky in y for kx in x] for y, x in pairs]
    first, last = _range(rows.kind)
    points = np.array([6 * i + j for i in range(first, last) for j in range(first, last)])
    used = np.array([np.outer(_points(y), _points(x)).reshape(-1)[points] for y, x in pairs])
    return Plan((rows.begin, columns.begin), rows.kind, np.array(taps), points, used, _runs(used, forward))


def _axis(forward: bool, kernel: int, stride: int, padding: int, whole: bool = False) -> Axis:
    """Return the plan of one axis; ``whole``: for the matrices with all six points."""
    phases = []
    for a in range(stride):
        steps = [(j, stride * j + a + padding) for j in range(-kernel - padding, kernel + 1)]
        inside = [(j, k) for j, k in steps if 0 <= k < kernel]  # pixel stride * (m + j) + a meets tap k of output m
        phases.append([(j if forward else -j, k) for j, k in inside])
    offsets = [j for phase in phases for j, _ in phase]
    low, high = min(offsets, default=0), max(offsets, default=0)

    def placed(begin: int, kind: int) -> Axis:
        at = [{j - begin: k for j, k in phase} for phase in phases]
        return Axis(begin, kind, tuple((a.get(0, -1), a.get(1, -1), a.get(2, -1)) for a in at))

    ways = [placed(begin, 6) for begin in range(high - 2, low + 1)]
    if high - low < 2 and not whole:
        ways = [placed(low, 5), placed(low - 1, 4)]
    return min(ways, key=lambda axis: sum(map(sum, map(_points, axis.taps))))


def _points(taps: tuple[int, int, int]) -> list[int]:
    """Return 1 for each of six points at which the transformed taps may differ from zero."""
    return [int(any(k >= 0 and factor for k, factor in zip(taps, row, strict=True))) for row in FILTER]


def _range(kind: int) -> tuple[int, int]:
    """Return the first of the six points of a kind, and the first beyond them."""
    return (1 if kind == 4 else 0), (5 if kind == 5 else 6)


def _runs(used: np.ndarray, forward: bool) -> np.ndarray:
    """Return the products to take, of neighbouring phases together: they lie next to each other in memory."""
    runs = []
    for point, phases in enumerate(used.T):
        first, written = 0, False
        for serves, group in itertools.groupby(phases):
            count = len(list(group))
            if serves:
                runs.append((point, first, count, ADD if forward and written else WRITE))
                written = True
            elif not forward:
                runs.append((point, first, count, ZERO))
            first += count
        if forward and not written:
            runs.append((point, 0, len(phases), ZERO))
    return np.array(runs)


def fits(kernel: tuple[int, ...], stride: Size, dilation: Size) -> bool:
    """Return whether no phase has more than three taps, wherever the padding lets them begin."""
    return stride != (1, 1) and dilation == (1, 1) and all(k <= 2 * s + 1 for k, s in zip(kernel, stride, strict=True))


def pays(direction: str, images: int, size: Size, kernel: Size, stride: Size) -> bool:
    """Return whether what is saved outweighs the transforms; ``size`` of what comes out, or of grad_output, as measured."""
    steps = stride if direction == "conv2d_grad_input" else (1, 1)
    down, across = (-(-n // (4 * s)) for n, s in zip(size, steps, strict=True))
    enough = ENOUGH_FOR_SUMS if direction == "conv2d_grad_weight" else ENOUGH
    return images * down * across >= TILES and saving(direction, kernel, stride) >= enough


def saving(direction: str, kernel: Size, stride: Size) -> float:
    """Return how many products a direct sum takes for each one that is taken here."""
    return 16 * kernel[0] * kernel[1] / int(plan(direction, kernel, stride, (0, 0)).used.sum())
