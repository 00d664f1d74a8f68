"""Every operation of ours as nodes of ONNX: a function each, found by the operation's name.

Where the two conventions differ: ONNX counts a maximum's index over the whole tensor, ours over its plane, so what MaxPool
returns is taken modulo the plane's size, and unpooling scatters into planes; a crop or a padding is measured from sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arrays import to_device
from ..autograd import unwrap
from ..functional.padding import _positions
from .onnx_graph import Writer
from .onnx_sizes import Constant, Formula, Operation

Beside = Sequence[Operation | None]  # the operation in each run; None where a run left it out


def write(w: Writer, operation: Operation, beside: Beside) -> None:
    """Add the nodes of an operation.

    Raises
    ------
    TypeError
        If ONNX has nothing for it, or this exporter does not know it; the message names it.
    """
    make = OPERATIONS.get(operation.name)
    if make is None:
        raise TypeError(
            f"export_onnx: the operation {operation.name} cannot be exported; there are {', '.join(sorted(OPERATIONS))}"
        )
    _require_same_constants(operation, beside)
    names = make(w, operation, beside)
    for value, name in zip(operation.outputs, names if isinstance(names, list) else [names], strict=False):
        w.names[value] = name
        w.formulas.learn(value)


def _require_same_constants(operation: Operation, beside: Beside) -> None:
    """Refuse an array that is another one for another image or size: it was computed off the tape, and would stay as it is."""
    if operation.name in ("ResizeNearest", "AvgPool2d"):  # their tables and counts follow from sizes, as ONNX's own do
        return
    for run in beside:
        for mine, theirs in zip(operation.inputs, run.inputs if run else (), strict=False):
            if isinstance(mine, Constant) and not np.array_equal(_read(mine), _read(theirs), equal_nan=True):
                raise ValueError(
                    f"export_onnx: an array of shape {_read(mine).shape} that {operation.name} uses changes with the image or its "
                    "size, and was not computed by operations of minisegnet.functional, so a file cannot compute it. If it "
                    "depends on the size alone, export for one size: dynamic_size=False"
                )


def _read(constant: Any) -> np.ndarray:
    return np.asarray(to_device(unwrap(constant.tensor), "cpu"))


def _conv(w: Writer, op: Operation, beside: Beside) -> str:
    x, weight, bias, geometry = op.inputs[:4]
    names = [w.input(x), w.input(weight)] + ([] if bias is None else [w.input(bias)])
    return w.node("Conv", names, **_window(geometry), group=geometry["groups"])


def _conv_relu(w: Writer, op: Operation, beside: Beside) -> str:
    return w.node("Relu", [_conv(w, op, beside)])


def _conv_transpose(w: Writer, op: Operation, beside: Beside) -> str:
    x, weight, bias, _, geometry = op.inputs[:5]
    kernel, extra = weight.tensor.shape[2:], []
    for axis in (0, 1):
        s, p, d = (geometry[name][axis] for name in ("stride", "padding", "dilation"))
        sizes = [
            out[axis + 2] - ((before[axis + 2] - 1) * s - 2 * p + d * (kernel[axis] - 1) + 1)
            for before, out in zip(w.graph.shapes[x.number], w.graph.shapes[op.outputs[0]], strict=True)
        ]
        formula = w.find(sizes, op, "output_padding")
        if formula.constant is None:
            raise ValueError("export_onnx: output_padding changes with the size of the image: use dynamic_size=False")
        extra.append(formula.constant)
    names = [w.input(x), w.input(weight)] + ([] if bias is None else [w.input(bias)])
    return w.node("ConvTranspose", names, **_window(geometry), group=geometry["groups"], output_padding=extra)


def _window(geometry: dict[str, Any]) -> dict[str, Any]:
    rows, columns = geometry["padding"]
    strides, dilations = list(geometry["stride"]), list(geometry["dilation"])
    return {"strides": strides, "dilations": dilations, "pads": [rows, columns, rows, columns]}


def _batch_norm(w: Writer, op: Operation, beside: Beside) -> str:
    x, weight, bias, mean, variance, eps = op.inputs
    dtype = weight.tensor.dtype
    statistics = [w.array(constant.tensor, dtype) for constant in (weight, bias, mean, variance)]
    return w.node("BatchNormalization", [w.input(x), *statistics], epsilon=float(eps))


def _batch_norm_relu(w: Writer, op: Operation, beside: Beside) -> str:
    return w.node("Relu", [_batch_norm(w, op, beside)])


def _max_pool(w: Writer, op: Operation, beside: Beside) -> list[str]:
    x, options = op.inputs
    geometry = {
        **_window(options),
        "kernel_shape": list(options["kernel_size"]),
        "ceil_mode": int(options["ceil_mode"]),
    }
    values, places = w.node("MaxPool", [w.input(x)], 2, **geometry)
    height, width = (w.find([shape[axis] for shape in w.graph.shapes[x.number]], op, "the plane") for axis in (2, 3))
    plane = w.node("Mul", [w.size(height), w.size(width)])
    return [values, w.node("Mod", [places, plane])]


def _max_unpool(w: Writer, op: Operation, beside: Beside) -> str:
    x, places = op.inputs[:2]
    shapes = w.graph.shapes[op.outputs[0]]
    sizes = [w.find([shape[axis] for shape in shapes], op, "the size") for axis in range(4)]
    plane = w.node("Mul", [w.size(sizes[2]), w.size(sizes[3])])
    flat = w.node("Concat", [w.size(sizes[0]), w.size(sizes[1]), plane], axis=0)
    zero = w.onnx.helper.make_tensor("zero", w.onnx.helper.np_dtype_to_tensor_dtype(w.dtype), [1], [0])
    zeros = w.node("ConstantOfShape", [flat], value=zero)
    rows = w.integers(0, 0, -1)
    values, indices = (w.node("Reshape", [w.input(part), rows]) for part in (x, places))
    return w.node("Reshape", [w.node("ScatterElements", [zeros, indices, values], axis=2), w.sizes(sizes)])


def _avg_pool(w: Writer, op: Operation, beside: Beside) -> str:
    options = op.inputs[-1]
    kernel, divisor = options["kernel_size"], options["divisor_override"]
    include = int(options["count_include_pad"] or divisor is not None)
    if divisor is not None and options["ceil_mode"]:  # ONNX divides a partial window by fewer pixels
        raise ValueError("export_onnx: AvgPool2d with ceil_mode and divisor_override cannot be exported")
    rows, columns = options["padding"]
    mean = w.node(
        "AveragePool",
        [w.input(op.inputs[0])],
        kernel_shape=list(kernel),
        strides=list(options["stride"]),
        pads=[rows, columns, rows, columns],
        ceil_mode=int(options["ceil_mode"]),
        count_include_pad=include,
    )
    if divisor is None:
        return mean
    return w.node("Mul", [mean, w.array(np.asarray(kernel[0] * kernel[1] / divisor, w.dtype))])


def _resize_bilinear(w: Writer, op: Operation, beside: Beside) -> str:
    x, _, align, scale = op.inputs
    mode = "align_corners" if align else "half_pixel"
    if not align and None not in scale:  # the scale is what places the pixels, not the quotient of the rounded sizes
        scales = w.array(np.array([1, 1, *scale], np.float32))
        return w.node("Resize", [w.input(x), "", scales], mode="linear", coordinate_transformation_mode=mode)
    return w.node(
        "Resize", [w.input(x), "", "", _output_sizes(w, op)], mode="linear", coordinate_transformation_mode=mode
    )


def _resize_nearest(w: Writer, op: Operation, beside: Beside) -> str:
    x = op.inputs[0]
    for run, shape in zip(beside, w.graph.shapes[x.number], strict=True):
        for axis, places in zip((2, 3), (op if run is None else run).inputs[1:], strict=True):
            source = places.tensor
            n, m = shape[axis], len(source)
            if not np.array_equal(source, np.arange(m) * n // m):
                raise ValueError(
                    f"export_onnx: {op.name} reads its input at places that ONNX's Resize has no rule for; use a whole "
                    'scale_factor, or mode="bilinear"'
                )
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return w.node("Resize", [w.input(x), "", "", _output_sizes(w, op)], **options)


def _output_sizes(w: Writer, op: Operation) -> str:
    shapes = w.graph.shapes[op.outputs[0]]
    return w.sizes([w.find([shape[axis] for shape in shapes], op, "the size") for axis in range(len(shapes[0]))])


def _shuffle(w: Writer, op: Operation, beside: Beside) -> str:
    x, groups = op.inputs
    name, channels = w.input(x), w.graph.shapes[x.number][0][1]
    split = w.node("Reshape", [name, w.integers(0, groups, channels // groups, -1)])
    return w.node("Reshape", [w.node("Transpose", [split], perm=[0, 2, 1, 3]), w.node("Shape", [name])])


def _cat(w: Writer, op: Operation, beside: Beside) -> str:
    return w.node("Concat", [w.input(x) for x in op.inputs], axis=op.options.get("dim", 0))


def _sum(w: Writer, op: Operation, beside: Beside) -> str:
    x, axes, keep = op.inputs
    names = [w.input(x)] + ([] if axes is None else [w.integers(*axes)])
    return w.node("ReduceSum", names, keepdims=int(keep))


def _reshape(w: Writer, op: Operation, beside: Beside) -> str:
    shapes, asked = w.graph.shapes[op.outputs[0]], op.inputs[1]
    sizes = [
        Formula(None, add=-1) if asked[axis] == -1 else w.find([shape[axis] for shape in shapes], op, "the size")
        for axis in range(len(asked))
    ]
    return w.node("Reshape", [w.input(op.inputs[0]), w.sizes(sizes)])


def _permute(w: Writer, op: Operation, beside: Beside) -> str:
    return w.node("Transpose", [w.input(op.inputs[0])], perm=[a % len(op.inputs[1]) for a in op.inputs[1]])


def _index(w: Writer, op: Operation, beside: Beside) -> str:
    """A slice in every axis; a whole number takes its axis away."""
    x, shapes = op.inputs[0], w.graph.shapes[op.inputs[0].number]
    keys = [_full_key(None if run is None else run.inputs[1], len(shapes[0]), op) for run in beside]
    starts, ends, axes, steps, gone = [], [], [], [], []
    for axis in range(len(shapes[0])):
        spans = []
        for key, shape in zip(keys, shapes, strict=True):
            part = key[axis]
            if not isinstance(part, slice):
                start = part % shape[axis]
                part = slice(start, start + 1)
                gone += [axis] if axis not in gone else []
            spans.append(part.indices(shape[axis]))
        step = {span[2] for span in spans}
        if len(step) > 1 or min(step) < 1:
            raise ValueError(f"export_onnx: a slice with steps of {sorted(step)} cannot be exported")
        if all(span[0] == 0 and span[1] == shape[axis] for span, shape in zip(spans, shapes, strict=True)) and step == {
            1
        }:
            continue
        left = [span if span[1] > span[0] else (None, None) for span in spans]  # nothing is: any place will do
        starts.append(w.find([span[0] for span in left], op, "the start of a crop"))
        ends.append(w.find([span[1] for span in left], op, "the end of a crop"))
        axes.append(axis)
        steps.append(step.pop())
    name = w.input(x)
    if axes:
        name = w.node("Slice", [name, w.sizes(starts), w.sizes(ends), w.integers(*axes), w.integers(*steps)])
    return w.node("Squeeze", [name, w.integers(*gone)]) if gone else w.node("Identity", [name]) if not axes else name


def _full_key(key: Any, ndim: int, op: Operation) -> list[Any]:
    parts = [] if key is None else list(key) if isinstance(key, tuple) else [key]
    if any(not isinstance(p, slice | int | np.integer | type(Ellipsis)) for p in parts):
        raise TypeError(f"export_onnx: {op.name} by {parts!r} cannot be exported; slices and whole numbers can")
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        parts[place : place + 1] = [slice(None)] * (ndim - len(parts) + 1)
    return parts + [slice(None)] * (ndim - len(parts))


def _pad(w: Writer, op: Operation, beside: Beside) -> str:
    x, axis = op.inputs[0], op.inputs[1]
    before, after, modes = [], [], {"constant", "reflect", "replicate", "circular"}
    for run, shape in zip(beside, w.graph.shapes[x.number], strict=True):
        first, n = (0, shape[axis]) if run is None else (run.inputs[4], shape[axis])
        last = 0 if run is None else len(run.inputs[2]) - n - first
        before.append(first)
        after.append(last)
        if run is not None:
            modes = {m for m in modes if list(_positions(n, first, last, m)) == list(run.inputs[2])}
    if not modes:
        raise ValueError(f"export_onnx: {op.name} pads by no rule that ONNX knows")
    mode = next(m for m in ("constant", "reflect", "replicate", "circular") if m in modes)
    ends = w.sizes([w.find(before, op, "the padding before"), w.find(after, op, "the padding after")])
    value = w.array(np.asarray(op.inputs[3], w.dtype))
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return w.node(
        "Pad", [w.input(x), ends, value, w.integers(axis % len(w.graph.shapes[x.number][0]))], mode=names[mode]
    )


def _arithmetic(kind: str) -> Callable[[Writer, Operation, Beside], str]:
    def make(w: Writer, op: Operation, beside: Beside) -> str:
        return w.node(kind, [_operand(w, op, beside, i) for i in (0, 1)])

    return make


def _operand(w: Writer, op: Operation, beside: Beside, place: int) -> str:
    """Return an argument; a number that moves with the size (the count of a mean) is computed from the sizes."""
    argument = op.inputs[place]
    numbers = [op.inputs[place] if run is None else run.inputs[place] for run in beside]
    if not all(isinstance(n, int | float) for n in numbers):
        return w.input(argument, w.dtype)
    if len(set(numbers)) == 1:
        return w.array(np.asarray(argument, w.dtype))
    inverse = all(0 < n < 1 for n in numbers)
    counts = [round(1 / n) if inverse else round(n) for n in numbers]
    for value in range(len(w.graph.shapes)):
        shapes = w.graph.shapes[value]
        if value in w.names and len(shapes[0]) == 4 and [s[2] * s[3] for s in shapes] == counts:
            area = w.node("Mul", [w.node("Shape", [w.names[value]], start=a, end=a + 1) for a in (2, 3)])
            count = w.node("Cast", [area], to=w.onnx.helper.np_dtype_to_tensor_dtype(w.dtype))
            return w.node("Reciprocal", [count]) if inverse else count
    raise ValueError(
        f"export_onnx: a number in {op.name} changes with the size of the image, {numbers[:4]} ..., and is no count of pixels. "
        "Export it for one size: dynamic_size=False"
    )


def _simple(kind: str, **attributes: Any) -> Callable[[Writer, Operation, Beside], str]:
    return lambda w, op, beside: w.node(kind, [w.input(op.inputs[0])], **attributes)


def _clip(low: float | None, high: float | None, *, w: Writer, x: Any) -> str:
    bounds = ["" if b is None else w.array(np.asarray(b, w.dtype)) for b in (low, high)]
    return w.node("Clip", [w.input(x), *bounds])


OPERATIONS: dict[str, Callable[[Writer, Operation, Beside], Any]] = {
    "Abs": _simple("Abs"),
    "Add": _arithmetic("Add"),
    "AvgPool2d": _avg_pool,
    "BatchNormEvaluation": _batch_norm,
    "BatchNormReLUEvaluation": _batch_norm_relu,
    "Cat": _cat,
    "ChannelShuffle": _shuffle,
    "Clamp": lambda w, op, beside: _clip(op.options.get("low"), op.options.get("high"), w=w, x=op.inputs[0]),
    "Conv2d": _conv,
    "Conv2dReLU": _conv_relu,
    "ConvTranspose2d": _conv_transpose,
    "Divide": _arithmetic("Div"),
    "Exp": _simple("Exp"),
    "Index": _index,
    "LeakyReLU": lambda w, op, beside: w.node("LeakyRelu", [w.input(op.inputs[0])], alpha=float(op.inputs[1])),
    "Log": _simple("Log"),
    "LogSoftmax": lambda w, op, beside: w.node("LogSoftmax", [w.input(op.inputs[0])], axis=op.inputs[1]),
    "MatMul": _arithmetic("MatMul"),
    "MaxPool2d": _max_pool,
    "MaxUnpool2d": _max_unpool,
    "Multiply": _arithmetic("Mul"),
    "PadAxis": _pad,
    "Permute": _permute,
    "Power": _arithmetic("Pow"),
    "ReLU": _simple("Relu"),
    "ReLU6": lambda w, op, beside: _clip(0, 6, w=w, x=op.inputs[0]),
    "Reshape": _reshape,
    "ResizeBilinear": _resize_bilinear,
    "ResizeNearest": _resize_nearest,
    "Sigmoid": _simple("Sigmoid"),
    "Softmax": lambda w, op, beside: w.node("Softmax", [w.input(op.inputs[0])], axis=op.inputs[1]),
    "Subtract": _arithmetic("Sub"),
    "Sum": _sum,
    "Tanh": _simple("Tanh"),
    "To": _simple("Identity"),
}
