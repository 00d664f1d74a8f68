"""Faster than PyTorch on a GPU? Each kernel, and U-Nets at three sizes, beside PyTorch with cuDNN.

    python benchmarks/gpu.py --all                    everything
    python benchmarks/gpu.py --only "U-Net" Adam      rows whose name holds one of these; the others' results are kept
    python benchmarks/gpu.py --all --tiny --emulated  without a card: is the command itself in order?

Needs an NVIDIA card, CuPy, and PyTorch with CUDA; what is missing is said, and nothing is measured. Writes
benchmarks/results/gpu_<date>.json as it goes, and the tables beside it; a few of the figures go into the package, where
lesson 15 shows them to readers without a card, once it is built again. docs/gpu.md says how to read the tables.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import gpu_clock  # noqa: E402
import gpu_page  # noqa: E402
import gpu_rows  # noqa: E402
import turns  # noqa: E402
from engines import Row  # noqa: E402

ENGINES = ("minisegnet", "torch")
LIMIT = 600.0  # seconds that a row may take an engine: torch.compile is slow, the first use of a kernel too


def measure(row: Row, engine: str, seconds: float) -> dict[str, Any]:
    """Return seconds and bytes of an engine's ways, one after the other; a way that fails does not take the others along."""
    clock = gpu_clock.clock_for(engine)
    answer: dict[str, Any] = {"seconds": {}, "held": {}, "failed ways": {}}
    for way, build in row.make(engine).items():
        clock.begin()
        try:
            call = build()
            answer["seconds"][way] = min(clock.times(call, seconds))
            answer["held"][way] = clock.peak()
        except Exception as error:
            answer["failed ways"][way] = f"{type(error).__name__}: {error}".splitlines()[0]
        call = None
        gc.collect()
    return answer


def add(results: dict[str, Any], row: Row, engine: str, answer: dict[str, Any]) -> None:
    """Add one engine's answer to a row."""
    entry = results["rows"][row.key]
    turns.add(entry, engine, answer)
    for way, why in answer.get("failed ways", {}).items():
        entry["failed"][f"{engine}, {way}"] = why
    if answer.get("held"):
        results["held"].setdefault(row.key, {})[engine] = answer["held"]


def measure_rows(rows: list[Row], args: argparse.Namespace, results: dict[str, Any], file: Path) -> None:
    """Let the engines take turns, row by row and round by round, and keep every answer at once."""
    options = [option for option in ("tiny", "emulated") if getattr(args, option)]
    for turn in range(args.rounds):
        workers = {
            engine: turns.Worker(
                [sys.executable, str(HERE / "gpu.py"), "--serve", engine, *(f"--{o}" for o in options)],
                turns.environment(os.cpu_count() or 1, False),
            )
            for engine in ENGINES
        }
        try:
            for row in rows:
                if turn == 0:
                    results["held"].pop(row.key, None)
                    results["rows"][row.key] = {
                        name: getattr(row, name) for name in ("group", "name", "flops", "moved")
                    }
                    results["rows"][row.key] |= {"seconds": {}, "failed": {}}
                for engine in ENGINES if turn % 2 == 0 else ENGINES[::-1]:
                    if row.group != "card" or engine == "minisegnet":
                        add(results, row, engine, workers[engine].ask(row.key, args.seconds, LIMIT))
                turns.write(file, results)
                print(f"{turn + 1}/{args.rounds}  {gpu_page.line(results['rows'][row.key])}", flush=True)
        finally:
            for worker in workers.values():
                worker.close()


def new_results(args: argparse.Namespace) -> dict[str, Any]:
    """Return what stands at the head of a file of results."""
    return {
        "date": datetime.date.today().isoformat(),
        "emulated": args.emulated,
        "machine": gpu_clock.describe(),
        "rounds": args.rounds,
        "versions": {name: metadata.version(name) for name in ("numpy", "torch")},
        "rows": {},
        "held": {},
    }


def main() -> int:
    """Measure what was asked for and write it down; returns 1 where something failed or is missing."""
    args = arguments()
    if args.emulated:
        gpu_clock.emulate()
    elif lacking := gpu_clock.missing():
        print("Nothing was measured.", *(f"- {one}" for one in lacking), sep="\n", file=sys.stderr)
        return 1
    known = gpu_rows.rows(args.tiny)
    if args.serve:
        turns.serve(args.serve, known, measure)
        return 0
    args.results.mkdir(parents=True, exist_ok=True)
    word = "gpu_emulated" if args.emulated else "gpu_tiny" if args.tiny else "gpu"
    file = args.results / f"{word}_{datetime.date.today().isoformat()}.json"
    results = new_results(args)
    if file.exists():
        old = json.loads(file.read_text(encoding="utf-8"))
        if old["machine"]["card"] == results["machine"]["card"]:
            results |= {part: old[part] for part in ("rows", "held")}
    wanted = [row for row in known.values() if args.all or row.group == "card" or any(p in row.key for p in args.only)]
    measure_rows(wanted, args, results, file)
    results["rows"] = {key: results["rows"][key] for key in known if key in results["rows"]}
    turns.write(file, results)
    gpu_page.write_page(results, file)
    if word == "gpu":
        gpu_page.write_figures(results)
    failed = gpu_page.failures(results)
    print("\n".join(f"failed: {line}" for line in failed), end="\n" if failed else "", file=sys.stderr)
    print(f"{file.with_suffix('.md')}")
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("--all", action="store_true", help="every row")
    option("--only", nargs="+", metavar="PART", default=[], help="rows whose name holds one of these parts")
    option("--rounds", type=int, default=3, help="how often each engine has its turn")
    option(
        "--seconds", type=float, default=0.5, help="that each way of a row is repeated within a turn; the best counts"
    )
    option("--tiny", action="store_true", help="arrays so small that nothing is measured")
    option("--emulated", action="store_true", help="with --tiny: on the CPU, by the emulation of the tests")
    option("--results", type=Path, default=HERE / "results", help="folder")
    option("--serve", choices=ENGINES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.emulated and not args.tiny:
        parser.error("--emulated would take days without --tiny")
    if not (args.all or args.only or args.serve):
        parser.error("say what to measure: --all, or --only with parts of names")
    if args.tiny:
        args.rounds, args.seconds = 1, 0.0
    return args


if __name__ == "__main__":
    sys.exit(main())
