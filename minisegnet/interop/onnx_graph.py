"""A graph of ONNX being written: nodes, weights, and numbers that are computed from sizes while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import to_device
from ..autograd import unwrap
from .onnx_sizes import Constant, Formula, Formulas, Graph, Operation, Value


class Writer:
    """What the operations write to. ``names`` tells the ONNX name of each value, ``arrays`` holds the weights."""

    def __init__(self, onnx: Any, graph: Graph, weights: dict[int, str]):
        self.onnx, self.graph, self.weights = onnx, graph, weights
        self.dtype = np.dtype(graph.run.dtype)
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.names: dict[int, str] = {0: "image"}
        self.formulas = Formulas(graph)
        self.formulas.learn(0)
        self._computed: dict[Any, str] = {}
        self._kept: list[Any] = []  # an id means something only as long as its object lives

    def node(self, kind: str, inputs: Sequence[str], outputs: int | Sequence[str] = 1, **attributes: Any) -> Any:
        """Add a node; return the name of its output, or a list of names."""
        number = len(self.nodes)
        names = (
            [f"{kind}_{number}" + ("" if not i else f"_{i}") for i in range(outputs)]
            if isinstance(outputs, int)
            else outputs
        )
        made = self.onnx.helper.make_node(kind, list(inputs), list(names), name=f"{kind}_{number}", **attributes)
        self.nodes.append(made)
        return names[0] if len(names) == 1 else list(names)

    def array(self, value: Any, dtype: Any = None) -> str:
        """Return the name of a constant; a weight keeps its name in the state dict, and is stored once."""
        key = id(unwrap(value))
        if key in self._computed:
            return self._computed[key]
        array = np.asarray(to_device(unwrap(value), "cpu"), dtype=dtype)
        name = self.weights.get(key, f"constant_{len(self.arrays)}")
        self.arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
        self._computed[key] = name
        self._kept.append(unwrap(value))
        return name

    def integers(self, *numbers: int) -> str:
        """Return the name of a constant int64 array."""
        key = "integers", numbers
        if key not in self._computed:
            self._computed[key] = self.array(np.array(numbers, np.int64))
        return self._computed[key]

    def input(self, argument: Any, like: np.dtype | None = None) -> str:
        """Return the name of an operation's argument: a value, a constant, or a number (of the type ``like``)."""
        if isinstance(argument, Value):
            return self.names[argument.number]
        if isinstance(argument, Constant):
            return self.array(argument.tensor)
        return self.array(np.asarray(argument, like or np.float32))

    def size(self, formula: Formula) -> str:
        """Return the name of an int64 array of one number, computed from sizes while the graph runs."""
        if formula.first is None:
            return self.integers(formula.add)
        if formula not in self._computed:
            name = self._axis(formula.first)
            if formula.factor != 1:
                name = self.node("Mul", [name, self.integers(formula.factor)])
            if formula.second is not None:
                name = self.node("Add" if formula.sign > 0 else "Sub", [name, self._axis(formula.second)])
            if formula.add:
                name = self.node("Add", [name, self.integers(formula.add)])
            if formula.divisor != 1:
                name = self.node("Div", [name, self.integers(formula.divisor)])
            self._computed[formula] = name
        return self._computed[formula]

    def _axis(self, place: tuple[int, int]) -> str:
        key = "axis", place
        if key not in self._computed:
            value, axis = place
            self._computed[key] = self.node("Shape", [self.names[value]], start=axis, end=axis + 1)
        return self._computed[key]

    def sizes(self, formulas: Sequence[Formula]) -> str:
        """Return the name of an int64 array of numbers."""
        if all(f.first is None for f in formulas):
            return self.integers(*(f.add for f in formulas))
        return self.node("Concat", [self.size(f) for f in formulas], axis=0)

    def find(self, numbers: Sequence[int | None], operation: Operation, what: str) -> Formula:
        """Return the formula for what an operation was given in each run, or raise a ValueError that names both."""
        formula = self.formulas.find(numbers)
        if formula is None:
            known = [n for n in numbers if n is not None]
            raise ValueError(
                f"export_onnx: {what} of {operation.name} changes with the size of the image, {known[:6]} ..., and is no size "
                "of a tensor before it, nor a multiple or half of one. Export it for one size: dynamic_size=False"
            )
        return formula
