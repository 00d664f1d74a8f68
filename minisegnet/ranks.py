"""Several processes that train one network as if they were one: the ranks of MPI.

Every rank holds the whole network and some rows (images) of the *joined batch*. What one process alone would know of that
batch, the ranks tell each other, and there are only four such things:

- the statistics of a batch norm (``moments``, and ``add`` on the way back),
- the outputs, so that the loss sees the joined batch (``join_output``): any loss, also one that is no mean over images,
- the gradients of the weights, added up as one flat array (``add_gradients``),
- which rows of a random draw are mine (``rows_of``), so that dropout falls as it would in one process.

What follows is the same on every rank: same loss, same gradients, same step (Goyal et al., 2017, section 2; Dean et al.,
2012, called it data parallelism). ``training.fit(..., ranks=Ranks())`` does it; MPI is spoken by ``mpi4py``, imported here
on first use.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from . import random
from .arrays import array_module, device_of, to_device
from .autograd import Context, Function, Tensor, unwrap

CURE = (
    "Install it with `pip install minisegnet[mpi]` (with an MPI library of the system: `pip install mpi4py`), and start the "
    "program with `mpiexec -n 2 python train.py`."
)
F = TypeVar("F", bound=Callable[..., Any])
PATIENCE = 2.0  # seconds a rank that fails waits for the others to fail in the same way


class _Now(threading.local):
    """The ranks whose joined batch this thread is computing; None where it works alone."""

    ranks: Ranks | None = None


_now = _Now()


def current() -> Ranks | None:
    """Return the ranks that share the batch which this thread computes, None where there is only this process."""
    return _now.ranks


class Alone:
    """One process: the joined batch is the batch. ``Ranks`` says the same in several voices."""

    rank, size, neighbours, batches = 0, 1, 1, "split"

    @contextmanager
    def working(self) -> Iterator[None]:
        """Within the block, layers that look at the whole batch look at the joined one."""
        yield

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within the block, an error of one rank does not leave the others waiting for ever."""
        yield

    def mine(self, array: Any) -> Any:
        """Return the rows that this rank computes of an array of the batch that ``train`` gave."""
        return array

    def whole(self, array: Any) -> Any:
        """Return the joined array of what ``train`` gave."""
        return array

    def join_output(self, output: Any) -> Any:
        """Return the joined output of the model, through which gradients flow back to my rows."""
        return output

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up the gradients over all ranks."""

    def any(self, wish: bool) -> bool:
        """Return whether any rank wishes it."""
        return bool(wish)

    def in_step(self, batches: Iterable[Any]) -> Iterable[Any]:
        """Return the batches; all ranks come to the end of theirs at the same time."""
        return batches

    def once(self, work: Callable[[], None]) -> None:
        """Let the first rank do it, the others wait; an error is raised on all."""
        work()

    def same(self, what: str, arrays: Iterable[Any]) -> None:
        """Raise if the ranks hold different numbers."""

    def begin(self, model: Any, agreement: str) -> None:
        """Start all ranks from the first one's weights and random numbers."""

    def gather(self, value: Any) -> list[Any]:
        """Return everyone's value, in order of rank."""
        return [value]

    def for_validation(self) -> Alone:
        """Return ranks that share every batch, whatever training does."""
        return self


class Ranks(Alone):
    """The processes of an MPI communicator, for ``training.fit(..., ranks=Ranks())``.

    Parameters
    ----------
    communicator : mpi4py communicator, optional
        Who takes part; all processes that ``mpiexec`` started by default.
    batches : "split" or "own"
        "split": every rank's ``train`` gives the same batches, and each computes its share of the images. "own": every
        rank's ``train`` gives other images (a sampler seeded by ``ranks.rank``); the joined batch is all of them, in order
        of rank. The second shares the work of loading and augmenting, too.

    Attributes
    ----------
    rank, size : int
        Which one this is, from 0, and how many there are.
    neighbours : int
        How many of them run on this machine and share its processors.

    Raises
    ------
    RuntimeError
        If mpi4py or an MPI library is missing; the message says what to install.
    """

    def __init__(self, communicator: Any = None, batches: str = "split"):
        if batches not in ("split", "own"):
            raise ValueError(f'batches must be "split" or "own", got {batches!r}')
        self._mpi = _import_mpi()
        given = self._mpi.COMM_WORLD if communicator is None else communicator
        if not isinstance(given, self._mpi.Comm):
            raise TypeError(f"communicator must be one of mpi4py, such as MPI.COMM_WORLD, got {type(given).__name__}")
        # One for the work, one to meet at when something failed: messages of the two never mix.
        self._work, self._end = given.Dup(), given.Dup()
        self.neighbours = given.Split_type(self._mpi.COMM_TYPE_SHARED).Get_size()
        self.rank, self.size, self.batches = self._work.Get_rank(), self._work.Get_size(), batches

    @contextmanager
    def working(self) -> Iterator[None]:
        """Within the block, layers that look at the whole batch look at the joined one."""
        before, _now.ranks = _now.ranks, self if self.size > 1 else None
        try:
            yield
        finally:
            _now.ranks = before

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within the block, an error of one rank does not leave the others waiting for ever.

        If all ranks fail (a loss that became NaN is NaN on all of them), each raises its error. If only some do, the whole
        program ends (``MPI_Abort``) and says why: the others wait for numbers that will never come.
        """
        try:
            yield
        except BaseException as error:
            if not self._all_failed():
                _report(error, self.rank, self.size)
                self._work.Abort(1)
            raise

    def _all_failed(self) -> bool:
        arrived, deadline = self._end.Ibarrier(), time.monotonic() + PATIENCE
        while not arrived.Test():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def mine(self, array: Any) -> Any:
        """Return the rows that this rank computes: as equal shares as can be, in order of rank."""
        if self.batches == "own":
            return array
        count = len(array)
        return array[count * self.rank // self.size : count * (self.rank + 1) // self.size]

    def whole(self, array: Any) -> Any:
        """Return the joined array of what ``train`` gave."""
        return array if self.batches == "split" else self.join(array)

    def join(self, array: Any) -> Any:
        """Return the rows of all ranks, one array (sum of N, ...)."""
        xp, mine = array_module(array), np.ascontiguousarray(to_device(array, "cpu"))
        kinds = self._work.allgather((mine.shape, mine.dtype.str))
        if len({(shape[1:], dtype) for shape, dtype in kinds}) != 1:
            told = ", ".join(f"rank {i}: {dtype} {shape}" for i, (shape, dtype) in enumerate(kinds))
            raise ValueError(f"the ranks' arrays do not join into one batch ({told})")
        whole = np.empty((sum(shape[0] for shape, _ in kinds), *mine.shape[1:]), mine.dtype)
        sizes = [int(np.prod(shape)) * mine.itemsize for shape, _ in kinds]
        byte = self._mpi.BYTE
        self._work.Allgatherv([mine, mine.nbytes, byte], [whole, sizes, None, byte])
        return whole if xp is np else xp.asarray(whole)

    def join_output(self, output: Any) -> Any:
        """Return the joined output (a Tensor, or a tuple or list of them); gradients flow back to my rows."""
        if isinstance(output, tuple | list):
            return type(output)(self.join_output(part) for part in output)
        return JoinRows.apply(output, ranks=self)

    def add(self, *arrays: Any) -> list[Any]:
        """Return the sums over all ranks of a few arrays, added in float64, each in its own type and shape."""
        flat = np.concatenate([np.ravel(to_device(a, "cpu")).astype(np.float64) for a in arrays])
        total = np.empty_like(flat)
        self._work.Allreduce(flat, total)
        ends = np.cumsum([a.size for a in arrays])[:-1]
        parts = zip(arrays, np.split(total, ends), strict=True)
        return [to_device(part.reshape(a.shape).astype(a.dtype), device_of(a)) for a, part in parts]

    def moments(self, count: int, mean: Any, variance: Any) -> tuple[int, Any, Any]:
        """Return number, mean and variance (C,) over all ranks of values whose own are given; both in float64.

        Chan, Golub and LeVeque (1979), equation 2.1: the variance within the ranks and that between them.
        """
        mean, variance = (np.asarray(to_device(a, "cpu"), np.float64) for a in (mean, variance))
        if not count:  # no image of the batch fell to this rank
            mean, variance = np.zeros_like(mean), np.zeros_like(variance)
        total = self.rows_of(count)[1]
        joined = self.add(mean * count)[0] / max(total, 1)
        return total, joined, self.add((variance + (mean - joined) ** 2) * count)[0] / max(total, 1)

    def rows_of(self, count: int) -> tuple[int, int]:
        """Return where my rows begin among those of all ranks, and how many there are in all."""
        counts = self._work.allgather(int(count))
        return sum(counts[: self.rank]), sum(counts)

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up the gradients over all ranks, all in one flat array: one message instead of one for each weight."""
        parameters = list(parameters)
        used = np.array([p.grad is not None for p in parameters], np.uint8)
        anywhere = np.empty_like(used)
        self._work.Allreduce(used, anywhere, self._mpi.MAX)
        chosen = [p for p, use in zip(parameters, anywhere, strict=True) if use]
        for dtype in {p.dtype for p in chosen}:
            same = [p for p in chosen if p.dtype == dtype]
            flat = np.concatenate([_gradient(p) for p in same])
            total = np.empty_like(flat)
            self._work.Allreduce(flat, total)
            for p, part in zip(same, np.split(total, np.cumsum([p.data.size for p in same])[:-1]), strict=True):
                p.grad = Tensor(to_device(part.reshape(p.shape), device_of(p.data)))

    def any(self, wish: bool) -> bool:
        """Return whether any rank wishes it: all go the same way."""
        return bool(self._work.allreduce(bool(wish), self._mpi.LOR))

    def in_step(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the batches as long as every rank has one.

        Raises
        ------
        ValueError
            If one rank's end before another's.
        RuntimeError
            If they shall be the same on all ranks and are not.
        """
        end = object()
        for batch in itertools.chain(batches, itertools.repeat(end)):
            ended = self._work.allgather(batch is end)
            if all(ended):
                return
            if any(ended):
                raise ValueError(
                    f"the batches of rank {ended.index(True)} ended before those of rank {ended.index(False)}"
                )
            if self.batches == "split":
                self.same('batches="split" needs the same batches on every rank: the batch', batch)
            yield batch

    def once(self, work: Callable[[], None]) -> None:
        """Let the first rank do it, the others wait.

        Raises
        ------
        OSError
            On the others, if the first failed; the first raises its own error.
        """
        failure: BaseException | None = None
        if self.rank == 0:
            try:
                work()
            except Exception as error:
                failure = error
        told = self._work.bcast(None if failure is None else f"{type(failure).__name__}: {failure}")
        if failure is not None:
            raise failure
        if told is not None:
            raise OSError(f"rank 0 failed where this rank waited for it: {told}")

    def same(self, what: str, arrays: Iterable[Any]) -> None:
        """Raise a RuntimeError if the ranks hold different numbers."""
        code = 0
        for array in arrays:
            code = zlib.crc32(np.ascontiguousarray(to_device(unwrap(array), "cpu")).tobytes(), code)
        codes = self._work.allgather(code)
        if len(set(codes)) > 1:
            others = [i for i, other in enumerate(codes) if other != codes[0]]
            raise RuntimeError(f"{what} is not the same on rank {', '.join(map(str, others))} as on rank 0")

    def begin(self, model: Any, agreement: str) -> None:
        """Start all ranks from the first one's weights; refuse to start where they were given different tasks."""
        agreements = self._work.allgather(agreement)
        for i, other in enumerate(agreements):
            if other != agreements[0]:
                raise ValueError(
                    f"the ranks were called with different arguments: rank 0: {agreements[0]}; rank {i}: {other}"
                )
        random.set_state(self._work.bcast(random.get_state()))
        for _, tensor in [*model.named_parameters(), *model.named_buffers()]:
            array = np.asarray(to_device(tensor.data, "cpu"), order="C")
            first = self._work.bcast(array if self.rank == 0 else None)
            if self.rank:
                tensor.data = to_device(first, device_of(tensor.data))

    def gather(self, value: Any) -> list[Any]:
        """Return everyone's value, in order of rank."""
        return self._work.allgather(value)

    def for_validation(self) -> Alone:
        """Return ranks that share every batch, whatever training does."""
        shared = object.__new__(type(self))
        shared.__dict__.update(self.__dict__, batches="split")
        return shared

    def __repr__(self) -> str:
        """Say which rank this is."""
        return f"Ranks({self.rank} of {self.size}, batches={self.batches!r})"


class JoinRows(Function):
    """Put the rows of all ranks together; on the way back each takes the gradient of its own.

    Every rank computes the same loss from the same rows, so nothing is added here.
    """

    @staticmethod
    def forward(ctx: Context, input: Any, *, ranks: Ranks) -> Any:
        """Return the joined rows."""
        ctx.start, _ = ranks.rows_of(len(input))
        ctx.count = len(input)
        return ranks.join(input)

    @staticmethod
    def backward(ctx: Context, grad_output: Any) -> Any:
        """Return the gradient of my rows."""
        return grad_output[ctx.start : ctx.start + ctx.count]


def together(function: F) -> F:
    """Decorate a function with an argument ``ranks``: its error on one rank does not leave the others waiting."""

    @functools.wraps(function)
    def run(*args: Any, ranks: Alone | None = None, **options: Any) -> Any:
        if not isinstance(ranks, Alone | None):
            raise TypeError(f"ranks must be a minisegnet.ranks.Ranks or None, got {type(ranks).__name__}")
        with (ranks or Alone()).together():
            return function(*args, ranks=ranks, **options)

    return run  # type: ignore[return-value]


def _gradient(parameter: Tensor) -> np.ndarray:
    """Return a gradient as a flat array on the CPU; zeros where this rank has none."""
    if parameter.grad is None:
        return np.zeros(parameter.data.size, parameter.dtype)
    return np.ravel(to_device(parameter.grad.data, "cpu")).astype(parameter.dtype, copy=False)


def _report(error: BaseException, rank: int, size: int) -> None:
    """Write the error where it can be read, before the whole program ends."""
    text = "".join(traceback.format_exception(error))
    print(
        f"\n{text}\nminisegnet: rank {rank} of {size} ended with the error above; the others wait for numbers that will "
        "not come, so all are stopped. A checkpoint is whole as of its last writing: go on with resume=True",
        file=sys.stderr,
        flush=True,
    )


def _import_mpi() -> Any:
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise RuntimeError(f"several ranks need mpi4py, which is not installed. {CURE}") from error
    except RuntimeError as error:  # mpi4py is there, the library that it speaks to is not
        raise RuntimeError(f"mpi4py is installed, but finds no MPI library ({error}). {CURE}") from error
    return MPI
