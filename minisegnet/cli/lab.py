"""``minisegnet lab``: the lessons in a folder of the user's, open in JupyterLab."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..storage import atomic_write
from . import Form

EXAMPLES = """\
Copies the lessons to a folder of yours, compiles the kernels (the first time up to a minute), and opens JupyterLab in
that folder. Your work is never overwritten: a lesson that you have changed stays as it is, and where a newer version of
it has come with the package, that is put beside it as NAME.new.ipynb. For a fresh copy rename yours.

examples:
  minisegnet lab                      the folder minisegnet-course, here
  minisegnet lab Documents/course     another folder
  minisegnet lab --no-browser --port 9999    what follows and is not listed below goes to `jupyter lab`
"""
DEFAULT_FOLDER = "minisegnet-course"
MANIFEST = ".minisegnet-lessons.json"  # in the user's folder: file name -> SHA-256 of the lesson as it was copied
OWN_OPTIONS = {"--copy-only", "--no-warmup", "-h", "--help"}


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("lab", help="open the lessons", description=EXAMPLES, formatter_class=Form)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(DEFAULT_FOLDER), metavar="FOLDER", help="where to")
    parser.add_argument("--copy-only", action="store_true", help="copy the lessons and stop")
    parser.add_argument("--no-warmup", action="store_true", help="do not compile the kernels first")
    parser.set_defaults(run=run)


def separate(words: list[str]) -> tuple[list[str], list[str]]:
    """Split ``lab [FOLDER] ...`` into what this command knows and what goes to Jupyter."""
    own, extra = words[:1], words[1:]
    if extra and not extra[0].startswith("-"):
        own.append(extra.pop(0))
    return own + [w for w in extra if w in OWN_OPTIONS], [w for w in extra if w not in OWN_OPTIONS]


def run(args: argparse.Namespace) -> int:
    """Copy, compile, open."""
    folder = args.folder.expanduser().resolve()
    for line in copy_lessons(lessons(), folder):
        print(line)
    print(f"the lessons are in {folder}", flush=True)
    if args.copy_only:
        return 0
    if importlib.util.find_spec("jupyterlab") is None:
        raise RuntimeError('JupyterLab is not installed here: pip install "minisegnet[notebooks]", then try again')
    if not args.no_warmup:
        from ..kernels.warmup import warmup

        warmup()
    print("opening JupyterLab; Ctrl-C here ends it", flush=True)
    return start_jupyter(folder, args.extra)


def lessons() -> list[Path]:
    """Return the notebooks that come with the package, or lie beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for place in (package / "notebooks", package.parent / "notebooks"):
        found = sorted(place.glob("[0-9][0-9]_*.ipynb"))
        if found:
            return found
    raise FileNotFoundError(
        f"the lessons are missing: neither {package / 'notebooks'} nor {package.parent / 'notebooks'} holds notebooks; "
        "install the package anew"
    )


def copy_lessons(sources: list[Path], folder: Path) -> list[str]:
    """Copy each lesson that is new; returns what was done, a line each.

    A copy that is as it was made (its hash is in the manifest) belongs to us and is brought up to date. Any other file
    belongs to the user: it stays, and a newer version goes beside it.
    """
    from .report import read_json, write_json

    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder for the lessons")
    folder.mkdir(parents=True, exist_ok=True)
    manifest_file = folder / MANIFEST
    try:
        copied = dict(read_json(manifest_file)) if manifest_file.is_file() else {}
    except (ValueError, TypeError):
        copied = {}  # without it every file counts as the user's
    said = []
    for source in sources:
        shipped = digest(source)
        known = {value for name, value in copied.items() if name.startswith(source.stem + ".")}
        for name in names_for(source):
            target = folder / name
            if not target.exists():
                if name != source.name and shipped in known:
                    break  # this version was copied before; the user changed it, or put it away
                action = "copied" if name == source.name else f"{source.name} is yours and stays; new version:"
            elif digest(target) == shipped:
                copied[name] = shipped
                break
            elif digest(target) == copied.get(name):
                action = "brought up to date:"
            else:
                continue
            with atomic_write(target) as file, open(source, "rb") as original:
                shutil.copyfileobj(original, file)
            copied[name] = shipped
            said.append(f"{action} {name}")
            break
    write_json(manifest_file, copied)
    return said


def names_for(source: Path) -> list[str]:
    """Return the names that a lesson may take in the user's folder, the best first."""
    return [source.name, f"{source.stem}.new.ipynb", *(f"{source.stem}.new{k}.ipynb" for k in range(2, 100))]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start_jupyter(folder: Path, extra: list[str]) -> int:
    """Run ``jupyter lab`` in a folder until it ends; it handles Ctrl-C itself (and asks)."""
    process = subprocess.Popen([sys.executable, "-m", "jupyterlab", *extra], cwd=folder)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
