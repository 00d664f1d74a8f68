"""The innermost loop of depthwise convolutions, over a run of numbers in a line, for three places at a time or one:

    out[j] += sum over t of weight[t, j] * line[j + offset_t]

The gradient of the weight is the same loop: sums[t, j] += grad[j] * line[j + offset_t], place by place.

The compiler does not turn such a loop over several parts of arrays into vectors: it would have to ask of each pair whether they
overlap, and gives up. ``_write`` writes the loops in the compiler's own language (LLVM), eight numbers at a time and what
remains one by one; the functions ending in ``_py`` are the same in plain Python, and what runs with the JIT off.
"""

from __future__ import annotations

from typing import Any

import numba

LANES = 8


def _add_products_py(count, a, a0, a1, a2, weight, w0, w_row, out, o0):
    """out[o0 + j] += the sum over three places; all arrays flat and of one type."""
    for j in range(count):
        out[o0 + j] += (
            weight[w0 + j] * a[a0 + j] + weight[w0 + w_row + j] * a[a1 + j] + weight[w0 + 2 * w_row + j] * a[a2 + j]
        )


def _add_product_py(count, a, a0, weight, w0, out, o0):
    """out[o0 + j] += weight[w0 + j] * a[a0 + j]."""
    for j in range(count):
        out[o0 + j] += weight[w0 + j] * a[a0 + j]


def _write(builder: Any, count: Any, real: Any, body: Any) -> None:
    """Write a loop over j < count that calls ``body(at, j)``, by vectors and then one by one; at(pointer) is the place of j."""
    from llvmlite import ir

    index, vector = ir.IntType(64), ir.VectorType(real, LANES)
    align = 4 if isinstance(real, ir.FloatType) else 8

    def loop(first: Any, end: Any, step: int, kind: Any) -> None:
        entry = builder.block
        head, inner, done = (builder.append_basic_block(name) for name in ("head", "inner", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        j = builder.phi(index)
        j.add_incoming(first, entry)
        builder.cbranch(builder.icmp_signed("<", j, end), inner, done)
        builder.position_at_end(inner)

        def read(pointer: Any) -> Any:
            value = builder.load(builder.bitcast(builder.gep(pointer, [j]), kind.as_pointer()))
            value.align = align
            return value

        def write(value: Any, pointer: Any) -> None:
            builder.store(value, builder.bitcast(builder.gep(pointer, [j]), kind.as_pointer())).align = align

        body(read, write)
        j.add_incoming(builder.add(j, ir.Constant(index, step)), builder.block)
        builder.branch(head)
        builder.position_at_end(done)

    whole = builder.and_(count, ir.Constant(index, -LANES))
    loop(ir.Constant(index, 0), whole, LANES, vector)
    loop(whole, count, 1, real)


def _compiled() -> tuple[Any, Any]:
    """Return both loops as Numba intrinsics."""
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    number = types.int64

    def places(context: Any, builder: Any, array: Any, kind: Any, offsets: list[Any]) -> list[Any]:
        data = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
        return [builder.gep(data, [offset]) for offset in offsets]

    def fused(builder: Any, total: Any, a: Any, b: Any) -> Any:
        return builder.fadd(total, builder.fmul(a, b, flags=("contract",)), flags=("contract",))

    def generate(
        context: Any, builder: Any, kinds: Any, count: Any, read_from: Any, factors: Any, write_to: Any
    ) -> Any:
        lines = places(context, builder, read_from[0], kinds[0], read_from[1])
        weights = places(context, builder, factors[0], kinds[1], factors[1])
        (target,) = places(context, builder, write_to[0], kinds[2], write_to[1])

        def body(read: Any, write: Any) -> None:
            total = read(target)
            for line, factor in zip(lines, weights, strict=True):
                total = fused(builder, total, read(factor), read(line))
            write(total, target)

        _write(builder, count, context.get_value_type(kinds[0].dtype), body)
        return context.get_dummy_value()

    @intrinsic
    def three(typingctx, count, a, a0, a1, a2, weight, w0, w_row, out, o0):
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            count, a, a0, a1, a2, weight, w0, w_row, out, o0 = arguments
            w1 = builder.add(w0, w_row)
            kinds = signature.args[1], signature.args[5], signature.args[8]
            w2 = builder.add(w1, w_row)
            reads = a, [a0, a1, a2]
            return generate(context, builder, kinds, count, reads, (weight, [w0, w1, w2]), (out, [o0]))

        return types.void(number, a, number, number, number, weight, number, number, out, number), codegen

    @intrinsic
    def one(typingctx, count, a, a0, weight, w0, out, o0):
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            count, a, a0, weight, w0, out, o0 = arguments
            kinds = signature.args[1], signature.args[3], signature.args[5]
            return generate(context, builder, kinds, count, (a, [a0]), (weight, [w0]), (out, [o0]))

        return types.void(number, a, number, weight, number, out, number), codegen

    return three, one


add_products, add_product = (
    (_add_products_py, _add_product_py) if numba.config.DISABLE_JIT else _compiled()  # type: ignore[attr-defined]
)
