"""``model.summary(input_shape)``: what each layer does to the size, and what it costs.

One convention, everywhere: a multiply-accumulate (MAC) is one multiplication and one addition. Papers that print FLOPs
mostly count two for each.

Nothing heavy is computed: for the time of the summary, the convolution kernels are replaced by ones that only return an
array of the right shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import Tensor, no_grad
from ..backend import use_kernels
from ..kernels import contract
from .layers import Conv2d, ConvTranspose2d, Linear
from .module import Module


@dataclass
class Row:
    """One layer: its place in the tree, its kind, the shape it returns, and its costs."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_accumulates: int
    activation_bytes: int


class Summary:
    """The rows of a model and their sums; prints as a table, and shows as one in a notebook."""

    def __init__(self, title: str, input_shape: tuple[int, ...], rows: list[Row], parameters: int):
        self.title, self.input_shape, self.rows, self.parameters = title, input_shape, rows, parameters

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of what the model returns."""
        return self.rows[-1].output_shape if self.rows else self.input_shape

    @property
    def multiply_accumulates(self) -> int:
        """Multiply-accumulates of one forward pass."""
        return sum(row.multiply_accumulates for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all layers' outputs together: about what training keeps for the backward pass."""
        return sum(row.activation_bytes for row in self.rows)

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.name,
                row.kind,
                " x ".join(map(str, row.output_shape)),
                f"{row.parameters:,}",
                f"{row.multiply_accumulates:,}",
                f"{row.activation_bytes / 2**20:.2f}",
            )
            for row in self.rows
        ]

    HEAD = ("layer", "kind", "output", "parameters", "multiply-accumulates", "MiB")

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
    """Run the model once without computing its convolutions, and write down what each layer returned."""
    shape = tuple(input_shape) if len(input_shape) != 3 else (1, *input_shape)
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    rows: list[Row] = []
    leaves = [(name, module) for name, module in model.named_modules() if not module._modules]
    removers = [module.register_forward_hook(_watcher(name, rows)) for name, module in leaves]
    modes = [(module, module.training) for module in model.modules()]
    try:
        with (
            no_grad(),
            use_kernels(**{name: _shape_only(name) for name in contract.KERNELS if name.startswith("conv2d")}),
        ):
            model.eval()
            model(Tensor(np.zeros(shape, dtype)))
    finally:
        for remove in removers:
            remove()
        for module, training in modes:
            object.__setattr__(module, "training", training)
    return Summary(type(model).__name__, shape, rows, sum(p.data.size for p in model.parameters()))


def _watcher(name: str, rows: list[Row]) -> Any:
    def watch(module: Module, inputs: tuple, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        rows.append(
            Row(
                name,
                type(module).__name__,
                tuple(first.shape),
                sum(p.data.size for p in module.parameters()),
                _multiply_accumulates(module, inputs[0], first),
                first.data.size * first.dtype.itemsize,
            )
        )

    return watch


def _multiply_accumulates(module: Module, input: Any, output: Any) -> int:
    """Return products per pixel times pixels; a transposed convolution stamps once for each *input* pixel."""
    if isinstance(module, Conv2d):
        return module.weight.data[0].size * output.data.size
    if isinstance(module, ConvTranspose2d):
        return module.weight.data[0].size * input.data.size
    if isinstance(module, Linear):
        return module.in_features * output.data.size
    return 0


def _shape_only(name: str) -> Any:
    """Return a kernel that computes nothing: zeros of the right shape that take no memory."""

    def kernel(*args: Any, **kwargs: Any) -> np.ndarray:
        first = args[0] if args else next(iter(kwargs.values()))
        return np.broadcast_to(np.zeros((), first.dtype), contract.KERNELS[name].shapes(*args, **kwargs)[0])

    kernel.__signature__ = contract.KERNELS[name].signature  # type: ignore[attr-defined]
    return kernel
