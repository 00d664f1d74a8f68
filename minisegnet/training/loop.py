"""The training loop, to be read from top to bottom: ``fit`` and ``evaluate``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import random
from ..arrays import to_device
from ..autograd import Tensor, no_grad, unwrap
from ..kernels.threads import share_processors
from ..metrics import labels_of
from ..optim import Optimizer, ReduceLROnPlateau
from ..ranks import Alone, together
from .batches import StatesOfAll, parts, pass_length, rest_of_pass, total_steps
from .callbacks import shows_progress, told
from .checkpoint import keep_previous, load_checkpoint, save_checkpoint
from .checks import check_choices, check_ending, check_needs
from .graph import CapturedStep
from .history import History, TrainingState, record_validation
from .interrupt import Interrupt, Interrupted
from .progress import Bar
from .step import train_step

if TYPE_CHECKING:
    import os

    from ..nn import Module


@together
def fit(
    model: Module,
    train: Iterable[Any],
    validation: Iterable[Any] | None = None,
    *,
    loss: Callable[..., Tensor],
    optimizer: Optimizer,
    scheduler: Any = None,
    schedule_by: str = "step",
    epochs: int | None = None,
    steps: int | None = None,
    metric: Any = None,
    monitor: str | None = None,
    patience: int | None = None,
    keep: str = "last",
    clip: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 30.0,
    resume: bool = False,
    callbacks: Sequence[Callable[[TrainingState], Any]] = (),
    device: str | None = None,
    capture: bool | str = "auto",
    progress: bool = True,
    ranks: Alone | None = None,
) -> History:
    """Train a model and return what happened; the model is in evaluation mode afterwards.

    Ctrl-C (the notebook's stop button) ends it after the current step: the checkpoint is written, the history returned
    with ``interrupted`` set. Killed at any moment, it can go on from the last checkpoint. With ``resume=True`` it goes on
    bit for bit as if it had never stopped (same machine, versions and threads; same arguments).

    Parameters
    ----------
    model : Module
        The network.
    train : iterable of (x, y) or (x, y, pixel_weight)
        Batches, gone through once an epoch: a list, or an object with ``__iter__`` (a generator is used up after one).
        If it has ``state()`` and ``load_state(state)``, as ``data.CropSampler``, they are used to resume; otherwise the
        batches of a pass that were seen already are skipped. The third, if any, goes to the loss as ``pixel_weight``.
    validation : iterable of (x, y), optional
        Evaluated after each epoch and at the end.
    loss : callable
        ``loss(model(x), y)`` -> one number on the tape, see ``minisegnet.losses``.
    optimizer : Optimizer
        Made from ``model.parameters()``.
    scheduler : schedule of ``minisegnet.optim``, optional
        Stepped after every step, or with ``schedule_by="epoch"`` after every epoch; ``ReduceLROnPlateau`` after every
        validation, with the value of ``monitor``.
    epochs, steps : int
        When it ends: after so many passes, or so many steps, whichever comes first. One of them must be given.
    metric : object with ``reset()``, ``update(labels, y)`` and ``compute() -> dict``, optional
        What validation measures beside the loss, such as ``metrics.MeanDice()``.
    monitor : str, optional
        The number of a validation that decides which is best: the metric's first by default, the loss without one. A
        name that ends in "loss" is better small, any other large.
    patience : int, optional
        Stop early after so many validations without a new best.
    keep : "last" or "best"
        Which weights the model has in the end. The checkpoint keeps both. A score at which the weights were chosen is
        not a test score any more: judge "best" on images that the choice did not see.
    clip : float, optional
        Limit for the norm of all gradients (``optim.clip_grad_norm_``).
    checkpoint : path, optional
        A ``.safetensors`` file, written at the start, after each epoch and validation, every ``checkpoint_seconds`` and
        at the end. A file that is there already is moved aside (``.previous``) unless ``resume``.
    resume : bool
        Go on from the checkpoint if there is one. More epochs or steps than before may be given to train longer.
    callbacks : functions of a TrainingState
        Called after each step and validation; ``state.stop = True`` ends the training. One that has methods
        ``start(state)`` and ``finish(state)`` gets them called before the first step and after the last, also when an
        error ended it: ``explorers.monitor(...)`` is one.
    device : str, optional
        "cpu" or "cuda"; where the model is by default.
    capture : "auto" or bool
        Whether the whole step becomes a CUDA graph (``training.CapturedStep``): "auto" tries it on a GPU, for one process.
    progress : bool
        Show a progress bar, unless a callback (the monitor) shows the progress itself.
    ranks : minisegnet.ranks.Ranks, optional
        Train on several processes that ``mpiexec`` started, each of which calls ``fit`` with the same arguments: equal to
        one process on the joined batch, but for the order of sums (``minisegnet.ranks``, docs/parallel.md). Callbacks
        and the progress bar are those of rank 0, which also writes the checkpoint.

    Raises
    ------
    FloatingPointError
        If loss or gradients are not finite; the message says at which step and where it began. The model is left as it
        was before that step.
    TypeError, ValueError
        For arguments that make no sense together, an empty data set, batches that are none, a checkpoint that does not fit.
    OSError
        If the checkpoint cannot be written (also at the start, before time is spent).
    """
    ranks = Alone() if ranks is None else ranks
    check_ending(train, epochs, steps, patience, resume)
    check_choices(model, optimizer, scheduler, schedule_by, keep, capture)
    wants = {"metric": metric, "monitor": monitor, "patience": patience, 'keep="best"': keep == "best" or None}
    check_needs(validation, scheduler, wants, resume, checkpoint)
    device = device or model.device
    model.to(device)
    by_step, by_epoch = (scheduler, None) if schedule_by == "step" else (None, scheduler)
    if isinstance(scheduler, ReduceLROnPlateau):  # stepped where a validation is recorded
        by_step = by_epoch = None
    ranks.begin(model, f"{epochs=}, {steps=}, {keep=}, {clip=}, {resume=}, batches={ranks.batches!r}")
    if ranks.neighbours > 1:
        share_processors(ranks.neighbours)
    if ranks.batches == "own" and hasattr(train, "state"):
        train = StatesOfAll(train, ranks)
    if ranks.rank:
        callbacks, progress = (), False
    path = None if checkpoint is None else Path(checkpoint)
    state = TrainingState(model, optimizer, scheduler, History(monitor=monitor or "loss"))
    pass_start = random.get_state()
    if path and resume and ranks.any(path.exists()):
        pass_start = load_checkpoint(path, state, train, validation)
    elif path:
        aside = path
        ranks.once(lambda: keep_previous(aside))
    history, nothing = state.history, False
    started = time.perf_counter() - (history.seconds[-1] if history.seconds else 0.0)
    saved = time.perf_counter()

    def save() -> None:
        nonlocal saved
        if path:
            save_checkpoint(path, state, train, validation, pass_start, ranks)
            saved = time.perf_counter()

    def tell(event: str) -> None:
        state.event = event
        for callback in callbacks:
            callback(state)

    def agree() -> None:
        state.stop, interrupt.requested = ranks.any(state.stop), ranks.any(interrupt.requested)

    wants_graph = capture is True or (capture == "auto" and model.device == "cuda")
    captured = CapturedStep(model, loss, optimizer, clip) if wants_graph and ranks.size == 1 else None
    length = pass_length(train)
    state.total = total_steps(length, epochs, steps)
    wants_bar = progress and not shows_progress(callbacks)
    with (
        Interrupt() as interrupt,
        Bar(wants_bar, state.total, state) as bar,
        told(callbacks, state),
        captured or nullcontext(),
    ):
        save()  # so that a full disk or a folder without permission is known now, not after an hour
        while True:
            # Between passes, and where a resumed training comes in: validate what is not validated yet.
            done = (steps is not None and state.step >= steps) or (epochs is not None and state.epoch >= epochs)
            due = state.step and (state.batch == 0 or done) and state.step not in history.val_step
            if validation is not None and due:
                try:
                    images = interrupt.until(validation, ranks.any)
                    numbers = evaluate(
                        model, images, loss=loss, metric=metric, device=device, ranks=ranks.for_validation()
                    )
                except Interrupted:
                    history.stopped = "interrupted"
                    break
                record_validation(state, numbers, monitor)
                save()
                tell("validation")
            agree()
            tired = patience is not None and bool(history.validation) and history.since_best >= patience
            reasons = {"finished": done, "callback": state.stop, "interrupted": interrupt.requested, "patience": tired}
            history.stopped = next((reason for reason, holds in reasons.items() if holds), "")
            if history.stopped:
                break

            for batch in ranks.in_step(rest_of_pass(train, state, pass_start)):
                x, y, *weight = (to_device(unwrap(part), device) for part in parts(batch))
                train_step(state, loss, (Tensor(x), y, *weight), clip, ranks, captured)
                if by_step:
                    by_step.step()
                state.batch += 1
                history.seconds.append(time.perf_counter() - started)
                bar.show()
                tell("step")
                if ranks.any(time.perf_counter() - saved >= checkpoint_seconds):
                    save()
                agree()
                wanted = state.stop or interrupt.requested or state.step == steps
                if wanted and state.batch != length:  # a pass that is complete ends by itself, and counts
                    break
            else:
                if not state.batch:
                    # A sampler that an earlier training left at the end of its pass begins anew the second time.
                    if nothing or not hasattr(train, "load_state"):
                        raise ValueError("train gave no batches: the data set is empty, or a generator that is used up")
                    nothing = True
                    continue
                state.epoch, state.batch = state.epoch + 1, 0
                pass_start = random.get_state()
                if by_epoch:
                    by_epoch.step()
        save()
        if keep == "best" and state.best is not None:
            model.load_state_dict(state.best)
        model.eval()
    return history


@together
def evaluate(
    model: Module,
    data: Iterable[Any],
    *,
    loss: Callable[..., Tensor] | None = None,
    metric: Any = None,
    device: str | None = None,
    ranks: Alone | None = None,
) -> dict[str, float]:
    """Return the mean loss and the metric of a model over batches, in evaluation mode and off the tape.

    Parameters
    ----------
    model, data, loss, metric
        As ``fit``; the metric is reset first. Each image counts the same in the mean loss.
    device : str, optional
        Where to; where the model is by default.
    ranks : minisegnet.ranks.Ranks, optional
        Several processes, each with the same data, share the images of every batch; all return the same numbers.

    Raises
    ------
    ValueError
        If there is no batch, or neither loss nor metric.
    """
    if loss is None and metric is None:
        raise ValueError("evaluate needs a loss, a metric or both: there is nothing to compute")
    if metric is not None:
        metric.reset()
    ranks = Alone() if ranks is None else ranks.for_validation()
    device = device or model.device
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    total, count = 0.0, 0
    try:
        with no_grad():
            for batch in ranks.in_step(data):
                x, y, *weight = (to_device(unwrap(part), device) for part in parts(batch))
                output = ranks.join_output(model(Tensor(ranks.mine(x))))
                count += len(x)
                if loss is not None:
                    total += float(loss(output, y, **({"pixel_weight": weight[0]} if weight else {}))) * len(x)
                if metric is not None:
                    metric.update(labels_of(output), y)
    finally:
        for module, training in modes:
            module.training = training
    if not count:
        raise ValueError("the data set is empty: it gave no batch to evaluate")
    return {**({"loss": total / count} if loss is not None else {}), **(metric.compute() if metric is not None else {})}
