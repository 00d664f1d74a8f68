"""A network of ours as an ONNX file: what it does on images of several sizes, written down once for all sizes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import __version__
from ..nn import Module
from ..storage import atomic_write
from .onnx_graph import Writer
from .onnx_operations import write
from .onnx_sizes import Run, align, fixed, probes

OPSET = 20  # ONNX 1.15, 2023; ONNX Runtime from 1.17 on
LARGEST = 2**31 - 2**20  # bytes: a protobuf file cannot be larger
CURE = "Install it with `pip install minisegnet[interop]`."


def export_onnx(
    model: Module, path: str | os.PathLike[str], input_shape: Sequence[int], dynamic_size: bool = True
) -> None:
    """Write a network, in evaluation mode, to an ONNX file, whole or not at all.

    Parameters
    ----------
    model : Module
        Any network of ours; its mode is left as it was.
    path : file
    input_shape : (C, H, W), or (N, C, H, W)
        Of one image, for which the network is exported; with ``dynamic_size`` it then takes every size that it takes here.
    dynamic_size : bool
        False: height and width are those of ``input_shape``. The number of images is free in both cases.

    The input is called "image", the output "scores" (several: "scores_0", ...). Metadata: class, configuration, version.

    Raises
    ------
    TypeError, ValueError
        For what cannot be exported; the message names the operation, and says where ``dynamic_size=False`` would help.
    RuntimeError
        If the package onnx is missing.
    """
    onnx = _import_onnx()
    if not isinstance(model, Module):
        raise TypeError(f"export_onnx: model must be a minisegnet.nn.Module, got {type(model).__name__}")
    channels, height, width = _shape(input_shape)
    runs = (
        probes(model, (channels, height, width), _sizes_of(model))
        if dynamic_size
        else fixed(model, (channels, height, width))
    )
    graph = align(runs)
    w = Writer(onnx, graph, {id(tensor.data): name for name, tensor in _named(model)})
    for operation, beside in zip(graph.run.operations, graph.others, strict=True):
        write(w, operation, beside)
    proto = _model(w, graph.run, model, (channels, height, width), dynamic_size)
    size = sum(array.nbytes for array in w.arrays.values())
    if size > LARGEST:
        raise ValueError(f"export_onnx: the weights take {size / 2**30:.1f} GiB, an ONNX file holds at most 2")
    onnx.checker.check_model(proto, full_check=True)
    with atomic_write(path) as file:
        file.write(proto.SerializeToString())


def _model(w: Writer, run: Run, model: Module, shape: tuple[int, int, int], dynamic: bool) -> Any:
    """Return the file's contents."""
    onnx, helper = w.onnx, w.onnx.helper
    kind = helper.np_dtype_to_tensor_dtype(w.dtype)
    sizes = ["height", "width"] if dynamic else list(shape[1:])
    image = helper.make_tensor_value_info("image", kind, ["batch", shape[0], *sizes])
    names = ["scores"] if len(run.outputs) == 1 else [f"scores_{i}" for i in range(len(run.outputs))]
    outputs = []
    for name, value in zip(names, run.outputs, strict=True):
        w.node("Identity", [w.names[value]], [name])
        outputs.append(helper.make_tensor_value_info(name, kind, _known(w, value, dynamic)))
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in w.arrays.items()]
    graph = helper.make_graph(w.nodes, type(model).__name__, [image], outputs, weights)
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(graph, opset_imports=opsets, producer_name="minisegnet", producer_version=__version__)
    proto.ir_version = helper.find_min_ir_version_for(opsets)
    about = {"architecture": type(model).__name__, "config": json.dumps(getattr(model, "config", {}), default=str)}
    if hasattr(model, "num_classes"):
        about["num_classes"] = str(model.num_classes)
    helper.set_model_props(proto, about)
    return proto


def _known(w: Writer, value: int, dynamic: bool) -> list[Any]:
    """Return an output's shape: a number where it never moves, a name where it does."""
    names = ("batch", "channels", "rows", "columns")
    axes = zip(*w.graph.shapes[value], strict=True)
    return [sizes[0] if len(set(sizes)) == 1 else names[axis] for axis, sizes in enumerate(axes)]


def _named(model: Module) -> list[tuple[str, Any]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _sizes_of(model: Module) -> Any:
    """Return which sides of an image the model takes, as far as it says."""
    size = getattr(model, "output_size", None)
    return (lambda n: size(n) is not None) if callable(size) else (lambda n: True)


def _shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    shape = tuple(input_shape)
    if len(shape) not in (3, 4) or not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        raise ValueError(f"export_onnx: input_shape must be (C, H, W), or (N, C, H, W), got {input_shape!r}")
    channels, height, width = (int(n) for n in shape[-3:])
    return channels, height, width


def _import_onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise RuntimeError(f"export_onnx needs the package onnx, which is not installed. {CURE}") from error
    return onnx
