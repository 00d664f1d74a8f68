"""Write past the cache: for results that are larger than the last cache, which nobody finds there anyway.

A store to a line of memory that no cache holds first *reads* the line, since it may change a part of it only; and the line
then pushes another one out. Where whole lines are written and none of them is read again soon, both are a waste: of four
bytes that a large batch norm moves, one is read for nothing. Processors have stores that collect a line and send it to
memory as it is ("non-temporal"). In a small result they do harm: there the next layer finds its input in the cache.

``stream`` writes what a loop has left in a short row, a few hundred numbers that the first cache holds. ``streams`` says for
which results it is worth it: measured, ``docs/performance.md``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

LARGE = 40 * 2**20  # bytes that an operation reads and writes, from which on its results are written past the cache
WHOLE = 64  # bytes of a line of the cache, and of the largest store: rows must begin and end at multiples of them


def streams(row: int, outputs: tuple[np.ndarray, ...], inputs: tuple[np.ndarray, ...]) -> bool:
    """Return whether an operation shall write its results past the cache, contiguous arrays of rows of so many numbers."""
    aligned = all(a.ctypes.data % WHOLE == 0 and row * a.itemsize % WHOLE == 0 for a in outputs)
    large = sum(a.nbytes for a in (*outputs, *inputs)) >= LARGE
    return large and aligned and not numba.config.DISABLE_JIT  # type: ignore[attr-defined]


def _stream_py(row, output, at):
    """output[at : at + len(row)] = row, in whole stores; call ``stream_end`` before another thread may read them."""
    for i in range(len(row)):
        output[at + i] = row[i]


def _stream_end_py():
    """Wait until what was streamed is in memory: once a task, since nothing else is done meanwhile."""


def past_the_cache(builder: Any, store: Any, size: int) -> None:
    """Make a store of a vector of ``size`` bytes, whose address must be a multiple of them, one past the cache."""
    from llvmlite import ir

    store.align = size
    store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))


def _compiled() -> tuple[Any, Any]:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target = (
            cgutils.create_struct_proxy(signature.args[i])(context, builder, value=arguments[i]) for i in (0, 1)
        )
        number, index = context.get_data_type(signature.args[0].dtype), ir.IntType(64)
        lanes = index(WHOLE // context.get_abi_sizeof(number))
        vector = ir.VectorType(number, lanes.constant).as_pointer()
        start = builder.gep(target.data, [arguments[2]])
        with cgutils.for_range(builder, builder.sdiv(source.nitems, lanes)) as loop:
            at = builder.mul(loop.index, lanes)
            value = builder.load(builder.bitcast(builder.gep(source.data, [at]), vector))
            value.align = context.get_abi_alignment(number)
            place = builder.bitcast(builder.gep(start, [at]), vector)
            past_the_cache(builder, builder.store(value, place), WHOLE)
        return context.get_dummy_value()

    def wait(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    @intrinsic
    def stream(typingctx, row, output, at):
        return types.void(row, output, types.int64), write

    @intrinsic
    def stream_end(typingctx):
        return types.void(), wait

    return stream, stream_end


DISABLED = numba.config.DISABLE_JIT  # type: ignore[attr-defined]
stream, stream_end = (_stream_py, _stream_end_py) if DISABLED else _compiled()
