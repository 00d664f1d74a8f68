"""What the compiler made of the innermost loops: fused multiply-adds of whole vectors, and no register written to memory.

Skips where it cannot know: another kind of processor, or the compiler off. Instructions are read in the syntax that LLVM prints for
x86-64: ``vfmadd231ps`` is a fused multiply-add, ``ymm`` and ``zmm`` are registers of 8 and 16 floats, ``(%rsp)`` is the stack.
"""

import functools
import platform
import re

import numba
import numpy as np
import pytest

from minisegnet.kernels import numba_cpu_stream
from minisegnet.kernels.convolution import (
    numba_cpu_depthwise_pixels,
    numba_cpu_depthwise_planes,
    numba_cpu_tile,
    numba_cpu_winograd_product,
)
from minisegnet.kernels.convolution.numba_cpu_depthwise_vectors import AT_ONCE, MANY, VECTORS
from minisegnet.kernels.convolution.numba_cpu_tile import SIZES
from minisegnet.kernels.convolution.numba_cpu_winograd_tiles import (
    transform_gradient,
    transform_input,
    transform_output,
)

if numba.config.DISABLE_JIT:
    pytest.skip("the compiler is off (NUMBA_DISABLE_JIT)", allow_module_level=True)
if platform.machine().lower() not in ("x86_64", "amd64"):
    pytest.skip(f"reads the instructions of x86-64, not of {platform.machine()}", allow_module_level=True)

from llvmlite import binding

FEATURES = binding.get_host_cpu_features()
if not (FEATURES.get("fma") and FEATURES.get("avx2")):
    pytest.skip("this processor has no AVX2 or no fused multiply-add", allow_module_level=True)

FULL = [(max(rows), columns) for columns, rows in SIZES.items()]  # the blocks that do the work: 12 or 6 x 16, 12 x 8
PRODUCTS = [(6, 16), (12, 8)]  # Winograd's
LABEL = re.compile(r"^(\.?LBB\d+_\d+):")
VECTOR = re.compile(r"%[yz]mm\d")


def assembly(function, *arguments):
    """Return the assembly of a function, compiled for these arguments."""
    compiled = numba.njit(function)
    return compiled.inspect_asm(compiled.compile(tuple(numba.typeof(a) for a in arguments)) and compiled.signatures[0])


def body_of(text, name):
    """Return the lines of one function."""
    start = re.search(rf"^_?{name}:.*\n", text, flags=re.MULTILINE)
    assert start, f"there is no {name} in the generated code"
    lines = []
    for line in text[start.end() :].splitlines():
        if re.match(r"^[\w.]+:", line) and not LABEL.match(line):
            break  # the end of the function, or the next one
        lines.append(line.strip())
    return lines


def innermost_loops(lines):
    """Return the loops without a label or jump in between: from a label straight to the jump back to it."""
    label, start, loops = None, 0, []
    for i, line in enumerate(lines):
        found, jump = LABEL.match(line), re.match(r"j\w+\s+(\S+)", line)
        if found:
            label, start = found[1], i
        elif jump:
            if jump[1] == label:
                loops.append(lines[start : i + 1])
            label = None
    return loops


def touches_the_stack(line, lines):
    """Return whether an instruction reads or writes the stack; ``rbp`` points there only where a function makes it do so."""
    has_frame = any(re.match(r"movq\s+%rsp, %rbp", other) for other in lines)
    return "(%rsp" in line or (has_frame and "(%rbp" in line)


def check_block(text, name, rows, columns):
    """Fail unless the loops that multiply do so with whole vectors in registers; the compiler may have unrolled them."""
    lines = body_of(text, name)
    loops = [loop for loop in innermost_loops(lines) if any("vfmadd" in line for line in loop)]
    assert loops
    for loop in loops:
        products = [line for line in loop if line.startswith("vfmadd")]
        lanes = 16 if all("%zmm" in line for line in products) else 8
        assert len(products) % (rows * columns // lanes) == 0
        assert all(VECTOR.search(line) for line in products)
        assert not [line for line in loop if re.match(r"v(mul|add)[ps]s", line)]  # nothing is multiplied or added apart
        spills = [line for line in loop if touches_the_stack(line, lines)]
        assert not spills, f"{name} has not enough registers: {spills}"


# Below, every size is one and the same number n, unknown to the compiler: it would fit the code to sizes that it knows.


def multiply_rows(n, a, jumps, b):
    numba_cpu_tile.multiply_rows(n, n, a, n, n, n, jumps, n, n, n, b, n, n, b, n, n, a, n, n)


def multiply_panels(n, a, b):
    numba_cpu_winograd_product.wide_product(n, a, n, n, n, n, b, n, a, n, n)
    numba_cpu_winograd_product.narrow_product(n, a, n, n, n, n, b, n, a, n, n)
    numba_cpu_winograd_product.add_wide_product(n, a, n, n, n, n, b, n, a, n, n)
    numba_cpu_winograd_product.add_narrow_product(n, a, n, n, n, n, b, n, a, n, n)


def transform(n, a, b):
    transform_input(n, a, n, n, n, b, n, n, n)
    transform_gradient(n, a, n, n, n, b, n, n, n)


def transform_back(n, a, b, floor):
    transform_output(n, a, n, n, n, b, n, n, n, a, floor)


floats, integers = np.zeros(1, np.float32), np.zeros(1, np.int64)


@functools.cache
def code_of_products():
    return assembly(multiply_panels, 1, floats, floats)


@functools.cache
def code_of_blocks():
    return assembly(multiply_rows, 1, floats, integers, floats)


@pytest.mark.parametrize(("rows", "columns"), FULL)
def test_the_register_block_stays_in_registers(rows, columns):
    check_block(code_of_blocks(), f"minisegnet_block_{rows}_{columns}", rows, columns)


@pytest.mark.parametrize("adds", ["", "_added"])
@pytest.mark.parametrize(("rows", "columns"), PRODUCTS)
def test_winograds_products_stay_in_registers(rows, columns, adds):
    check_block(code_of_products(), f"minisegnet_product_{rows}_{columns}{adds}", rows, columns)


def test_the_check_sees_a_block_that_is_too_wide():
    """Eight rows of sixteen columns need more than sixteen registers; with 32 of them (AVX-512) they would fit."""
    if FEATURES.get("avx512f"):
        pytest.skip("this processor has 32 vector registers")
    product = numba_cpu_winograd_product._product(8, 16, False)

    def too_wide(n, a, b):
        product(n, a, n, n, n, n, b, n, a, n, n)

    with pytest.raises(AssertionError, match="has not enough registers"):
        check_block(assembly(too_wide, 1, floats, floats), "minisegnet_product_8_16", 8, 16)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(transform, (1, floats, floats)), (transform_back, (1, floats, floats, np.float32(0)))],
)
def test_winograds_transforms_are_vectors(function, arguments):
    """Each computes whole vectors, and the last few channels one by one with the same instructions."""
    text = assembly(function, *arguments)
    names = re.findall(r"^_?(minisegnet_square_\w+):", text, flags=re.MULTILINE)
    assert names
    for name in names:
        arithmetic = [line for line in body_of(text, name) if re.match(r"v(fn?m(add|sub)\d+|add|sub|mul)[ps]s", line)]
        vectors = [line for line in arithmetic if VECTOR.search(line)]
        assert any("fmadd" in line for line in vectors)
        assert 0.3 < len(vectors) / len(arithmetic) < 0.7, (len(vectors), len(arithmetic))


def slide_over_pixels(n, a, lines, floor):
    numba_cpu_depthwise_pixels.slide(n, n, n, n, n, n, a, lines, a, n, a, floor, a, n, n)


def slide_over_planes(n, a, lines, floor):
    numba_cpu_depthwise_planes.slide(n, n, n, n, a, lines, a, a, n, floor, a, n, n)


def meet_pixels(n, a, lines, floor):
    numba_cpu_depthwise_pixels.meet(n, n, n, n, n, n, n, a, lines, a, n, a, n, n, a)


def meet_planes(n, a, lines, floor):
    numba_cpu_depthwise_planes.meet(n, n, n, n, a, lines, a, a, n, n, a)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (slide_over_pixels, "pixels_slide_{}4010"),
        (slide_over_planes, "planes_slide_{}4010"),
        (meet_pixels, "pixels_meet_{}4" + f"{AT_ONCE[0]}10"),
        (meet_planes, "planes_meet_{}4010"),
    ],
)
def test_depthwise_sums_stay_in_registers(function, name):
    """Nine products a number and row, each one instruction; no vector is put down on the way."""
    text = assembly(function, 1, floats, integers, np.float32(0))
    lines = body_of(text, "minisegnet_" + name.format(VECTORS[0]))
    assert len([line for line in lines if line.startswith("vfmadd")]) >= 9 * MANY - 3
    assert not [line for line in lines if re.match(r"v(mul|add)[ps]s", line)]  # nothing is multiplied or added apart
    spills = [line for line in lines if VECTOR.search(line) and touches_the_stack(line, lines)]
    assert not spills, spills


def test_streamed_rows_go_past_the_cache():
    def write(row, output):
        numba_cpu_stream.stream(row, output, 0)
        numba_cpu_stream.stream_end()

    row = np.zeros(64, np.float32)
    text = assembly(write, row, row)
    assert re.search(r"v?movntps\s+%[yz]mm", text)
    assert re.search(r"mfence|lock", text), "another thread might read before it is there"
