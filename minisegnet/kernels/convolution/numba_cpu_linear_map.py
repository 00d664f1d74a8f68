"""A small constant matrix times rows of numbers, as vector code: what Winograd's transforms are made of.

    b[i, c] = start[c] + sum over j of matrix[i][j] * a[j, c]

``linear_map(matrix)`` returns a function that can be called in compiled code. It writes the loop over c in the compiler's
own language (LLVM), eight numbers at a time, with the matrix's numbers as constants: no memory is looked at twice, and, unlike
the compiler looking at a loop over a dozen arrays, it need not ask whether they overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba

from .numba_cpu_tile import LANES

Matrix = Sequence[Sequence[float]]


def linear_map(matrix: Matrix, starts: bool = False) -> Any:
    """Return ``f(count, a, a0, a_row, b, b0, b_row)`` for c < count; with ``starts`` also ``(..., start)``. Flat float32 arrays.

    Row j of ``a`` begins at a[a0 + j * a_row], row i of ``b`` at b[b0 + i * b_row]. The two may be the same rows.
    """
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return _interpreted(matrix, starts)
    return _compiled(matrix, starts)


def _interpreted(matrix: Matrix, starts: bool) -> Any:
    def apply(count, a, a0, a_row, b, b0, b_row, start=None):
        for c in range(count):
            numbers = [a[a0 + j * a_row + c] for j in range(len(matrix[0]))]
            for i, row in enumerate(matrix):
                total = start[c] if starts else a.dtype.type(0)
                for factor, number in zip(row, numbers, strict=True):
                    total += a.dtype.type(factor) * number
                b[b0 + i * b_row + c] = total

    return apply


def _compiled(matrix: Matrix, starts: bool) -> Any:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    index, real = ir.IntType(64), ir.FloatType()
    vector, zero = ir.VectorType(real, LANES), ir.Constant(index, 0)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pointer(position: int) -> Any:
            kind = signature.args[position]
            return cgutils.create_struct_proxy(kind)(context, builder, value=arguments[position]).data

        count, _, a0, a_row, _, b0, b_row = arguments[:7]
        a, b, start = pointer(1), pointer(4), pointer(7) if starts else None
        a_rows = [
            builder.gep(a, [builder.add(a0, builder.mul(a_row, ir.Constant(index, j)))]) for j in range(len(matrix[0]))
        ]
        b_rows = [
            builder.gep(b, [builder.add(b0, builder.mul(b_row, ir.Constant(index, i)))]) for i in range(len(matrix))
        ]

        def access(row: Any, c: Any, kind: Any) -> Any:
            place = builder.gep(row, [c])
            return builder.bitcast(place, kind.as_pointer()) if kind is vector else place

        def load(row: Any, c: Any, kind: Any) -> Any:
            value = builder.load(access(row, c, kind))
            value.align = 4
            return value

        def constant(number: float, kind: Any) -> Any:
            return ir.Constant(kind, [float(number)] * LANES) if kind is vector else ir.Constant(kind, float(number))

        def row_sum(factors: Sequence[float], numbers: list[Any], total: Any, kind: Any) -> Any:
            for factor, number in zip(factors, numbers, strict=True):
                if factor == 0:
                    continue
                product = (
                    number
                    if abs(factor) == 1
                    else builder.fmul(number, constant(abs(factor), kind), flags=("contract",))
                )
                if total is None:
                    total = product if factor > 0 else builder.fneg(product)
                else:
                    total = (builder.fadd if factor > 0 else builder.fsub)(total, product, flags=("contract",))
            return total

        def loop(first: Any, end: Any, step: int, kind: Any) -> None:
            """For c from ``first`` while c < ``end``, by ``step``."""
            entry = builder.block
            head, body, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
            builder.branch(head)
            builder.position_at_end(head)
            c = builder.phi(index)
            c.add_incoming(first, entry)
            builder.cbranch(builder.icmp_signed("<", c, end), body, done)
            builder.position_at_end(body)
            numbers = [load(row, c, kind) for row in a_rows]
            results = [row_sum(f, numbers, load(start, c, kind) if starts else None, kind) for f in matrix]
            for row, result in zip(b_rows, results, strict=True):
                builder.store(result, access(row, c, kind)).align = 4
            c.add_incoming(builder.add(c, ir.Constant(index, step)), body)
            builder.branch(head)
            builder.position_at_end(done)

        whole = builder.and_(count, ir.Constant(index, -LANES))
        loop(zero, whole, LANES, vector)
        loop(whole, count, 1, real)
        return context.get_dummy_value()

    number = types.int64
    if starts:

        @intrinsic
        def apply(typingctx, count, a, a0, a_row, b, b0, b_row, start):
            return types.void(number, a, number, number, b, number, number, start), generate

    else:

        @intrinsic
        def apply(typingctx, count, a, a0, a_row, b, b0, b_row):
            return types.void(number, a, number, number, b, number, number), generate

    return apply
