"""``minisegnet warmup``: compile the kernels now, so that nobody waits in the middle of a lesson."""

from __future__ import annotations

import argparse
from typing import Any

from . import Form

EXAMPLES = """\
Numba compiles each kernel for this processor when it is first used, and keeps the machine code on disk. This command
does all of it at once: up to a minute the first time, a second or two after that.

examples:
  minisegnet warmup
  minisegnet warmup --float64     also what the gradient checks of the lessons use
"""


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser(
        "warmup", help="compile the kernels now, once", description=EXAMPLES, formatter_class=Form
    )
    parser.add_argument("--float64", action="store_true", help="compile for 64-bit numbers too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile, with a progress bar that names what is being compiled; then say what took how long."""
    from ..kernels.warmup import warmup

    seconds = warmup(dtypes=("float32", "float64") if args.float64 else ("float32",))
    total = sum(seconds.values())
    slowest = sorted(seconds, key=seconds.__getitem__, reverse=True)[:3]
    detail = ", ".join(f"{name} {seconds[name]:.1f} s" for name in slowest)
    if total < 5:
        print(f"{len(seconds)} kernels are ready (they were compiled before; {total:.1f} s)")
    else:
        print(f"{len(seconds)} kernels compiled in {total:.0f} s ({detail}, ...), and kept on disk")
    return 0
