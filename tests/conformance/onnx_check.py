"""Compare what a graph gave with what ONNX expects: type and shape exactly, numbers within what float32 can promise."""

from __future__ import annotations

import numpy as np
import onnx_adapter
from onnx_cases import Case

# These only choose or move numbers: not a bit may differ.
EXACT = {"ArgMax", "CenterCropPad", "Concat", "GlobalMaxPool", "MaxPool", "MaxUnpool", "Pad", "Relu", "Upsample"}
# Sums of products: the same graph on absolute values says how large the summands were.
LINEAR = {"AveragePool", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "MatMul", "Resize"}
AROUND_LINEAR = {"Squeeze", "Transpose", "Unsqueeze"}
# The expectation was typed in with four decimals.
TYPED = {"averagepool_2d_ceil_last_window_starts_on_pad": 1e-4}


def check(case: Case, values: dict[str, np.ndarray], results: dict[str, np.ndarray], expected: dict[str, np.ndarray]):
    """Raise an AssertionError that shows the first output that is not as ONNX expects it."""
    bounds = tolerance(case, values, expected)
    for name, array in expected.items():
        found, wanted = results[name], np.asarray(array)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), f"{case.name}: type or shape of {name!r}"
        off = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
        assert np.isfinite(found).all(), f"{case.name}: {name!r} is not finite"
        assert (off <= bounds[name]).all(), (
            f"{case.name}: {name!r} is off by up to {off.max():.3g}, allowed is {np.max(bounds[name]):.3g}\n"
            f"found {found}\nexpected {wanted}"
        )


def tolerance(
    case: Case, values: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> dict[str, np.ndarray | float]:
    """Return the bound for each output, element by element.

    A sum of n products is off by at most n * eps * (the sum of the products' absolute values), and so is ONNX's own
    (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). Elsewhere a few roundings follow one
    another: 8 eps of the result, or of 1 where exponentials and logarithms cancel.
    """
    eps, operators = float(np.finfo(np.float32).eps), set(case.operators)
    if case.name in TYPED:
        return dict.fromkeys(expected, TYPED[case.name])
    nearest = all(n.attributes.get("mode", "nearest") == "nearest" for n in case.nodes)
    if operators <= EXACT or (operators == {"Resize"} and nearest):
        return dict.fromkeys(expected, 0.0)
    if operators & LINEAR and operators <= LINEAR | AROUND_LINEAR:
        sizes = onnx_adapter.run(case, {k: abs(v) if v.dtype.kind == "f" else v for k, v in values.items()})
        return {name: 2 * _summands(case, values) * eps * sizes[name].astype(np.float64) for name in expected}
    return {name: 8 * eps * np.maximum(1.0, np.abs(np.asarray(e, np.float64))) for name, e in expected.items()}


def _summands(case: Case, values: dict[str, np.ndarray]) -> int:
    """Return how many products an output number is the sum of, at most; 4 for bilinear, the pixels where all are averaged."""
    counts = [4]
    for node in case.nodes:
        if node.operator in ("Conv", "ConvTranspose"):  # (O, C, KH, KW) or (C, O, KH, KW)
            weight = values[node.inputs[1]]
            counts.append(weight.size // min(weight.shape[:2]))
        elif node.operator in ("Gemm", "MatMul"):
            counts.append(max(max(v.shape) for v in values.values()))
        elif node.operator == "GlobalAveragePool":
            counts.append(int(np.prod(values[node.inputs[0]].shape[2:])))
        elif node.operator == "AveragePool":
            counts.append(int(np.prod(node.attributes["kernel_shape"])))
    return max(counts)
