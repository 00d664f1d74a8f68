"""The tape: ``Tensor``, ``Function``, ``no_grad``, and nothing else.

A ``Tensor`` is an array that remembers how it was made. Every operation is a ``Function``: ``forward`` computes,
and leaves a ``Node`` on the result; ``backward`` turns the gradient of the result into the gradients of the inputs.
``Tensor.backward`` walks the nodes from the last to the first and *adds up* what arrives (the multivariate chain rule).
This is reverse-mode automatic differentiation (Baydin et al., 2018, section 3.2) with PyTorch's names.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np


class _GradMode(threading.local):
    """Whether this thread records; each thread has its own, so that a monitor cannot switch off the training tape."""

    enabled, anomaly = True, False
    listener: Any = None  # told of every operation with all that it got (nn/trace.py)


_mode = _GradMode()


def is_grad_enabled() -> bool:
    """Return whether operations of this thread are being recorded."""
    return _mode.enabled


@contextmanager
def _switched(flag: str, value: Any) -> Iterator[None]:
    before = getattr(_mode, flag)
    setattr(_mode, flag, value)
    try:
        yield
    finally:
        setattr(_mode, flag, before)


def no_grad() -> AbstractContextManager:
    """``with no_grad():`` nothing is recorded in this thread, which saves memory; also a decorator."""
    return _switched("enabled", False)


def enable_grad() -> AbstractContextManager:
    """``with enable_grad():`` recording is on again, inside a ``no_grad`` block."""
    return _switched("enabled", True)


def detect_anomaly() -> AbstractContextManager:
    """``with detect_anomaly():`` stop at the first operation whose result or gradient is not finite, and name it."""
    return _switched("anomaly", True)


def unwrap(value: Any) -> Any:
    """Return the array of a Tensor, anything else as it is."""
    return value.data if isinstance(value, Tensor) else value


def _fingerprint(array: Any) -> int:
    """Return a number that changes with a small array, and rarely fails to with a large one (up to 5 samples an axis)."""
    if array.size > 4096:
        array = array[tuple(slice(None, None, -(n // 4)) if n >= 4 else slice(None) for n in array.shape)]
    return hash(array.tobytes())


def _require_finite(arrays: Any, what: str) -> None:
    if _mode.anomaly and not all(a is None or a.dtype.kind != "f" or bool(np.isfinite(a).all()) for a in arrays):
        raise FloatingPointError(f"{what} is not finite (NaN or infinity)")


class Context(SimpleNamespace):
    """What a ``forward`` keeps for its ``backward``: saved arrays, and any attribute it sets."""

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self._saved: tuple[Any, ...] | None = ()
        self._prints: list[int | None] = []

    def save_for_backward(self, *arrays: Any) -> None:
        """Keep arrays until backward has passed; a change in place is detected (not on a GPU, which would have to wait)."""
        self._saved = arrays
        self._prints = [_fingerprint(a) if isinstance(a, np.ndarray) else None for a in arrays]

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The arrays given to ``save_for_backward``."""
        assert self._saved is not None
        for array, before in zip(self._saved, self._prints, strict=True):
            if before is not None and _fingerprint(array) != before:
                raise RuntimeError(
                    f"an array of shape {array.shape} that backward needs was changed in place after the forward: "
                    "call backward first, or change a copy (x = x + 1 instead of x.data += 1)"
                )
        return self._saved


class Node:
    """One recorded operation: the function, its context, the tensors it came from, and the gradients that have arrived."""

    __slots__ = ("context", "function", "grads", "inputs", "number")
    _numbers = itertools.count()

    def __init__(self, function: type[Function], context: Context, inputs: tuple[Tensor | None, ...], outputs: int):
        self.function, self.context, self.inputs = function, context, inputs
        self.grads: list[Any] = [None] * outputs
        self.number = next(Node._numbers)

    def step_back(self, retain_graph: bool) -> set[Node]:
        """Turn the gradients that arrived here into the inputs' gradients; return the nodes that those came from."""
        name = self.function.__name__
        if self.context._saved is None:
            cure = "Run the forward again, or call backward(retain_graph=True) the first time"
            raise RuntimeError(f"backward through {name} a second time: the first pass freed its arrays. {cure}")
        arrived, self.grads = self.grads, [None] * len(self.grads)
        grads = self.function.backward(self.context, *arrived)
        grads = [[grad] for grad in (grads if isinstance(grads, tuple) else (grads,))]
        _require_finite((grad for (grad,) in grads), f"the gradient computed by the backward of {name}")
        reached: set[Any] = set()
        for tensor, box in zip(self.inputs, grads, strict=True):
            if tensor is not None and box[0] is not None:
                if (shape := box[0].shape) != tensor.shape:
                    what = f"a gradient of shape {shape} for an input of shape {tensor.shape}"
                    raise ValueError(f"the backward of {name} returned {what}")
                reached.add(tensor._receive(box))
        if not retain_graph:
            self.context._saved, self.inputs = None, ()
        return reached - {None}


class Function:
    """An operation with a derivative: a subclass with ``forward`` and ``backward``, called by ``apply``.

    ``forward(ctx, *inputs, **options)`` gets arrays and returns an array or a tuple of arrays, and
    ``backward(ctx, *grad_outputs)`` one gradient per input (``None`` where there is none).
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Any:
        """Run ``forward`` on the arrays inside ``inputs`` and, where recording is on, put a node on the tape."""
        context = Context()
        context.needs_input_grad = tuple(isinstance(x, Tensor) and x.requires_grad for x in inputs)
        result = cls.forward(context, *(unwrap(x) for x in inputs), **options)
        outputs = tuple(Tensor(r) for r in (result if isinstance(result, tuple) else (result,)))
        _require_finite((o.data for o in outputs), f"the result of {cls.__name__}")
        if _mode.listener is not None:
            _mode.listener(cls, inputs, options, outputs)
        if _mode.enabled and any(context.needs_input_grad):
            kept = tuple(x if need else None for x, need in zip(inputs, context.needs_input_grad, strict=True))
            node = Node(cls, context, kept, len(outputs))
            for position, output in enumerate(outputs):
                if output.dtype.kind == "f":
                    output.requires_grad, output._node, output._position = True, node, position
        return outputs if isinstance(result, tuple) else outputs[0]


_Taught: Any = object  # functional/ teaches Tensor its operators: no type checker can see them


class Tensor(_Taught):
    """An array on the tape: ``data`` (NumPy or CuPy), ``grad`` (a Tensor, or None) and where it came from.

    Python numbers and lists become float32; arrays keep their type. Only floating-point tensors can require a gradient.
    Arithmetic and the rest are taught to this class by ``functional/arithmetic.py`` and ``functional/arrangement.py``.
    """

    __array_priority__ = 1000.0  # so that ndarray + Tensor asks the Tensor
    __slots__ = ("__weakref__", "_data", "_node", "_position", "grad", "requires_grad")

    def __init__(self, data: Any, requires_grad: bool = False):
        data = unwrap(data)
        if not hasattr(data, "__array_function__"):
            data = np.asarray(data, dtype=None if isinstance(data, np.generic) else np.float32)
        self.data = data
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(f"only floating-point tensors can require gradients, this one is {self.dtype}")
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
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
                raise RuntimeError(f"backward: only a single number needs no grad, this has shape {self.shape}")
            grad = np.ones_like(self._data)
        if np.shape(grad := unwrap(self._beside(grad))) != self.shape:
            raise ValueError(f"backward: grad must have the tensor's shape {self.shape}, got {np.shape(grad)}")
        todo: set[Any] = {self._receive([grad])} - {None}
        while todo:  # the youngest first: everything that used its results has then passed its gradient on
            node = max(todo, key=lambda n: n.number)
            todo.remove(node)
            todo |= node.step_back(retain_graph)

    _beside: Any = lambda self, value: value  # functional/ teaches where a new array goes
    _own: Any = staticmethod(lambda box: box[0].copy(order="K"))  # functional/ teaches when no copy is needed

    def _receive(self, box: list[Any]) -> Node | None:
        """Add one gradient, in a list of its own, that flows into this tensor; a leaf keeps it, a result hands it to its node."""
        box[0] = box[0].astype(self.dtype, copy=False)  # an operation may have met another type, such as float64
        if self._node is None:
            self.grad = Tensor(self._own(box) if self.grad is None else self.grad.data + box[0])
        else:
            grads, i = self._node.grads, self._position
            grads[i] = box[0] if grads[i] is None else grads[i] + box[0]
        return self._node
