"""One step of a training: forward, backward, update; and what is told when a number in it is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import random
from ..autograd import Tensor, no_grad, unwrap
from ..optim import Optimizer, clip_grad_norm_, grad_norm
from ..ranks import Alone
from .diagnosis import what_a_step_needs, where_it_began, who_found_no_room

if TYPE_CHECKING:
    from ..nn import Module
    from .graph import CapturedStep
    from .history import TrainingState

Loss = Callable[..., Tensor]


class StepNumbers(NamedTuple):
    """What a step gave: ``loss``, ``norm`` of all gradients before clipping, ``taken``, labels that were out of range."""

    loss: float
    norm: float
    taken: bool
    wrong_labels: int = 0


def train_step(
    state: TrainingState,
    loss: Loss,
    inputs: tuple[Any, ...],
    clip: float | None,
    ranks: Alone,
    captured: CapturedStep | None = None,
) -> None:
    """Take one step of ``fit``, by ``captured`` if it is given; add its numbers to the history, or say why there are none."""
    model, optimizer, history = state.model, state.optimizer, state.history
    random_state, rate = random.get_state(), float(optimizer.param_groups[0]["lr"])
    model.train()
    try:
        if captured is None:
            numbers = plain_step(model, loss, optimizer, inputs, clip, ranks)
        else:
            captured.take(*inputs)
            numbers = captured.numbers()[-1]
    except MemoryError as error:
        add_what_it_needs(error, inputs[0])
        raise
    if not numbers.taken:
        joined = Tensor(ranks.whole(unwrap(inputs[0]))), *(ranks.whole(part) for part in inputs[1:])
        story = _told(model, loss, optimizer, joined, numbers, random_state)  # every rank comes to one answer
        raise _not_finite(state, numbers, story)
    history.lr.append(rate)
    history.loss.append(numbers.loss)
    history.grad_norm.append(numbers.norm)


def plain_step(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    inputs: tuple[Any, ...],
    clip: float | None,
    ranks: Alone | None = None,
) -> StepNumbers:
    """Forward, backward, update: the heart of it. Nothing is changed if a number is not finite, or if there is an error."""
    ranks = Alone() if ranks is None else ranks
    inputs = inputs[0], *(ranks.whole(part) for part in inputs[1:])
    kept, number, norm, taken = keep_buffers(model), math.nan, math.nan, False
    forget_gradients(model, optimizer)
    try:
        with np.errstate(all="ignore"), ranks.working():  # what is not finite is looked for and told by the caller
            value = loss_of(model, loss, inputs, ranks)
            number = float(value.detach().numpy().reshape(()))
            if math.isfinite(number):
                value.backward()
                parameters = optimizer.parameters()
                ranks.add_gradients(parameters)
                norm = grad_norm(parameters) if clip is None else clip_grad_norm_(parameters, clip)
        taken = math.isfinite(number) and math.isfinite(norm)
    except FloatingPointError:  # the losses say it when scores are NaN, detect_anomaly says it of any operation
        number = math.nan
    finally:
        if not taken:
            forget_gradients(model, optimizer)
            put_back(kept)
    if taken:
        optimizer.step()
    return StepNumbers(number, norm, taken)


def loss_of(model: Module, loss: Loss, inputs: tuple[Any, ...], ranks: Alone | None = None) -> Tensor:
    """Return the loss of a batch: images, target, and possibly a weight for each pixel; it must be one number."""
    ranks = Alone() if ranks is None else ranks
    x, y, *weight = inputs
    output = ranks.join_output(model(ranks.mine(x)))
    value = loss(output, y, **({"pixel_weight": weight[0]} if weight else {}))
    if value.data.size != 1:
        raise ValueError(f"loss must return one number, got shape {value.shape}: use reduction='mean' or 'sum'")
    return value


def learners(model: Module, optimizer: Optimizer) -> list[Tensor]:
    """Return all that may get a gradient, once each: the model's parameters, and those that only the optimizer knows."""
    return list({id(p): p for p in (*optimizer.parameters(), *model.parameters())}.values())


def forget_gradients(model: Module, optimizer: Optimizer) -> None:
    """Forget all gradients, also of parameters that are not the optimizer's: theirs would be added up for ever."""
    for p in learners(model, optimizer):
        p.grad = None


Kept = list[tuple[Tensor, Any, Any]]


def keep_buffers(model: Module) -> Kept:
    """Return each buffer (running statistics) with its array and a copy of that."""
    return [(buffer, buffer.data, buffer.data.copy()) for _, buffer in model.named_buffers()]


def put_back(kept: Kept, numbers: bool = True) -> None:
    """Give buffers the arrays back that they had, and these their numbers, unless ``numbers`` is False."""
    for buffer, array, data in kept:
        buffer.data = array
        if numbers and getattr(array.flags, "writeable", True):  # what nobody can write to has not changed
            array[...] = data


def _told(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    inputs: tuple[Any, ...],
    numbers: StepNumbers,
    random_state: dict[str, Any],
) -> str:
    """Return where a step went wrong; it is run once more for that, and leaves nothing behind."""
    kept = keep_buffers(model)
    try:
        if numbers.wrong_labels:  # the operation says which, when it may look
            with no_grad():
                loss_of(model, loss, inputs)
        return where_it_began(model, loss, inputs, random_state)
    finally:
        forget_gradients(model, optimizer)
        put_back(kept)


def add_what_it_needs(error: MemoryError, x: Any) -> None:
    """Add to an error which operation found no room, and what would need less."""
    error.add_note(
        f"minisegnet: {who_found_no_room(error)}{what_a_step_needs(x)} The model is as it was before this step."
    )


def _not_finite(state: TrainingState, numbers: StepNumbers, story: str) -> FloatingPointError:
    """Return the error that tells of a step that was not taken."""
    what, wrong = ("gradient", numbers.norm) if math.isfinite(numbers.loss) else ("loss", numbers.loss)
    return FloatingPointError(
        f"the {what} became {wrong} at step {state.step + 1}, batch {state.batch + 1} "
        f"of epoch {state.epoch + 1}. {story} The last losses were {[round(v, 4) for v in state.history.loss[-5:]]}, the "
        f"learning rate is {state.optimizer.param_groups[0]['lr']:.3g}. If the data is sound, try a smaller rate, or "
        "clip=1.0. The model is as it was before this step"
    )
