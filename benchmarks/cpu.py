"""Faster than PyTorch on a CPU? Every row of the speed table, beside PyTorch and, for inference, ONNX Runtime.

    python benchmarks/cpu.py                          all rows, about fifteen minutes on two quiet cores
    python benchmarks/cpu.py --only "conv 3x3" Adam   rows whose name holds one of these; the others' results are kept
    python benchmarks/cpu.py --missing                goes on with a run that was interrupted
    python benchmarks/cpu.py --recipe [8 16]          the nuclei recipe too, about twenty minutes; --only "" --recipe: nothing else
    python benchmarks/cpu.py --quick --processor-time --threads 1    a look while other work runs on the machine
    python benchmarks/cpu.py --draw                   measures nothing: tables and pictures again from the newest results

Writes benchmarks/results/cpu_<date>.json as it goes (an interrupted run loses nothing) and, at its end, the tables beside
it, docs/pictures/speed and roofline, and what README.md and docs/performance.md say between their marks. How to read all
that: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import cpu_page  # noqa: E402
import machine  # noqa: E402
import rows_convolution  # noqa: E402
import rows_memory  # noqa: E402
import rows_network  # noqa: E402
import rows_recipe  # noqa: E402
import turns  # noqa: E402
from engines import ENGINES, Row  # noqa: E402

DATA = HERE.parent.parent / "shared" / "data" / "histology.npz"
MEMORY = "memory of a training step"
LIMIT = 300.0  # seconds that a row may take an engine; the first one compiles
QUICK = 2e10  # operations above which a quick look leaves a row out


def all_rows() -> dict[str, Row]:
    """Return every row by its key, in the order of the tables."""
    parts = (machine, rows_network, rows_convolution, rows_memory)
    return {row.key: row for part in parts for row in part.rows()}


def new_results(args: argparse.Namespace, engines: list[str]) -> dict[str, Any]:
    """Return what stands at the head of a file of results."""
    versions = {name: metadata.version(name) for name in ("numpy", "numba", *engines) if name != "minisegnet"}
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "threads": args.threads,
        "clock": "processor time" if args.processor_time else "time on the wall",
        "rounds": args.rounds,
        "versions": versions,
        "rows": {},
        "memory": {},
        "recipe": {},
    }


def result_file(args: argparse.Namespace) -> Path:
    """Return where results go: the name says what is unusual about the run."""
    words = [f"{args.threads}_thread{'s' * (args.threads > 1)}"] if args.threads != os.cpu_count() else []
    words += ["processor_time"] * args.processor_time + ["quick"] * args.quick
    return args.results / ("_".join(["cpu", *words, datetime.date.today().isoformat()]) + ".json")


def measure_rows(
    rows: list[Row], engines: list[str], args: argparse.Namespace, results: dict[str, Any], file: Path
) -> None:
    """Let the engines take turns, row by row and round by round, and keep every answer at once."""
    seconds = 0.02 if args.quick else args.seconds
    for turn in range(args.rounds):
        workers: dict[tuple[str, int], turns.Worker] = {}
        try:
            for row in rows:
                entry = results["rows"].get(row.key)
                if args.missing and entry and entry["turns"] > turn and not entry["failed"]:
                    continue
                if entry is None or turn == 0:
                    entry = results["rows"][row.key] = describe(row)
                for engine in engines if turn % 2 == 0 else engines[::-1]:
                    if engine in entry["failed"]:
                        continue
                    threads = row.threads or args.threads
                    if (engine, threads) not in workers:
                        command = [sys.executable, str(HERE / "cpu.py"), "--serve", engine]
                        workers[engine, threads] = turns.Worker(
                            command, turns.environment(threads, args.processor_time)
                        )
                    answer = workers[engine, threads].ask(row.key, seconds, LIMIT)
                    add(entry, engine, answer)
                entry["turns"] = turn + 1
                turns.write(file, results)
                print(f"{turn + 1}/{args.rounds}  {cpu_page.line(entry)}", flush=True)
        finally:
            for worker in workers.values():
                worker.close()


def describe(row: Row) -> dict[str, Any]:
    """Return what a file of results says about a row before anything is measured."""
    names = ("group", "name", "flops", "moved", "least", "aim", "judged", "counts", "threads", "pixels")
    return {name: getattr(row, name) for name in names} | {"seconds": {}, "chosen": [], "failed": {}, "turns": 0}


def add(entry: dict[str, Any], engine: str, answer: dict[str, Any]) -> None:
    """Add one engine's answer to a row."""
    turns.add(entry, engine, answer)
    entry["chosen"] = answer.get("chosen") or entry["chosen"]


def measure_memory(args: argparse.Namespace, engines: list[str], results: dict[str, Any], file: Path) -> None:
    """Measure each case in processes of their own, one for each engine and layout; the smallest of two counts."""
    layouts = {"minisegnet": ["minisegnet"], "torch": ["contiguous", "channels_last"]}
    for name, case in rows_network.memory_cases().items():
        if args.quick and case.flops * 3 > QUICK:
            continue
        if args.missing and name in results["memory"]:
            continue
        entry: dict[str, Any] = {}
        for _ in range(1 if args.quick or case in rows_network.GROWTH else 2):
            for engine in [e for e in engines if e in layouts]:
                for layout in layouts[engine]:
                    command = [sys.executable, str(HERE / "cpu.py"), "--memory-of", engine, name, layout]
                    env = turns.environment(args.threads, False)
                    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
                    if done.returncode:
                        reason = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
                        entry.setdefault("failed", {})[engine] = reason
                        continue
                    made = json.loads(done.stdout.splitlines()[-1])
                    before = entry.setdefault(engine, {}).get(layout, made)
                    entry[engine][layout] = min(before, made, key=lambda one: one["peak"])
        results["memory"][name] = entry
        turns.write(file, results)
        print(f"{MEMORY}: {name}: {cpu_page.memory_line(entry)}", flush=True)


def main() -> int:
    """Measure what was asked for and write it down; returns 1 where something failed."""
    args = arguments()
    if args.serve:
        turns.serve(args.serve, all_rows())
        return 0
    if args.memory_of:
        engine, name, layout = args.memory_of
        print(json.dumps(rows_network.memory_of(engine, rows_network.memory_cases()[name], layout)))
        return 0
    args.results.mkdir(parents=True, exist_ok=True)
    if args.draw:
        file = max(args.results.glob("cpu_2*.json"), default=None) if args.draw is True else args.draw
        if file is None:
            sys.exit(f"--draw: there are no results in {args.results} yet")
    else:
        file = measure(args)
    results = json.loads(file.read_text(encoding="utf-8"))
    ours = file.parent.resolve() == HERE / "results" and file.name.startswith("cpu_2")
    print(cpu_page.write_page(results, file, HERE.parent if ours else None))
    failed = cpu_page.failures(results)
    print("\n".join(f"failed: {line}" for line in failed), end="\n" if failed else "", file=sys.stderr)
    return 1 if failed else 0


def measure(args: argparse.Namespace) -> Path:
    """Measure rows, memory and recipe, as far as they are wanted, and return the file of results."""
    os.environ["NUMBA_NUM_THREADS"] = str(args.threads)
    file = result_file(args)
    engines = [name for name in ENGINES if util.find_spec(name)]
    results = new_results(args, engines)
    if file.exists():
        old = json.loads(file.read_text(encoding="utf-8"))
        results |= {part: old[part] for part in ("memory", "recipe")}
        results["rows"] = {key: entry for key, entry in old["rows"].items() if key in all_rows()}
    rows = [row for row in all_rows().values() if wanted(row.key, args) or row.group == "machine"]
    if args.quick:
        rows = [row for row in rows if row.flops < QUICK or row.group == "machine"]
    if args.threads == 1:
        rows = [row for row in rows if not row.threads]
    if any(row.group != "machine" for row in rows):
        measure_rows(rows, engines, args, results, file)
    if wanted(MEMORY, args):
        measure_memory(args, engines, results, file)
    if args.recipe is not None:
        env = turns.environment(args.threads, False)
        kept = results["recipe"] if args.missing else {}
        for done in rows_recipe.run(args.recipe or [8, 16], args.folds, args.data, env, kept, print):
            results["recipe"] |= done
            turns.write(file, results)
    results["rows"] = {
        key: results["rows"][key] for key in all_rows() if key in results["rows"]
    }  # in the order of tables
    turns.write(file, results)
    return file


def wanted(key: str, args: argparse.Namespace) -> bool:
    """Return whether a row was asked for."""
    return args.only is None or any(part and part in key for part in args.only)


def arguments() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", nargs="*", metavar="PART", help="rows whose name holds one of these parts")
    add("--rounds", type=int, help="how often each engine has its turn (default 3; --quick: 1)")
    add("--seconds", type=float, default=0.25, help="that each way of a row is repeated within a turn; the best counts")
    add("--threads", type=int, default=os.cpu_count())
    add("--quick", action="store_true", help="one round of the small rows: does everything run?")
    add("--processor-time", action="store_true", help="count what the process itself had (with --threads 1)")
    add("--missing", action="store_true", help="leave out what today's file has already")
    add("--recipe", nargs="*", type=int, metavar="WIDTH", help="the nuclei recipe with these widths (default 8 and 16)")
    add("--folds", type=int, default=rows_recipe.FOLDS, help="of the recipe")
    add("--data", type=Path, default=DATA, help="the nuclei")
    add("--results", type=Path, default=HERE / "results", help="folder; another one leaves the documents alone")
    add("--draw", nargs="?", const=True, type=Path, metavar="FILE", help="measure nothing, only write the pages")
    add("--serve", choices=ENGINES, help=argparse.SUPPRESS)
    add("--memory-of", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.processor_time and args.threads != 1:
        parser.error("--processor-time adds up all threads: give --threads 1 too")
    args.rounds = args.rounds or (1 if args.quick else 3)
    return args


if __name__ == "__main__":
    sys.exit(main())
