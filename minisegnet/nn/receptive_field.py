"""What one output pixel sees: by arithmetic over the network's graph (theoretical), and by gradients (effective).

Theoretical: each operation says which of its input positions an output position reads, first and last. Following those two
numbers from an output pixel back to the image, over every skip, gives the first and last image pixel that can matter
(Dumoulin and Visin, 2016; Araujo, Norris and Sim, 2019). Positions are not cut off at the border, so that the answer does
not depend on how large the image is.

Effective: how much each image pixel does matter, the gradient of one output pixel (Luo et al., 2016, section 3): mostly
much smaller than the theoretical field, and bell-shaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..arrays import to_device
from ..autograd import Node, Tensor, enable_grad
from ..shapes import ReceptiveField
from .module import Module
from .trace import Trace, trace

PHASES = 64  # neighbouring pixels looked at: their fields differ with a period that is the network's total stride


class Seen(NamedTuple):
    """For neighbouring positions of a tensor on one axis: the first and the last position of what they read."""

    low: np.ndarray
    high: np.ndarray


def _window(seen: Seen, kernel: int, stride: int, padding: int, dilation: int = 1) -> Seen:
    """Convolution and pooling: from i s - p, over d (k - 1) more."""
    return Seen(seen.low * stride - padding, seen.high * stride - padding + dilation * (kernel - 1))


def _stamps(seen: Seen, kernel: int, stride: int, padding: int, dilation: int = 1) -> Seen:
    """Transposed convolution and unpooling: all j whose stamp j s - p ... j s - p + d (k - 1) covers i."""
    reach = dilation * (kernel - 1)
    low, high = np.ceil((seen.low + padding - reach) / stride), np.floor((seen.high + padding) / stride)
    for _ in range(dilation - 1):  # a dilated stamp has holes: step to the next one that does not miss
        low = np.where((seen.low + padding - low * stride) % dilation == 0, low, low + 1)
        high = np.where((seen.high + padding - high * stride) % dilation == 0, high, high - 1)
    nothing = low > high  # between stamps that are further apart than they are wide
    return Seen(np.where(nothing, math.inf, low), np.where(nothing, -math.inf, high))


def _everything(seen: Seen) -> Seen:
    """Global pooling: all of the image, however large it is."""
    return Seen(np.full_like(seen.low, -math.inf), np.full_like(seen.high, math.inf))


def _plane(seen: Seen, size: int) -> Seen:
    """A reshape to features: the whole plane, which has a fixed size."""
    return Seen(np.zeros_like(seen.low), np.full_like(seen.high, size - 1))


def _resized(seen: Seen, n: int, m: int, align_corners: bool, scale: float | None) -> Seen:
    """Bilinear: the two pixels around the position, one where it falls on a pixel."""

    def source(i: np.ndarray) -> np.ndarray:
        if align_corners:
            return np.round(i * ((n - 1) / max(m - 1, 1)), 9)
        return np.round((i + 0.5) * (n / m if scale is None else 1 / scale) - 0.5, 9)

    return Seen(np.floor(source(seen.low)), np.ceil(source(seen.high)))


def _options(node: Node, axis: int) -> tuple[int, int, int, int]:
    options = node.context.options
    dilation = options.get("dilation", (1, 1))
    return options["kernel_size"][axis], options["stride"][axis], options["padding"][axis], dilation[axis]


def _convolved(step: Callable[..., Seen]) -> Callable[..., Seen]:
    def rule(node: Node, seen: Seen, axis: int, size: int, output_size: int) -> Seen:
        geometry, kernel = node.context.geometry, node.context._saved[1].shape[2 + axis]  # type: ignore[index]
        return step(seen, kernel, geometry["stride"][axis], geometry["padding"][axis], geometry["dilation"][axis])

    return rule


def _bilinear(node: Node, seen: Seen, axis: int, size: int, output_size: int) -> Seen:
    align_corners, scale = node.context.rule
    return _resized(seen, size, output_size, align_corners, scale[axis])


def _nearest(node: Node, seen: Seen, axis: int, size: int, output_size: int) -> Seen:
    table = node.context.rows if axis == 0 else node.context.columns
    return Seen(*(np.where((i >= 0) & (i < output_size), table[np.clip(i, 0, output_size - 1).astype(int)],
                           np.floor(i * size / output_size)) for i in seen))  # fmt: skip


def _indexed(node: Node, seen: Seen, axis: int, size: int, output_size: int) -> Seen:
    key = node.context.key if isinstance(node.context.key, tuple) else (node.context.key,)
    if any(k is Ellipsis for k in key):
        place = next(i for i, k in enumerate(key) if k is Ellipsis)
        key = key[:place] + (slice(None),) * (4 - len(key) + 1) + key[place + 1 :]
    part = key[2 + axis] if len(key) > 2 + axis else slice(None)
    if not isinstance(part, slice) or any(not isinstance(k, slice) for k in key[:2]):
        return _everything(seen)
    start, _, step = part.indices(size)
    ends = Seen(seen.low * step + start, seen.high * step + start)
    return ends if step > 0 else Seen(ends.high, ends.low)


def _padded(node: Node, seen: Seen, axis: int, size: int, output_size: int) -> Seen:
    if node.context.axis != 2 + axis:
        return seen
    return Seen(seen.low - node.context.before, seen.high - node.context.before)


def _reshaped(node: Node, seen: Seen, axis: int, size: int, output_size: int) -> Seen:
    return seen if size == output_size and output_size > 0 else _plane(seen, size)


def _permuted(node: Node, seen: Seen, axis: int, size: int, output_size: int) -> Seen:
    axes, rank = node.context.axes, len(node.context.axes)
    return seen if axes[rank - 2 + axis] % rank == rank - 2 + axis else _plane(seen, size)


def _summed(node: Node, seen: Seen, axis: int, size: int, output_size: int) -> Seen:
    """Sums and means: all of the axis that they run over, also where the plane traced has a single pixel."""
    rank = len(node.context.shape)
    axes = range(rank) if node.context.axes is None else [a % rank for a in node.context.axes]
    if rank - 2 + axis in axes:
        return _everything(seen)
    return seen if size == output_size else _plane(seen, size)


def _pooled(step: Callable[..., Seen]) -> Callable[..., Seen]:
    return lambda node, seen, axis, size, output_size: step(seen, *_options(node, axis))


RULES: dict[str, Callable[..., Seen]] = {
    "Conv2d": _convolved(_window),
    "ConvTranspose2d": _convolved(_stamps),
    "MaxPool2d": _pooled(_window),
    "AvgPool2d": _pooled(_window),
    "MaxUnpool2d": _pooled(_stamps),
    "ResizeBilinear": _bilinear,
    "ResizeNearest": _nearest,
    "Index": _indexed,
    "PadAxis": _padded,
    "Reshape": _reshaped,
    "Permute": _permuted,
    "Sum": _summed,
}


def _back(node: Node, tensor: Tensor, seen: Seen, axis: int, output: Tensor) -> Seen:
    """Return what positions of a node's input are read by those of its output."""
    size = tensor.shape[-2 + axis] if tensor.ndim > 2 else 1
    output_size = output.shape[-2 + axis] if output.ndim > 2 else 1
    if tensor.ndim > 2 and node.function.__name__ == "MatMul":  # adaptive pooling: averages over the whole axis
        return _everything(seen)
    if tensor.ndim > 2 and node.function.__name__ in RULES:
        return RULES[node.function.__name__](node, seen, axis, size, output_size)
    if tensor.ndim <= 2 or size == output_size:  # element by element; or features, which have no place
        return seen
    return _plane(seen, 1) if size == 1 else _everything(seen)


def seen_by(graph: Trace, tensor: Tensor, axis: int, start: int = 0) -> Seen:
    """Return the first and last image position on an axis (0: rows) that ``PHASES`` positions of a tensor see, from ``start``."""
    first = np.arange(start, start + PHASES, dtype=np.float64)
    if tensor is graph.image:
        return Seen(first, first)
    found: dict[int, Seen] = {tensor._node.number: Seen(first, first)} if tensor._node else {}
    result = Seen(np.full(PHASES, math.inf), np.full(PHASES, -math.inf))
    for node in reversed(graph.nodes):
        seen = found.pop(node.number, None)
        if seen is None:
            continue
        for parent in node.inputs:
            if not isinstance(parent, Tensor) or (parent._node is None and parent is not graph.image):
                continue  # a weight
            through = _back(node, parent, seen, axis, graph.outputs[node.number])
            known = result if parent is graph.image else found.get(parent._node.number)  # type: ignore[union-attr]
            if known is not None:
                through = Seen(np.minimum(known.low, through.low), np.maximum(known.high, through.high))
            if parent is graph.image:
                result = through
            else:
                found[parent._node.number] = through  # type: ignore[union-attr]
    return result


def field_of(graph: Trace, tensor: Tensor, axis: int = 0) -> ReceptiveField:
    """Return a tensor's receptive field on one axis: the widest of neighbouring positions, their distance, the first's centre."""
    seen = seen_by(graph, tensor, axis)
    size = float((seen.high - seen.low + 1).max())
    if math.isinf(size):
        return ReceptiveField(math.inf if size > 0 else 0, 1, 0.0)  # type: ignore[arg-type]
    if tensor.ndim <= 2:
        return ReceptiveField(int(size), 1, float(seen.low[0] + seen.high[0]) / 2)
    centres = (seen.low + seen.high) / 2
    half = PHASES // 2
    stride = float(centres[half] - centres[0]) / half
    return ReceptiveField(int(size), round(stride) if stride >= 1 else 1, float(centres[0]))


def receptive_field(model: Module, in_channels: int, size: int) -> ReceptiveField:
    """Return what one output pixel of a model sees on one axis, the widest over its phases; infinite with global pooling.

    Parameters
    ----------
    size : a side of an input that the model takes, pixels
    """
    graph = trace(model, (in_channels, size, size))
    return field_of(graph, graph.output)


def reach(model: Module, in_channels: int, size: int) -> float:
    """Return how far from itself an output pixel sees on the farther side, pixels, for a model with output as large as input."""
    graph = trace(model, (in_channels, size, size))
    steps = []
    for axis in (0, 1):
        seen, place = seen_by(graph, graph.output, axis), np.arange(PHASES)
        steps += [(place - seen.low).max(), (seen.high - place).max()]
    return float(max(steps))


def effective_receptive_field(
    model: Module, input_shape: tuple[int, ...], samples: int = 8, pixel: tuple[int, int] | None = None, seed: int = 0
) -> np.ndarray:
    """Return how much each image pixel moves one output pixel: the mean absolute gradient over random images.

    Parameters
    ----------
    model : any network from (N, C, H, W) to (N, K, H', W'); used in evaluation mode, left as it was
    input_shape : (C, H, W), or (N, C, H, W), of which N is ignored
    samples : how many images of normal noise
    pixel : (y, x) of the output; the middle one by default
    seed : of the noise

    Returns
    -------
    (H, W) float64, not negative; the sum over channels (Luo et al., 2016, section 3)
    """
    channels, height, width = input_shape[-3:]
    modes = [(module, module.training) for module in model.modules()]
    kept = [(p, p.grad) for p in model.parameters()]
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    noise, total = np.random.default_rng(seed), np.zeros((height, width))
    model.eval()
    try:
        for _ in range(samples):
            pixels = noise.normal(size=(1, channels, height, width)).astype(dtype)
            image = Tensor(to_device(pixels, model.device), requires_grad=True)
            with enable_grad():
                output = model(image)
                if output.ndim != 4:
                    raise ValueError(
                        f"effective_receptive_field: the model must return (N, K, H, W), got shape {output.shape}"
                    )
                y, x = pixel or (output.shape[2] // 2, output.shape[3] // 2)
                if not (0 <= y < output.shape[2] and 0 <= x < output.shape[3]):
                    raise ValueError(
                        f"effective_receptive_field: pixel {pixel} is outside the output {output.shape[2:]}"
                    )
                chosen = np.zeros(output.shape, dtype)
                chosen[0, :, y, x] = 1
                output.backward(to_device(chosen, model.device))
            assert image.grad is not None
            total += np.abs(np.asarray(to_device(image.grad.data, "cpu"), np.float64)).sum(axis=(0, 1))
    finally:
        for module, training in modes:
            object.__setattr__(module, "training", training)
        for parameter, grad in kept:
            parameter.grad = grad
    return total / samples
