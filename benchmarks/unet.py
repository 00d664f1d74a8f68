"""U-Net training step and inference beside PyTorch: in turn, in separate processes, with the same number of threads.

    python benchmarks/unet.py [--rounds 3] [--threads 2]

Prints PyTorch's time / ours (above 1 we are faster), from the best of all rounds, and writes a dated table into
benchmarks/results/. PyTorch runs in both memory layouts, the better one counts.
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
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
CASES = {
    "8x3x128x128 base 8": (8, 128, 8),
    "8x3x128x128 base 16": (8, 128, 16),
    "4x3x128x128 base 32": (4, 128, 32),
    "1x3x256x256 base 64": (1, 256, 64),
}
ENGINES = ("minisegnet", "torch contiguous", "torch channels_last")


def measure(engine: str, case: str, repeats: int) -> dict[str, float]:
    """Return the best seconds of a training step and of an inference, in this process."""
    batch, size, base = CASES[case]
    rng = np.random.default_rng(0)
    x, y = rng.random((batch, 3, size, size), dtype=np.float32), rng.integers(0, 2, (batch, size, size))
    step, predict = (ours if engine == "minisegnet" else theirs)(x, y, base, engine)
    times: dict[str, float] = {}
    for name, work in (("train", step), ("infer", predict)):
        work()
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        times[name] = min(seconds)
    return times


def ours(x, y, base, _engine):
    """Return the step and the prediction in minisegnet."""
    import minisegnet as ms
    import minisegnet.functional as F
    from minisegnet import models, optim

    ms.manual_seed(0)
    net = models.UNet(3, 2, base)
    optimizer = optim.Adam(net.parameters(), 1e-3)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(net.train()(x), y).backward()
        optimizer.step()

    def predict():
        with ms.no_grad():
            net.eval()(x)

    return step, predict


def theirs(x, y, base, engine):
    """Return the same two in PyTorch."""
    import torch
    from torch_unet import UNet

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    net = UNet(3, 2, base)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    if engine.endswith("channels_last"):
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net.train()(x), y).backward()
        optimizer.step()

    def predict():
        with torch.no_grad():
            net.eval()(x)

    return step, predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each engine has its turn")
    parser.add_argument("--repeats", type=int, default=4, help="runs within a turn, the best counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*arguments.child, arguments.repeats)))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "NUMBA_NUM_THREADS": str(arguments.threads)}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    best: dict[tuple[str, str, str], float] = {}
    for case in CASES:
        for _ in range(arguments.rounds):
            for engine in ENGINES:
                command = [sys.executable, __file__, "--repeats", str(arguments.repeats), "--child", engine, case]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                for name, seconds in json.loads(done.stdout.splitlines()[-1]).items():
                    best[case, engine, name] = min(best.get((case, engine, name), np.inf), seconds)
    date = datetime.date.today().isoformat()
    lines = [
        f"# U-Net beside PyTorch, {date}",
        "",
        f"{platform.machine()}, {arguments.threads} threads, best of {arguments.rounds} rounds in turn;",
        "depth 4, batch norm, Adam, cross-entropy.",
        "Ratio = PyTorch's better layout / minisegnet; above 1 minisegnet is faster. `python benchmarks/unet.py`",
        "",
        "| case | work | minisegnet | PyTorch | ratio |",
        "|---|---|---|---|---|",
    ]
    for case in CASES:
        for name, what in (("train", "training step"), ("infer", "inference")):
            mine, other = best[case, ENGINES[0], name], min(best[case, e, name] for e in ENGINES[1:])
            lines.append(f"| {case} | {what} | {1e3 * mine:.0f} ms | {1e3 * other:.0f} ms | {other / mine:.2f} |")
    text = "\n".join(lines) + "\n"
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"unet_cpu_{date}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
