"""The innermost loop of the fast convolutions: a small matrix product that stays in registers.

    c[r, j] = start[r, j] + sum over t, k of a[jump[t] + r * row + k * step] * b[t, k, j]      r < rows, j < columns

Six rows by sixteen columns, or twelve rows by eight, are twelve vectors of eight floats: a core has sixteen vector registers,
each number of ``a`` that is loaded meets all columns, each of ``b`` all rows. So arithmetic, not memory, sets the speed. Where
vectors have sixteen floats (AVX-512), twelve of them are twelve rows by sixteen columns, and ``b`` is read half as often.
Numba does not turn such a block of sums into vectors by itself; ``_write_block`` writes the loop in the compiler's own language
(LLVM). ``_blocks_py`` is the same in plain Python: what to read, and what runs with the JIT off.

A convolution's rows ``r`` are neighbouring output pixels, columns ``j`` output channels, ``k`` input channels, and ``t`` the
places under the kernel, each a fixed *jump* in memory: this is a matrix product that never builds the matrix (implicit
GEMM; Chetlur et al., 2014, section 3). The idea of the register block is Goto and van de Geijn's (2008, section 5).
"""

from __future__ import annotations

from typing import Any

import numba

from ..numba_cpu_vectors import WIDE

COLUMNS = 16  # of the register block; where eight are enough, it is 12 x 8
LANES = 8  # floats a vector: of AVX2; on other machines LLVM splits them (SSE, NEON: the block still fits NEON's 32 registers)
ROWS = 12 if WIDE == 16 else 6
SIZES = {COLUMNS: tuple(range(ROWS, 0, -1)), LANES: (12, 8, 4, 2, 1)}  # columns: how many rows a block may have


def _blocks_py(
    rows, columns, count, a, a0, row, step, jumps, j0, taps, depth, b, b0, b_step, start, s0, s_row, c, c0, c_row
):
    """Write ``count`` blocks of rows x columns sums of products, one after the other. All arrays are flat float32.

    Parameters
    ----------
    rows, columns : one of SIZES
    a, a0, row, step, jumps, j0 : a[a0 + jumps[j0 + t] + r * row + k * step] is the factor of row r
    taps, depth : t < taps, k < depth
    b, b0, b_step : b[b0 + (t * depth + k) * b_step + j] is the factor of column j
    start, s0, s_row : start[s0 + r * s_row + j] is where the sum begins (a bias, or what ``c`` holds already)
    c, c0, c_row : the sum goes to c[c0 + r * c_row + j]
    """
    for r in range(rows * count):
        for j in range(columns):
            total = start[s0 + r * s_row + j]
            for t in range(taps):
                for k in range(depth):
                    total += a[a0 + jumps[j0 + t] + r * row + k * step] * b[b0 + (t * depth + k) * b_step + j]
            c[c0 + r * c_row + j] = total


def _write_block(module: Any, rows: int, columns: int) -> Any:
    """Return the LLVM function of a block, written into the module unless it is there."""
    from llvmlite import ir

    index, real = ir.IntType(64), ir.FloatType()
    lanes = columns if ROWS == 12 else LANES  # sums are twelve vectors, of sixteen floats where there are such
    vector, pointer = ir.VectorType(real, lanes), real.as_pointer()
    name = f"minisegnet_block_{rows}_{columns}"
    if name in module.globals:
        return module.globals[name]
    kinds = [
        index,
        pointer,
        index,
        index,
        index.as_pointer(),
        index,
        index,
        pointer,
        index,
        pointer,
        index,
        pointer,
        index,
    ]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    count, a, row, step, jumps, taps, depth, b, b_step, start, s_row, c, c_row = function.args
    entry, over_tiles, over_taps, over_depth, next_tap, next_tile, done = (
        function.append_basic_block(word) for word in ("entry", "tile", "tap", "depth", "next_tap", "next_tile", "done")
    )
    builder = ir.IRBuilder(entry)
    zero, one = ir.Constant(index, 0), ir.Constant(index, 1)
    bases = range(0, rows, 3)  # rows 0, 3, 6, 9; the two rows after each are one and two steps of `row` further.
    # An instruction that does nothing hides from the compiler where these pointers come from: it would make one pointer a row,
    # more than there are registers for.
    hidden = ir.InlineAsm(ir.FunctionType(pointer, [pointer]), "", "=r,0")

    def at(place: Any, *offsets: Any) -> Any:
        for offset in offsets:
            place = builder.gep(place, [offset])
        return place

    def times(value: Any, factor: int) -> Any:
        return builder.mul(value, ir.Constant(index, factor))

    def vectors(place: Any) -> list[Any]:
        return [
            builder.bitcast(at(place, ir.Constant(index, j)), vector.as_pointer()) for j in range(0, columns, lanes)
        ]

    def load(place: Any) -> Any:
        value = builder.load(place)
        value.align = 4
        return value

    def follow(values: list[Any], origin: Any) -> list[Any]:
        phis = [builder.phi(value.type) for value in values]
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, origin)
        return phis

    def come_back(phis: list[Any], values: list[Any]) -> None:
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, builder.block)

    twice = times(row, 2)
    near = [[], [row], [twice]]
    far = [times(row, r) for r in bases]
    a_next, c_next, s_next = times(row, rows), times(c_row, rows), times(s_row, rows)
    builder.cbranch(builder.icmp_signed(">", count, zero), over_tiles, done)

    builder.position_at_end(over_tiles)
    tile = follow([zero, a, start, c], entry)
    sums = [load(p) for r in range(rows) for p in vectors(at(tile[2], times(s_row, r)))]
    builder.branch(over_taps)

    builder.position_at_end(over_taps)  # one place under the kernel
    tap = follow([zero, b, *sums], over_tiles)
    jump = builder.load(at(jumps, tap[0]))
    starts = [at(tile[1], jump, offset) for offset in far]
    builder.branch(over_depth)

    builder.position_at_end(
        over_depth
    )  # one input channel: load columns of b, spread a number of each row, multiply and add
    inner = follow([zero, *tap[1:], *starts], over_taps)
    k, b_k, sums, a_rows = inner[0], inner[1], inner[2 : 2 + len(sums)], inner[2 + len(sums) :]
    factors = [load(p) for p in vectors(b_k)]
    updated = []
    for r in range(rows):
        number = builder.load(at(a_rows[r // 3], *near[r % 3]))
        nothing, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        spread = builder.shuffle_vector(builder.insert_element(nothing, number, first), nothing, everywhere)
        for j, factor in enumerate(factors):
            product = builder.fmul(spread, factor, flags=("contract",))
            updated.append(builder.fadd(sums[r * len(factors) + j], product, flags=("contract",)))  # one instruction
    k_next, b_next = builder.add(k, one), at(b_k, b_step)
    come_back(inner, [k_next, b_next, *updated, *[builder.call(hidden, [at(place, step)]) for place in a_rows]])
    builder.cbranch(builder.icmp_signed("<", k_next, depth), over_depth, next_tap)

    builder.position_at_end(next_tap)
    t_next = builder.add(tap[0], one)
    come_back(tap, [t_next, b_next, *updated])
    builder.cbranch(builder.icmp_signed("<", t_next, taps), over_taps, next_tile)

    builder.position_at_end(next_tile)
    for r in range(rows):
        for j, place in enumerate(vectors(at(tile[3], times(c_row, r)))):
            builder.store(updated[r * len(factors) + j], place).align = 4
    i_next = builder.add(tile[0], one)
    come_back(tile, [i_next, at(tile[1], a_next), at(tile[2], s_next), at(tile[3], c_next)])
    builder.cbranch(builder.icmp_signed("<", i_next, count), over_tiles, done)

    builder.position_at_end(done)
    builder.ret_void()
    return function


def _compiled() -> Any:
    """Return ``_blocks_py`` as compiled code."""
    from llvmlite import ir
    from numba import njit, types
    from numba.core import cgutils
    from numba.extending import intrinsic

    def write(
        typingctx, kind, count, a, a0, row, step, jumps, j0, taps, depth, b, b0, b_step, start, s0, s_row, c, c0, c_row
    ):
        i = types.int64
        signature = types.void(i, i, a, i, i, i, jumps, i, i, i, b, i, i, start, i, i, c, i, i)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def address(position: int) -> Any:
                """Return where the array at this position begins, counted from the index that follows it."""
                kind = signature.args[position]
                data = cgutils.create_struct_proxy(kind)(context, builder, value=arguments[position]).data
                return builder.gep(data, [arguments[position + 1]])

            kind, count, _, _, row, step, _, _, taps, depth, _, _, b_step, _, _, s_row, _, _, c_row = arguments
            given = [count, address(2), row, step, address(6), taps, depth, address(10), b_step]
            given += [address(13), s_row, address(16), c_row]
            done = builder.append_basic_block("done")
            switch = builder.switch(kind, done)
            for columns, sizes in SIZES.items():
                for rows in sizes:
                    chosen = builder.append_basic_block(f"{rows}_{columns}")
                    switch.add_case(ir.Constant(ir.IntType(64), rows + 100 * columns), chosen)
                    builder.position_at_end(chosen)
                    builder.call(_write_block(builder.module, rows, columns), given)
                    builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, codegen

    apply: Any = intrinsic(write)

    def blocks(
        rows, columns, count, a, a0, row, step, jumps, j0, taps, depth, b, b0, b_step, start, s0, s_row, c, c0, c_row
    ):
        apply(
            rows + 100 * columns, count, a, a0, row, step, jumps, j0, taps, depth, b, b0, b_step,
            start, s0, s_row, c, c0, c_row,
        )  # fmt: skip

    return njit(nogil=True)(blocks)


DISABLED = numba.config.DISABLE_JIT  # type: ignore[attr-defined]
_blocks = _blocks_py if DISABLED else _compiled()


def _multiply_rows_py(
    total, columns, a, a0, row, step, jumps, j0, taps, depth, b, b0, b_step, start, s0, s_row, c, c0, c_row
):
    """Write any number of rows and 16 or 8 columns, in blocks as large as there are registers for."""
    if columns == 16:
        count = (total + ROWS - 1) // ROWS
        rows = total // count
        longer = total - count * rows
        r = longer * (rows + 1)
        _blocks(
            rows + 1, 16, longer, a, a0, row, step, jumps, j0, taps, depth, b, b0, b_step,
            start, s0, s_row, c, c0, c_row,
        )  # fmt: skip
        _blocks(
            rows, 16, count - longer, a, a0 + r * row, row, step, jumps, j0, taps, depth, b, b0, b_step,
            start, s0 + r * s_row, s_row, c, c0 + r * c_row, c_row,
        )  # fmt: skip
    else:
        r = 0
        for rows in (12, 8, 4, 2, 1):
            count = (total - r) // rows
            if rows == 12 and total % 12 == 4 and total > 4:
                count -= 1  # sixteen rows are better twice eight than twelve and four, which wait for their own sums
            if count > 0:
                _blocks(
                    rows, 8, count, a, a0 + r * row, row, step, jumps, j0, taps, depth, b, b0, b_step,
                    start, s0 + r * s_row, s_row, c, c0 + r * c_row, c_row,
                )  # fmt: skip
                r += count * rows


multiply_rows = _multiply_rows_py if DISABLED else numba.njit(nogil=True)(_multiply_rows_py)
