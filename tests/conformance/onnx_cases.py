"""The test cases that the ``onnx`` package brings along: which there are, what is in them, and why some are left out.

Three kinds. "node": one operator with random or hand-made numbers, built in memory when the module of the operator is
imported. "pytorch-converted" and "pytorch-operator": small graphs that PyTorch exported, with its numbers, on disk.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.test import loader

# The operators that a network for segmentation is made of. Upsample is what Resize was called before opset 10.
IN_SCOPE = (
    *("Conv", "ConvTranspose", "MaxPool", "MaxUnpool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
    *("BatchNormalization", "Resize", "Upsample", "Softmax", "LogSoftmax"),
    *("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"),
    *("Relu", "Sigmoid", "Concat", "Pad", "CenterCropPad", "ArgMax"),
)
# What else the graphs from PyTorch contain and minisegnet has.
AROUND = {
    *("Abs", "Add", "Constant", "Div", "Exp", "Gemm", "LeakyRelu", "MatMul", "Mul", "Neg", "Reshape", "Split"),
    *("Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze"),
}
AGAIN = "again as ONNX primitives"
WINDOWED = {"Conv", "ConvTranspose", "MaxPool", "AveragePool"}


@dataclass(frozen=True)
class Node:
    """One operator of a graph: the names of what it reads and writes, and its attributes as Python values."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A graph with the numbers that go in and the numbers that ONNX expects to come out.

    ``row`` is the line of the table that counts it: the operator of a node case, else the kind.
    """

    name: str
    kind: str
    row: str
    opset: int
    nodes: list[Node]
    shapes: dict[str, tuple[int, ...]] = field(repr=False)
    model: Any = field(repr=False)
    source: Any = field(repr=False)

    @property
    def operators(self) -> list[str]:
        """Return the operators in the order of the graph."""
        return [node.operator for node in self.nodes]

    def data(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return (inputs and weights, expected outputs) by name; those on disk are read now."""
        graph = self.model.graph
        weights = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
        names = [i.name for i in graph.input if i.name not in weights]
        if isinstance(self.source, Path):
            given, expected = (
                [_read(self.source / f"{which}_{i}.pb") for i in range(count)]
                for which, count in (("input", len(names)), ("output", len(graph.output)))
            )
        else:
            given, expected = self.source
        outputs = [o.name for o in graph.output]
        return weights | dict(zip(names, given, strict=True)), dict(zip(outputs, expected, strict=True))


def _read(path: Path) -> np.ndarray:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)


def _value(attribute: Any) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value.decode() if isinstance(value, bytes) else value


def _case(name: str, kind: str, row: str, model: Any, source: Any) -> Case:
    nodes = [
        Node(n.op_type, list(n.input), list(n.output), {a.name: _value(a) for a in n.attribute})
        for n in model.graph.node
    ]
    shapes = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in model.graph.input}
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    return Case(name.removeprefix("test_"), kind, row, opset, nodes, shapes, model, source)


def _modules() -> Iterator[str]:
    """Yield the modules of ``onnx`` that make a case of an operator in scope: all 200 would take half a minute."""
    folder = Path(importlib.import_module("onnx.backend.test.case.node").__path__[0])
    made = re.compile(r'make_node\(\s*"(' + "|".join(IN_SCOPE) + ')"')
    yield from sorted(p.stem for p in folder.glob("*.py") if made.search(p.read_text(encoding="utf-8")))


def _node_cases() -> Iterator[Case]:
    """Build the cases in memory. ONNX pools volumes with Python loops, for seconds, and we leave volumes out: zeros do."""
    from onnx.backend.test.case import node as node_cases
    from onnx.reference.ops import op_pool_common

    pool, state = op_pool_common.pool, np.random.get_state()  # noqa: NPY002 (ONNX seeds the global generator)

    def pool_without_volumes(
        padded: Any, x_shape: Any, kernel: Any, strides: Any, out_shape: Any, *rest: Any, **more: Any
    ):
        if len(out_shape) == 3:
            return np.zeros((*x_shape[:2], *out_shape), padded.dtype)
        return pool(padded, x_shape, kernel, strides, out_shape, *rest, **more)

    op_pool_common.pool = pool_without_volumes
    try:
        for module in _modules():
            importlib.import_module(f"{node_cases.__name__}.{module}")
    finally:
        op_pool_common.pool = pool
        np.random.set_state(state)  # noqa: NPY002
    operators: dict[str, str] = {}
    for test in list(node_cases._NodeTestCases):
        name, _, expanded = test.name.partition("_expanded")
        operator = operators[name] if expanded or name != test.name else test.model.graph.node[0].op_type
        operators[test.name] = operator
        if operator in IN_SCOPE:
            yield _case(test.name, "node", operator, test.model, test.data_sets[0])


def _graphs(kind: str) -> Iterator[Case]:
    for folder in sorted((Path(loader.DATA_DIR) / kind).glob("test_*")):
        case = _case(folder.name, kind, kind, onnx.load(folder / "model.onnx"), folder / "test_data_set_0")
        if kind == "pytorch-converted" or set(case.operators) & set(IN_SCOPE):
            yield case


@functools.cache
def all_cases() -> tuple[Case, ...]:
    """Return every case of the operators in scope, those that are left out too."""
    return (*_node_cases(), *_graphs("pytorch-converted"), *_graphs("pytorch-operator"))


@functools.cache
def cases_to_run() -> tuple[Case, ...]:
    """Return the cases without a reason to leave them out."""
    return tuple(c for c in all_cases() if not why_left_out(c))


def left_out() -> dict[str, Counter[str]]:
    """Return how many cases each row of the table leaves out for which reason."""
    counts: dict[str, Counter[str]] = {}
    for case in all_cases():
        if reason := why_left_out(case):
            counts.setdefault(case.row, Counter())[reason] += 1
    return counts


def why_left_out(case: Case) -> str | None:
    """Return what minisegnet (and PyTorch's functional interface) has no words for, or None: then the case is run."""
    if "_expanded" in case.name:
        return AGAIN
    missing = [op for op in case.operators if op not in {*IN_SCOPE, *AROUND}]
    if missing:
        return f"no {missing[0]}"
    for node in case.nodes:
        if node.operator in WINDOWED and any(len(case.shapes.get(name, ())) == 5 for name in node.inputs):
            return "3-D"
        if node.operator == "Resize" and (reason := _resize(node, case.data()[0])):
            return reason
    return None


def _resize(node: Node, values: dict[str, np.ndarray]) -> str | None:
    """Return what about a Resize is ONNX's alone: ``interpolate`` has three rules, nearest, nearest-exact and bilinear."""
    how = node.attributes
    mode, rule = how.get("mode", "nearest"), how.get("coordinate_transformation_mode", "half_pixel")
    nearest = how.get("nearest_mode", "round_prefer_floor")
    if mode == "cubic":
        return "cubic"
    if how.get("antialias"):
        return "antialias"
    if rule in ("tf_crop_and_resize", "half_pixel_symmetric"):
        return rule
    if mode == "nearest" and (rule, nearest) not in {
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_ceil"),
        ("half_pixel", "round_prefer_floor"),
    }:
        return "another rule of nearest"
    scales, policy = values.get(node.inputs[2]), how.get("keep_aspect_ratio_policy", "stretch")
    input_size = [values[node.inputs[0]].shape[axis] for axis in how.get("axes", (0, 1, 2, 3))]
    if policy != "stretch":
        ratio = (min if policy == "not_larger" else max)(values[node.inputs[3]] / input_size)
        if any(n * ratio != round(n * ratio) for n in input_size):  # ONNX keeps the ratio, interpolate(size=) does not
            return "fractional size"
    if (
        rule == "align_corners"
        and scales is not None
        and any(n * f % 1 for n, f in zip(input_size, scales, strict=True))
    ):
        return "fractional size"  # ONNX divides by the size before rounding, minus 1
    return None
