"""The whole training step as one CUDA graph: recorded once, then launched at once instead of kernel by kernel.

A network of a lesson's size has kernels that take microseconds, and starting each from Python takes longer. A graph starts
them all by one call. It repeats exactly what it recorded, at the same addresses and with the same arguments, so whatever
changes from step to step lies in arrays on the GPU that never move: the batch, the constants of the optimizer (learning
rate, count of steps), the masks of dropout. And nobody looks at a number while it runs: loss, norm and whether all was
finite stay on the GPU until ``numbers`` is asked for. See docs/gpu.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..arrays import array_module
from ..autograd import Tensor, unwrap
from ..deferred import Deferred, deferring
from ..optim import Optimizer, clip_grad_norm_, grad_norm
from ..optim.clipping import clip_on_gpu, norm_on_gpu
from .recording import Recording, loops, record, restore, same, signature, why_not
from .step import one_number

if TYPE_CHECKING:
    from ..nn import Module

WARM_UP = 2  # steps that run plainly first: they compile the kernels and make the optimizer's memory
AT_ONCE = 16  # steps whose numbers wait on the GPU, at most


class StepNumbers(NamedTuple):
    """What a step gave: ``loss``, ``norm`` of all gradients before clipping, ``taken``, labels that were out of range."""

    loss: float
    norm: float
    taken: bool
    wrong_labels: int = 0


class CapturedStep:
    """A training step that becomes a CUDA graph: ``step = CapturedStep(model, loss, optimizer)``, then ``step(x, y)``.

    The first calls run plainly; when the same shapes come again, the step is captured, and from then on launched. Batches
    of another shape (the last of a pass) run plainly in between. So does everything on a CPU, and where capturing is refused;
    a warning says why, once. The numbers are the same either way.

    A step whose loss or gradients are not finite, or whose labels are out of range, changes nothing, and neither do those
    after it, until ``numbers`` or ``check`` has looked: every 16 calls at the latest.

    Forward and loss run in Python only while they are captured, so a ``print`` in them is not repeated; a module that
    has hooks is not captured. Changing the mode of a module, which parameters learn, or the arrays of the
    model (``load_state_dict``) and of the optimizer is seen, and the step captured anew.

    Parameters
    ----------
    model : Module
        The network; its mode (``train()``) is the caller's.
    loss : callable
        ``loss(model(x), y)``, and ``pixel_weight=`` where a third array is given.
    optimizer : Optimizer
        ``SGD``, ``Adam`` or ``AdamW``.
    clip : float, optional
        Limit for the norm of all gradients.
    """

    def __init__(self, model: Module, loss: Callable[..., Tensor], optimizer: Optimizer, clip: float | None = None):
        if clip is not None and not clip > 0:
            raise ValueError(f"clip must be greater than 0, got {clip}")
        self.model, self.loss, self.optimizer, self.clip = model, loss, optimizer, clip
        self.steps = 0  # taken or refused
        self.refused = ""  # why nothing is captured
        self._failed, self._told = "", False
        self._unread: list[Any] = []  # of each call: the numbers of a plain one, or the optimizer's memory before it
        self._shapes: Any = None
        self._seen = 0
        self._recorded: Recording | None = None
        self._signature: list[Any] = []
        self._log: Any = None

    @property
    def captured(self) -> bool:
        """Whether there is a graph to launch."""
        return self._recorded is not None

    def __call__(self, x: Any, y: Any, pixel_weight: Any = None) -> Tensor:
        """Take one step on a batch; return the loss before it, which nobody has waited for.

        Raises
        ------
        FloatingPointError, ValueError
            As ``check``, which looks every 16 calls.
        """
        if len(self._unread) == AT_ONCE:
            self.check()
            self._unread.clear()
        value = self.take(x, y, pixel_weight)
        if isinstance(self._unread[-1], StepNumbers):  # a plain step, whose numbers are known
            self.check()
        return value

    def take(self, x: Any, y: Any, pixel_weight: Any = None) -> Tensor:
        """Take a step as a call does, but never look: the caller asks for ``numbers``, every 16 steps at the latest."""
        batch = tuple(unwrap(part) for part in (x, y, pixel_weight) if part is not None)
        self.refused = self._failed or why_not(self.model, self.optimizer, batch)
        if self.refused:
            self._tell()
            return self._plain(batch)
        xp = array_module(batch[0])
        if self._log is None:
            self._log, self._said, self._go = xp.zeros((AT_ONCE, 4)), xp.zeros(4), xp.ones((), np.int32)
        before = [dict(memory) for memory in self.optimizer.state]
        if self._recorded is not None and not same(signature(self.model, self.optimizer), self._signature):
            self.release()
        shapes = [(part.shape, part.dtype) for part in batch]
        if self._recorded is None:
            self._seen, self._shapes = (self._seen + 1 if shapes == self._shapes else 1), shapes
            if self._seen > WARM_UP and not self._capture(batch):
                return self._plain(batch)
        elif shapes == self._shapes:
            self._recorded.prepare(self.optimizer)
        if self._recorded is not None and shapes == self._shapes:
            self._recorded.launch(batch)
        else:
            with loops().Guard(self._go):
                self._body(Deferred(), *batch)
        self.steps += 1
        self._log[len(self._unread)] = self._said
        self._unread.append(before)
        return Tensor(self._said[0].astype(self._type))

    def numbers(self) -> list[StepNumbers]:
        """Return the numbers of the steps since they were last asked for (of 16 at most), by one copy from the GPU.

        If a step was not taken, neither were those after it, the optimizer is as it was before it, and the next may be.
        """
        self._look()
        found, self._unread = self._unread, []
        return found

    def _look(self) -> None:
        """Put numbers in the places of what is unread."""
        waiting = [i for i, entry in enumerate(self._unread) if not isinstance(entry, StepNumbers)]
        rows, first = self._log.get() if waiting else [], True
        for i in waiting:
            loss, norm, taken, wrong = rows[i].tolist()
            if not taken and first:
                restore(self.optimizer, self._unread[i])
                self._go[...] = 1
                first = False
                if self._recorded is None:
                    self._seen = 0  # what the optimizer remembers may have been taken back: warm up again
            self._unread[i] = StepNumbers(loss, norm, bool(taken), int(wrong))

    def check(self) -> None:
        """Raise if a step since the last look was refused; say which, and why.

        Raises
        ------
        FloatingPointError
            If loss or gradients were not finite.
        ValueError
            If the target held labels that are no class.
        """
        self._look()
        first = self.steps - len(self._unread) + 1
        for number, (loss, norm, taken, wrong) in enumerate(self._unread, first):
            if not taken:
                self._unread.clear()
                if wrong:
                    raise ValueError(
                        f"at step {number} {wrong} labels of the target (or places of an unpooling) were out of range. {AS_BEFORE}"
                    )
                what, value = ("gradient", norm) if np.isfinite(loss) else ("loss", loss)
                raise FloatingPointError(f"the {what} became {value} at step {number}. {AS_BEFORE}")

    def release(self) -> None:
        """Forget the graph and give its memory back; the next calls run plainly and capture again."""
        if self._recorded is None:
            return
        self._recorded.release(self.optimizer)
        self._recorded, self._shapes, self._seen = None, None, 0

    def __enter__(self) -> CapturedStep:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the graph."""
        self.release()

    def _capture(self, batch: tuple[Any, ...]) -> bool:
        """Record the step; return whether that went well."""
        try:
            self._recorded = record(self._body, batch, self.optimizer, self._go)
        except Exception as error:  # an error of the model's own is raised by the plain step that follows
            said = str(error) or type(error).__name__
            if "apturing" in said or "StreamCapture" in said:  # CUDA's own words name no cause
                said = f"something in the forward or the loss looks at a number on the GPU, or waits for it ({said})"
            self.refused = self._failed = said
            self._tell()
            return False
        self._signature = signature(self.model, self.optimizer)
        return True

    def _body(self, later: Deferred, x: Any, y: Any, pixel_weight: Any = None) -> None:
        """Queue one step: forward, backward, norm, clip, update, and what became of it. Nothing here waits for the GPU."""
        buffers = [(buffer, buffer.data.copy()) for _, buffer in self.model.named_buffers()]
        self.optimizer.zero_grad()
        xp, weight = array_module(x), {} if pixel_weight is None else {"pixel_weight": pixel_weight}
        try:
            with np.errstate(all="ignore"), deferring(later):
                value = self.loss(self.model(Tensor(x)), y, **weight)
                one_number(value)
                value.backward()
                grads = [p.grad for p in self.optimizer.parameters() if p.grad is not None]
                norm = norm_on_gpu(grads) if grads else xp.zeros(())
                if self.clip is not None:
                    clip_on_gpu(grads, norm, self.clip)
                wrong = xp.zeros(())
                for count in later.wrong:
                    wrong = wrong + count
                self._go *= xp.isfinite(value.data.reshape(())) & xp.isfinite(norm) & (wrong == 0)
                self.optimizer.step()  # its kernels ask `go` whether they may
                for buffer, data in buffers:
                    buffer.data[...] = xp.where(self._go > 0, buffer.data, data)
        except BaseException:
            if not later.capturing:
                for buffer, data in buffers:
                    buffer.data[...] = data
            self.optimizer.zero_grad()
            raise
        self._type = value.dtype
        for place, number in enumerate((value.data.reshape(()), norm, self._go, wrong)):
            self._said[place] = number

    def _plain(self, batch: tuple[Any, ...]) -> Tensor:
        """Take a step as anyone would write it, and look at its numbers."""
        self.check()  # what went before must be sound
        self.release()
        x, y, *weight = batch
        buffers = [(buffer, buffer.data.copy()) for _, buffer in self.model.named_buffers()]
        self.optimizer.zero_grad()
        number = norm = np.nan
        try:
            with np.errstate(all="ignore"), suppress(FloatingPointError):  # the losses say it when scores are NaN
                value = self.loss(self.model(Tensor(x)), y, **({"pixel_weight": weight[0]} if weight else {}))
                one_number(value)
                number = float(value.detach().numpy().reshape(()))
                value.backward()
                parameters = self.optimizer.parameters()
                norm = grad_norm(parameters) if self.clip is None else clip_grad_norm_(parameters, self.clip)
            taken = bool(np.isfinite(number) and np.isfinite(norm))
            if taken:
                self.optimizer.step()
        except BaseException:
            taken = False
            self.optimizer.zero_grad()
            raise
        finally:
            if not taken:
                for buffer, data in buffers:
                    buffer.data[...] = data
        self.steps += 1
        self._unread.append(StepNumbers(number, norm, taken))
        return Tensor(array_module(x).asarray(number, x.dtype))

    def _tell(self) -> None:
        """Say once why there is no graph."""
        if not self._told:
            self._told = True
            warnings.warn(f"the training step runs without a CUDA graph: {self.refused}", stacklevel=4)


AS_BEFORE = "Model and optimizer are as they were before it"
