"""ONNX operators written in ``minisegnet.functional``: how far its words reach, and where ONNX counts differently.

Each function takes the operator's inputs as Tensors and its attributes by ONNX's names; an attribute that nobody thought of
is an error. Convolution and pooling are in ``onnx_windows``. Volumes are left out (``onnx_cases.why_left_out``); lines go
through as images of one row.
Specification: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx_cases import WINDOWED, Case, Node
from onnx_windows import as_one_row, average_pool, conv, conv_transpose, max_pool, max_unpool, pad_axes

import minisegnet as ms
import minisegnet.functional as F

Tensor = ms.Tensor


def run(case: Case, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return all that the graph computes from its inputs and weights, by name."""
    known: dict[str, Any] = {"": None} | {name: Tensor(np.asarray(value)) for name, value in values.items()}
    with ms.no_grad():
        for node in case.nodes:
            results = _apply(node, [known[name] for name in node.inputs], case.opset)
            known |= zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=False)
    return {name: tensor.numpy() for name, tensor in known.items() if tensor is not None}


def _apply(node: Node, inputs: list[Any], opset: int) -> Any:
    table = {**OPERATORS, **BEFORE_OPSET_13} if opset < 13 else OPERATORS
    function, attributes = table[node.operator], dict(node.attributes)
    if node.operator in WINDOWED and inputs[0].ndim == 3:
        return as_one_row(function, inputs, attributes)
    return function(*inputs, **attributes)


def global_max_pool(x):
    return F.max_pool2d(x, x.shape[2:])


def global_average_pool(x):
    return F.adaptive_avg_pool2d(x, 1)


def batch_normalization(
    x, weight, bias, mean, var, *, epsilon=1e-5, momentum=0.9, training_mode=0, is_test=None, spatial=1
):
    """ONNX's momentum is the weight of the old statistics; its running variance takes the biased one, PyTorch's the unbiased."""
    pixels = x.reshape(*x.shape[:2], 1, int(np.prod(x.shape[2:])))  # a channel's statistics do not see the axes
    new_mean, new_var = mean.numpy().copy(), var.numpy().copy()
    y = F.batch_norm(pixels, new_mean, new_var, weight, bias, bool(training_mode), 1 - momentum, epsilon)
    count = pixels.shape[0] * pixels.shape[3]
    kept = np.float32(momentum) * var.numpy()
    return y.reshape(x.shape), Tensor(new_mean), Tensor(kept + (new_var - kept) * np.float32((count - 1) / count))


LINEAR_RULES = ("half_pixel", "pytorch_half_pixel", "align_corners")


def resize(
    x,
    roi=None,
    scales=None,
    sizes=None,
    *,
    mode="nearest",
    axes=None,
    coordinate_transformation_mode="half_pixel",
    keep_aspect_ratio_policy="stretch",
    nearest_mode="round_prefer_floor",
):
    """Resize by ``interpolate``: "nearest" is asymmetric and floor, "nearest-exact" half_pixel and round_prefer_ceil.

    ONNX's default, round_prefer_floor, is the mirror image of the latter: flip, resize, flip back.
    """
    (axis_h, axis_w), size = _last_two(axes, 4), x.shape[2:]
    if scales is not None:
        factors = scales.tolist()
        factor = (factors[axis_h], factors[axis_w])
        how: dict[str, Any] = {"scale_factor": factor}
        whole = all(float(n * f).is_integer() for n, f in zip(size, factor, strict=True))
    else:
        wanted = sizes.tolist()
        output = (wanted[axis_h], wanted[axis_w])
        if keep_aspect_ratio_policy != "stretch":
            choose = min if keep_aspect_ratio_policy == "not_larger" else max
            ratio = choose(m / n for n, m in zip(size, output, strict=True))
            output = tuple(round(n * ratio) for n in size)
            if any(n * ratio != m for n, m in zip(size, output, strict=True)):
                raise NotImplementedError("Resize: ONNX keeps the ratio where the size is rounded, size= does not")
        how, whole = {"size": output}, True
    rule = coordinate_transformation_mode
    if mode == "linear" and rule in LINEAR_RULES:
        if rule == "pytorch_half_pixel":  # as PyTorch once did: a single output pixel shows the first
            x = x[:, :, : 1 if output[0] == 1 else None, : 1 if output[1] == 1 else None]
        if rule == "align_corners" and not whole:
            raise NotImplementedError("Resize: ONNX divides by the fractional output size minus one, PyTorch rounds it")
        return F.interpolate(x, **how, mode="bilinear", align_corners=rule == "align_corners")
    if (mode, rule, nearest_mode) == ("nearest", "asymmetric", "floor"):
        return F.interpolate(x, **how, mode="nearest")
    if (mode, rule, nearest_mode) == ("nearest", "half_pixel", "round_prefer_ceil"):
        return F.interpolate(x, **how, mode="nearest-exact")
    if (mode, rule, nearest_mode) != ("nearest", "half_pixel", "round_prefer_floor"):
        raise NotImplementedError(f"Resize: {mode} by {rule} and {nearest_mode}")
    if whole:
        return F.interpolate(x[:, :, ::-1, ::-1], **how, mode="nearest-exact")[:, :, ::-1, ::-1]
    for n, f in zip(size, factor, strict=True):  # flipping needs whole sizes; without a tie both roundings agree
        if any(((i + 0.5) / f).is_integer() for i in range(int(n * f))):
            raise NotImplementedError("Resize: a tie of the nearest pixels at a fractional output size")
    return F.interpolate(x, **how, mode="nearest-exact")


def _last_two(axes: Sequence[int] | None, ndim: int) -> tuple[int, int]:
    """Return where height and width stand among the numbers that are given for ``axes``."""
    order = [a % ndim for a in axes] if axes is not None else list(range(ndim))
    return order.index(ndim - 2), order.index(ndim - 1)


def upsample(x, scales, *, mode="nearest"):
    return resize(x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def _softmax_of_flat(function: Callable) -> Callable:
    """Before opset 13 all axes from ``axis`` on were one."""

    def flattened(x, *, axis=1):
        rows = int(np.prod(x.shape[: axis % x.ndim]))
        return function(x.reshape(rows, -1), 1).reshape(x.shape)

    return flattened


def softmax_cross_entropy_loss(scores, labels, weight=None, *, ignore_index=-100, reduction="mean"):
    return F.cross_entropy(scores, labels, weight, ignore_index, reduction), F.log_softmax(scores, 1)


def negative_log_likelihood_loss(log_probabilities, labels, weight=None, *, ignore_index=-100, reduction="mean"):
    return F.nll_loss(log_probabilities, labels, weight, ignore_index, reduction)


PAD_MODES = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}


def pad(x, pads_given=None, constant=None, axes=None, *, mode="constant", pads=None, value=0.0):
    """Until opset 10 ``pads`` and ``value`` were attributes, since then they are inputs."""
    numbers = pads if pads is not None else pads_given.tolist()
    value = value if constant is None else constant.item()
    begin, end = [0] * x.ndim, [0] * x.ndim
    for i, axis in enumerate(range(x.ndim) if axes is None else axes.tolist()):
        begin[axis], end[axis] = numbers[i], numbers[len(numbers) // 2 + i]
    return pad_axes(x, begin, end, PAD_MODES[mode], value)


def center_crop_pad(x, shape, *, axes=None):
    """An odd pixel is cropped from the end, and padded at the end."""
    begin, end = [0] * x.ndim, [0] * x.ndim
    for axis, wanted in zip(range(x.ndim) if axes is None else axes, shape.tolist(), strict=True):
        missing = wanted - x.shape[axis]
        begin[axis] = missing // 2 if missing > 0 else -(-missing // 2)
        end[axis] = missing - begin[axis]
    return pad_axes(x, begin, end)


def argmax(x, *, axis=0, keepdims=1, select_last_index=0):
    """The last of equal maxima is the first one read backwards."""
    if not select_last_index:
        return x.argmax(axis, bool(keepdims))
    backwards = x[(slice(None),) * (axis % x.ndim) + (slice(None, None, -1),)]
    return Tensor(x.shape[axis] - 1 - backwards.argmax(axis, bool(keepdims)).numpy())


def gemm(a, b, c, *, alpha=1.0, beta=1.0, transA=0, transB=0, broadcast=1):
    return alpha * ((a.T if transA else a) @ (b.T if transB else b)) + beta * c


def split(x, *, axis=0):
    """Two halves, as all graphs here have it."""
    half = x.shape[axis] // 2
    before = (slice(None),) * (axis % x.ndim)
    return x[(*before, slice(half))], x[(*before, slice(half, None))]


def unsqueeze(x, *, axes):
    return Tensor(np.expand_dims(x.numpy(), tuple(axes)))


def squeeze(x, *, axes):
    return Tensor(np.squeeze(x.numpy(), tuple(axes)))


OPERATORS: dict[str, Callable] = {
    "Abs": lambda x: x.abs(),
    "Add": lambda a, b, broadcast=1: a + b,
    "ArgMax": argmax,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "CenterCropPad": center_crop_pad,
    "Concat": lambda *tensors, axis: ms.cat(tensors, axis),
    "Constant": lambda value: Tensor(value),
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Div": lambda a, b, broadcast=1: a / b,
    "Exp": lambda x: x.exp(),
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "LeakyRelu": lambda x, alpha=0.01: F.leaky_relu(x, alpha),
    "LogSoftmax": lambda x, axis=-1: F.log_softmax(x, axis),
    "MatMul": lambda a, b: a @ b,
    "MaxPool": max_pool,
    "MaxUnpool": max_unpool,
    "Mul": lambda a, b, broadcast=1: a * b,
    "Neg": lambda x: -x,
    "NegativeLogLikelihoodLoss": negative_log_likelihood_loss,
    "Pad": pad,
    "Relu": F.relu,
    "Reshape": lambda x, shape: x.reshape(*shape.tolist()),
    "Resize": resize,
    "Sigmoid": F.sigmoid,
    "Softmax": lambda x, axis=-1: F.softmax(x, axis),
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy_loss,
    "Split": split,
    "Squeeze": squeeze,
    "Sub": lambda a, b, broadcast=1: a - b,
    "Tanh": F.tanh,
    "Transpose": lambda x, perm: x.permute(*perm),
    "Unsqueeze": unsqueeze,
    "Upsample": upsample,
}
BEFORE_OPSET_13 = {"Softmax": _softmax_of_flat(F.softmax), "LogSoftmax": _softmax_of_flat(F.log_softmax)}
