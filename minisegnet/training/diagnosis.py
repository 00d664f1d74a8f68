"""Where a number that is none began: in the data, in a weight, in a layer, in the loss or on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import random
from ..arrays import array_module
from ..autograd import detect_anomaly, unwrap

if TYPE_CHECKING:
    from ..nn import Module


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
