"""The command ``minisegnet``: one file per command, each with ``add_to(commands)`` and ``run(args) -> exit code``.

Exit codes: 0 well; 1 done, but something failed (an image that could not be read, a check of ``doctor``); 2 bad input,
said in one line; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = ("lab", "doctor", "warmup", "train", "predict", "eval", "export", "data")

DESCRIPTION = """\
Semantic segmentation, from a NumPy array to a U-Net that finds nuclei.

first steps:
  minisegnet lab                       the lessons, in your browser
  minisegnet doctor                    is this machine ready?
  minisegnet predict photo.png -o out  find the nuclei in an image
  minisegnet train --data synthetic    train a network of your own
"""


class Form(argparse.RawDescriptionHelpFormatter):
    """Help with the line breaks of its examples, and room for the options."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; it imports neither Numba nor Matplotlib."""
    from .. import __version__

    parser = argparse.ArgumentParser(
        prog="minisegnet",
        description=DESCRIPTION,
        formatter_class=Form,
        epilog="`minisegnet COMMAND --help` says more, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"minisegnet {__version__}")
    parser.add_argument("--debug", action="store_true", help="on an error show where in the code it arose")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"{__name__}.{name}").add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; ``argv`` is ``sys.argv[1:]`` unless given."""
    words = list(sys.argv[1:] if argv is None else argv)
    extra: list[str] = []
    if words[:1] == ["lab"]:  # what it does not know is for Jupyter
        from .lab import separate

        words, extra = separate(words)
    parser = make_parser()
    try:
        args = parser.parse_args(words)
    except SystemExit as end:  # --help, or bad arguments: argparse has said it
        return int(end.code or 0)
    if args.command is None:
        parser.print_help()
        return 2
    args.extra = extra
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as `head`, had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, FloatingPointError, RuntimeError, ImportError, MemoryError) as error:
        if args.debug:
            raise
        print(f"minisegnet {args.command}: error: {one_line(error)}", file=sys.stderr)
        return 2


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(text.split())
