"""Print the badges that open the lessons on Binder and on Colab, for a repository on GitHub.

    python scripts/badges.py OWNER/NAME [--branch main]

The Markdown is for a course page or a fork's README. Colab opens a lesson as it lies in the repository: what is printed last
is to be put into a cell before its first.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", metavar="OWNER/NAME", help="where the course lies on GitHub")
    parser.add_argument("--branch", default="main", help="its branch (default: main)")
    args = parser.parse_args(arguments)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", args.repository):
        print(f"repository must be OWNER/NAME, got {args.repository!r}", file=sys.stderr)
        return 2
    print("| lesson | Binder | Colab |\n|---|---|---|")
    for lesson in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        print(f"| {lesson.stem} | {binder(args, lesson)} | {colab(args, lesson)} |")
    print(f"\nOn Colab, in a cell before the first:\n\n{install(args.repository, args.branch)}")
    return 0


def binder(args: argparse.Namespace, lesson: Path) -> str:
    """Return the badge that opens a lesson in JupyterLab on Binder."""
    path = quote(f"lab/tree/notebooks/{lesson.name}", safe="")
    return badge(
        "Binder", "launch-binder-579aca", f"https://mybinder.org/v2/gh/{args.repository}/{args.branch}?urlpath={path}"
    )


def colab(args: argparse.Namespace, lesson: Path) -> str:
    """Return the badge that opens a lesson on Colab."""
    place = f"https://colab.research.google.com/github/{args.repository}/blob/{args.branch}/notebooks/{lesson.name}"
    return badge("Colab", "open-in%20Colab-f9ab00", place)


def badge(text: str, picture: str, place: str) -> str:
    """Return Markdown of a picture that is a link."""
    return f"[![{text}](https://img.shields.io/badge/{picture})]({place})"


def install(repository: str, branch: str) -> str:
    """Return the line that brings the package to Colab's machine."""
    return f'%pip install -q "minisegnet[notebooks] @ git+https://github.com/{repository}@{branch}"'


if __name__ == "__main__":
    sys.exit(main())
