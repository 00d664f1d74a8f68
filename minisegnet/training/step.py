"""One step of a training: forward, backward, update; and what is told when a number in it is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import random
from ..autograd import Tensor, no_grad
from ..optim import clip_grad_norm_, grad_norm
from ..ranks import Alone
from .diagnosis import what_a_step_needs, where_it_began, who_found_no_room

if TYPE_CHECKING:
    from .graph import CapturedStep
    from .history import TrainingState


def train_step(
    state: TrainingState, loss: Callable[..., Tensor], inputs: tuple[Any, ...], clip: float | None, ranks: Alone
) -> None:
    """Forward, backward, update: the heart of it. Nothing is changed if a number is not finite."""
    model, optimizer, history = state.model, state.optimizer, state.history
    x, y, *weight = inputs[0], *(ranks.whole(part) for part in inputs[1:])
    random_state = random.get_state()
    buffers = [(buffer, buffer.data.copy()) for _, buffer in model.named_buffers()]

    def undo() -> None:
        optimizer.zero_grad()
        for buffer, data in buffers:
            buffer.data = data

    model.train()
    optimizer.zero_grad()
    norm = math.nan
    try:
        with np.errstate(all="ignore"), ranks.working():  # what is not finite is looked for and told below
            output = ranks.join_output(model(ranks.mine(x)))
            value = loss(output, y, **({"pixel_weight": weight[0]} if weight else {}))
            one_number(value)
            number = float(value.detach().numpy().reshape(()))
            if math.isfinite(number):
                value.backward()
                ranks.add_gradients(optimizer.parameters())
                parameters = optimizer.parameters()
                norm = grad_norm(parameters) if clip is None else clip_grad_norm_(parameters, clip)
    except MemoryError as error:
        undo()
        add_what_it_needs(error, x)
        raise
    except FloatingPointError:  # the losses say it when scores are NaN, detect_anomaly says it of any operation
        number = math.nan
    if not (math.isfinite(number) and math.isfinite(norm)):
        for buffer, data in buffers:
            buffer.data = data.copy()
        joined = Tensor(ranks.whole(x.data)), y, *weight  # every rank looks through all of it: all come to one answer
        story = where_it_began(model, loss, joined, random_state)
        undo()
        raise _not_finite(state, number, norm, story)
    history.lr.append(float(optimizer.param_groups[0]["lr"]))
    optimizer.step()
    history.loss.append(number)
    history.grad_norm.append(norm)


def captured_step(state: TrainingState, inputs: tuple[Any, ...], captured: CapturedStep) -> None:
    """Do the same by ``CapturedStep``, which is told of nothing but the batch, and asked for its numbers once."""
    model, optimizer, history = state.model, state.optimizer, state.history
    random_state = random.get_state()
    model.train()
    rate = float(optimizer.param_groups[0]["lr"])
    try:
        captured.take(*inputs)
    except MemoryError as error:
        add_what_it_needs(error, inputs[0])
        raise
    number, norm, taken, wrong = captured.numbers()[-1]
    if not taken:
        kept = [(buffer, buffer.data.copy()) for _, buffer in model.named_buffers()]
        try:
            if wrong:  # the loss says which, when it may look
                with no_grad():
                    captured.loss(model(inputs[0]), *inputs[1:])
            story = where_it_began(model, captured.loss, inputs, random_state)
        finally:  # both have run the model once more
            optimizer.zero_grad()
            for buffer, data in kept:
                buffer.data[...] = data
        raise _not_finite(state, number, norm, story)
    history.lr.append(rate)
    history.loss.append(number)
    history.grad_norm.append(norm)


def one_number(value: Tensor) -> None:
    """Raise unless the loss is one number."""
    if value.data.size != 1:
        raise ValueError(f"loss must return one number, got shape {value.shape}: use reduction='mean' or 'sum'")


def add_what_it_needs(error: MemoryError, x: Any) -> None:
    """Add to an error which operation found no room, and what would need less."""
    error.add_note(
        f"minisegnet: {who_found_no_room(error)}{what_a_step_needs(x)} The model is as it was before this step."
    )


def _not_finite(state: TrainingState, number: float, norm: float, story: str) -> FloatingPointError:
    """Return the error that tells of a step that was not taken."""
    what, wrong = ("gradient", norm) if math.isfinite(number) else ("loss", number)
    return FloatingPointError(
        f"the {what} became {wrong} at step {state.step + 1}, batch {state.batch + 1} "
        f"of epoch {state.epoch + 1}. {story} The last losses were {[round(v, 4) for v in state.history.loss[-5:]]}, the "
        f"learning rate is {state.optimizer.param_groups[0]['lr']:.3g}. If the data is sound, try a smaller rate, or "
        "clip=1.0. The model is as it was before this step"
    )
