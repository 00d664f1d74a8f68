"""What the machine gives at most: its multiply-adds, its memory, and how much of it a process has taken.

Both roofs are measured by loops that do nothing else, on as many threads as everything else in the same run.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from engines import Row, Ways

BLOCK, STEPS = 16384, 2_000_000  # floats a task of the triad; rounds of the multiply-add loop
CHAINS, FLOATS = 12, 8  # sums that do not wait for one another, and floats in each: as the convolutions' register block
MULTIPLY_ADDS, FAR = "multiply-adds in registers", "triad over 384 MiB"


def rows() -> list[Row]:
    """Return the two roofs as rows that only our processes measure."""
    threads = int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count() or 1))
    bytes_far = 384.0 * 2**20
    return [
        Row("machine", MULTIPLY_ADDS, _peak_ways, 2.0 * CHAINS * FLOATS * STEPS * threads, judged=""),
        Row(
            "machine",
            FAR,
            lambda engine: {"minisegnet": triad(bytes_far)} if engine == "minisegnet" else {},
            moved=bytes_far,
            judged="",
        ),
    ]


def _peak_ways(engine: str) -> Ways:
    if engine != "minisegnet":
        return {}
    loop, threads = compiled()[1], int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count() or 1))
    sums = np.zeros((threads, 16), np.float32)  # a cache line for each thread
    return {"minisegnet": lambda: loop(sums, STEPS)}


def triad(moved: float) -> Callable[[], Any]:
    """Return a = b + 3 c over three float32 arrays of ``moved`` bytes together (two are read, one is written)."""
    run, arrays = compiled()[0], np.zeros((3, max(int(moved) // 12, 1)), np.float32)
    return lambda: run(*arrays)


_kept: list[Any] = []


def compiled() -> list[Any]:
    """Return the triad and the loop of multiply-adds, compiled at the first call."""
    if _kept:
        return _kept
    from numba import njit, prange, types
    from numba.extending import intrinsic

    @intrinsic
    def multiply_adds(_context: Any, start: Any, steps: Any) -> Any:
        """Return the sum of 12 vectors after ``steps`` times ``sum = sum * 0.5 + start`` each: nothing but registers."""

        def write(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            from llvmlite import ir

            index, vector = arguments[1].type, ir.VectorType(ir.FloatType(), FLOATS)
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = builder.module.globals.get("llvm.fma.v8f32") or ir.Function(builder.module, kind, "llvm.fma.v8f32")
            one = ir.Constant(ir.IntType(32), 0)
            spread = ir.Constant(ir.VectorType(ir.IntType(32), FLOATS), [0] * FLOATS)
            first = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[0], one)
            begin = builder.shuffle_vector(first, first, spread)
            half = ir.Constant(vector, [0.5] * FLOATS)
            # Each chain starts elsewhere, or the compiler would see that all are the same.
            starts = [builder.fmul(begin, ir.Constant(vector, [float(c + 1)] * FLOATS)) for c in range(CHAINS)]
            entry, body = builder.block, builder.append_basic_block("chains")
            after = builder.append_basic_block("after")
            builder.branch(body)
            builder.position_at_end(body)
            at, sums = builder.phi(index), [builder.phi(vector) for _ in range(CHAINS)]
            made = [builder.call(fma, [s, half, begin]) for s in sums]
            following = builder.add(at, index(1))
            at.add_incoming(index(0), entry)
            at.add_incoming(following, body)
            for s, start_of, m in zip(sums, starts, made, strict=True):
                s.add_incoming(start_of, entry)
                s.add_incoming(m, body)
            builder.cbranch(builder.icmp_signed("<", following, arguments[1]), body, after)
            builder.position_at_end(after)
            total = made[0]
            for m in made[1:]:
                total = builder.fadd(total, m)
            return builder.extract_element(total, one)

        return types.float32(types.float32, types.int64), write

    @njit(parallel=True)
    def run_triad(a, b, c):
        for block in prange((len(a) + BLOCK - 1) // BLOCK):
            to, one = a[block * BLOCK : (block + 1) * BLOCK], b[block * BLOCK : (block + 1) * BLOCK]
            other = c[block * BLOCK : (block + 1) * BLOCK]
            for i in range(len(to)):
                to[i] = one[i] + np.float32(3) * other[i]

    @njit(parallel=True)
    def run_multiply_adds(sums, steps):
        for thread in prange(len(sums)):
            sums[thread, 0] = multiply_adds(sums[thread, 1], steps)

    _kept.extend((run_triad, run_multiply_adds))
    return _kept


def memory_peak() -> int:
    """Return the largest resident size that this process ever had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: resource's number would begin with what the parent had
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


def describe() -> dict[str, Any]:
    """Return what a reader needs to know about the machine."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] \
        if info.exists() else []  # fmt: skip
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
