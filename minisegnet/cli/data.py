"""``minisegnet data``: get the real images once."""

from __future__ import annotations

import argparse
from typing import Any

from . import Form

EXAMPLES = """\
Downloads real microscopy with nuclei marked by hand: the 2018 Data Science Bowl (BBBC038, in the public domain), in its
corrected copy. Checks every file, and goes on with what is missing if it was interrupted.

examples:
  minisegnet data nuclei
  minisegnet data nuclei --to D:\\images      then set MINISEGNET_DATA to that folder, or name it with --data
"""


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("data", help="download the real images", description=EXAMPLES, formatter_class=Form)
    parser.add_argument("name", choices=("nuclei",), help="which data set")
    parser.add_argument(
        "--to", metavar="FOLDER", help="where to; by default your cache folder, where it is found again"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Download what is missing and say what there is."""
    from .. import data

    path = data.download_nuclei(args.to)
    print(f"{data.load_nuclei(path)!r}\nin {path}")
    return 0
