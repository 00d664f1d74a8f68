"""Images into channels-last memory, by all threads: what every compiled kernel does first with an ordinary array.

Planes (C, H, W) are read along rows and written pixel by pixel. A task takes some pixels of all channels, few enough that
what it writes stays in the second cache: then each line of memory is read once and written once, also where planes are a
power of two apart and the same pixel of all channels competes for a few places of a cache. Within a task, squares of eight
channels by eight pixels are turned in registers: eight loads, three rounds of exchanging halves, quarters and neighbours
between pairs of vectors, eight stores. ``_square_py`` is the same in plain Python.

Of fewer than eight channels (an RGB image, the scores of two classes) the vectors are partly waste, which each store leaves
where the next pixel's store puts its numbers.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit, prange

from .. import arrays
from .buffers import empty

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True}
BLOCK = 2**15  # numbers of a task: 128 KiB of float32
SMALL = 2**15  # numbers below which waking the other threads costs more than the copy
SIDE = 8  # of a square: floats a vector


def channels_last(array: np.ndarray) -> np.ndarray:
    """Return the (N, C, H, W) array as contiguous (N, H, W, C): a view where memory lies so, else one copy."""
    n, c, h, w = array.shape
    plain = array.flags.c_contiguous and array.flags.writeable  # other arrays would have to be compiled for
    if array.dtype != np.float32 or array.size < SMALL or not plain:
        return arrays.channels_last(array)
    if arrays.is_channels_last(array):
        return array.transpose(0, 2, 3, 1)
    last = empty((n, h, w, c), array.dtype)
    pixels = max(BLOCK // c // 16 * 16, 16)
    _turn(array.reshape(-1), (n, c, h * w), pixels, last.reshape(-1))
    return last


def _square_py(a, a0, a_row, rows, b, b0, b_row):
    """b[b0 + j * b_row + i] = a[a0 + i * a_row + j] for i, j < 8; flat float32 arrays; row ``rows - 1`` stands for later ones."""
    for j in range(SIDE):
        for i in range(SIDE):
            b[b0 + j * b_row + i] = a[a0 + min(i, rows - 1) * a_row + j]


def _square_compiled() -> Any:
    """Return ``_square_py`` as a Numba intrinsic."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    index, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), SIDE)
    lanes = ir.VectorType(ir.IntType(32), SIDE)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def places(array: Any, kind: Any, first: Any, step: Any, numbers: list[Any]) -> list[Any]:
            data = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
            offsets = [builder.add(first, builder.mul(step, number)) for number in numbers]
            return [builder.bitcast(builder.gep(data, [offset]), vector.as_pointer()) for offset in offsets]

        a, a0, a_row, rows, b, b0, b_row = arguments
        eight = [ir.Constant(index, i) for i in range(SIDE)]
        last = builder.sub(rows, eight[1])
        there = [builder.select(builder.icmp_signed("<", i, last), i, last) for i in eight]
        vectors = [builder.load(place) for place in places(a, signature.args[0], a0, a_row, there)]
        for value in vectors:
            value.align = 4
        for far in (4, 2, 1):  # lanes whose number has this bit change places with those of the vector `far` further on
            upper = [lane if not lane & far else SIDE + lane - far for lane in range(SIDE)]
            lower = [lane + far if not lane & far else SIDE + lane for lane in range(SIDE)]
            for i in range(SIDE):
                if not i & far:
                    one, two = vectors[i], vectors[i + far]
                    vectors[i] = builder.shuffle_vector(one, two, ir.Constant(lanes, upper))
                    vectors[i + far] = builder.shuffle_vector(one, two, ir.Constant(lanes, lower))
        for value, place in zip(vectors, places(b, signature.args[4], b0, b_row, eight), strict=True):
            builder.store(value, place).align = 4
        return context.get_dummy_value()

    @intrinsic
    def square(typingctx, a, a0, a_row, rows, b, b0, b_row):
        number = types.int64
        return types.void(a, number, number, number, b, number, number), generate

    return square


square = _square_py if numba.config.DISABLE_JIT else _square_compiled()  # type: ignore[attr-defined]


def _turn_py(planes, shape, pixels, turned):
    images, channels, length = shape
    blocks = (length + pixels - 1) // pixels
    few = channels < 8
    squares = channels if few else channels // 8 * 8  # channels that are turned by squares
    for task in prange(images * blocks):
        number = np.int64(task)
        image = number // blocks
        first = (number - image * blocks) * pixels
        count = min(pixels, length - first)
        whole = count // 8 * 8
        if few:
            whole = max(whole - 8, 0)  # what the last store leaves must be this task's to write
        for c in range(0, squares, 8):
            source, target = (image * channels + c) * length + first, (image * length + first) * channels + c
            for p in range(0, whole, 8):
                square(planes, source + p, length, min(8, channels), turned, target + p * channels, channels)
        for c in range(channels):
            source, target = (image * channels + c) * length + first, (image * length + first) * channels + c
            for p in range(whole if c < squares else 0, count):
                turned[target + p * channels] = planes[source + p]


_turn = njit(**OPTIONS)(_turn_py)
