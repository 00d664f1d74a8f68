"""The innermost loop of Winograd's 36 matrix products: blocks of sums that stay in registers, one below the other.

    c[r, j] = (c[r, j] +) sum over k of a[r * row + k * step] * b[k, j]       r < count, j < 16 or 8

It is the loop of ``numba_cpu_tile.py`` for short sums. With sixteen channels a block takes a hundred clocks, so whatever is
done once a block or once a call counts: no places under a kernel, no start that is read, no last block of another size. In its
stead the last block writes rows beyond ``count`` as well, up to a multiple of ``BLOCK``: there must be room for them, and what
lies there does not matter.
"""

from __future__ import annotations

from typing import Any

from numba import config

from .numba_cpu_linear_map import called_in_compiled_code
from .numba_cpu_tile import COLUMNS, LANES

BLOCK = 12  # rows for which there must be room are a multiple of this
PARAMETERS = "count, a, a0, row, step, depth, b, b0, c, c0, c_row"


def _product(rows: int, columns: int, adds: bool) -> Any:
    """Return ``f(count, a, a0, row, step, depth, b, b0, c, c0, c_row)``, in blocks of rows x columns; depth > 0.

    Number j of row k of ``b`` is b[b0 + 16 * k + j]; row r of ``c`` begins at c[c0 + r * c_row], and ``adds`` adds to it.
    """

    def plain(count, a, a0, row, step, depth, b, b0, c, c0, c_row):
        for r in range(count):
            for j in range(columns):
                total = c[c0 + r * c_row + j] if adds else c.dtype.type(0)
                for k in range(depth):
                    total += a[a0 + r * row + k * step] * b[b0 + k * COLUMNS + j]
                c[c0 + r * c_row + j] = total

    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return plain
    title = f"minisegnet_product_{rows}_{columns}" + ("_added" if adds else "")
    return called_in_compiled_code(
        PARAMETERS, lambda builder, given: _write(builder, given, rows, columns, adds), title
    )


def _write(builder: Any, arguments: Any, rows: int, columns: int, adds: bool) -> None:
    from llvmlite import ir

    count, a, row, step, depth, b, c, c_row = arguments
    index, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)

    def constant(value: int) -> Any:
        return ir.Constant(index, value)

    def vectors(place: Any) -> list[Any]:
        places = [builder.gep(place, [constant(j)]) for j in range(0, columns, LANES)]
        return [builder.bitcast(p, vector.as_pointer()) for p in places]

    def load(place: Any) -> Any:
        value = builder.load(place)
        value.align = 4
        return value

    def rows_from(place: Any, length: Any) -> list[Any]:
        places = [place]
        for _ in range(rows - 1):
            places.append(builder.gep(places[-1], [length]))
        return places

    def follow(values: list[Any], origin: Any) -> list[Any]:
        phis = [builder.phi(value.type) for value in values]
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, origin)
        return phis

    entry = builder.block
    over_blocks, over_depth, finish, done = (
        builder.append_basic_block(n) for n in ("block", "depth", "finish", "done")
    )
    a_step, c_step = builder.mul(row, constant(rows)), builder.mul(c_row, constant(rows))
    builder.cbranch(builder.icmp_signed(">", count, constant(0)), over_blocks, done)

    builder.position_at_end(over_blocks)
    block = follow([constant(0), a, c], entry)
    a_rows, c_rows = rows_from(block[1], row), rows_from(block[2], c_row)
    zero = ir.Constant(vector, [0.0] * LANES)
    sums = [load(p) if adds else zero for place in c_rows for p in vectors(place)]
    builder.branch(over_depth)

    builder.position_at_end(over_depth)  # two loads of b (or one), a broadcast and two products (or one) a row
    k, place, b_k, *sums = follow([constant(0), constant(0), b, *sums], over_blocks)
    factors = [load(p) for p in vectors(b_k)]
    nothing, everywhere = (
        ir.Constant(vector, ir.Undefined),
        ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES),
    )
    updated: list[Any] = []
    for r in range(rows):
        number = builder.load(builder.gep(a_rows[r], [place]))
        spread = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
        spread = builder.shuffle_vector(spread, nothing, everywhere)
        for factor in factors:
            product = builder.fmul(spread, factor, flags=("contract",))
            updated.append(builder.fadd(sums[len(updated)], product, flags=("contract",)))  # one instruction
    k_next = builder.add(k, constant(1))
    values = [k_next, builder.add(place, step), builder.gep(b_k, [constant(COLUMNS)]), *updated]
    for phi, value in zip([k, place, b_k, *sums], values, strict=True):
        phi.add_incoming(value, over_depth)
    builder.cbranch(builder.icmp_signed("<", k_next, depth), over_depth, finish)

    builder.position_at_end(finish)
    for value, target in zip(updated, [p for start in c_rows for p in vectors(start)], strict=True):
        builder.store(value, target).align = 4
    next_block = [
        builder.add(block[0], constant(rows)),
        builder.gep(block[1], [a_step]),
        builder.gep(block[2], [c_step]),
    ]
    for phi, value in zip(block, next_block, strict=True):
        phi.add_incoming(value, finish)
    builder.cbranch(builder.icmp_signed("<", next_block[0], count), over_blocks, done)
    builder.position_at_end(done)


wide_product, narrow_product = _product(6, 16, False), _product(12, 8, False)
add_wide_product, add_narrow_product = _product(6, 16, True), _product(12, 8, True)
