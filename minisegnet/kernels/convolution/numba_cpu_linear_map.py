"""A small constant matrix times rows of numbers, as vector code: what Winograd's transforms are made of.

    linear_map:  b[i, c]    = sum over j of matrix[i][j] * a[j, c]
    square_map:  b[i, j, c] = sum over k, l of matrix[i][k] * a[k, l, c] * matrix[j][l], the same for rows and columns

Both write the loop over c in the compiler's own language (LLVM), eight numbers at a time, with the matrix's numbers as
constants: nothing is looked at twice, and, unlike the compiler looking at a loop over a dozen arrays, they need not ask
whether these overlap. Winograd's matrices come in pairs of rows, or of columns, that differ in signs only; ``multiply``
computes what a pair has in common once, which halves the work (B^T d takes 12 operations instead of 22).
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numba

from .numba_cpu_tile import LANES

Matrix = Sequence[Sequence[float]]


class Arithmetic(NamedTuple):
    """What ``multiply`` needs to know of numbers: they may be NumPy's, or names of vectors in code that is being written."""

    add: Callable[[Any, Any], Any]
    subtract: Callable[[Any, Any], Any]
    times: Callable[[float, Any], Any]
    times_and_add: Callable[[float, Any, Any], Any]


PLAIN = Arithmetic(
    lambda x, y: x + y, lambda x, y: x - y, lambda f, x: type(x)(f) * x, lambda f, x, y: type(x)(f) * x + y
)


def multiply(matrix: Matrix, numbers: Sequence[Any], do: Arithmetic = PLAIN) -> list[Any]:
    """Return matrix @ numbers."""
    rows, numbers = [list(row) for row in matrix], list(numbers)
    for p, q in combinations(range(len(numbers)), 2):
        if _differ_in_signs([row[p] for row in rows], [row[q] for row in rows]):
            numbers[p], numbers[q] = do.add(numbers[p], numbers[q]), do.subtract(numbers[p], numbers[q])
            for row in rows:
                row[p], row[q] = (row[p], 0) if row[p] == row[q] else (0, row[p])

    def plus(total: Any, factor: float, number: Any) -> Any:
        if abs(factor) == 1:
            return (do.add if factor > 0 else do.subtract)(total, number)
        return do.times_and_add(factor, number, total)

    def weighted(factors: Sequence[float]) -> tuple[float, Any]:
        """Return a factor and a number; their product is the sum."""
        terms = [(f, number) for f, number in zip(factors, numbers, strict=True) if f]
        common = max(f for f, _ in terms) if len({abs(f) for f, _ in terms}) == 1 else 1
        terms = sorted(((f / common, number) for f, number in terms), key=lambda term: term[0] != 1)
        total = terms[0][1] if terms[0][0] == 1 else do.times(*terms[0])
        for factor, number in terms[1:]:
            total = plus(total, factor, number)
        return common, total

    def whole(factor: float, number: Any) -> Any:
        return number if factor == 1 else do.times(factor, number)

    results: dict[int, Any] = {}
    for p, q in combinations(range(len(rows)), 2):
        if _differ_in_signs(rows[p], rows[q]):
            even = whole(*weighted([x if x == y else 0 for x, y in zip(rows[p], rows[q], strict=True)]))
            factor, odd = weighted([x if x != y else 0 for x, y in zip(rows[p], rows[q], strict=True)])
            results[p], results[q] = plus(even, factor, odd), plus(even, -factor, odd)
    return [results[i] if i in results else whole(*weighted(row)) for i, row in enumerate(rows)]


def _differ_in_signs(x: Sequence[float], y: Sequence[float]) -> bool:
    """Return whether some numbers are equal, others negated, and nothing else."""
    signs = {a == b for a, b in zip(x, y, strict=True) if a}
    return len(signs) == 2 and all(abs(a) == abs(b) for a, b in zip(x, y, strict=True))


def linear_map(matrix: Matrix) -> Any:
    """Return ``f(count, a, a0, a_row, b, b0, b_row)`` for c < count. Flat float32 arrays; what is read is not written.

    Row j of ``a`` begins at a[a0 + j * a_row], row i of ``b`` at b[b0 + i * b_row].
    """

    def plain(count, a, a0, a_row, b, b0, b_row):
        for c in range(count):
            numbers = [a[a0 + j * a_row + c] for j in range(len(matrix[0]))]
            for i, value in enumerate(multiply(matrix, numbers)):
                b[b0 + i * b_row + c] = value

    def write(code: _Code, arguments: Sequence[Any], c: Any) -> None:
        _, a, a_row, b, b_row = arguments
        numbers = [code.load(a, (c, 1), (a_row, j)) for j in range(len(matrix[0]))]
        for i, value in enumerate(multiply(matrix, numbers, code.arithmetic)):
            code.store(value, b, (c, 1), (b_row, i))

    return _function("count, a, a0, a_row, b, b0, b_row", plain, write, ("linear", matrix))


def square_map(matrix: Matrix, finish: bool = False) -> Any:
    """Return ``f(count, a, a0, a_row, a_column, b, b0, b_row, b_column)``; with ``finish`` also ``(..., start, floor)``.

    a[i, j] begins at a[a0 + i * a_row + j * a_column], and so does b. To each number of ``b`` start[c] is added, and what is
    then not above ``floor``, a float32, becomes ``floor`` (a NaN stays one).
    """
    taken, given = len(matrix[0]), len(matrix)
    last = [(*row, 1) for row in matrix] if finish else matrix  # the start is one more number, times one

    def plain(count, a, a0, a_row, a_column, b, b0, b_row, b_column, start=None, floor=None):
        for c in range(count):
            half = [
                multiply(matrix, [a[a0 + c + i * a_row + j * a_column] for i in range(taken)]) for j in range(taken)
            ]
            for i in range(given):
                row = multiply(last, [column[i] for column in half] + ([start[c]] if finish else []))
                for j, value in enumerate(row):
                    b[b0 + c + i * b_row + j * b_column] = floor if finish and value <= floor else value

    def write(code: _Code, arguments: Sequence[Any], c: Any) -> None:
        _, a, a_row, a_column, b, b_row, b_column = arguments[:7]
        half = code.room(taken * given)  # column by column, in the innermost cache: more than there are registers for

        def column(j: Any) -> None:
            numbers = [code.load(a, (c, 1), (a_column, j), (a_row, i)) for i in range(taken)]
            for i, value in enumerate(multiply(matrix, numbers, code.arithmetic)):
                code.store(value, half, (j, given * code.width), (code.index(i), code.width))

        def row(i: Any) -> None:
            numbers = [code.load(half, (i, code.width), (code.index(j), given * code.width)) for j in range(taken)]
            numbers += [code.load(arguments[7], (c, 1))] if finish else []
            for j, value in enumerate(multiply(last, numbers, code.arithmetic)):
                code.store(code.above(value, arguments[8]) if finish else value, b, (c, 1), (b_row, i), (b_column, j))

        code.over(0, code.index(taken), 1, column)
        code.over(0, code.index(given), 1, row)

    names = "count, a, a0, a_row, a_column, b, b0, b_row, b_column" + (", start, floor" if finish else "")
    return _function(names, plain, write, ("square", matrix, finish))


class _Code:
    """The code of one loop's body that is being written: for vectors of eight numbers, or for one at a time."""

    def __init__(self, builder: Any, width: int):
        from llvmlite import ir

        self.builder, self.width, self.ir = builder, width, ir
        self.kind = ir.FloatType() if width == 1 else ir.VectorType(ir.FloatType(), width)
        self.arithmetic = Arithmetic(builder.fadd, builder.fsub, self._times, self._times_and_add)

    def index(self, value: Any) -> Any:
        return self.ir.Constant(self.ir.IntType(64), value) if isinstance(value, int) else value

    def _constant(self, number: float) -> Any:
        return self.ir.Constant(self.kind, float(number) if self.width == 1 else [float(number)] * self.width)

    def _times(self, factor: float, number: Any) -> Any:
        return self.builder.fmul(number, self._constant(factor))

    def _times_and_add(self, factor: float, number: Any, total: Any) -> Any:
        """One instruction where the machine has it."""
        name = "llvm.fmuladd." + ("f32" if self.width == 1 else f"v{self.width}f32")
        known = self.builder.module.globals.get(name)
        fused = known or self.ir.Function(self.builder.module, self.ir.FunctionType(self.kind, [self.kind] * 3), name)
        return self.builder.call(fused, [number, self._constant(factor), total])

    def above(self, value: Any, floor: Any) -> Any:
        if self.width > 1:
            nothing, first = self.ir.Constant(self.kind, self.ir.Undefined), self.ir.Constant(self.ir.IntType(32), 0)
            spread = self.ir.Constant(self.ir.VectorType(self.ir.IntType(32), self.width), [0] * self.width)
            floor = self.builder.shuffle_vector(self.builder.insert_element(nothing, floor, first), nothing, spread)
        return self.builder.select(self.builder.fcmp_ordered("<=", value, floor), floor, value)

    def _place(self, base: Any, steps: Sequence[tuple[Any, Any]]) -> Any:
        for step, times in steps:
            base = self.builder.gep(base, [self.builder.mul(step, self.index(times))])
        return self.builder.bitcast(base, self.kind.as_pointer())

    def load(self, base: Any, *steps: tuple[Any, Any]) -> Any:
        value = self.builder.load(self._place(base, steps))
        value.align = 4
        return value

    def store(self, value: Any, base: Any, *steps: tuple[Any, Any]) -> None:
        self.builder.store(value, self._place(base, steps)).align = 4

    def room(self, count: int) -> Any:
        with self.builder.goto_entry_block():
            place = self.builder.alloca(self.kind, count)
            place.align = 4 * self.width
        return self.builder.bitcast(place, self.ir.FloatType().as_pointer())

    def over(self, first: Any, end: Any, step: int, body: Callable[[Any], None]) -> None:
        """For i from ``first`` while i < ``end``, by ``step``."""
        entry = self.builder.block
        head, inside, done = (self.builder.append_basic_block(name) for name in ("head", "inside", "done"))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        i = self.builder.phi(self.ir.IntType(64))
        i.add_incoming(self.index(first), entry)
        self.builder.cbranch(self.builder.icmp_signed("<", i, end), inside, done)
        self.builder.position_at_end(inside)
        body(i)
        i.add_incoming(self.builder.add(i, self.index(step)), self.builder.block)
        self.builder.branch(head)
        self.builder.position_at_end(done)


def _function(names: str, plain: Any, write: Callable[[_Code, Sequence[Any], Any], None], key: Any) -> Any:
    """Return ``plain``, or a function of the same parameters to be called in compiled code, whose loop ``write`` writes."""
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return plain

    def body(builder: Any, arguments: Sequence[Any]) -> None:
        code = _Code(builder, LANES)
        whole = builder.and_(arguments[0], code.index(-LANES))
        code.over(0, whole, LANES, lambda c: write(code, arguments, c))
        one = _Code(builder, 1)
        one.over(whole, arguments[0], 1, lambda c: write(one, arguments, c))

    return called_in_compiled_code(names, body, f"minisegnet_{key[0]}_{zlib.crc32(repr(key).encode()):x}")


def called_in_compiled_code(names: str, body: Callable[[Any, Sequence[Any]], None], title: str) -> Any:
    """Return a function for compiled code that takes integers, flat float32 arrays and a float32 ``floor``, in this order.

    ``names`` are its parameters; ``x0`` after an array ``x`` says where in it to begin. ``body(builder, arguments)`` writes it,
    once for each module (the others call it), with pointers in the place of arrays.
    """
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    parameters = names.split(", ")
    real, index = ir.FloatType(), ir.IntType(64)

    def is_array(name: str) -> bool:
        return f"{name}0" in parameters or name == "start"

    kept = [name for name in parameters if not name.endswith("0")]
    kinds = [real.as_pointer() if is_array(n) else real if n == "floor" else index for n in kept]

    def function(module: Any) -> Any:
        if title in module.globals:
            return module.globals[title]
        made = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), title)
        made.linkage = "internal"
        made.attributes.add("noinline")
        for argument in made.args:
            if argument.type == real.as_pointer():
                argument.add_attribute("noalias")
        builder = ir.IRBuilder(made.append_basic_block("entry"))
        body(builder, made.args)
        builder.ret_void()
        return made

    def typed(arguments: Sequence[Any]) -> Any:
        integers = [
            a if is_array(n) else types.float32 if n == "floor" else types.int64
            for n, a in zip(parameters, arguments, strict=True)
        ]
        return types.void(*integers), generate

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = dict(zip(parameters, arguments, strict=True))
        types_of = dict(zip(parameters, signature.args, strict=True))
        given = []
        for name in kept:
            value = values[name]
            if is_array(name):
                value = cgutils.create_struct_proxy(types_of[name])(context, builder, value=value).data
                value = builder.gep(value, [values[f"{name}0"]]) if f"{name}0" in values else value
            given.append(value)
        builder.call(function(builder.module), given)
        return context.get_dummy_value()

    def apply(typingctx: Any, *arguments: Any) -> Any:
        return typed(arguments)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD  # Numba matches arguments with names
    apply.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in ("typingctx", *parameters)])  # type: ignore[attr-defined]
    return intrinsic(apply)
