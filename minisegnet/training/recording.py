"""A recorded step: the CUDA graph, everything whose place in memory it knows, and what must stay as it was recorded."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import random
from ..arrays import array_module, device_of, is_cupy
from ..autograd import Tensor, _mode
from ..backend import kernels_for
from ..deferred import Deferred
from ..kernels.precision import get_float32_matmul_precision
from ..optim import SGD, Adam, Optimizer

if TYPE_CHECKING:
    from ..nn import Module

Memory = list[tuple[dict[str, Any], dict[str, Any]]]  # of an optimizer, for each parameter: the dictionary, and a copy
PLAIN = {bool, int, float, str, type(None)}


class Recording(NamedTuple):
    """A graph and its arrays. What it computes lies in a pool of its own, from which nobody else gets memory."""

    graph: Any
    pool: Any
    inputs: tuple[Any, ...]  # where a batch is copied
    table: Any  # of the optimizer's constants
    later: Deferred  # dropout's masks, and constants
    grads: list[tuple[Tensor, Tensor | None]]  # of each parameter
    memory: list[Any]  # the optimizer's arrays
    dtype: Any  # of the loss

    def prepare(self, optimizer: Optimizer) -> bool:
        """Let the optimizer count and compute its constants as in any step; its kernels are in the graph.

        Return whether they still do what it wants: momentum that begins now needs an array that they do not know.
        """
        for p, grad in self.grads:
            p.grad = grad
        with self.table.filled(launching=False):
            optimizer.step()
        return same(arrays_of(optimizer), self.memory)

    def launch(self, batch: tuple[Any, ...]) -> None:
        """Fill the arrays that change and start the graph, in the order of the current stream."""
        for static, part in zip(self.inputs, batch, strict=True):
            static[...] = part
        for mask, draw in self.later.masks:
            mask.set(draw())
        self.table.send()
        self.graph.launch()

    def release(self) -> None:
        """Wait for the last launch and give the memory back."""
        array_module(*self.inputs).cuda.get_current_stream().synchronize()
        for p, grad in self.grads:
            if p.grad is grad:
                p.grad = None
        self.pool.free_all_blocks()


def record(
    body: Callable[..., Any], batch: tuple[Any, ...], optimizer: Optimizer, parameters: list[Tensor], go: Any
) -> Recording:
    """Record ``body(later, *batch)``, in which the optimizer steps once, and which returns the type of the loss.

    Nothing runs meanwhile, and the optimizer's memory is afterwards as it was before.

    Raises
    ------
    RuntimeError
        If something in it cannot be recorded, or would be repeated where it should change.
    """
    xp, before, arrays = array_module(batch[0]), remember(optimizer), arrays_of(optimizer)
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
                    dtype = body(later, *inputs)
                except BaseException:
                    with suppress(RuntimeError):  # it says that the capture has failed
                        stream.end_capture()
                    raise
                graph = stream.end_capture()
        if table.count != sum(p.grad is not None for p in optimizer.parameters()):
            raise RuntimeError("parameters are updated by other kernels than the compiled ones")
        if not same(arrays_of(optimizer), arrays):
            raise RuntimeError("the optimizer makes new arrays in each step")
        if random.get_state() != random_state:
            raise RuntimeError("random numbers are drawn elsewhere than in dropout")
        return Recording(graph, pool, inputs, table, later, [(p, p.grad) for p in parameters], arrays, dtype)
    except BaseException:
        random.set_state(random_state)
        raise
    finally:
        for p in parameters:
            p.grad = None
        restore(before)


def why_not(model: Module, optimizer: Optimizer, batch: tuple[Any, ...]) -> str:
    """Return why a step cannot be recorded, as far as can be said before it is tried; "" where nothing speaks against it."""
    places = {device_of(part) for part in batch} | {device_of(p.data) for p in model.parameters()}
    if places != {"cuda"}:
        return f"model and batch are on {', '.join(sorted(places))}, and CUDA graphs need a GPU"
    if not any(type(optimizer).update is kind.update for kind in (SGD, Adam)):
        return f"{type(optimizer).__name__} has an update of its own, not the compiled kernels'"
    if getattr(optimizer.step, "__func__", None) is not Optimizer.step:
        return f"{type(optimizer).__name__} has a step of its own, of which a graph would repeat only the kernels"
    if _mode.anomaly:
        return "detect_anomaly looks at the result of every operation"
    for p in optimizer.parameters():
        if p.dtype not in (np.float32, np.float64) or not p.data.flags.c_contiguous:
            return f"a parameter of shape {p.shape} is not contiguous, or neither float32 nor float64"
    for name, module in model.named_modules():
        if module.__dict__.get("_forward_hooks") or module.__dict__.get("_forward_pre_hooks"):
            return f"{name or 'the model'} has hooks, which a graph would not call"
    return ""


def signature(model: Module, optimizer: Optimizer, *others: Any) -> list[Any]:
    """Return what recorded kernels rely on: arrays and layers that must be the very same, and what chose the kernels.

    ``others`` are settings, or things that have settings, as a loss.
    """
    kernels = kernels_for(*(p.data for p in optimizer.parameters()[:1]))
    found: list[Any] = [kernels, get_float32_matmul_precision()]
    for thing in (*model.modules(), *others):
        found.append(thing)
        found += filter(_plain, getattr(thing, "__dict__", {}).values())
    for p in (*model.parameters(), *optimizer.parameters()):
        found += (p.data, p.requires_grad)
    found += (buffer.data for _, buffer in model.named_buffers())
    return found + arrays_of(optimizer)


def same(a: list[Any], b: list[Any]) -> bool:
    """Return whether two signatures are of the same things and settings."""
    return len(a) == len(b) and all(
        x is y or (_plain(x) and type(x) is type(y) and x == y) for x, y in zip(a, b, strict=True)
    )


def _plain(value: Any) -> bool:
    """Return whether this is a number, a text, or a few of them: a setting, which is compared by what it says."""
    return type(value) in PLAIN or (type(value) is tuple and all(type(v) in PLAIN for v in value))


def arrays_of(optimizer: Optimizer) -> list[Any]:
    """Return the arrays that an optimizer remembers on the GPU."""
    return [array for memory in optimizer.state for array in memory.values() if is_cupy(array)]


def remember(optimizer: Optimizer) -> Memory:
    """Return what an optimizer remembers, for ``restore``."""
    return [(memory, dict(memory)) for memory in optimizer.state]


def restore(before: Memory) -> None:
    """Take an optimizer's numbers back; its arrays have not changed. What was loaded meanwhile stays."""
    for memory, old in before:
        memory.clear()
        memory.update(old)


def loops() -> Any:
    """Return the optimizers' kernels, which need CuPy."""
    return importlib.import_module("minisegnet.kernels.optimizer.cuda_gpu")
