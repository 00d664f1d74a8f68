"""Engines take turns: each is a process of its own that waits for the name of a row, measures it, and answers.

So both engines meet the same minutes of a noisy machine, and neither starts anew for each of a hundred rows. Between the
parent and a child go lines of JSON. A child that ends takes its row with it, and is replaced for the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engines import ALGORITHMS, NETWORK, Row

from minisegnet import storage

HERE = Path(__file__).resolve().parent


def best_of(call: Callable[[], Any], seconds: float) -> float:
    """Return the shortest of the runs that fit into so many seconds (at least one), after a warm-up."""
    clock = time.process_time if os.environ.get("PROCESSOR_TIME") else time.perf_counter
    start = time.perf_counter()
    call()
    if time.perf_counter() - start < 0.5:
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = clock()
        call()
        times.append(clock() - start)
    return min(times)


def measure(row: Row, engine: str, seconds: float) -> dict[str, Any]:
    """Return the seconds of each of an engine's ways, in this process, and which algorithms ran."""
    ways = row.make(engine)
    times = {way: best_of(call, seconds / 4 if way in ALGORITHMS else seconds) for way, call in ways.items()}
    answer: dict[str, Any] = {"seconds": times}
    if NETWORK in ways and engine == "minisegnet":
        from rows_convolution import chosen

        answer["chosen"] = chosen(ways[row.counts])
    return answer


def serve(engine: str, rows: Mapping[str, Row], measure: Callable[..., dict[str, Any]] = measure) -> None:
    """Answer one line for each line of the standard input, until it ends; ``measure`` says how."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not stand between the answers
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = measure(rows[asked["row"]], engine, asked["seconds"])
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


def add(entry: dict[str, Any], engine: str, answer: dict[str, Any]) -> None:
    """Add one engine's answer to a row of a file of results."""
    if "failed" in answer:
        entry["failed"][engine] = answer["failed"]
    for way, seconds in answer.get("seconds", {}).items():
        entry["seconds"].setdefault(engine, {}).setdefault(way, []).append(seconds)


def write(file: Path, results: dict[str, Any]) -> None:
    """Write the results as a whole or not at all."""
    with storage.atomic_write(file, "w") as handle:
        json.dump(results, handle, indent=1)


def environment(threads: int, processor_time: bool) -> dict[str, str]:
    """Return the environment of a child: so many threads for everybody who starts some."""
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    made = {**os.environ, **dict.fromkeys(names, str(threads))}
    made["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    made.pop("PROCESSOR_TIME", None)
    return made | ({"PROCESSOR_TIME": "1"} if processor_time else {})


class Worker:
    """The parent's side of one engine: ``ask`` a row, get an answer or why there is none."""

    def __init__(self, command: list[str], env: dict[str, str]):
        self.command, self.env = command, env
        self.process: subprocess.Popen[str] | None = None

    def ask(self, row: str, seconds: float, limit: float) -> dict[str, Any]:
        """Return what the child says about a row; ``limit`` seconds later it is ended."""
        if self.process is None:
            self.errors = tempfile.TemporaryFile()  # noqa: SIM115
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
            self.process = subprocess.Popen(self.command, env=self.env, text=True, encoding="utf-8", **pipes)
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        late: list[bool] = []
        timer = threading.Timer(limit, lambda: (late.append(True), process.kill()))
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps({"row": row, "seconds": seconds}), file=process.stdin, flush=True)
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        code = process.wait()
        reason = f"no answer within {limit:.0f} s" if late else self._last_words(code)
        self.close()
        return {"failed": reason}

    def _last_words(self, code: int) -> str:
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return f"the process ended with code {code}" + (f": {lines[-1]}" if lines else "")

    def close(self) -> None:
        """End the child."""
        if self.process is not None:
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.errors.close()
            self.process = None
