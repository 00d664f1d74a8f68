"""What the loops of depthwise 3x3 convolutions are written with, in the compiler's own language (LLVM).

Numba would ask of each pair of rows whether they overlap in memory, and give up. A ``Writer`` writes one function of the module:
it loads vectors, multiplies and adds them, and knows how to walk over pixels and vectors. ``chosen`` makes a family of such
functions one that Numba can call, by number. The loops: ``numba_cpu_depthwise_pixels.py`` and ``..._planes.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..numba_cpu_vectors import WIDE

VECTORS = (16, 8) if WIDE == 16 else (8,)  # floats a vector, the larger first
MANY = 4  # rows of the output that the loops walk along together
AT_ONCE = (2, 1) if WIDE == 16 else (1,)  # pixels of each row that the gradient of the weight takes together


class Writer:
    """Writes one function; vectors have ``lanes`` floats."""

    def __init__(self, module: Any, name: str, lanes: int, kinds: str):
        """Begin the function; ``kinds`` of its arguments: n for a number, p for a pointer to floats, l for lines, f for a float."""
        from llvmlite import ir

        index, real = ir.IntType(64), ir.FloatType()
        types = {"n": index, "p": real.as_pointer(), "l": index.as_pointer(), "f": real}
        self.ir, self.index, self.lanes, self.vector = ir, index, lanes, ir.VectorType(real, lanes)
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), [types[kind] for kind in kinds]), name)
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        self.builder = ir.IRBuilder(self.block("entry"))
        self.zero = ir.Constant(self.vector, None)

    def block(self, name: str) -> Any:
        """Return a new block of the function."""
        return self.function.append_basic_block(name)

    def at(self, place: Any, *offsets: Any) -> Any:
        """Return a pointer, so many floats further on."""
        for offset in offsets:
            place = self.builder.gep(place, [self.index(offset) if isinstance(offset, int) else offset])
        return place

    def load(self, place: Any) -> Any:
        """Return the vector that begins at a pointer."""
        value = self.builder.load(self.builder.bitcast(place, self.vector.as_pointer()))
        value.align = 4
        return value

    def store(self, value: Any, place: Any) -> None:
        """Write a vector to where a pointer points."""
        self.builder.store(value, self.builder.bitcast(place, self.vector.as_pointer())).align = 4

    def mixed(self, one: Any, two: Any, lanes: Sequence[int]) -> Any:
        """Return a vector of numbers from two: lanes of ``one`` count from 0, those of ``two`` go on."""
        kind = self.ir.VectorType(self.ir.IntType(32), len(lanes))
        return self.builder.shuffle_vector(one, two, self.ir.Constant(kind, list(lanes)))

    def first(self, number: Any, kind: Any = None) -> Any:
        """Return a vector that begins with a number."""
        nothing = self.ir.Constant(kind or self.vector, self.ir.Undefined)
        return self.builder.insert_element(nothing, number, self.ir.IntType(32)(0))

    def spread(self, number: Any, kind: Any = None) -> Any:
        """Return a number in all lanes."""
        first = self.first(number, kind)
        return self.mixed(first, first, [0] * self.lanes)

    def plus(self, total: Any, a: Any, b: Any) -> Any:
        """Return total + a b, or a b for a total that is None."""
        product = self.builder.fmul(a, b, flags=("contract",))
        return product if total is None else self.builder.fadd(total, product, flags=("contract",))

    def least(self, total: Any, floor: Any) -> Any:
        """Return the larger of two vectors' numbers; a NaN stays one."""
        return self.builder.select(self.builder.fcmp_ordered("<=", total, floor), floor, total)

    def lines(self, flat: Any, lines: Any, count: int, zeros: Any) -> list[Any]:
        """Return pointers to the rows that ``lines`` names: below 0 it is the line of zeros."""
        made = []
        for i in range(count):
            line = self.builder.load(self.at(lines, i))
            there = self.builder.icmp_signed(">=", line, self.index(0))
            made.append(self.builder.select(there, self.at(flat, line), zeros))
        return made

    def rows(self, first: Any, row: Any, count: int) -> list[Any]:
        """Return pointers to so many rows, ``row`` floats apart."""
        return [self.at(first, self.builder.mul(row, self.index(r))) for r in range(count)]

    def phi(self, value: Any, origin: Any) -> Any:
        """Return what is ``value`` where the code comes from block ``origin``; the others are added later."""
        phi = self.builder.phi(value.type)
        phi.add_incoming(value, origin)
        return phi


def chosen(table: dict[int, tuple[Any, ...]], prefix: str, order: Sequence[Any]) -> Callable[..., Any]:
    """Return code for a Numba intrinsic whose argument 0 is the number of a function in ``table``: (writer, *options).

    ``order`` : which of the intrinsic's arguments the function takes; a pair is an array and the index where it begins.
    """
    from llvmlite import ir
    from numba.core import cgutils

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def given(position: Any) -> Any:
            if isinstance(position, int):
                return arguments[position]
            array, *place = position
            data = cgutils.create_struct_proxy(signature.args[array])(context, builder, value=arguments[array]).data
            return builder.gep(data, [arguments[i] for i in place]) if place else data

        values, done = [given(position) for position in order], builder.append_basic_block("done")
        switch = builder.switch(arguments[0], done)
        for number, (write, *options) in table.items():
            block, name = builder.append_basic_block(f"{prefix}_{number}"), f"minisegnet_{prefix}_{number}"
            switch.add_case(ir.Constant(ir.IntType(64), number), block)
            builder.position_at_end(block)
            known = builder.module.globals
            builder.call(known[name] if name in known else write(builder.module, name, *options), values)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return generate
