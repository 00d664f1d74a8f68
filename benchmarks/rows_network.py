"""Whole networks: a U-Net's training step (forward, loss, backward, Adam) and its inference; their growth with the pixels.

Beside time, the memory of a training step: the largest resident size of a process of its own, as a whole and above what it
had after its imports.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from engines import Row, Torch, Ways, engine_named, onnx_session
from machine import memory_peak

DEPTH, CLASSES = 4, 2


@dataclass(frozen=True)
class Case:
    """A batch of images and the width of the U-Net's first level."""

    n: int
    size: int
    base: int

    def __str__(self) -> str:
        return f"{self.n}x3x{self.size}x{self.size} base {self.base}"

    @property
    def flops(self) -> float:
        """Operations of a forward pass by direct sums."""
        widths, pixels = [self.base * 2**level for level in range(DEPTH + 1)], float(self.n * self.size**2)
        total = 2 * CLASSES * self.base * pixels
        for before, width in zip([3, *widths], widths, strict=False):
            total += 2 * 9 * (before + width) * width * pixels * (self.base / width) ** 2
        for width in widths[:-1]:  # transposed 2x2 from twice the width, then two 3x3 on both halves
            total += (2 * 2 * width * width + 2 * 9 * 3 * width * width) * pixels * (self.base / width) ** 2
        return total


CASES = [Case(8, 128, 16), Case(4, 128, 32), Case(1, 256, 64)]
SMALL = Case(8, 128, 8)  # the recipe's; judged by no line of the table
GROWTH = [Case(1, size, 8) for size in (256, 512, 1024, 2048)]
TRAIN, INFER = "U-Net, training step", "U-Net, inference"
GROW_TRAIN, GROW_INFER = "growth with the pixels, training step", "growth with the pixels, inference"


def rows() -> list[Row]:
    """Return the rows of whole networks."""
    made = []
    for case in [SMALL, *CASES]:
        judged = "" if case == SMALL else "each"
        made.append(_row(TRAIN, case, 1.3, 2.0, judged))
        made.append(_row(INFER, case, 1.5, 2.5, judged))
    for group in (TRAIN, INFER):
        made.append(_row(group, CASES[0], 0.0, 0.0, "", threads=1))
    for case in GROWTH:
        made.append(_row(GROW_TRAIN, case, 0.0, 0.0, ""))
        made.append(_row(GROW_INFER, case, 0.0, 0.0, ""))
    return made


def _row(group: str, case: Case, least: float, aim: float, judged: str, threads: int = 0) -> Row:
    training = group.endswith("training step")
    name = str(case) + (", one thread" if threads else "")
    return Row(
        group, name, lambda engine: ways(engine, case, training), case.flops * (3 if training else 1),
        least=least, aim=aim, judged=judged, threads=threads, pixels=case.n * case.size**2,
    )  # fmt: skip


def ways(engine: str, case: Case, training: bool) -> Ways:
    """Return an engine's ways to train a step or to infer."""
    if engine == "onnxruntime":
        return {} if training else {"session": onnx(case)}
    if engine == "minisegnet":
        return {"minisegnet": ours(case, training)}
    return {layout: theirs(case, training, layout) for layout in Torch.layouts}


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return images and targets."""
    rng, size = np.random.default_rng(0), (case.n, case.size, case.size)
    return rng.random((case.n, 3, *size[1:]), dtype=np.float32), rng.integers(0, CLASSES, size)


def work(lib: Any, net: Any, optimizer: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Return a training step of a network of either library, or its inference where there is no optimizer."""
    if optimizer is None:

        def infer() -> None:
            with lib.no_grad():
                net(x)

        return infer

    def step() -> None:
        optimizer.zero_grad()
        lib.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    return step


def ours(case: Case, training: bool) -> Callable[[], Any]:
    """Return a step or an inference in minisegnet."""
    import minisegnet as ms
    from minisegnet import models, optim

    ms.manual_seed(0)
    net = models.UNet(3, CLASSES, case.base, DEPTH).train(training)
    return work(engine_named("minisegnet"), net, optim.Adam(net.parameters(), 1e-3) if training else None, *batch(case))


def theirs(case: Case, training: bool, layout: str) -> Callable[[], Any]:
    """Return the same two in PyTorch."""
    from torch_unet import UNet

    lib = engine_named("torch")
    torch, (images, targets) = lib.torch, batch(case)
    net = UNet(3, CLASSES, case.base, DEPTH).to(memory_format=lib.format(layout)).train(training)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3) if training else None
    return work(lib, net, optimizer, lib.tensor(images, layout), torch.from_numpy(targets))


def onnx(case: Case) -> Callable[[], Any]:
    """Return the inference of the PyTorch twin, exported, in ONNX Runtime."""
    import warnings

    import torch
    from torch_unet import UNet

    x, file = batch(case)[0], io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer exporter
        net = UNet(3, CLASSES, case.base, DEPTH).eval()
        torch.onnx.export(net, (torch.from_numpy(x),), file, input_names=["x"], dynamo=False)
    session = onnx_session(file.getvalue())
    return lambda: session(x)


def memory_cases() -> dict[str, Case]:
    """Return by name the cases whose memory is measured, every one in processes of its own."""
    return {str(case): case for case in [SMALL, *CASES, *GROWTH]}


def memory_of(engine: str, case: Case, layout: str, steps: int = 2) -> dict[str, int]:
    """Return the peak of this process after some training steps, and what it was after the imports, in bytes."""
    if engine == "minisegnet":
        import minisegnet.functional
        import minisegnet.kernels.convolution.numba_cpu  # noqa: F401
        from minisegnet import models, optim  # noqa: F401
    else:
        engine_named(engine)
        import torch_unet  # noqa: F401
    imported = memory_peak()
    step = ours(case, True) if engine == "minisegnet" else theirs(case, True, layout)
    for _ in range(steps):
        step()
    return {"peak": memory_peak(), "imported": imported}
