"""``model.summary(input_shape)``: what each layer does to the size, and what it costs.

One convention, everywhere: a multiply-accumulate (MAC) is one multiplication and one addition. Papers that print FLOPs
mostly count two for each.

Everything is counted on the network's own graph (``trace``), also what a ``forward`` does outside of any layer, and nothing
is computed: a network of 250 million parameters is counted in the time that its Python takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..autograd import Node
from .layers import Linear
from .module import Module
from .receptive_field import effective_receptive_field, field_of
from .trace import Step, Trace, trace

VIEWS = ("Index", "Reshape", "Permute", "To")  # other views of the same memory


@dataclass
class Row:
    """One layer: its place in the tree, its kind, the shape it returns, its costs, and what one of its pixels sees.

    ``receptive_field`` is the number of image pixels along the height, the widest of neighbouring positions; infinite after global
    pooling. An operation outside of any layer (``cat``, a crop, a sum) has no name.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_accumulates: int
    activation_bytes: int
    receptive_field: float


class Summary:
    """The rows of a model and their sums; prints as a table, and shows as one in a notebook."""

    def __init__(self, model: Module, input_shape: tuple[int, ...], rows: list[Row], output_shape: tuple[int, ...]):
        self.title, self.input_shape, self.rows, self.output_shape = (
            type(model).__name__,
            input_shape,
            rows,
            output_shape,
        )
        self.parameters = sum(p.data.size for p in model.parameters())
        self._model = model

    @property
    def multiply_accumulates(self) -> int:
        """Multiply-accumulates of one forward pass."""
        return sum(row.multiply_accumulates for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all layers' outputs together: about what training keeps for the backward pass."""
        return sum(row.activation_bytes for row in self.rows)

    @property
    def receptive_field(self) -> float:
        """Image pixels along the height that one output pixel can see, by arithmetic."""
        return self.rows[-1].receptive_field if self.rows else 1

    def effective_receptive_field(
        self, samples: int = 8, pixel: tuple[int, int] | None = None, seed: int = 0
    ) -> np.ndarray:
        """Return how much each image pixel does matter for one output pixel, (H, W), by gradients."""
        return effective_receptive_field(self._model, self.input_shape[-3:], samples, pixel, seed)

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.name,
                row.kind,
                " x ".join(map(str, row.output_shape)),
                f"{row.parameters:,}",
                f"{row.multiply_accumulates:,}",
                f"{row.activation_bytes / 2**20:.2f}",
                "all" if row.receptive_field == float("inf") else str(row.receptive_field),
            )
            for row in self.rows
        ]

    HEAD = ("layer", "kind", "output", "parameters", "multiply-accumulates", "MiB", "sees")

    def _total(self) -> str:
        return (
            f"{self.parameters:,} parameters, {self.multiply_accumulates:,} multiply-accumulates, "
            f"{self.activation_bytes / 2**20:.1f} MiB of activations for an input of {' x '.join(map(str, self.input_shape))}"
        )

    def __str__(self) -> str:
        table = [self.HEAD, *self._cells()]
        widths = [max(len(line[i]) for line in table) for i in range(len(self.HEAD))]
        lines = []
        for line in table:
            left = [cell.ljust(width) for cell, width in zip(line[:3], widths, strict=False)]
            right = [cell.rjust(width) for cell, width in zip(line[3:], widths[3:], strict=True)]
            lines.append("  ".join(left + right).rstrip())
        lines.insert(1, "-" * len(lines[0]))
        return "\n".join([self.title, *lines, self._total()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from html import escape

        def line(cells: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(
                f'<{tag} style="text-align:{"left" if i < 3 else "right"}">{escape(c)}</{tag}>' for i, c in enumerate(cells)
            ) + "</tr>"  # fmt: skip

        body = "".join(line(cells, "td") for cells in self._cells())
        return f"<table><caption>{escape(self.title)}</caption>{line(self.HEAD, 'th')}{body}</table><p>{escape(self._total())}</p>"


def summarize(model: Module, input_shape: tuple[int, ...]) -> Summary:
    """Trace the model once and write down what each layer returns, costs and sees."""
    shape = tuple(input_shape) if len(input_shape) != 3 else (1, *input_shape)
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(
            f"summary: input_shape must be (N, C, H, W) or (C, H, W), all positive, got {tuple(input_shape)}"
        )
    graph = trace(model, shape[1:])
    batch, traced = shape[0], graph.image.shape[0]
    rows = []
    for step, inside in _in_order(graph):
        output, module = step.output, step.module
        output_shape = _batched(output.shape, batch, traced)
        elements = math.prod(output_shape)
        costs = sum(_multiply_accumulates(node, graph, batch, traced) for node in inside)
        if isinstance(module, Linear):
            costs = module.in_features * elements
        view = not inside or all(node.function.__name__ in VIEWS for node in inside)
        rows.append(
            Row(
                step.name,
                inside[-1].function.__name__ if module is None else type(module).__name__,
                output_shape,
                0 if module is None else sum(p.data.size for p in module.parameters()),
                costs,
                0 if view else elements * output.dtype.itemsize,
                field_of(graph, output).size,
            )
        )
    return Summary(model, shape, rows, _batched(graph.output.shape, batch, traced))


def _batched(shape: tuple[int, ...], batch: int, traced: int) -> tuple[int, ...]:
    """Put the batch back where the trace had none."""
    return (batch, *shape[1:]) if shape and shape[0] == traced else tuple(shape)


def _in_order(graph: Trace) -> list[tuple[Step, list[Node]]]:
    """Return layers with their nodes, and each node outside of any layer by itself, in the order in which they ran."""
    inside: list[list[Node]] = [[n for n in graph.nodes if step.first < n.number < step.last] for step in graph.steps]
    taken = {node.number for nodes in inside for node in nodes}
    parts = list(zip(graph.steps, inside, strict=True))
    for node in graph.nodes:
        if node.number not in taken:
            parts.append((Step("", None, node.number, node.number, graph.outputs[node.number]), [node]))
    return sorted(parts, key=lambda part: part[0].first)


def _multiply_accumulates(node: Node, graph: Trace, batch: int, traced: int) -> int:
    """Return products per pixel times pixels; a transposed convolution stamps once for each *input* pixel."""
    kind, saved = node.function.__name__, node.context._saved or ()
    if kind == "Conv2d":
        return saved[1][0].size * math.prod(_batched(graph.outputs[node.number].shape, batch, traced))
    if kind == "ConvTranspose2d":
        return saved[1][0].size * math.prod(_batched(saved[0].shape, batch, traced))
    if kind == "MatMul":
        return saved[0].shape[-1] * math.prod(_batched(graph.outputs[node.number].shape, batch, traced))
    return 0
