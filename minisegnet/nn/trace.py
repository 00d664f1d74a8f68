"""What a network does, written down without computing it: every operation with its shapes, for any model.

The network runs once on a batch of *no* images, with kernels that only answer with shapes. The tape that this leaves is
the network's graph; ``summary`` reads the costs from it and ``receptive_field`` the way of each pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..arrays import to_device
from ..autograd import Function, Node, Tensor, _switched, enable_grad
from ..backend import shapes_only
from .module import Module


@dataclass
class Step:
    """A layer (a module without parts), or an operation outside of any layer: the nodes that it left, and its result."""

    name: str
    module: Module | None
    first: int
    last: int
    output: Any


@dataclass
class Trace:
    """One run: the tensor that stood for the image, the result, the layers in order, and all nodes of the tape."""

    image: Tensor
    output: Tensor
    steps: list[Step]
    nodes: list[Node]
    outputs: dict[int, Any]


class Call(NamedTuple):
    """One operation as it was asked for: what the tape keeps of it, and also the inputs and options that need no gradient."""

    function: type[Function]
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    outputs: tuple[Tensor, ...]


def calls(model: Module, image: Tensor) -> tuple[list[Call], Any]:
    """Run the model in evaluation mode on an image, by shapes alone; return every operation in order, and the output."""
    found: list[Call] = []

    def listen(*call: Any) -> None:
        found.append(Call(*call))

    with _evaluation(model), enable_grad(), shapes_only(), _switched("listener", listen):
        return found, model(image)


@contextmanager
def _evaluation(model: Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            object.__setattr__(module, "training", training)


def trace(model: Module, input_shape: tuple[int, int, int]) -> Trace:
    """Run the model in evaluation mode on an image of (C, H, W) that is not there, and return what happened.

    A batch of no images costs nothing. A network that reshapes to (N, -1) cannot tell that size from nothing: for it,
    one image is passed instead.
    """
    with _evaluation(model), enable_grad(), shapes_only():
        try:
            return _run(model, (0, *input_shape))
        except ValueError as error:
            if "reshape" not in str(error):
                raise
            return _run(model, (1, *input_shape))


def _run(model: Module, shape: tuple[int, ...]) -> Trace:
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    nothing = to_device(np.zeros(shape, dtype), model.device)
    image, steps, starts, removers = Tensor(nothing, requires_grad=True), [], {}, []
    for name, module in model.named_modules():
        if not module._modules:

            def begin(module: Module, inputs: tuple) -> None:
                starts[id(module)] = next(Node._numbers)

            def end(module: Module, inputs: tuple, output: Any, name: str = name) -> None:
                first = output[0] if isinstance(output, tuple) else output
                steps.append(Step(name, module, starts[id(module)], next(Node._numbers), first))

            removers += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        output = model(image)
    finally:
        for remove in removers:
            remove()
    last = output[-1] if isinstance(output, (tuple, list)) else output
    nodes, outputs = _graph([last, *(step.output for step in steps)])
    return Trace(image, last, steps, nodes, outputs)


def _graph(ends: list[Tensor]) -> tuple[list[Node], dict[int, Any]]:
    """Return every node that the ends came from, the oldest first, and for each node one tensor that it made."""
    found: dict[int, Node] = {}
    made: dict[int, Any] = {}
    todo = list(ends)
    while todo:
        tensor = todo.pop()
        node = tensor._node
        if node is None:
            continue
        made[node.number] = tensor if tensor._position == 0 else made.get(node.number, tensor)
        if node.number not in found:
            found[node.number] = node
            todo += [x for x in node.inputs if isinstance(x, Tensor)]
    return [found[number] for number in sorted(found)], made
