"""Seconds and memory of what runs on a card: events in its own stream, after a warm-up, and the peak of the allocator.

Without a card both engines can be tried on the CPU, by the emulation of the tests; then nothing that is measured means
anything, and the results say so.
"""

from __future__ import annotations

import contextlib
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KEPT = contextlib.ExitStack()  # until the process ends
ENOUGH = 0.005  # seconds between two events: what it costs to record them is lost in it


def emulate() -> None:
    """Put the stand-in of the tests in CuPy's place, for as long as this process lives."""
    package = types.ModuleType("gpu")  # tests/gpu; a file of this folder has the same name
    package.__path__ = [str(ROOT / "tests" / "gpu")]
    sys.modules["gpu"] = package
    from gpu import cupy_stand_in  # type: ignore[attr-defined]

    KEPT.enter_context(cupy_stand_in.installed())


class Clock:
    """The wall's, for PyTorch without a card."""

    def between(self, call: Callable[[], Any], times: int) -> float:
        """Return the seconds that a call takes, of so many in a row."""
        start = time.perf_counter()
        for _ in range(times):
            call()
        return (time.perf_counter() - start) / times

    def begin(self) -> None:
        """Forget what memory was taken before."""

    def peak(self) -> int:
        """Return the most bytes of the card that were held since ``begin``."""
        return 0

    def times(self, call: Callable[[], Any], seconds: float) -> list[float]:
        """Return the seconds of a call, again and again for so long (at least once), after a warm-up."""
        for _ in range(2):
            call()
        repeats = min(max(int(ENOUGH / max(self.between(call, 1), 1e-9)), 1), 1000) if seconds else 1
        taken, end = [], time.perf_counter() + seconds
        while not taken or time.perf_counter() < end:
            taken.append(self.between(call, repeats))
        return taken


class CupyClock(Clock):
    """Events of CuPy; the peak is what its pool came to hold."""

    def __init__(self) -> None:
        import cupy

        self.cupy = cupy

    def between(self, call: Callable[[], Any], times: int) -> float:
        """Return the seconds between two events around so many calls, by their number."""
        start, stop = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        start.record()
        for _ in range(times):
            call()
        stop.record()
        stop.synchronize()
        return self.cupy.cuda.get_elapsed_time(start, stop) / 1000 / times

    def begin(self) -> None:
        """Give back what the pool keeps."""
        import minisegnet as ms

        ms.empty_cache()

    def peak(self) -> int:
        """Return what the pool holds: it gives nothing back by itself."""
        return int(self.cupy.get_default_memory_pool().total_bytes())


class TorchClock(Clock):
    """Events of PyTorch; the peak is what its allocator held, as with CuPy's pool."""

    def __init__(self, torch: Any) -> None:
        self.cuda = torch.cuda

    def between(self, call: Callable[[], Any], times: int) -> float:
        """Return the seconds between two events around so many calls, by their number."""
        start, stop = self.cuda.Event(enable_timing=True), self.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(times):
            call()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) / 1000 / times

    def begin(self) -> None:
        """Give back what the allocator keeps, and begin to look anew."""
        self.cuda.synchronize()
        self.cuda.empty_cache()
        self.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """Return the most bytes that the allocator held."""
        return int(self.cuda.max_memory_reserved())


def clock_for(engine: str) -> Clock:
    """Return what measures an engine in this process."""
    if engine == "minisegnet":
        return CupyClock()
    import torch

    return TorchClock(torch) if torch.cuda.is_available() else Clock()


def missing() -> list[str]:
    """Return what stands between this machine and a measurement, a line each; nothing where all is there."""
    said = []
    try:
        import cupy

        if not cupy.cuda.runtime.getDeviceCount():
            said.append("CuPy finds no NVIDIA card")
    except ImportError:
        said.append("CuPy is not installed: pip install minisegnet[gpu12] for CUDA 12, minisegnet[gpu13] for CUDA 13")
    except Exception as error:  # of CuPy's own kinds: no driver, one too old, no card
        said.append(f"CuPy finds no NVIDIA card: {error}")
    try:
        import torch

        if not torch.cuda.is_available():
            said.append(f"PyTorch {torch.__version__} sees no NVIDIA card: it has to be installed with CUDA")
    except ImportError:
        said.append("PyTorch is not installed: pip install torch")
    return said


def describe() -> dict[str, Any]:
    """Return what a reader needs to know about the card."""
    import cupy

    runtime = cupy.cuda.runtime
    found = runtime.getDeviceProperties(0)
    return {
        "card": found["name"].decode(),
        "capability": f"{found['major']}.{found['minor']}",
        "memory": int(found["totalGlobalMem"]),
        "multiprocessors": int(found["multiProcessorCount"]),
        "driver": runtime.driverGetVersion(),
        "cuda": runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
    }
