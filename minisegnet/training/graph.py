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
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import array_module
from ..autograd import Tensor, unwrap
from ..deferred import Deferred, deferring
from ..optim import Optimizer
from ..optim.clipping import clip_on_gpu, norm_on_gpu
from .recording import Recording, loops, record, remember, restore, same, signature, why_not
from .step import StepNumbers, forget_gradients, keep_buffers, learners, loss_of, plain_step, put_back

if TYPE_CHECKING:
    from ..nn import Module

WARM_UP = 2  # steps that run plainly first: they compile the kernels and make the optimizer's memory
AT_ONCE = 16  # steps whose numbers wait on the GPU, at most


class CapturedStep:
    """A training step that becomes a CUDA graph: ``step = CapturedStep(model, loss, optimizer)``, then ``step(x, y)``.

    The first calls run plainly; when the same shapes come the third time in a row, the step is captured, and from then on
    launched. Batches of another shape (the last of a pass) run plainly in between. So does everything on a CPU, and where
    capturing is refused; a warning says why, once. The numbers are the same either way.

    A step whose loss or gradients are not finite, or whose labels are out of range, changes nothing, and neither do those
    after it, until ``numbers`` or ``check`` has looked: every 16 calls at the latest.

    Forward and loss run in Python only while they are captured, so a ``print`` in them is not repeated; a module that
    has hooks is not captured. Changing layers, their settings (numbers and names) or mode, ``clip``, which parameters learn, or
    the arrays of the model (``load_state_dict``) and of the optimizer is seen, and the step captured anew.

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
        self._latest: Any = None  # shapes of the last batch,
        self._seen = 0  # which came so often in a row;
        self._shapes: Any = None  # and those of the graph
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
        if len(self._unread) >= AT_ONCE:
            raise RuntimeError(f"{AT_ONCE} steps were taken that nobody has looked at: call numbers() or check() first")
        batch = tuple(unwrap(part) for part in (x, y, pixel_weight) if part is not None)
        self.refused = self._failed or why_not(self.model, self.optimizer, batch)
        if self.refused:
            self._tell()
            return self._plain(batch)
        xp = array_module(batch[0])
        if self._log is None:
            self._log, self._said, self._go = xp.zeros((AT_ONCE, 4)), xp.zeros(4), xp.ones((), np.int32)
        if self._recorded is not None and not same(self._now(), self._signature):
            self.release()
        shapes = [(part.shape, part.dtype) for part in batch]
        self._seen, self._latest = (self._seen + 1 if shapes == self._latest else 1), shapes
        if self._seen > WARM_UP and not (self.captured and shapes == self._shapes):
            self.release()
            if why := self._capture(batch):
                value = self._plain(batch)  # an error of the model's own is raised here, and is no reason
                self.refused = self._failed = why
                self._tell()
                return value
            self._shapes = shapes
        before = remember(self.optimizer)
        try:
            dtype = self._queue(batch, shapes == self._shapes)
        except BaseException:
            restore(before)
            raise
        self.steps += 1
        self._log[len(self._unread)] = self._said
        self._unread.append(before)
        return Tensor(self._said[0].astype(dtype))

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
        rows, refused = self._log.get() if waiting else [], []
        for i in waiting:
            loss, norm, taken, wrong = rows[i].tolist()
            if not taken:
                refused.append(self._unread[i])
            self._unread[i] = StepNumbers(loss, norm, bool(taken), int(wrong))
        for before in reversed(refused):
            restore(before)
        if refused:
            self._go[...] = 1
            if self._recorded is None:
                self._seen = 0  # what the optimizer remembers may have been taken back: warm up again

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
        if self._recorded is not None:
            self._recorded.release()
            self._recorded = None
        self._seen = 0

    def __enter__(self) -> CapturedStep:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the graph."""
        self.release()

    def _now(self) -> list[Any]:
        return signature(self.model, self.optimizer, self.loss, self.clip)

    def _capture(self, batch: tuple[Any, ...]) -> str:
        """Record the step; return why that failed, "" if it went well."""
        try:
            self._recorded = record(self._body, batch, self.optimizer, learners(self.model, self.optimizer), self._go)
        except Exception as error:
            said = str(error) or type(error).__name__
            if "apturing" in said or "StreamCapture" in said:  # CUDA's own words name no cause
                said = f"something in the forward or the loss looks at a number on the GPU, or waits for it ({said})"
            return said
        self._signature = self._now()
        return ""

    def _queue(self, batch: tuple[Any, ...], fits: bool) -> Any:
        """Launch the graph if there is one that ``fits``, or start kernel by kernel; return the type of the loss."""
        if self._recorded is not None and fits:
            before = remember(self.optimizer)
            if self._recorded.prepare(self.optimizer):
                self._recorded.launch(batch)
                return self._recorded.dtype
            restore(before)
            self.release()
        with loops().Guard(self._go):
            return self._body(Deferred(), *batch)

    def _body(self, later: Deferred, *batch: Any) -> Any:
        """Queue one step: forward, backward, norm, clip, update, and what became of it. Nothing here waits for the GPU."""
        xp, kept = array_module(batch[0]), keep_buffers(self.model)
        go = None if later.capturing else self._go.copy()
        forget_gradients(self.model, self.optimizer)
        try:
            with np.errstate(all="ignore"), deferring(later):
                value = loss_of(self.model, self.loss, (Tensor(batch[0]), *batch[1:]))
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
                for buffer, array, data in kept:
                    if later.capturing and buffer.data is not array:
                        raise RuntimeError(
                            f"forward gives a buffer of shape {array.shape} a new array instead of changing it in place"
                        )
                    buffer.data[...] = xp.where(self._go > 0, buffer.data, data)
        except BaseException:
            put_back(kept, numbers=not later.capturing)  # nothing has run while capturing
            if go is not None:
                self._go[...] = go
            forget_gradients(self.model, self.optimizer)
            raise
        for place, number in enumerate((value.data.reshape(()), norm, self._go, wrong)):
            self._said[place] = number
        return value.dtype

    def _plain(self, batch: tuple[Any, ...]) -> Tensor:
        """Take a step as anyone would write it, and look at its numbers."""
        self.check()  # what went before must be sound
        self.release()
        numbers = plain_step(self.model, self.loss, self.optimizer, (Tensor(batch[0]), *batch[1:]), self.clip)
        self.steps += 1
        self._unread.append(numbers)
        return Tensor(array_module(batch[0]).asarray(numbers.loss, self.optimizer.parameters()[0].dtype))

    def _tell(self) -> None:
        """Say once why there is no graph."""
        if not self._told:
            self._told = True
            warnings.warn(f"the training step runs without a CUDA graph: {self.refused}", stacklevel=4)


AS_BEFORE = "Model and optimizer are as they were before it"
