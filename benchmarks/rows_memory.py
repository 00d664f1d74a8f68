"""The rows whose limit is memory: batch norm and ReLU, pooling, unpooling, resizing, cross-entropy, Adam.

A triad (a = b + 3 c) over as many bytes as a row must move says what the machine gives; ours is judged against PyTorch or
against that. What is counted is the work on arrays in the layout in which a network has them; from ordinary arrays, whose
change of layout costs as much as the work, stands beside it. Results are made anew in each call, as in training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from engines import NETWORK, Row, Torch, Ways, engine_named
from machine import triad

SIZES = {"8x16x128x128": (8, 16, 128, 128), "8x64x128x128": (8, 64, 128, 128)}  # 8 MiB, 32 MiB of float32
LOSSES = {"8x2x128x128": (8, 2, 128, 128), "4x21x128x128": (4, 21, 128, 128)}
BASES = {"U-Net base 16": 16, "U-Net base 64": 64}  # 1.9 and 31 million parameters
TRIAD = "triad"  # the way of our process that measures the memory

# How often each number of the (full-size) image is read or written, 4 bytes each; a pooled image is a quarter of it.
PASSES = {
    "batch norm + ReLU, training": 3,  # statistics, then read and write
    "batch norm + ReLU, its gradient": 5,  # sums over gradient and input, then both again and write
    "max-pool 2x2 with indices": 1 + 0.25 + 0.5,  # int64 indices
    "max-pool 2x2, its gradient": 0.25 + 0.5 + 1,
    "max-pool 3x3 stride 2 with indices": 1 + 0.25 + 0.5,
    "max-unpool 2x2": 0.25 + 0.5 + 1,
    "max-unpool 2x2, its gradient": 1 + 0.5 + 0.25,
    "bilinear to twice the size": 0.25 + 1,
    "bilinear, its gradient": 1 + 0.25,
}


def rows() -> list[Row]:
    """Return all rows that memory bounds."""
    made = []
    for work, passes in PASSES.items():
        for size, shape in SIZES.items():
            moved = passes * 4.0 * np.prod(shape)
            made.append(_row(work, size, moved, lambda engine, work=work, shape=shape: image_ways(engine, work, shape)))
    for size, (n, k, h, w) in LOSSES.items():
        moved = n * h * w * (3 * 4.0 * k + 2 * 8 + 2 * 8 + 4)
        made.append(_row("cross-entropy, forward + backward", size, moved,
                         lambda engine, shape=(n, k, h, w): loss_ways(engine, shape), "minisegnet"))  # fmt: skip
    for size, base in BASES.items():
        moved = 7 * 4.0 * sum(np.prod(s) for s in _unet_shapes(base))  # four arrays are read, three written
        made.append(_row("Adam step", size, moved, lambda engine, base=base: adam_ways(engine, base), "minisegnet"))
    return made


def _row(work: str, size: str, moved: float, make: Any, counts: str = NETWORK) -> Row:
    def with_triad(engine: str) -> Ways:
        ways = make(engine) if engine != "onnxruntime" else {}
        return {**ways, TRIAD: triad(moved)} if engine == "minisegnet" else ways

    return Row(work, size, with_triad, 0.0, float(moved), 1.5, 2.5, "bandwidth", counts)


def image_ways(engine: str, work: str, shape: tuple[int, ...]) -> Ways:
    """Return one of ``PASSES`` in each layout."""
    lib, rng = engine_named(engine), np.random.default_rng(0)
    x, g = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    return {layout: image_work(lib, work, layout, x, g) for layout in lib.layouts}


def image_work(lib: Any, work: str, layout: str, x: np.ndarray, g: np.ndarray) -> Any:
    """Return what one of ``PASSES`` times, on an image ``x`` whose result has the gradient ``g`` (or part of it)."""
    c, h, w = x.shape[1:]
    quarter = np.ascontiguousarray(g[:, :, : h // 2, : w // 2])
    f = lib.functional
    leaf = lib.tensor(x, layout, True)
    if work.startswith("batch norm"):
        nn, inplace = lib.nn, isinstance(lib, Torch)
        block = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(inplace=True) if inplace else nn.ReLU())
        block = lib.module(block, layout)
        return lib.gradient(block(leaf), leaf, lib.tensor(g, layout)) if "gradient" in work else lambda: block(leaf)
    if work.startswith("bilinear"):
        half = lib.tensor(x[:, :, ::2, ::2], layout, True)

        def twice() -> Any:
            return f.interpolate(half, scale_factor=2, mode="bilinear", align_corners=False)

        return lib.gradient(twice(), half, lib.tensor(g, layout)) if "gradient" in work else twice
    full = lib.tensor(x, layout)
    if work == "max-pool 3x3 stride 2 with indices":
        return lambda: f.max_pool2d(full, 3, 2, 1, return_indices=True)
    if work == "max-pool 2x2, its gradient":
        return lib.gradient(f.max_pool2d(leaf, 2), leaf, lib.tensor(quarter, layout))
    if work.startswith("max-pool"):
        return lambda: f.max_pool2d(full, 2, return_indices=True)
    values, indices = f.max_pool2d(full, 2, return_indices=True)
    pooled = lib.tensor(lib.array(values), layout, True)
    if "gradient" in work:
        return lib.gradient(f.max_unpool2d(pooled, indices, 2), pooled, lib.tensor(g, layout))
    return lambda: f.max_unpool2d(pooled, indices, 2)


def loss_ways(engine: str, shape: tuple[int, ...]) -> Ways:
    """Return cross-entropy of (N, K, H, W), forward and backward."""
    lib, rng = engine_named(engine), np.random.default_rng(0)
    n, k, h, w = shape
    x, y = rng.standard_normal(shape, dtype=np.float32), rng.integers(0, k, (n, h, w))

    def both(logits: Any, target: Any) -> None:
        logits.grad = None
        lib.functional.cross_entropy(logits, target).backward()

    if not isinstance(lib, Torch):
        logits = lib.tensor(x, NETWORK, True)
        return {"minisegnet": lambda: both(logits, y)}
    target = lib.torch.from_numpy(y)
    made = {layout: lib.tensor(x, layout, True) for layout in lib.layouts}
    return {layout: lambda logits=logits: both(logits, target) for layout, logits in made.items()}


def adam_ways(engine: str, base: int) -> Ways:
    """Return an Adam step over the parameters of a U-Net; PyTorch's by its default and its fused implementation."""
    arrays = [np.full(shape, 1e-2, np.float32) for shape in _unet_shapes(base)]
    if engine == "minisegnet":
        from minisegnet import Tensor, nn, optim

        ours = [nn.Parameter(array) for array in arrays]
        for p in ours:
            p.grad = Tensor(np.full_like(p.data, 1e-3))
        return {"minisegnet": optim.Adam(ours, 1e-3).step}
    torch = engine_named(engine).torch

    def step(**options: Any) -> Any:
        parameters = [torch.from_numpy(array.copy()).requires_grad_() for array in arrays]
        for p in parameters:
            p.grad = torch.full_like(p, 1e-3)
        return torch.optim.Adam(parameters, 1e-3, **options).step

    return {"default": step(), "fused": step(fused=True)}


def _unet_shapes(base: int) -> list[tuple[int, ...]]:
    """Return the shapes of the parameters of a U-Net of depth 4, without building it."""
    shapes: list[tuple[int, ...]] = []
    widths = [base * 2**level for level in range(5)]
    blocks = list(zip([3, *widths[:-1]], widths, strict=True)) + [(2 * width, width) for width in widths[-2::-1]]
    for before, width in blocks:
        for channels in (before, width):
            shapes += [(width, channels, 3, 3), (width,), (width,)]
    shapes += [shape for width in widths[-2::-1] for shape in ((2 * width, width, 2, 2), (width,))]
    return [*shapes, (2, base, 1, 1), (2,)]
