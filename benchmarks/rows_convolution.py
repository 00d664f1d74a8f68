"""The convolution rows: forward, gradient of the input, gradient of the weight, through ``functional`` on both sides.

Beside the time of ours from ordinary arrays stand those from channels-last arrays, as a network has them, and of each
algorithm by name on those; ``chosen`` says which one "auto" took.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from engines import ALGORITHMS, NETWORK, ORDINARY, Row, Torch, Ways, engine_named, has_algorithms, onnx_session

DIRECTIONS = ("forward", "gradient of the input", "gradient of the weight")


@dataclass(frozen=True)
class Geometry:
    """One convolution: N images of C x H x H, O output channels, a K x K kernel."""

    n: int
    c: int
    h: int
    o: int
    k: int = 3
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    transposed: bool = False

    @property
    def padding(self) -> int:
        """Half a kernel; a transposed 2x2 or 4x4 doubles the size exactly, a transposed 3x3 nearly."""
        return (self.k - self.stride + 1) // 2 if self.transposed else self.dilation * (self.k - 1) // 2

    @property
    def out(self) -> int:
        """Height and width of the output."""
        if self.transposed:
            return (self.h - 1) * self.stride - 2 * self.padding + self.k
        return (self.h + 2 * self.padding - self.dilation * (self.k - 1) - 1) // self.stride + 1

    @property
    def flops(self) -> float:
        """Operations of one direction by direct sums: each output pixel (transposed: input pixel) meets the kernel."""
        pixels = self.h if self.transposed else self.out
        return 2.0 * self.n * self.o * (self.c // self.groups) * self.k**2 * pixels**2

    @property
    def moved(self) -> float:
        """Bytes of input, weight and output, each once."""
        images = self.n * (self.c * self.h**2 + self.o * self.out**2)
        return 4.0 * (images + self.o * self.c // self.groups * self.k**2)

    def __str__(self) -> str:
        return f"{self.n}x{self.c}x{self.h}x{self.h} to {self.o}"

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return input, weight and gradient of the output."""
        rng = np.random.default_rng(0)
        first, second = (self.c, self.o // self.groups) if self.transposed else (self.o, self.c // self.groups)
        shapes = (self.n, self.c, self.h, self.h), (first, second, self.k, self.k), (self.n, self.o, self.out, self.out)
        x, weight, grad = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
        return x, weight, grad


PLAIN = [  # 3x3, stride 1: the levels of U-Nets, as wide as 16 and as deep as 512
    Geometry(8, 16, 128, 16), Geometry(8, 16, 128, 32), Geometry(4, 32, 128, 32), Geometry(4, 64, 64, 64),
    Geometry(1, 64, 256, 64), Geometry(4, 128, 32, 128), Geometry(4, 256, 16, 256), Geometry(4, 512, 8, 512),
]  # fmt: skip
OTHERS: dict[str, tuple[float, float, list[Geometry]]] = {  # group: at least, aim, cases
    "first layer 3x3": (0.8, 1.2, [Geometry(8, 3, 128, 16), Geometry(1, 3, 256, 64)]),
    "conv 1x1": (0.8, 1.2, [Geometry(8, 16, 128, 2, 1), Geometry(4, 64, 64, 64, 1)]),
    "conv 5x5": (0.8, 1.2, [Geometry(4, 32, 64, 32, 5)]),
    "conv 7x7": (0.8, 1.2, [Geometry(4, 32, 64, 32, 7)]),
    "conv 3x3 stride 2": (0.8, 1.2, [Geometry(4, 32, 128, 64, 3, 2), Geometry(4, 128, 32, 128, 3, 2)]),
    "dilated 3x3, rate 2": (1.5, 2.5, [Geometry(4, 64, 64, 64, dilation=2)]),
    "dilated 3x3, rate 4": (1.5, 2.5, [Geometry(4, 64, 64, 64, dilation=4)]),
    "dilated 3x3, rate 8": (1.5, 2.5, [Geometry(4, 64, 64, 64, dilation=8)]),
    "transposed 2x2 stride 2": (1.0, 1.5, [Geometry(4, 64, 64, 32, 2, 2, transposed=True)]),
    "transposed 3x3 stride 2": (1.0, 1.5, [Geometry(4, 64, 64, 32, 3, 2, transposed=True)]),
    "transposed 4x4 stride 2": (1.0, 1.5, [Geometry(4, 64, 64, 32, 4, 2, transposed=True)]),
}
DEPTHWISE = [Geometry(8, 64, 64, 64, groups=64), Geometry(8, 64, 64, 64, stride=2, groups=64)]


def rows() -> list[Row]:
    """Return all convolution rows."""
    made = []
    for geometry in PLAIN:
        for direction in DIRECTIONS:
            made.append(_row("conv 3x3", geometry, direction, 1.2, 2.0, "mean"))
    for group, (least, aim, cases) in OTHERS.items():
        for geometry in cases:
            made += [_row(group, geometry, direction, least, aim, "each") for direction in DIRECTIONS]
    for geometry in DEPTHWISE:
        made.append(_row(f"depthwise 3x3 stride {geometry.stride}", geometry, "forward + backward", 1.5, 3.0, "each"))
    return made


def _row(group: str, geometry: Geometry, direction: str, least: float, aim: float, judged: str) -> Row:
    times = 3 if direction == "forward + backward" else 1
    return Row(
        group, f"{geometry}, {direction}", lambda engine: ways(engine, geometry, direction),
        times * geometry.flops, times * geometry.moved, least, aim, judged, ORDINARY,
    )  # fmt: skip


def ways(engine: str, geometry: Geometry, direction: str) -> Ways:
    """Return an engine's ways to do one direction of a convolution."""
    if engine == "onnxruntime":
        return {"session": _onnx(geometry)} if direction == "forward" else {}
    lib = engine_named(engine)
    made = {layout: work(lib, geometry, direction, layout) for layout in lib.layouts}
    if not isinstance(lib, Torch) and has_algorithms(lib.functional.conv2d):
        for name in ALGORITHMS:
            try:
                call = work(lib, geometry, direction, NETWORK, algorithm=name)
                call()
            except (ValueError, NotImplementedError):  # does not fit this geometry
                continue
            made[name] = call
    return made


def work(lib: Any, geometry: Geometry, direction: str, layout: str, **options: Any) -> Callable[[], Any]:
    """Return one direction of a convolution, from tensors in ``layout`` that are there already."""
    x, weight, grad = geometry.arrays()
    convolve = lib.functional.conv_transpose2d if geometry.transposed else lib.functional.conv2d
    options |= {name: getattr(geometry, name) for name in ("stride", "padding", "dilation", "groups")}
    both = direction == "forward + backward"
    image = lib.tensor(x, layout, both or direction == DIRECTIONS[1])
    kernel = lib.weight(weight, layout, both or direction == DIRECTIONS[2])
    if direction == "forward":
        return lambda: convolve(image, kernel, None, **options)
    to = lib.tensor(grad, layout)
    if both:

        def forward_and_backward() -> None:
            image.grad = kernel.grad = None
            convolve(image, kernel, None, **options).backward(to)

        return forward_and_backward
    return lib.gradient(convolve(image, kernel, None, **options), kernel if kernel.requires_grad else image, to)


def chosen(call: Callable[[], Any]) -> list[str]:
    """Return the algorithms that a call of ours runs, by listening to the table that names them."""
    from minisegnet.kernels.convolution import numba_cpu

    heard: list[str] = []

    def listener(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def heard_and_called(*arrays: Any, **options: Any) -> Any:
            heard.append(name)
            return function(*arrays, **options)

        return heard_and_called

    tables = list({id(table): table for table in numba_cpu.ALGORITHMS.values()}.values())
    kept = [dict(table) for table in tables]
    try:
        for table in tables:
            table.update({name: listener(name, function) for name, function in table.items()})
        call()
    finally:
        for table, before in zip(tables, kept, strict=True):
            table.update(before)
    return list(dict.fromkeys(heard))


def _onnx(geometry: Geometry) -> Callable[[], Any]:
    """Return the convolution as an ONNX graph of one node, whose weight the runtime packs beforehand."""
    from onnx import TensorProto, helper, numpy_helper

    x, weight, grad = geometry.arrays()
    pads = [geometry.padding] * 4
    options = {"strides": [geometry.stride] * 2, "dilations": [geometry.dilation] * 2, "group": geometry.groups}
    kind = "ConvTranspose" if geometry.transposed else "Conv"
    node = helper.make_node(kind, ["x", "w"], ["y"], pads=pads, kernel_shape=[geometry.k] * 2, **options)
    given, made = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)] for name, array in (("x", x), ("y", grad))
    )
    graph = helper.make_graph([node], "convolution", given, made, [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnx_session(model.SerializeToString())
    return lambda: session(x)
