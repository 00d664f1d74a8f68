"""Where a number that is none began: in the data, in a weight, in a layer, in the loss or on the way back; what memory lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import random
from ..arrays import array_module, is_cupy
from ..autograd import Function, Node, detect_anomaly, unwrap

if TYPE_CHECKING:
    from ..nn import Module


def who_found_no_room(error: MemoryError) -> str:
    """Return a sentence about the operation in which memory ran out, "" where it was none."""
    found, trace = "", error.__traceback__
    while trace is not None:
        code, here = trace.tb_frame.f_code, trace.tb_frame.f_locals
        if code is Function.apply.__func__.__code__:  # type: ignore[attr-defined]
            found = _told(here["cls"].__name__, [unwrap(x) for x in here["inputs"]])
        elif code is Node.step_back.__code__:
            found = _told(f"the backward of {here['self'].function.__name__}", here["arrived"])
        trace = trace.tb_next
    return found


def _told(who: str, arrays: list[Any]) -> str:
    shapes = " and ".join(str(tuple(a.shape)) for a in arrays if getattr(a, "shape", ()))
    return f"It was {who} of arrays of shape {shapes}. "


def what_a_step_needs(batch: Any) -> str:
    """Return, for a step that found no room, what takes memory and what would take less."""
    room = ""
    if is_cupy(batch.data):
        xp = array_module(batch.data)
        free, total = xp.cuda.runtime.memGetInfo()
        pool = xp.get_default_memory_pool()
        used, kept = pool.used_bytes(), pool.total_bytes() - pool.used_bytes()
        room = (
            f" Of the GPU's {total / 2**30:.1f} GiB, {free / 2**30:.1f} are free, arrays hold {used / 2**30:.1f}, and "
            f"{kept / 2**30:.1f} wait to be used again (ms.empty_cache() gives those back); the rest is other programs'."
        )
    return (
        f"A training step keeps every layer's output until its backward. This batch has shape {tuple(batch.shape)}: fewer "
        f"images in it, or smaller crops, need less in proportion.{room}"
    )


def where_it_began(
    model: Module, loss: Callable[..., Any], inputs: tuple[Any, ...], random_state: dict[str, Any]
) -> str:
    """Take one training step once more, watching every operation, and return a sentence about the first that failed.

    Parameters
    ----------
    model, loss
        The network, with the weights and buffers that it had before the step, and the loss.
    inputs : x, target and possibly a pixel weight
        The batch.
    random_state : dict
        The package's random numbers before the step, for dropout.
    """
    for name, array in zip(("input batch", "target", "pixel_weight"), inputs, strict=False):
        if wrong := _not_finite(array):
            return f"It began in the data: the {name} holds {wrong}."
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if wrong := _not_finite(tensor):
            return f"It began before this step: {name} of the model holds {wrong}."
    random.set_state(random_state)
    place = ["the model"]
    try:
        with np.errstate(all="ignore"), detect_anomaly(), _named_layers(model, place):
            output = model(inputs[0])
            place[:] = ["the loss"]
            value = loss(output, inputs[1], **({"pixel_weight": inputs[2]} if len(inputs) > 2 else {}))
            place[:] = ["the backward pass"]
            value.backward()
    except FloatingPointError as error:
        return f"It began in {place[-1]}: {error}."
    wrong_gradients = [name for name, p in model.named_parameters() if p.grad is not None and _not_finite(p.grad)]
    if wrong_gradients:
        return f"It began on the way back: the gradient of {wrong_gradients[0]} is not finite."
    return "Taken once more, the step gives finite numbers: something in it is not repeatable."


def _not_finite(value: Any) -> str:
    """Return what is wrong with an array, "" if all is well."""
    array = unwrap(value)
    if not hasattr(array, "dtype") or array.dtype.kind != "f":
        return ""
    xp = array_module(array)
    bad = ~xp.isfinite(array)
    if not bad.any():
        return ""
    first = tuple(int(i[0]) for i in xp.nonzero(bad))
    return f"{int(bad.sum())} numbers of {array.size} that are NaN or infinite, the first at {first}"


@contextmanager
def _named_layers(model: Module, place: list[str]) -> Iterator[None]:
    """Within the block, ``place[-1]`` names the layer whose forward is running; it stays there after an error."""

    def watched(name: str, module: Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            place.append(f"{name or 'the model'} ({type(module).__name__})")
            result = forward(*args, **kwargs)
            place.pop()  # not after an error: the innermost name is the answer
            return result

        return run

    modules = list(model.named_modules())
    for name, module in modules:
        object.__setattr__(module, "forward", watched(name, module, module.forward))
    try:
        yield
    finally:
        for _, module in modules:
            object.__delattr__(module, "forward")
