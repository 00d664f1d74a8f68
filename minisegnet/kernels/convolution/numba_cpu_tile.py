"""The innermost loop of the fast convolutions: a small matrix product that stays in registers.

    c[r, j] = start[r, j] + sum over t, k of a[jump[t] + r * row + k * step] * b[t, k, j]      r < 6, j < 16

Six rows by sixteen columns are twelve vectors of eight floats: a core has sixteen vector registers, and each number of
``a`` that is loaded meets sixteen of ``b``, each of ``b`` meets six of ``a``. So arithmetic, not memory, sets the speed.
Numba does not turn such a block of sums into vectors by itself; ``multiply_tile`` writes the loop in the compiler's own
language (LLVM), forty lines. ``_multiply_tile`` is the same in plain Python: what to read, and what runs with the JIT off.

A convolution's rows ``r`` are neighbouring output pixels, columns ``j`` output channels, ``k`` input channels, and ``t`` the
places under the kernel, each a fixed *jump* in memory: this is a matrix product that never builds the matrix (implicit
GEMM; Chetlur et al., 2014, section 3). The idea of the register block is Goto and van de Geijn's (2008, section 5).
"""

from __future__ import annotations

from typing import Any

import numba

ROWS, COLUMNS = 6, 16  # the register block
LANES = 8  # floats a vector: of AVX2; on other machines LLVM splits them (SSE, NEON: the block still fits NEON's 32 registers)


def _multiply_tile(rows, a, a0, row, step, jumps, taps, depth, b, b0, start, s0, s_row, c, c0, c_row):
    """Write ``rows`` x 16 sums of products into ``c``, from ``c0`` on, rows ``c_row`` apart. All arrays are flat float32.

    Parameters
    ----------
    rows : 1 to 6
    a, a0, row, step, jumps : a[a0 + jumps[t] + r * row + k * step] is the factor of row r
    taps, depth : t < taps, k < depth
    b, b0 : b[b0 + (t * depth + k) * 16 + j] is the factor of column j: packed, one vector after the other
    start, s0, s_row : start[s0 + r * s_row + j] is where the sum begins (a bias, or what ``c`` holds already)
    """
    for r in range(rows):
        for j in range(COLUMNS):
            total = start[s0 + r * s_row + j]
            for t in range(taps):
                for k in range(depth):
                    total += a[a0 + jumps[t] + r * row + k * step] * b[b0 + (t * depth + k) * COLUMNS + j]
            c[c0 + r * c_row + j] = total


def _compiled() -> Any:
    """Return the loop as a Numba intrinsic."""
    from llvmlite import ir
    from numba import njit, types
    from numba.core import cgutils
    from numba.extending import intrinsic

    index, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)
    zero, one = ir.Constant(index, 0), ir.Constant(index, 1)

    def block(rows: int) -> Any:
        @intrinsic
        def tile(typingctx, a, a0, row, step, jumps, taps, depth, b, b0, start, s0, s_row, c, c0, c_row):
            whole = types.int64
            signature = types.void(
                a, whole, whole, whole, jumps, whole, whole, b, whole, start, whole, whole, c, whole, whole
            )

            def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                def address(array: Any, kind: Any, offset: Any) -> Any:
                    return builder.gep(cgutils.create_struct_proxy(kind)(context, builder, value=array).data, [offset])

                def vectors(pointer: Any) -> list[Any]:
                    places = [builder.gep(pointer, [ir.Constant(index, j)]) for j in range(0, COLUMNS, LANES)]
                    return [builder.bitcast(place, vector.as_pointer()) for place in places]

                def load(pointer: Any) -> Any:
                    value = builder.load(pointer)
                    value.align = 4
                    return value

                a, a0, row, step, jumps, taps, depth, b, b0, start, s0, s_row, c, c0, c_row = arguments
                kinds = signature.args
                a_first, b_first = address(a, kinds[0], a0), address(b, kinds[7], b0)
                jump_first = address(jumps, kinds[4], zero)
                start_first, c_first = address(start, kinds[9], s0), address(c, kinds[12], c0)
                offsets = [builder.mul(row, ir.Constant(index, r)) for r in range(rows)]
                sums = []
                for r in range(rows):
                    place = builder.gep(start_first, [builder.mul(s_row, ir.Constant(index, r))])
                    sums += [load(p) for p in vectors(place)]

                entry = builder.block
                over_taps, over_depth, next_tap, done = (
                    builder.append_basic_block(name) for name in ("taps", "depth", "next", "done")
                )
                builder.branch(over_taps)

                builder.position_at_end(over_taps)  # one place under the kernel
                t, b_tap = builder.phi(index), builder.phi(b_first.type)
                tap_sums = [builder.phi(vector) for _ in sums]
                for phi, value in zip([t, b_tap, *tap_sums], [zero, b_first, *sums], strict=True):
                    phi.add_incoming(value, entry)
                jump = builder.load(builder.gep(jump_first, [t]))
                a_rows = [builder.gep(a_first, [builder.add(jump, offset)]) for offset in offsets]
                builder.branch(over_depth)

                builder.position_at_end(over_depth)  # one input channel: 2 loads of b, a broadcast and 2 products a row
                k, place, b_k = builder.phi(index), builder.phi(index), builder.phi(b_first.type)
                inner = [builder.phi(vector) for _ in sums]
                for phi, value in zip([k, place, b_k, *inner], [zero, zero, b_tap, *tap_sums], strict=True):
                    phi.add_incoming(value, over_taps)
                columns = [load(p) for p in vectors(b_k)]
                updated = []
                for r in range(rows):
                    number = builder.load(builder.gep(a_rows[r], [place]))
                    spread = builder.insert_element(
                        ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0)
                    )
                    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
                    spread = builder.shuffle_vector(spread, ir.Constant(vector, ir.Undefined), everywhere)
                    for j, column in enumerate(columns):
                        product = builder.fmul(spread, column, flags=("contract",))
                        total = builder.fadd(inner[r * len(columns) + j], product, flags=("contract",))
                        updated.append(total)  # one instruction, a fused multiply-add, where the machine has it
                k_next = builder.add(k, one)
                place_next, b_next = builder.add(place, step), builder.gep(b_k, [ir.Constant(index, COLUMNS)])
                for phi, value in zip([k, place, b_k, *inner], [k_next, place_next, b_next, *updated], strict=True):
                    phi.add_incoming(value, over_depth)
                builder.cbranch(builder.icmp_signed("<", k_next, depth), over_depth, next_tap)

                builder.position_at_end(next_tap)
                t_next = builder.add(t, one)
                for phi, value in zip([t, b_tap, *tap_sums], [t_next, b_next, *updated], strict=True):
                    phi.add_incoming(value, next_tap)
                builder.cbranch(builder.icmp_signed("<", t_next, taps), over_taps, done)

                builder.position_at_end(done)
                for r in range(rows):
                    place = builder.gep(c_first, [builder.mul(c_row, ir.Constant(index, r))])
                    for j, pointer in enumerate(vectors(place)):
                        builder.store(updated[r * len(columns) + j], pointer).align = 4
                return context.get_dummy_value()

            return signature, codegen

        return tile

    one_row, two, three, four, five, six = (block(rows) for rows in range(1, ROWS + 1))

    def multiply_tile(rows, a, a0, row, step, jumps, taps, depth, b, b0, start, s0, s_row, c, c0, c_row):
        if rows == 6:
            six(a, a0, row, step, jumps, taps, depth, b, b0, start, s0, s_row, c, c0, c_row)
        elif rows == 5:
            five(a, a0, row, step, jumps, taps, depth, b, b0, start, s0, s_row, c, c0, c_row)
        elif rows == 4:
            four(a, a0, row, step, jumps, taps, depth, b, b0, start, s0, s_row, c, c0, c_row)
        elif rows == 3:
            three(a, a0, row, step, jumps, taps, depth, b, b0, start, s0, s_row, c, c0, c_row)
        elif rows == 2:
            two(a, a0, row, step, jumps, taps, depth, b, b0, start, s0, s_row, c, c0, c_row)
        elif rows == 1:
            one_row(a, a0, row, step, jumps, taps, depth, b, b0, start, s0, s_row, c, c0, c_row)

    return njit(nogil=True)(multiply_tile)


multiply_tile = _multiply_tile if numba.config.DISABLE_JIT else _compiled()  # type: ignore[attr-defined]
