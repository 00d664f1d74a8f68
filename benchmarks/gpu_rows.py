"""The rows of the GPU's table: the card's own limits, each kernel, and whole U-Nets at three sizes.

A row's ways are *builders* here: each is built, timed and forgotten before the next one, so that the memory of one does
not count as that of another. Kernels are called through ``functional`` on both sides, by the code of the CPU's rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rows_memory
import rows_network
from engines import Minisegnet, Row, Torch
from rows_convolution import DIRECTIONS, Geometry, work
from rows_network import CLASSES, DEPTH, INFER, TRAIN, Case, batch

HERE = Path(__file__).resolve().parent
EAGER, TUNED, COMPILED = "eager", "channels_last + cudnn.benchmark", "torch.compile"
STRICT = "strict float32, "  # before a way of PyTorch that must not round to TF32
OURS = "minisegnet"
CAPTURED = "minisegnet, step captured"  # in a CUDA graph
ROUNDED = "minisegnet, TF32"  # convolutions on tensor cores
BANDWIDTH, FLOAT32, TF32 = "triad", "multiply-adds in float32", "tensor cores in TF32, by mma.sync"

CASES = [Case(8, 128, 16), Case(8, 256, 32), Case(4, 572, 64)]
CONVOLUTIONS = {
    "conv 3x3": [Geometry(8, 16, 128, 16), Geometry(8, 64, 128, 64), Geometry(8, 256, 32, 256),
                 Geometry(4, 64, 572, 64), Geometry(4, 512, 71, 512), Geometry(1, 32, 128, 32)],  # the last: lesson 15's
    "first layer 3x3": [Geometry(8, 3, 256, 32)],
    "conv 1x1": [Geometry(8, 32, 256, 2, 1), Geometry(8, 256, 64, 256, 1)],
    "conv 3x3 stride 2": [Geometry(8, 64, 128, 128, 3, 2)],
    "dilated 3x3, rate 4": [Geometry(8, 128, 64, 128, dilation=4)],
    "transposed 2x2 stride 2": [Geometry(8, 256, 64, 128, 2, 2, transposed=True)],
    "depthwise 3x3": [Geometry(8, 128, 128, 128, groups=128)],
}  # fmt: skip
IMAGES = [(8, 32, 256, 256), (4, 64, 572, 572)]
LOSSES = [(8, 2, 256, 256), (4, 21, 572, 572)]
BASES = [16, 64]


def rows(tiny: bool) -> dict[str, Row]:
    """Return every row by its key, in the order of the tables; ``tiny``: the same kinds of work, so small that it is none."""
    cases, images, losses, bases = CASES, IMAGES, LOSSES, BASES
    convolutions = CONVOLUTIONS
    if tiny:
        cases, images, losses, bases = [Case(2, 16, 1)], [(1, 2, 8, 8)], [(1, 2, 4, 4)], [1]
        convolutions = {name: [_shrunk(some[0])] for name, some in CONVOLUTIONS.items()}
    made = _roofs(tiny)
    for case in cases:
        made.append(Row(TRAIN, str(case), functools.partial(net_ways, case, True), 3 * case.flops))
        made.append(Row(INFER, str(case), functools.partial(net_ways, case, False), case.flops))
    for group, geometries in convolutions.items():
        for geometry in geometries:
            for direction in DIRECTIONS:
                make = functools.partial(convolution_ways, geometry, direction)
                made.append(Row(group, f"{geometry}, {direction}", make, geometry.flops, geometry.moved))
    for name, passes in rows_memory.PASSES.items():
        for shape in images:
            make = functools.partial(image_ways, name, shape)
            made.append(Row(name, _name(shape), make, 0.0, passes * 4.0 * float(np.prod(shape))))
    for shape in losses:
        n, k, h, w = shape
        made.append(Row("cross-entropy, forward + backward", _name(shape), functools.partial(loss_ways, shape), 0.0,
                        n * h * w * (3 * 4.0 * k + 2 * 8 + 2 * 8 + 4)))  # fmt: skip
    for base in bases:
        moved = 7 * 4.0 * sum(float(np.prod(s)) for s in rows_memory._unet_shapes(base))
        made.append(Row("Adam step", f"U-Net base {base}", functools.partial(adam_ways, base), 0.0, moved))
    return {row.key: row for row in made}


def _shrunk(geometry: Geometry) -> Geometry:
    channels = 2 if geometry.groups > 1 else min(geometry.c, 3)
    return replace(
        geometry, n=1, c=channels, h=6, o=2, groups=min(geometry.groups, 2), dilation=min(geometry.dilation, 2)
    )


def _name(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


class Ours(Minisegnet):
    """minisegnet, on the card."""

    layouts = (OURS,)

    def tensor(self, array: np.ndarray, layout: str, requires_grad: bool = False) -> Any:
        """Return a tensor of the array."""
        from minisegnet import to_device

        return self._tensor(to_device(np.ascontiguousarray(array), "cuda"), requires_grad=requires_grad)

    def weight(self, array: np.ndarray, layout: str, requires_grad: bool = False) -> Any:
        """Return a tensor of the array."""
        return self.tensor(array, layout, requires_grad)

    def module(self, made: Any, layout: str) -> Any:
        """Return the module, moved."""
        return made.to("cuda")

    def array(self, tensor: Any) -> np.ndarray:
        """Return a tensor's numbers on the CPU."""
        from minisegnet import to_device

        return to_device(tensor.data, "cpu")


class Theirs(Torch):
    """PyTorch, on the card (without one, on the CPU: only to try the command)."""

    layouts = (EAGER, TUNED)

    def __init__(self) -> None:
        super().__init__()
        self.device = "cuda" if self.torch.cuda.is_available() else "cpu"

    def format(self, layout: str) -> Any:
        """Return PyTorch's own word for the layout of a way."""
        return self.torch.channels_last if layout.endswith(TUNED) else self.torch.contiguous_format

    def tensor(self, array: np.ndarray, layout: str, requires_grad: bool = False) -> Any:
        """Return a tensor of the array, an image in the layout of a way."""
        return super().tensor(array, layout).to(self.device).requires_grad_(requires_grad)

    weight = tensor

    def module(self, made: Any, layout: str) -> Any:
        """Return the module, moved, in the layout of a way."""
        return super().module(made, layout).to(self.device)

    def under(self, way: str, build: Callable[[], Callable[[], Any]]) -> Callable[[], Callable[[], Any]]:
        """Return a builder that sets PyTorch's switches first: ways are timed one after the other."""

        def built() -> Callable[[], Any]:
            cudnn = self.torch.backends.cudnn
            cudnn.allow_tf32, cudnn.benchmark = not way.startswith(STRICT), way.endswith(TUNED)
            return build()

        return built


Builders = dict[str, Callable[[], Callable[[], Any]]]


def _each(engine: str, strict: bool, build: Callable[[Any, str], Callable[[], Any]]) -> Builders:
    """Return the ways of an engine; ``strict``: work in which both may round to TF32, and are also timed without."""
    if engine == OURS:
        return {OURS: _with("highest", lambda: build(Ours(), OURS))} | (
            {ROUNDED: _with("high", lambda: build(Ours(), OURS))} if strict else {}
        )
    lib = Theirs()
    names = [*Theirs.layouts, *((STRICT + way for way in Theirs.layouts) if strict else ())]
    return {way: lib.under(way, functools.partial(build, lib, way)) for way in names}


def _with(precision: str, build: Callable[[], Callable[[], Any]]) -> Callable[[], Callable[[], Any]]:
    """Return a builder that first sets how our convolutions multiply: ways are timed one after the other."""

    def built() -> Callable[[], Any]:
        import minisegnet

        minisegnet.set_float32_matmul_precision(precision)
        return build()

    return built


def convolution_ways(geometry: Geometry, direction: str, engine: str) -> Builders:
    """Return one direction of a convolution."""
    return _each(engine, True, lambda lib, way: work(lib, geometry, direction, way))


def image_ways(name: str, shape: tuple[int, ...], engine: str) -> Builders:
    """Return what memory bounds, on images."""

    def build(lib: Any, way: str) -> Callable[[], Any]:
        rng = np.random.default_rng(0)
        x, g = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
        return rows_memory.image_work(lib, name, way, x, g)

    return _each(engine, False, build)


def loss_ways(shape: tuple[int, ...], engine: str) -> Builders:
    """Return cross-entropy, forward and backward."""

    def build(lib: Any, way: str) -> Callable[[], Any]:
        rng, (n, k, h, w) = np.random.default_rng(0), shape
        logits = lib.tensor(rng.standard_normal(shape, dtype=np.float32), way, True)
        target = lib.tensor(rng.integers(0, k, (n, h, w)), way)

        def both() -> None:
            logits.grad = None
            lib.functional.cross_entropy(logits, target).backward()

        return both

    return _each(engine, False, build)


def adam_ways(base: int, engine: str) -> Builders:
    """Return a step of Adam over a U-Net's parameters; PyTorch's by its default and its fused implementation."""
    shapes = rows_memory._unet_shapes(base)

    def build(lib: Any, way: str) -> Callable[[], Any]:
        parameters = [lib.weight(np.full(s, 1e-2, np.float32), way, True) for s in shapes]
        for parameter, s in zip(parameters, shapes, strict=True):
            parameter.grad = lib.weight(np.full(s, 1e-3, np.float32), way)
        if engine == OURS:
            from minisegnet import optim

            return optim.Adam(parameters, 1e-3).step
        return lib.torch.optim.Adam(parameters, 1e-3, **({"fused": True} if way == "fused" else {})).step

    if engine == OURS:
        return {OURS: lambda: build(Ours(), OURS)}
    lib = Theirs()
    return {way: lib.under(way, functools.partial(build, lib, way)) for way in (EAGER, "fused")}


def net_ways(case: Case, training: bool, engine: str) -> Builders:
    """Return a U-Net's training step or its inference."""
    if engine == OURS:
        captured = {CAPTURED: _with("highest", lambda: our_net(case, True, captured=True))} if training else {}
        plain = {name: _with(p, lambda: our_net(case, training)) for name, p in ((OURS, "highest"), (ROUNDED, "high"))}
        return plain | captured
    lib = Theirs()
    names = (EAGER, TUNED, COMPILED)
    return {
        way: lib.under(way, functools.partial(their_net, lib, case, training, way))
        for way in [*names, *(STRICT + name for name in names)]
    }


def our_net(case: Case, training: bool, captured: bool = False) -> Callable[[], Any]:
    """Return a step or an inference in minisegnet; the step kernel by kernel, or captured in a CUDA graph."""
    import minisegnet as ms
    from minisegnet import functional, models, optim
    from minisegnet.training import CapturedStep

    ms.manual_seed(0)
    net = models.UNet(3, CLASSES, case.base, DEPTH).train(training).to("cuda")
    images, targets = batch(case)
    optimizer = optim.Adam(net.parameters(), 1e-3) if training else None
    x, y = ms.Tensor(ms.to_device(images, "cuda")), ms.to_device(targets, "cuda")
    if captured:
        step = CapturedStep(net, functional.cross_entropy, optimizer)
        return lambda: step(x, y)  # captured while the clock warms up
    return rows_network.work(Ours(), net, optimizer, x, y)


def their_net(lib: Theirs, case: Case, training: bool, way: str) -> Callable[[], Any]:
    """Return the same in PyTorch."""
    from torch_unet import UNet

    torch, (images, targets) = lib.torch, batch(case)
    torch.manual_seed(0)
    net: Any = lib.module(UNet(3, CLASSES, case.base, DEPTH), way).train(training)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3) if training else None
    if way.endswith(COMPILED):
        torch.compiler.reset()
        net = torch.compile(net, backend="inductor" if lib.device == "cuda" else "eager")
    return rows_network.work(lib, net, optimizer, lib.tensor(images, way), lib.tensor(targets, way))


def _roofs(tiny: bool) -> list[Row]:
    """Return the card's memory and its arithmetic as rows that only our process measures."""
    size, threads, steps = (256, 256, 2) if tiny else (2**27, 2**20, 4096)

    def probe(name: str, arrays: int, length: int, *constants: Any) -> Callable[[str], Builders]:
        return lambda engine: {OURS: lambda: _probe(name, arrays, length, *constants)} if engine == OURS else {}

    half = np.float32(0.5)
    warps = threads // 32
    return [
        Row("card", BANDWIDTH, probe("triad", 3, size), moved=12.0 * size),
        Row("card", FLOAT32, probe("multiply_adds", 1, threads, steps, half), 2.0 * 8 * steps * threads),
        Row("card", TF32, probe("tensor_products", 1, threads, steps, half), 2.0 * 4 * 16 * 8 * 8 * steps * warps),
    ]


def _probe(name: str, arrays: int, length: int, *constants: Any) -> Callable[[], Any]:
    """Return the start of a kernel of gpu_probes.cu."""
    import cupy

    from minisegnet.kernels import cuda_gpu_launch

    folder = Path(cuda_gpu_launch.__file__).parent
    parts = (folder / "cuda_gpu_instructions.cu", HERE / "gpu_probes.cu")
    code = "\n".join(part.read_text(encoding="utf-8") for part in parts)
    kernel = cupy.RawModule(code=code, options=("-std=c++17", "-DNUMBER=float")).get_function(name)
    given = [cupy.zeros(length, "float32") for _ in range(arrays)]
    given += [np.int32(c) if isinstance(c, int) else c for c in constants]
    return lambda: kernel((length // 256,), (256,), (*given, np.int64(length)))
