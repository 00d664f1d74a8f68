"""What is bound by memory in a training step, beside PyTorch: in turn, in separate processes, with the same threads.

    python benchmarks/memory_bound.py [--rounds 3] [--threads 2] [--only pool] [--processor-time]

For each row: PyTorch's time / ours (above 1 we are faster; the better of PyTorch's two layouts counts), the rate at which
ours moves the bytes that the algorithm must move, and that rate as a share of the machine's, measured by a triad
(a = b + 3 c, counted as two reads and one write) over as many bytes. Ours are the functions of ``minisegnet.functional``
from arrays in the layout that a network is in, and ``optim.Adam``; results are made anew in each call, as in training.
Writes a dated table into benchmarks/results/ where all rows were measured. On a machine that does other work besides,
``--processor-time --threads 1`` counts only the time that the process itself had.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ENGINES = ("minisegnet", "torch contiguous", "torch channels_last")
SIZES = {"8x16x128x128": (8, 16, 128, 128), "8x64x128x128": (8, 64, 128, 128)}  # 8 MiB, 32 MiB of float32
BASES = {"U-Net base 16": 16, "U-Net base 64": 64}  # 1.9 and 31 million parameters
Work = dict[str, tuple[Callable[[], Any], float]]  # by row: what to time, and the bytes it must move

# How often each number of the (full-size) image is read or written, 4 bytes each; a pooled image is a quarter of it.
PASSES = {
    "batch norm + ReLU, training": 3,  # statistics, then read and write
    "batch norm + ReLU, its gradient": 5,  # sums over gradient and input, then both again and write
    "max-pool 2x2 with indices": 1 + 0.25 + 0.5,  # int64 indices
    "max-pool 2x2, its gradient": 0.25 + 0.5 + 1,
    "max-pool 3x3 stride 2 with indices": 1 + 0.25 + 0.5,
    "max-unpool 2x2": 0.25 + 0.5 + 1,
    "max-unpool 2x2, its gradient": 1 + 0.5 + 0.25,
    "bilinear to twice the size": 0.25 + 1,
    "bilinear, its gradient": 1 + 0.25,
}


def image_work(engine: str, shape: tuple[int, ...]) -> Work:
    """Return the rows whose work is on images of ``shape``."""
    rng = np.random.default_rng(0)
    n, c, h, w = shape
    x, g = (rng.standard_normal((n, h, w, c), dtype=np.float32).transpose(0, 3, 1, 2) for _ in range(2))
    size = x.nbytes
    if engine == "minisegnet":
        import minisegnet.functional as lib
        from minisegnet import Tensor, nn

        block = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU())
        tensor = Tensor
    else:
        import torch
        import torch.nn.functional as lib

        layout = torch.channels_last if engine.endswith("last") else torch.contiguous_format
        block = torch.nn.Sequential(torch.nn.BatchNorm2d(c), torch.nn.ReLU(inplace=True)).to(memory_format=layout)

        def tensor(array: np.ndarray, requires_grad: bool = False) -> Any:
            made = torch.from_numpy(np.ascontiguousarray(array)).contiguous(memory_format=layout)
            return made.requires_grad_(requires_grad) if made.dtype.is_floating_point else made

    def gradient(forward: Callable[[Any], Any], leaf: Any, grad: Any) -> Callable[[], Any]:
        """Return what computes the gradient of the input, without adding it to anything."""
        result = forward(leaf)
        if engine == "minisegnet":
            node, others = result._node, [None] * (len(result._node.grads) - 1)
            return lambda: node.function.backward(node.context, grad.data, *others)
        return lambda: torch.autograd.grad(result, leaf, grad, retain_graph=True)

    full, leaf, grad = tensor(x), tensor(x, True), tensor(g)
    pooled, indices = lib.max_pool2d(full, 2, return_indices=True)
    pooled, grad_pooled = tensor(np.asarray(pooled.data), True), tensor(g[:, :, : h // 2, : w // 2].copy(order="K"))
    half = tensor(x[:, :, ::2, ::2].copy(order="K"), True)
    twice = {"scale_factor": 2, "mode": "bilinear", "align_corners": False}
    work = {
        "batch norm + ReLU, training": lambda: block(leaf),
        "batch norm + ReLU, its gradient": gradient(block, leaf, grad),
        "max-pool 2x2 with indices": lambda: lib.max_pool2d(full, 2, return_indices=True),
        "max-pool 2x2, its gradient": gradient(lambda t: lib.max_pool2d(t, 2), leaf, grad_pooled),
        "max-pool 3x3 stride 2 with indices": lambda: lib.max_pool2d(full, 3, 2, 1, return_indices=True),
        "max-unpool 2x2": lambda: lib.max_unpool2d(pooled, indices, 2),
        "max-unpool 2x2, its gradient": gradient(lambda t: lib.max_unpool2d(t, indices, 2), pooled, grad),
        "bilinear to twice the size": lambda: lib.interpolate(half, **twice),
        "bilinear, its gradient": gradient(lambda t: lib.interpolate(t, **twice), half, grad),
    }
    return {row: (call, PASSES[row] * size) for row, call in work.items()}


def loss_work(engine: str, shape: tuple[int, ...]) -> Work:
    """Return cross-entropy, forward and backward, of (N, K, H, W)."""
    rng = np.random.default_rng(0)
    n, k, h, w = shape
    x = rng.standard_normal((n, h, w, k), dtype=np.float32).transpose(0, 3, 1, 2)
    y = rng.integers(0, k, (n, h, w))
    if engine == "minisegnet":
        import minisegnet.functional as lib
        from minisegnet import Tensor

        logits, target = Tensor(x, requires_grad=True), y
    else:
        import torch
        import torch.nn.functional as lib

        layout = torch.channels_last if engine.endswith("last") else torch.contiguous_format
        logits = torch.from_numpy(np.ascontiguousarray(x)).contiguous(memory_format=layout).requires_grad_()
        target = torch.from_numpy(y)

    def both() -> None:
        logits.grad = None
        lib.cross_entropy(logits, target).backward()

    pixels = n * h * w
    return {LOSS: (both, 3 * x.nbytes + pixels * (2 * 8 + 2 * 8 + 4))}


def adam_work(engine: str, base: int) -> Work:
    """Return an Adam step over the parameters of a U-Net; PyTorch's by its fused and its default implementation."""
    from minisegnet import Tensor, models, optim

    net = models.UNet(3, 2, base)
    arrays = [p.data for p in net.parameters()]
    grads = [np.full_like(a, 1e-3) for a in arrays]
    moved = 7 * sum(a.nbytes for a in arrays)  # four are read, three written
    if engine == "minisegnet":
        optimizer = optim.Adam(net.parameters(), 1e-3)
        for p, g in zip(net.parameters(), grads, strict=True):
            p.grad = Tensor(g)
    else:
        import torch

        parameters = [torch.from_numpy(a).requires_grad_() for a in arrays]
        for q, g in zip(parameters, grads, strict=True):
            q.grad = torch.from_numpy(g)
        optimizer = torch.optim.Adam(parameters, 1e-3, fused=True if engine.endswith("last") else None)
    return {ADAM: (optimizer.step, moved)}


LOSS, ADAM = "cross-entropy, forward and backward", "Adam step"
CASES: dict[str, tuple[tuple[str, ...], Callable[[str], Work]]] = {  # the rows that a case has, and what makes them
    **{name: (tuple(PASSES), lambda engine, shape=shape: image_work(engine, shape)) for name, shape in SIZES.items()},
    "8x2x128x128": ((LOSS,), lambda engine: loss_work(engine, (8, 2, 128, 128))),
    "4x21x128x128": ((LOSS,), lambda engine: loss_work(engine, (4, 21, 128, 128))),
    **{name: ((ADAM,), lambda engine, base=base: adam_work(engine, base)) for name, base in BASES.items()},
}


def best_of(call: Callable[[], Any], seconds: float = 0.3) -> float:
    """Return the shortest of the runs that fit into so many seconds (three at least)."""
    call()
    call()
    clock = time.process_time if os.environ.get("PROCESSOR_TIME") else time.perf_counter
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = clock()
        call()
        times.append(clock() - start)
    return min(times)


def triad(moved: float) -> float:
    """Return bytes a second of a = b + 3 c over three arrays of ``moved`` bytes together."""
    from numba import njit, prange

    @njit(parallel=True)
    def run(a, b, c):
        for block in prange((len(a) + 16383) // 16384):
            to, one = a[block * 16384 : (block + 1) * 16384], b[block * 16384 : (block + 1) * 16384]
            other = c[block * 16384 : (block + 1) * 16384]
            for i in range(len(to)):
                to[i] = one[i] + np.float32(3) * other[i]

    arrays = np.zeros((3, max(int(moved) // 12, 1)), np.float32)
    return arrays.nbytes / best_of(lambda: run(*arrays))


def measure(engine: str, case: str, only: str) -> dict[str, tuple[float, float, float]]:
    """Return for each row seconds, bytes, and (in our process) the triad's rate."""
    if engine != "minisegnet":
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rates: dict[int, float] = {}
    results = {}
    for row, (call, moved) in CASES[case][1](engine).items():
        if only not in row:
            continue
        seconds = best_of(call)
        if engine == "minisegnet" and int(moved) not in rates:
            rates[int(moved)] = triad(moved)
        results[row] = (seconds, moved, rates.get(int(moved), 0.0))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each engine has its turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--processor-time", action="store_true", help="instead of the time on the wall")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*arguments.child, arguments.only)))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "NUMBA_NUM_THREADS": str(arguments.threads)}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    if arguments.processor_time:
        environment["PROCESSOR_TIME"] = "1"
    seconds: dict[tuple[str, str, str], float] = {}
    moved: dict[tuple[str, str], float] = {}
    rate: dict[tuple[str, str], float] = {}
    for case, (rows, _) in CASES.items():
        if not any(arguments.only in row for row in rows):
            continue
        for _ in range(arguments.rounds):
            for engine in ENGINES:
                command = [sys.executable, __file__, "--only", arguments.only, "--child", engine, case]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                for row, (time_taken, size, machine) in json.loads(done.stdout.splitlines()[-1]).items():
                    key = case, engine, row
                    seconds[key] = min(seconds.get(key, np.inf), time_taken)
                    moved[case, row] = size
                    rate[case, row] = max(rate.get((case, row), 0.0), machine)
    date = datetime.date.today().isoformat()
    lines = [
        f"# Memory-bound work beside PyTorch, {date}",
        "",
        f"{platform.machine()}, {arguments.threads} threads, best of {arguments.rounds} rounds in turn"
        + (", processor time." if arguments.processor_time else "."),
        "Ratio = PyTorch's better layout (Adam: the better of default and fused) / minisegnet; above 1 minisegnet is faster.",
        "GB/s: the bytes that the algorithm must move; share: of what a triad over as many bytes reaches.",
        "`python benchmarks/memory_bound.py`",
        "",
        "| work | size | minisegnet | PyTorch | ratio | GB/s | share |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, row in moved:
        mine, other = seconds[case, ENGINES[0], row], min(seconds[case, e, row] for e in ENGINES[1:])
        speed = moved[case, row] / mine
        lines.append(
            f"| {row} | {case} | {1e3 * mine:.2f} ms | {1e3 * other:.2f} ms | {other / mine:.2f} "
            f"| {speed / 1e9:.0f} | {100 * speed / rate[case, row]:.0f}% |"
        )
    text = "\n".join(lines) + "\n"
    if not arguments.only:
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / f"memory_bound_cpu_{date}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
