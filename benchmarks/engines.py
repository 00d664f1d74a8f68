"""What a row of the benchmark is, and the few things that minisegnet and PyTorch say differently.

A row is measured by every engine that has something for it; what an engine tries (memory layouts, algorithms, the kinds
of Adam) are its *ways*. PyTorch's time is that of its best way, ours that of the way a row names in ``counts``.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Ways = dict[str, Callable[[], Any]]  # by name: what to time
ENGINES = ("minisegnet", "torch", "onnxruntime")
ORDINARY = "ordinary arrays"  # arrays as NumPy makes them: every change of layout is included
ALGORITHMS = ("direct", "winograd", "shifts", "depthwise")  # ways of ours too, by name, of convolutions that they fit
NETWORK = "channels-last"  # arrays in the layout in which a network of ours hands them from layer to layer


@dataclass(frozen=True)
class Row:
    """One line of the table: what is done, what it is worth, and what an engine does for it.

    Parameters
    ----------
    group, name : which part of the speed table, and which case
    make : from the name of an engine to its ways, built in the process that measures them; empty where it has none
    flops : operations of direct sums (a multiplication and an addition are two), 0 where memory bounds the work
    moved : bytes that must be read or written at least
    least, aim : PyTorch's time / ours that is asked for
    judged : how: "each" row for itself, "mean" of its group, "bandwidth" (80% and 90% will do as well), "" not at all
    counts : which way of ours is compared with PyTorch's best
    threads : so many, instead of all
    pixels : of the images, where a time per megapixel is wanted
    """

    group: str
    name: str
    make: Callable[[str], Ways] = field(repr=False, compare=False)
    flops: float = 0.0
    moved: float = 0.0
    least: float = 0.0
    aim: float = 0.0
    judged: str = "each"
    counts: str = "minisegnet"
    threads: int = 0
    pixels: int = 0

    @property
    def key(self) -> str:
        """The row's name in files and for ``--only``."""
        return f"{self.group}: {self.name}"


class Minisegnet:
    """Ours: an array becomes a Tensor without a copy."""

    layouts = (ORDINARY, NETWORK)

    def __init__(self) -> None:
        import minisegnet.functional
        from minisegnet import Tensor, nn, no_grad

        self.functional, self.nn, self._tensor, self.no_grad = minisegnet.functional, nn, Tensor, no_grad

    def tensor(self, array: np.ndarray, layout: str, requires_grad: bool = False) -> Any:
        """Return a tensor of the array, an image (N, C, H, W) in ``layout``."""
        if array.ndim == 4 and layout == NETWORK:
            array = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        return self._tensor(np.ascontiguousarray(array) if layout == ORDINARY else array, requires_grad=requires_grad)

    def weight(self, array: np.ndarray, layout: str, requires_grad: bool = False) -> Any:
        """Return a weight; it is an ordinary array in every layout."""
        return self._tensor(array, requires_grad=requires_grad)

    def gradient(self, result: Any, leaf: Any, grad: Any) -> Callable[[], Any]:
        """Return what computes the gradient of ``leaf`` alone, without adding it to anything."""
        node, others = result._node, [None] * (len(result._node.grads) - 1)
        return lambda: node.function.backward(node.context, grad.data, *others)

    def module(self, made: Any, layout: str) -> Any:
        """Return a module where and how the engine wants it."""
        return made

    def array(self, tensor: Any) -> np.ndarray:
        """Return a tensor's numbers on the CPU."""
        return np.asarray(tensor.data)


class Torch:
    """PyTorch, in both of its memory layouts."""

    layouts = ("contiguous", "channels_last")

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        self.torch, self.functional, self.nn, self.no_grad = torch, torch.nn.functional, torch.nn, torch.no_grad

    def format(self, layout: str) -> Any:
        """Return PyTorch's own word for a layout."""
        return self.torch.channels_last if layout == "channels_last" else self.torch.contiguous_format

    def tensor(self, array: np.ndarray, layout: str, requires_grad: bool = False) -> Any:
        """Return a tensor of the array, an image (N, C, H, W) in ``layout``."""
        made = self.torch.from_numpy(np.ascontiguousarray(array))
        if array.ndim == 4:
            made = made.contiguous(memory_format=self.format(layout))
        return made.requires_grad_(requires_grad)

    weight = tensor

    def gradient(self, result: Any, leaf: Any, grad: Any) -> Callable[[], Any]:
        """Return what computes the gradient of ``leaf`` alone, without adding it to anything."""
        return lambda: self.torch.autograd.grad(result, leaf, grad, retain_graph=True)

    def module(self, made: Any, layout: str) -> Any:
        """Return a module where and how the engine wants it."""
        return made.to(memory_format=self.format(layout))

    def array(self, tensor: Any) -> np.ndarray:
        """Return a tensor's numbers on the CPU."""
        return tensor.detach().cpu().numpy()


def engine_named(name: str) -> Minisegnet | Torch:
    """Return what speaks to an engine; raises ``ImportError`` where it is not installed."""
    return Minisegnet() if name == "minisegnet" else Torch()


def onnx_session(model: bytes) -> Callable[[np.ndarray], Any]:
    """Return the function of an ONNX model with one input ``x``, on as many threads as all engines have."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})


def has_algorithms(function: Callable[..., Any]) -> bool:
    """Return whether a function lets its algorithm be chosen by name."""
    return "algorithm" in inspect.signature(function).parameters
