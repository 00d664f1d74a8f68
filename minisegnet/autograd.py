"""The tape: ``Tensor``, ``Function``, ``no_grad``, and nothing else.

A ``Tensor`` is an array that remembers how it was made. Every operation is a ``Function``: ``forward`` computes,
and leaves a ``Node`` on the result; ``backward`` turns the gradient of the result into the gradients of the inputs.
``Tensor.backward`` walks the nodes from the last to the first and *adds up* what arrives (the multivariate chain rule).

This is reverse-mode automatic differentiation (Baydin et al., 2018, section 3.2) with PyTorch's names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


class _GradMode(threading.local):
    """Whether this thread records; each thread has its own, so that a monitor cannot switch off the training tape."""

    enabled = True
    anomaly = False


_mode = _GradMode()


def is_grad_enabled() -> bool:
    """Return whether operations of this thread are being recorded."""
    return _mode.enabled


class _Switch:
    """A context manager and decorator that sets one flag of this thread, and restores it."""

    flag, value = "enabled", True

    def __enter__(self) -> None:
        self.__dict__.setdefault("_before", []).append(getattr(_mode, self.flag))
        setattr(_mode, self.flag, self.value)

    def __exit__(self, *_: object) -> None:
        setattr(_mode, self.flag, self.__dict__["_before"].pop())

    def __call__(self, function: Callable) -> Callable:
        from functools import wraps

        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapper


class no_grad(_Switch):  # noqa: N801 (PyTorch's name)
    """``with no_grad():`` nothing is recorded in this thread, which saves memory; also a decorator."""

    value = False


class enable_grad(_Switch):  # noqa: N801
    """``with enable_grad():`` recording is on again, inside a ``no_grad`` block."""


class detect_anomaly(_Switch):  # noqa: N801
    """``with detect_anomaly():`` stop at the first operation whose result or gradient is not finite, and name it."""

    flag = "anomaly"


def unwrap(value: Any) -> Any:
    """Return the array of a Tensor, anything else as it is."""
    return value.data if isinstance(value, Tensor) else value


def _fingerprint(array: Any) -> bytes:
    """Return the bytes of up to 5 samples an axis (the last included): cheap, and a changed array rarely keeps them."""
    axes = tuple(slice(None, None, -(n // 4)) if n >= 4 else slice(None) for n in array.shape)
    return array[axes].tobytes()


class Context:
    """What a ``forward`` keeps for its ``backward``: saved arrays, and any attribute it sets."""

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self._saved: tuple[Any, ...] | None = ()
        self._prints: list[bytes | None] = []

    def save_for_backward(self, *arrays: Any) -> None:
        """Keep arrays until backward has passed; a change in place in the meantime is detected."""
        self._saved = arrays
        self._prints = [_fingerprint(a) if hasattr(a, "tobytes") else None for a in arrays]

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The arrays given to ``save_for_backward``."""
        if self._saved is None:
            raise RuntimeError(
                "backward through this graph a second time: its saved arrays were freed by the first pass. "
                "Run the forward again, or call backward(retain_graph=True) the first time."
            )
        for array, before in zip(self._saved, self._prints, strict=True):
            if before is not None and _fingerprint(array) != before:
                raise RuntimeError(
                    f"an array of shape {array.shape} that backward needs was changed in place after the forward. "
                    "Write `y = x + 1` instead of `x.data += 1` between forward and backward, or change a copy."
                )
        return self._saved

    def free(self) -> None:
        """Drop the saved arrays."""
        self._saved, self._prints = None, []


class Node:
    """One recorded operation: the function, its context and the tensors it came from."""

    __slots__ = ("context", "function", "grads", "inputs")

    def __init__(self, function: type[Function], context: Context, inputs: tuple[Tensor | None, ...], outputs: int):
        self.function, self.context, self.inputs = function, context, inputs
        self.grads: list[Any] = [None] * outputs


class Function:
    """An operation with a derivative. Subclass it, write ``forward`` and ``backward``, call it by ``apply``.

    ``forward(ctx, *inputs, **options)`` gets arrays and returns an array or a tuple of arrays;
    ``backward(ctx, *grad_outputs)`` returns one gradient per input (``None`` where there is none).
    """

    @staticmethod
    def forward(ctx: Context, *inputs: Any, **options: Any) -> Any:
        """Compute the output arrays."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Any) -> Any:
        """Return the gradients with respect to the inputs of ``forward``."""
        raise NotImplementedError

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Any:
        """Run ``forward`` on the arrays inside ``inputs`` and, where recording is on, put a node on the tape."""
        context = Context()
        context.needs_input_grad = tuple(isinstance(x, Tensor) and x.requires_grad for x in inputs)
        record = _mode.enabled and any(context.needs_input_grad)
        result = cls.forward(context, *(unwrap(x) for x in inputs), **options)
        outputs = tuple(Tensor(r) for r in (result if isinstance(result, tuple) else (result,)))
        if _mode.anomaly:
            _require_finite((o.data for o in outputs), f"the result of {cls.__name__}")
        if record:
            kept = tuple(x if need else None for x, need in zip(inputs, context.needs_input_grad, strict=True))
            node = Node(cls, context, kept, len(outputs))
            for position, output in enumerate(outputs):
                if output.dtype.kind == "f":
                    output.requires_grad, output._node, output._position = True, node, position
        return outputs if isinstance(result, tuple) else outputs[0]


def _require_finite(arrays: Any, what: str) -> None:
    for array in arrays:
        if array is not None and array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
            raise FloatingPointError(f"{what} is not finite (NaN or infinity)")


class Tensor:
    """An array on the tape: ``data`` (NumPy or CuPy), ``grad`` (a Tensor, or None) and where it came from.

    Python numbers and lists become float32; arrays keep their type. Only floating-point tensors can require a gradient.
    Arithmetic, slicing and the rest are taught to this class by ``minisegnet.functional.arithmetic``.
    """

    __array_priority__ = 1000.0  # so that ndarray + Tensor asks the Tensor
    __slots__ = ("__weakref__", "_data", "_node", "_position", "grad", "name", "requires_grad")

    def __init__(self, data: Any, requires_grad: bool = False):
        data = unwrap(data)
        if not hasattr(data, "__array_function__"):
            data = np.asarray(data, dtype=np.float32)
        elif not hasattr(data, "strides"):
            raise TypeError(f"data must be an array or numbers, got {type(data).__name__}")
        self.data = np.asarray(data) if isinstance(data, np.generic) else data
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(f"only floating-point tensors can require gradients, this one is {self.dtype}")
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.name = ""
        self._node: Node | None = None
        self._position = 0

    @property
    def data(self) -> Any:
        """The array itself, outside the tape. Assigning another array is allowed; it is never copied."""
        return self._data

    @data.setter
    def data(self, array: Any) -> None:
        self._data = unwrap(array)

    shape = property(lambda self: self._data.shape, doc="The sizes of the axes, a tuple.")
    dtype = property(lambda self: self._data.dtype, doc="The type of the elements.")
    ndim = property(lambda self: self._data.ndim, doc="How many axes there are.")
    is_leaf = property(lambda self: self._node is None, doc="True where no recorded operation made this tensor.")

    def detach(self) -> Tensor:
        """Return a tensor on the same array that the tape does not know."""
        return Tensor(self._data)

    def numpy(self) -> np.ndarray:
        """Return the values as a NumPy array (shared memory on the CPU; a copy from the GPU)."""
        if self.requires_grad and _mode.enabled:
            raise RuntimeError("this tensor is on the tape: call .detach().numpy(), or read it under no_grad()")
        return self.__array__()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Let NumPy read the values, without the tape."""
        data = self._data if isinstance(self._data, np.ndarray) else self._data.get()
        return data.copy() if copy and dtype in (None, data.dtype) else data.astype(dtype or data.dtype, copy=False)

    def backward(self, grad: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor with respect to every leaf that requires one to the leaf's ``grad``.

        ``grad`` is the gradient of whatever is minimized with respect to this tensor; for one number it defaults to 1.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: this tensor does not require a gradient (was it made under no_grad()?)")
        if grad is None:
            if self._data.size != 1:
                raise RuntimeError(f"backward: grad can be left out for a single number only, this has shape {self.shape}")
            grad = np.ones_like(self._data)
        grad = unwrap(grad)
        if getattr(grad, "shape", ()) != self.shape:
            raise ValueError(f"backward: grad must have the tensor's shape {self.shape}, got {getattr(grad, 'shape', ())}")
        self._receive(grad.astype(self.dtype, copy=False))
        for node in self._nodes_from_last():
            _step_back(node, retain_graph)

    def _receive(self, grad: Any) -> None:
        """Add one gradient that flows into this tensor; a leaf keeps it, a result hands it to its node."""
        if self._node is not None:
            before = self._node.grads[self._position]
            self._node.grads[self._position] = grad if before is None else before + grad
        else:
            self.grad = Tensor(grad.copy(order="K") if self.grad is None else self.grad.data + grad)

    def _nodes_from_last(self) -> Iterator[Node]:
        """Yield the recorded nodes so that each comes after everything that used its results."""
        order: list[Node] = []
        seen: set[int] = set()
        stack: list[tuple[Node, bool]] = [(self._node, False)] if self._node else []
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack.extend((x._node, False) for x in node.inputs if x is not None and x._node is not None)
        while order:
            yield order.pop()

    def __repr__(self) -> str:
        """Show values, and type and gradient only where they are not the usual."""
        text = np.array2string(self.__array__(), separator=", ", prefix="tensor(", precision=4)
        extra = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        mark = f", from={self._node.function.__name__}" if self._node else ", requires_grad=True" * self.requires_grad
        return f"tensor({text}{extra}{mark})"


def _step_back(node: Node, retain_graph: bool) -> None:
    """Turn the gradients that arrived at a node into its inputs' gradients, then free what it kept."""
    arrived, node.grads = node.grads, [None] * len(node.grads)
    if all(g is None for g in arrived):
        return
    grads = node.function.backward(node.context, *arrived)
    grads = grads if isinstance(grads, tuple) else (grads,)
    if _mode.anomaly:
        _require_finite(grads, f"the gradient computed by the backward of {node.function.__name__}")
    if not retain_graph:
        node.context.free()
    for tensor, grad in zip(node.inputs, grads, strict=True):
        if tensor is not None and grad is not None:
            if grad.shape != tensor.shape:
                raise ValueError(
                    f"the backward of {node.function.__name__} returned a gradient of shape {grad.shape} "
                    f"for an input of shape {tensor.shape}"
                )
            tensor._receive(grad)


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a Tensor that holds its own copy of ``data``; Python numbers become float32 (integers int64), as in PyTorch."""
    array = unwrap(data)
    if not hasattr(array, "__array_function__"):
        array = np.array(array)
        if dtype is None and array.dtype == np.float64:
            dtype = np.float32
    return Tensor(array.astype(dtype or array.dtype, copy=True), requires_grad)
