"""Build the course as a website that needs no installation: Python runs in the reader's browser (JupyterLite, Pyodide).

    python start.py site                       into the folder site/
    python start.py site OUT --pyodide FILE    with Pyodide in it (its full release, a .tar.bz2): then without any network

The site is plain files: any web server, or a repository's pages, can serve it. Lessons are as in the course, with one cell
before their first that installs the package from the site itself; the readable NumPy kernels serve (docs/classroom.md).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# What the lessons import and Pyodide's release does not hold. All are pure Python.
WHEELS = ("ipywidgets", "jupyterlab-widgets", "anywidget", "psygnal", "pooch", "comm")
INSTALL = "%pip install -q minisegnet anywidget"


def main(arguments: list[str] | None = None) -> int:
    """Build, check, and say what came out; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=Path("site"), help="the folder to make (default: site)")
    parser.add_argument("--pyodide", help="a full release of Pyodide (.tar.bz2 or its address), to be part of the site")
    parser.add_argument("--force", action="store_true", help="replace the folder if it exists")
    args = parser.parse_args(arguments)
    needed = ("jupyterlite_core", "jupyterlite_pyodide_kernel", "nbformat", "hatchling")
    missing = [n for n in needed if importlib.util.find_spec(n) is None]
    if missing:
        print(f"{' and '.join(missing)} missing: pip install -e .[site], or python start.py site", file=sys.stderr)
        return 2
    out = args.out.resolve()
    if out.exists() and not args.force:
        print(f"{out} exists: choose another folder, or --force to replace it", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        built = build(work, args.pyodide)
        if out.exists():
            shutil.rmtree(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(built, out)  # whole, or not at all
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    count = sum(1 for file in out.rglob("*") if file.is_file())
    lessons = len(list((out / "files").glob("*.ipynb")))
    print(f"{out}: {lessons} lessons, {count} files, {size / 2**20:.0f} MiB, checked by `jupyter lite check`")
    if not args.pyodide:
        print("readers' browsers fetch Pyodide and NumPy from Pyodide's network of servers (about 30 MB, once)")
    print(f"to look at it: python -m http.server --directory {out}, then http://localhost:8000/lab")
    return 0


def build(work: Path, pyodide: str | None) -> Path:
    """Build the site below a working folder and return its place."""
    wheels, lessons, site = work / "wheels", work / "lessons", work / "site"
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), cwd=ROOT)
    # As for a browser's Python: pure wheels of the versions that the course is tested with.
    pure = ("--only-binary=:all:", "--platform", "any", "--implementation", "py", "--abi", "none", "--no-deps")
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    run(*pip, *pure, "-d", str(wheels), "-c", str(ROOT / "constraints.txt"), *WHEELS)
    lessons.mkdir()
    for source in sorted((ROOT / "notebooks").glob("*.ipynb")):
        write_lesson(source, lessons / source.name)
    command = [sys.executable, "-m", "jupyter", "lite"]
    options = ["--lite-dir", str(work), "--contents", str(lessons), "--output-dir", str(site), "--no-sourcemaps"]
    for wheel in sorted(wheels.glob("*.whl")):
        options += ["--piplite-wheels", str(wheel)]
    if pyodide:
        options += ["--pyodide", pyodide]
    (work / "jupyter-lite.json").write_text(json.dumps(settings()), encoding="utf-8")
    run(*command, "build", *options, cwd=work)
    run(*command, "check", *options, cwd=work)
    return site


def settings() -> dict[str, Any]:
    """Return the site's settings: the course's name, and nothing that asks another server for more than Python."""
    return {
        "jupyter-lite-schema-version": 0,
        "jupyter-config-data": {"appName": "minisegnet", "enableMemoryStorage": True},
    }


def write_lesson(source: Path, target: Path) -> None:
    """Copy a lesson, with a cell before its first line of code that installs the package; its pictures stay in it."""
    import nbformat

    notebook = nbformat.read(
        source, as_version=4
    )  # joins lines: a browser's JupyterLab expects texts, not lists of lines
    cell = {
        "cell_type": "code",
        "id": "install-in-the-browser",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": f"# Into this page; takes half a minute the first time.\n{INSTALL}",
    }
    first = next(i for i, c in enumerate(notebook["cells"]) if c["cell_type"] == "code")
    notebook["cells"].insert(first, cell)
    notebook["metadata"]["kernelspec"] = {"name": "python", "display_name": "Python (Pyodide)", "language": "python"}
    target.write_text(json.dumps(notebook, ensure_ascii=False, indent=1), encoding="utf-8")


def run(*command: str, cwd: Path | None = None) -> None:
    """Run a command quietly; where it fails, show what it said."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:6])} ... failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
