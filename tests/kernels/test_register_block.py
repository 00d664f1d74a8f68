"""The register block and the rows of blocks made of it: compiled code against its plain twin, at every size and distance."""

import numpy as np
import pytest
from kernel_checks import run_python

from minisegnet.kernels.convolution import numba_cpu_tile


def operands(total, columns, taps, depth, row=3, step=2, b_step=None):
    """Return the arguments of ``multiply_rows`` with random numbers, and c in room that is longer than what is written."""
    rng, b_step = np.random.default_rng(total), b_step or columns
    jumps = np.arange(taps + 1) * 5 + 1
    a = rng.normal(size=4 + jumps.max() + total * row + depth * step).astype(np.float32)
    b = rng.normal(size=7 + taps * depth * b_step + columns).astype(np.float32)
    start = rng.normal(size=2 + columns + total * columns).astype(np.float32)
    c = np.full(3 + total * (columns + 1) + 20, 7, np.float32)
    return [a, 4, row, step, jumps, 1, taps, depth, b, 7, b_step, start, 2, columns, c, 3, columns + 1]


def expected(total, columns, arguments):
    arguments = [x.astype(np.float64) if getattr(x, "dtype", None) == np.float32 else x for x in arguments]
    numba_cpu_tile._blocks_py(total, columns, 1, *arguments)
    return arguments[14]


@pytest.mark.parametrize("columns", [8, 16])
def test_any_number_of_rows(columns):
    for total in range(1, 41):
        for taps, depth in ((1, 1), (3, 5), (2, 32)):
            arguments = operands(total, columns, taps, depth, b_step=columns + 2 * (total % 2))
            numba_cpu_tile.multiply_rows(total, columns, *arguments)
            untouched = [*arguments[:14], np.full_like(arguments[14], 7), *arguments[15:]]
            np.testing.assert_allclose(arguments[14], expected(total, columns, untouched), atol=1e-4)


def test_one_block_of_sixteen_columns():
    for rows in range(1, numba_cpu_tile.ROWS + 1):
        a, a0, row, step, jumps, _, taps, depth, b, b0, _, start, s0, s_row, c, c0, c_row = operands(rows, 16, 3, 4)
        exact = expected(
            rows,
            16,
            [a, a0, row, step, jumps, 0, taps, depth, b, b0, 16, start, s0, s_row, np.full_like(c, 7), c0, c_row],
        )
        numba_cpu_tile._blocks(
            rows, 16, 1, a, a0, row, step, jumps, 0, taps, depth, b, b0, 16, start, s0, s_row, c, c0, c_row
        )
        np.testing.assert_allclose(c, exact, atol=1e-4)


def test_blocks_for_a_processor_with_vectors_of_eight():
    """What serves where there is no AVX-512, also tested where there is."""
    run_python(
        "import test_register_block as t\n"
        "assert t.numba_cpu_tile.ROWS == 6\n"
        "t.test_any_number_of_rows(16)\n"
        "t.test_one_block_of_sixteen_columns()\n",
        NUMBA_CPU_NAME="generic",
        NUMBA_CPU_FEATURES="",
    )


def test_the_plain_twin_where_the_compiler_is_off():
    run_python(
        "import numba, test_register_block as t\n"
        "assert numba.config.DISABLE_JIT\n"
        "t.numba_cpu_tile.multiply_rows(17, 8, *t.operands(17, 8, 2, 3))\n"
        "t.test_one_block_of_sixteen_columns()\n",
        NUMBA_DISABLE_JIT="1",
    )
