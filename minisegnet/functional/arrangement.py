"""Moving numbers without changing them (reshape, permute, index, cat, stack, pad) and adding them up (sum, mean)."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import array_module, device_of, to_device
from ..autograd import Context, Function, Tensor, unwrap
from .checks import as_tensor, together


class Reshape(Function):
    """The same numbers, read in the same order, under another shape."""

    @staticmethod
    def forward(ctx: Context, x: Any, shape: tuple[int, ...]) -> Any:
        ctx.shape = x.shape
        return x.reshape(shape)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return grad_output.reshape(ctx.shape), None


class Permute(Function):
    """The axes in another order; the gradient goes back by the inverse order."""

    @staticmethod
    def forward(ctx: Context, x: Any, axes: tuple[int, ...]) -> Any:
        ctx.axes = axes
        return x.transpose(axes)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return grad_output.transpose(tuple(np.argsort([a % grad_output.ndim for a in ctx.axes]))), None


class Index(Function):
    """x[key]; backward puts the gradient at the same places of a zero array, adding where a place was read twice."""

    @staticmethod
    def forward(ctx: Context, x: Any, key: Any) -> Any:
        ctx.shape, ctx.key = x.shape, key
        return x[key]

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        xp = array_module(grad_output)
        grad = xp.zeros(ctx.shape, grad_output.dtype)
        parts = ctx.key if isinstance(ctx.key, tuple) else (ctx.key,)
        if any(hasattr(k, "__array_function__") or isinstance(k, list) for k in parts):
            xp.add.at(grad, ctx.key, grad_output)
        else:
            grad[ctx.key] = grad_output
        return grad, None


class ChannelShuffle(Function):
    """Channels dealt out in another order: groups read across instead of down. Backward deals by the number in each group."""

    @staticmethod
    def forward(ctx: Context, x: Any, groups: int) -> Any:
        ctx.back = x.shape[1] // groups
        return _dealt(x, groups)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return _dealt(grad_output, ctx.back), None


def _dealt(x: Any, groups: int) -> Any:
    """Return channels a1 a2 a3 b1 b2 b3 (two groups) as a1 b1 a2 b2 a3 b3: a table of groups and channels, transposed."""
    n, c, *size = x.shape
    each = c // groups
    if x.ndim == 4:  # keep a channels-last network in its layout
        last = x.transpose(0, 2, 3, 1)  # (N, H, W, C)
        if last.flags.c_contiguous:
            return last.reshape(n, *size, groups, each).swapaxes(3, 4).reshape(n, *size, c).transpose(0, 3, 1, 2)
    return x.reshape(n, groups, each, *size).swapaxes(1, 2).reshape(x.shape)


class Cat(Function):
    """Arrays one behind the other along an axis; each takes its slice of the gradient."""

    @staticmethod
    def forward(ctx: Context, *arrays: Any, dim: int = 0) -> Any:
        ctx.dim, ctx.ends = dim, np.cumsum([a.shape[dim] for a in arrays])[:-1].tolist()
        xp = array_module(*arrays)
        if arrays[0].ndim == 4 and dim % 4 == 1:  # keep a channels-last network in its layout
            last = [a.transpose(0, 2, 3, 1) for a in arrays]
            if all(a.flags.c_contiguous for a in last):
                return _behind_each_other(xp, last, 3).transpose(0, 3, 1, 2)
        return _behind_each_other(xp, arrays, dim)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return tuple(array_module(grad_output).split(grad_output, ctx.ends, axis=ctx.dim))


def _behind_each_other(xp: Any, arrays: Sequence[Any], axis: int) -> Any:
    """Return the arrays concatenated.

    On a GPU each is copied into its slice: CuPy's own ``concatenate`` copies a table of addresses there in every call, which
    cannot be captured in a CUDA graph.
    """
    if xp is np:
        return np.concatenate(arrays, axis=axis)
    axis %= arrays[0].ndim
    if len({(*a.shape[:axis], *a.shape[axis + 1 :]) for a in arrays}) > 1:
        return xp.concatenate(arrays, axis=axis)  # it says what does not fit
    shape = list(arrays[0].shape)
    shape[axis] = int(np.sum([a.shape[axis] for a in arrays]))
    joined, start = xp.empty(shape, np.result_type(*(a.dtype for a in arrays))), 0
    for a in arrays:
        joined[(slice(None),) * axis + (slice(start, start + a.shape[axis]),)] = a
        start += a.shape[axis]
    return joined


class Sum(Function):
    """The sum over axes, accumulated in float64; every summand gets the same gradient."""

    @staticmethod
    def forward(ctx: Context, x: Any, axes: tuple[int, ...] | None, keepdim: bool) -> Any:
        ctx.shape, ctx.axes, ctx.keepdim = x.shape, axes, keepdim
        return x.sum(axis=axes, keepdims=keepdim, dtype=np.float64 if x.dtype.kind == "f" else None).astype(x.dtype)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        xp = array_module(grad_output)
        if not ctx.keepdim:
            axes = range(len(ctx.shape)) if ctx.axes is None else ctx.axes
            grad_output = xp.expand_dims(grad_output, tuple(a % len(ctx.shape) for a in axes))
        return xp.broadcast_to(grad_output, ctx.shape), None, None


def _axes(dim: int | Sequence[int] | None, axis: int | Sequence[int] | None) -> tuple[int, ...] | None:
    dim = axis if dim is None else dim
    return None if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)


def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """Return the sum over ``dim`` (an axis, several, or all). ``axis`` is NumPy's name for the same."""
    return Sum.apply(as_tensor(input), _axes(dim, axis), keepdim)


def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Tensor:
    """Return the mean over ``dim`` (an axis, several, or all)."""
    axes, shape = _axes(dim, axis), input.shape
    count = int(np.prod([shape[a] for a in (range(len(shape)) if axes is None else axes)]))
    total: Any = sum(input, dim=axes, keepdim=keepdim)
    return total / count


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return where the largest number is along ``dim``, or in the flattened tensor; the first of equal ones (as NumPy)."""
    array = array_module(input.data).asarray(input.data.argmax(axis=dim))
    if keepdim:
        array = array.reshape((1,) * input.ndim) if dim is None else array_module(array).expand_dims(array, dim)
    return Tensor(array)


def _spread(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Accept f(2, 3) and f((2, 3))."""
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """Return the same numbers in row-major order under another shape; one size may be -1."""
    return Reshape.apply(input, _spread(shape))


def permute(input: Tensor, *dims: Any) -> Tensor:
    """Return the tensor with its axes in the given order."""
    return Permute.apply(input, _spread(dims))


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return the tensor with two axes exchanged."""
    order = list(range(input.ndim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return Permute.apply(input, tuple(order))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return the tensor with the axes from ``start_dim`` to ``end_dim`` joined into one."""
    start, end = start_dim % input.ndim, end_dim % input.ndim
    joined = int(np.prod(input.shape[start : end + 1]))
    return reshape(input, (*input.shape[:start], joined, *input.shape[end + 1 :]))


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an existing axis; all other sizes must be equal.

    Raises
    ------
    ValueError
        If there is nothing to join, or a size differs; the message shows the shapes.
    """
    tensors = [as_tensor(t) for t in together(*tensors)]
    if not tensors:
        raise ValueError("cat: tensors is empty, there is nothing to join")
    shapes = [t.shape for t in tensors]
    if not -len(shapes[0]) <= dim < len(shapes[0]):
        raise ValueError(f"cat: dim must be an axis of the tensors, which have {len(shapes[0])}, got {dim}")
    rest = [tuple(n for i, n in enumerate(s) if i != dim % len(shapes[0])) for s in shapes]
    if any(r != rest[0] or len(s) != len(shapes[0]) for r, s in zip(rest, shapes, strict=True)):
        raise ValueError(f"cat: all sizes but axis {dim} must be equal, got the shapes {', '.join(map(str, shapes))}")
    return Cat.apply(*tensors, dim=dim)


def channel_shuffle(input: Any, groups: int) -> Tensor:
    """Return (N, C, ...) with its channels dealt out so that each new group mixes all old ones (Zhang et al., 2018, figure 1).

    Raises
    ------
    ValueError
        If ``input`` has fewer than 3 axes, or C is no multiple of ``groups``.
    """
    x = as_tensor(input)
    if x.ndim < 3:
        raise ValueError(f"channel_shuffle: input must have 3 axes or more (N, C, ...), got shape {x.shape}")
    if not isinstance(groups, (int, np.integer)) or groups < 1:
        raise ValueError(f"channel_shuffle: groups must be a positive integer, got {groups!r}")
    if x.shape[1] % groups:
        raise ValueError(
            f"channel_shuffle: the {x.shape[1]} channels of input {x.shape} must be a multiple of groups={groups}"
        )
    return ChannelShuffle.apply(x, int(groups))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors of equal shape along a new axis."""
    tensors = [as_tensor(t) for t in together(*tensors)]
    if len({t.shape for t in tensors}) != 1:
        raise ValueError(f"stack: tensors must all have one shape, got {[t.shape for t in tensors]}")
    position = dim % (tensors[0].ndim + 1)
    return cat([reshape(t, (*t.shape[:position], 1, *t.shape[position:])) for t in tensors], position)


def _getitem(self: Tensor, key: Any) -> Tensor:
    _, *parts = together(self, *key) if isinstance(key, tuple) else together(self, key)
    key = tuple(unwrap(k) for k in parts) if isinstance(key, tuple) else unwrap(parts[0])
    return Index.apply(self, key)


class To(Function):
    """The same numbers as another type or on another device; the gradient goes back the same way."""

    @staticmethod
    def forward(ctx: Context, x: Any, target: Any) -> Any:
        ctx.dtype, ctx.device = x.dtype, device_of(x)
        return to_device(x, target) if isinstance(target, str) else x.astype(target, copy=False)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        return to_device(grad_output.astype(ctx.dtype, copy=False), ctx.device), None


def to(self: Tensor, target: Any) -> Tensor:
    """Return the tensor on a device ("cpu", "cuda") or as a NumPy type (np.float32); itself if it is that already."""
    if isinstance(target, str) and target in ("cpu", "cuda", "gpu"):
        return self if device_of(self.data) == ("cuda" if target == "gpu" else target) else To.apply(self, target)
    try:
        dtype = np.dtype(target)
    except TypeError:
        raise ValueError(f'to: target must be "cpu", "cuda" or a NumPy dtype, got {target!r}') from None
    return self if self.dtype == dtype else To.apply(self, dtype)


def _item(self: Tensor) -> Any:
    if self.data.size != 1:
        raise ValueError(f"only a tensor of one element can become a Python number, this has shape {self.shape}")
    return self.data.item()


def _repr(self: Tensor) -> str:
    """Show values, and type and history only where they are not the usual."""
    text = np.array2string(to_device(self.data, "cpu"), separator=", ", prefix="tensor(", precision=4)
    extra = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
    mark = f", from={self._node.function.__name__}" if self._node else ", requires_grad=True" * self.requires_grad
    return f"tensor({text}{extra}{mark})"


for _name, _value in {
    "_beside": lambda self, value: together(self, value)[1],
    "__repr__": _repr,
    "__getitem__": _getitem,
    "__len__": lambda self: len(self.data),
    "__iter__": lambda self: (self[i] for i in range(len(self.data))),
    "__float__": lambda self: float(_item(self)),
    "__int__": lambda self: int(_item(self)),
    "__bool__": lambda self: bool(_item(self)),
    "__index__": lambda self: operator.index(_item(self)),
    "item": _item,
    "tolist": lambda self: self.data.tolist(),
    "size": lambda self, dim=None: self.shape if dim is None else self.shape[dim],
    "numel": lambda self: int(self.data.size),
    "dim": lambda self: self.ndim,
    "sum": sum,
    "mean": mean,
    "argmax": argmax,
    "reshape": reshape,
    "view": reshape,
    "permute": permute,
    "transpose": transpose,
    "flatten": flatten,
    "T": property(lambda self: transpose(self, 0, 1), doc="The tensor with its two axes exchanged."),
    "to": to,
    "cpu": lambda self: to(self, "cpu"),
    "cuda": lambda self: to(self, "cuda"),
    "float": lambda self: to(self, np.float32),
    "double": lambda self: to(self, np.float64),
    "device": property(lambda self: device_of(self.data), doc='"cpu" or "cuda".'),
}.items():
    setattr(Tensor, _name, _value)
