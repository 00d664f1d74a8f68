"""A recorded step: the CUDA graph, everything whose place in memory it knows, and what must stay as it was recorded."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import random
from ..arrays import array_module, device_of, is_cupy
from ..autograd import Tensor
from ..backend import kernels_for
from ..deferred import Deferred
from ..kernels.precision import get_float32_matmul_precision
from ..optim import SGD, Adam, Optimizer

if TYPE_CHECKING:
    from ..nn import Module

Memory = list[dict[str, Any]]  # of an optimizer: its arrays and numbers, for each parameter


class Recording(NamedTuple):
    """A graph and its arrays. What it computes lies in a pool of its own, from which nobody else gets memory."""

    graph: Any
    pool: Any
    inputs: tuple[Any, ...]  # where a batch is copied
    table: Any  # of the optimizer's constants
    later: Deferred  # dropout's masks, and constants
    grads: list[Tensor | None]

    def prepare(self, optimizer: Optimizer) -> None:
        """Let the optimizer count and compute its constants as in any step; its kernels are in the graph."""
        for p, grad in zip(optimizer.parameters(), self.grads, strict=True):
            p.grad = grad
        with self.table.filled(launching=False):
            optimizer.step()

    def launch(self, batch: tuple[Any, ...]) -> None:
        """Fill the arrays that change and start the graph, in the order of the current stream."""
        for static, part in zip(self.inputs, batch, strict=True):
            static[...] = part
        for mask, draw in self.later.masks:
            mask.set(draw())
        self.table.send()
        self.graph.launch()

    def release(self, optimizer: Optimizer) -> None:
        """Wait for the last launch and give the memory back."""
        array_module(*self.inputs).cuda.get_current_stream().synchronize()
        for p, grad in zip(optimizer.parameters(), self.grads, strict=True):
            if p.grad is grad:
                p.grad = None
        self.pool.free_all_blocks()


def record(body: Callable[..., None], batch: tuple[Any, ...], optimizer: Optimizer, go: Any) -> Recording:
    """Record ``body(later, *batch)``, in which the optimizer steps once; nothing runs meanwhile.

    Raises
    ------
    RuntimeError
        If something in it cannot be recorded, or would be repeated where it should change.
    """
    xp, before = array_module(batch[0]), [dict(memory) for memory in optimizer.state]
    xp.get_default_memory_pool().free_all_blocks()  # the graph's own memory takes the place of the warm-up's
    pool, stream, later = xp.cuda.MemoryPool(), xp.cuda.Stream(non_blocking=True), Deferred(capturing=True)
    random_state = random.get_state()
    try:
        with xp.cuda.using_allocator(pool.malloc):
            inputs = tuple(xp.empty(part.shape, part.dtype) for part in batch)
            table = loops().Table(len(optimizer.parameters()), go)
            with stream, table.filled(launching=True):
                stream.begin_capture()
                try:
                    body(later, *inputs)
                except BaseException:
                    with suppress(RuntimeError):  # it says that the capture has failed
                        stream.end_capture()
                    raise
                graph = stream.end_capture()
        grads = [p.grad for p in optimizer.parameters()]
        if table.count != len(grads) - grads.count(None):
            raise RuntimeError("parameters are updated by other kernels than the compiled ones")
        for memory, old in zip(optimizer.state, before, strict=True):
            if any(old.get(name) is not array for name, array in memory.items() if is_cupy(array)):
                raise RuntimeError("the optimizer makes new arrays in each step")
        if random.get_state() != random_state:
            raise RuntimeError("random numbers are drawn elsewhere than in dropout")
    except BaseException:
        optimizer.zero_grad()
        restore(optimizer, before)
        random.set_state(random_state)
        raise
    return Recording(graph, pool, inputs, table, later, grads)


def why_not(model: Module, optimizer: Optimizer, batch: tuple[Any, ...]) -> str:
    """Return why a step cannot be recorded, as far as can be said before it is tried; "" where nothing speaks against it."""
    places = {device_of(part) for part in batch} | {device_of(p.data) for p in model.parameters()}
    if places != {"cuda"}:
        return f"model and batch are on {', '.join(sorted(places))}, and CUDA graphs need a GPU"
    if not any(type(optimizer).update is kind.update for kind in (SGD, Adam)):
        return f"{type(optimizer).__name__} has an update of its own, not the compiled kernels'"
    for p in optimizer.parameters():
        if p.dtype not in (np.float32, np.float64) or not p.data.flags.c_contiguous:
            return f"a parameter of shape {p.shape} is not contiguous, or neither float32 nor float64"
    for name, module in model.named_modules():
        if module.__dict__.get("_forward_hooks") or module.__dict__.get("_forward_pre_hooks"):
            return f"{name or 'the model'} has hooks, which a graph would not call"
    return ""


def signature(model: Module, optimizer: Optimizer) -> list[Any]:
    """Return what recorded kernels rely on: arrays that must be the very same, and what chose the kernels."""
    kernels = kernels_for(*(p.data for p in optimizer.parameters()[:1]))
    found: list[Any] = [kernels, get_float32_matmul_precision()]
    found += (module.training for module in model.modules())
    for p in (*model.parameters(), *optimizer.parameters()):
        found += (p.data, p.requires_grad)
    found += (buffer.data for _, buffer in model.named_buffers())
    for memory in optimizer.state:
        found += (array for array in memory.values() if is_cupy(array))
    return found


def same(a: list[Any], b: list[Any]) -> bool:
    """Return whether two signatures are of the same arrays and settings."""
    return len(a) == len(b) and all(x is y or (not is_cupy(x) and x == y) for x, y in zip(a, b, strict=True))


def restore(optimizer: Optimizer, before: Memory) -> None:
    """Take an optimizer's numbers back; its arrays have not changed."""
    for memory, old in zip(optimizer.state, before, strict=True):
        memory.clear()
        memory.update(old)


def loops() -> Any:
    """Return the optimizers' kernels, which need CuPy."""
    return importlib.import_module("minisegnet.kernels.optimizer.cuda_gpu")
