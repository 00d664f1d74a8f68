"""What every compiled kernel needs besides its loops: a lock where threads need one, and a word while it compiles.

Numba runs parallel loops on one of three threading layers. Under "omp" and "tbb" several Python threads may call
kernels at the same time (a training loop and the monitor of a notebook); under "workqueue", the layer that is always
there, a second caller aborts the whole process. There, and there only, ``one_at_a_time`` makes the second one wait.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

# Threads that wait for the others spin for about half a millisecond, then sleep. To wake a sleeping thread takes a tenth of
# a millisecond, some hundred times a training step: without spinning a small U-Net's step took 1.4 times as long. To spin
# for long, on a machine that does something else besides (a browser, a notebook), takes the core from the very thread that
# is waited for: with the library's own four milliseconds a step took four times as long. OpenMP reads these when its library
# is loaded, with the first parallel loop; whoever has chosen otherwise is left alone.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")  # GNU's library counts turns
    os.environ.setdefault("KMP_BLOCKTIME", "1")  # LLVM's and Intel's count milliseconds

F = TypeVar("F", bound=Callable[..., Any])

_lock = threading.RLock()  # reentrant, because one kernel may call another
_several_may_call = False  # False until the layer is known: Numba chooses it when it compiles or loads the first kernel
_listening = False


class _Now(threading.local):
    """What this thread is doing."""

    kernel = ""  # the kernel that was called
    announced = False  # whether a line was written for this call
    quiet = False


_now = _Now()


def one_at_a_time(kernel: F) -> F:
    """Decorate a kernel that runs compiled loops: no two threads are inside one where that would abort the process."""
    _listen()

    @functools.wraps(kernel)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        caller, _now.kernel = _now.kernel, _now.kernel or kernel.__name__
        if not caller:
            _now.announced = False
        try:
            if _layer_bears_several():
                return kernel(*args, **kwargs)
            with _lock:
                return kernel(*args, **kwargs)
        finally:
            _now.kernel = caller

    return wrapper  # type: ignore[return-value]


def _layer_bears_several() -> bool:
    """Return whether Numba's threading layer is known, and known to serve several threads at once.

    The layer never changes within a process. Whoever comes while it is unknown takes the lock; so whoever does not
    take it has seen that no lock is needed.
    """
    global _several_may_call
    if not _several_may_call:
        import numba

        try:
            _several_may_call = numba.threading_layer() != "workqueue"
        except ValueError:  # no parallel function was compiled or loaded yet
            return False
    return _several_may_call


def processors(group: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many processors this process may use: those it is bound to, or what a container's quota amounts to."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = group.read_text(encoding="ascii").split()
        return count if quota == "max" else max(1, min(count, int(quota) // int(period)))
    except (OSError, ValueError):
        return count


def share_processors(processes: int) -> None:
    """Let this process's kernels run on its share of the processors, where ``NUMBA_NUM_THREADS`` does not say otherwise.

    Threads without a processor of their own make the others wait for them: two processes of two threads on two processors
    are slower than one.
    """
    if processes > 1 and "NUMBA_NUM_THREADS" not in os.environ:
        import numba

        numba.set_num_threads(max(1, min(numba.get_num_threads(), processors() // processes)))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Announce nothing in this thread for a while: a progress bar already says what is being compiled."""
    before, _now.quiet = _now.quiet, True
    try:
        yield
    finally:
        _now.quiet = before


def _listen() -> None:
    """Ask Numba, once, to tell when it compiles one of our kernels; it does not when it finds it in its cache."""
    global _listening
    if _listening:
        return
    _listening = True
    from numba.core import event

    class Announcer(event.Listener):
        def on_start(self, event: Any) -> None:
            function = event.data["dispatcher"].py_func
            if _now.kernel and function.__module__.startswith(__package__):
                _announce(_now.kernel, event.data["args"])

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Announcer())


def _announce(kernel: str, types: tuple[Any, ...]) -> None:
    """Say on stderr (under a notebook's cell) what is being compiled; ``MINISEGNET_QUIET=1`` silences it."""
    if _now.announced or _now.quiet or os.environ.get("MINISEGNET_QUIET", "0") not in ("", "0"):
        return
    _now.announced = True  # one line a call, however many functions it compiles
    dtype = next((str(t.dtype) for t in types if hasattr(t, "dtype")), "numbers")
    print(f"minisegnet: compiling {kernel} for {dtype}, once on this machine ...", file=sys.stderr, flush=True)
