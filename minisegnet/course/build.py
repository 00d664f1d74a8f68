"""Build the lessons: py:percent sources -> notebooks with stored outputs. ``python -m minisegnet.course.build [names]``.

A lesson is written as ``notebooks/sources/NN_name.py`` and lives beside as ``notebooks/NN_name.ipynb``. One command makes
the second from the first: it runs every cell in a fresh kernel, once with the default number of threads and once with one,
refuses to store outputs that differ between the two, and strips what changes from run to run. ``--check`` runs nothing:
it fails where a notebook is not the one its source would give. Needs the ``test`` extra.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SANITIZE = Path(__file__).resolve().parents[2] / "tests" / "sanitize.cfg"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KEPT_CELL_METADATA = ("tags", "slideshow")
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
}
SINGLE_THREAD = {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def sources(folder: Path = NOTEBOOKS, names: Iterable[str] = ()) -> list[Path]:
    """Return the sources of the lessons, in order; ``names`` (beginnings such as "00") choose some."""
    found = sorted((folder / "sources").glob("[0-9][0-9]_*.py"))
    if not found:
        raise FileNotFoundError(
            f"no lessons in {folder / 'sources'}: they are built in a checkout, not where pip put them"
        )
    wanted = [Path(name).stem for name in names]
    for name in wanted:
        if not any(path.stem.startswith(name) for path in found):
            raise FileNotFoundError(
                f"no lesson begins with {name!r} in {folder / 'sources'}: {[p.stem for p in found]}"
            )
    return [path for path in found if not wanted or any(path.stem.startswith(name) for name in wanted)]


def notebook_of(source: Path) -> Path:
    """Return where the notebook of a source lives."""
    return source.parent.parent / f"{source.stem}.ipynb"


def read_source(source: Path) -> Any:
    """Return the notebook, without outputs, that a source describes: cells, tags, slide types, stable cell ids."""
    import jupytext
    import nbformat

    parsed = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    cells: list[Any] = []
    seen: set[str] = set()
    for cell in parsed.cells:
        if cell.cell_type == "markdown":
            made = nbformat.v4.new_markdown_cell(cell.source)
        elif cell.cell_type == "code":
            made = nbformat.v4.new_code_cell(cell.source)
        else:
            raise ValueError(f"{source.name}: a lesson has markdown and code cells only, found a {cell.cell_type} cell")
        made.metadata.update({k: cell.metadata[k] for k in KEPT_CELL_METADATA if k in cell.metadata})
        extra = set(cell.metadata) - {*KEPT_CELL_METADATA, "lines_to_next_cell"}  # jupytext's count of empty lines
        if extra:
            raise ValueError(
                f"{source.name}: cell metadata {sorted(extra)} would be lost; allowed: {KEPT_CELL_METADATA}"
            )
        # An id from the text stays the same when cells are added elsewhere: small diffs.
        made.id = _unused(hashlib.sha256(cell.source.encode()).hexdigest()[:12], seen)
        cells.append(made)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    notebook.nbformat_minor = 5
    return notebook


def _unused(name: str, seen: set[str]) -> str:
    number, unique = 1, name
    while unique in seen:
        number += 1
        unique = f"{name}-{number}"
    seen.add(unique)
    return unique


def execute(notebook: Any, folder: Path, threads: int | None = None, timeout: int = 300) -> Any:
    """Run all cells in a fresh kernel of this very Python, in ``folder``, and return the notebook with its outputs."""
    import ipykernel.kernelspec
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class ThisPython(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(resource_dir=ipykernel.kernelspec.RESOURCES, **ipykernel.kernelspec.get_kernel_dict())

    class ThisPythonsKernel(AsyncKernelManager):
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return ThisPython()

    # Lessons show the pictures that everybody has, whatever this machine has beside them.
    hidden = ("MINISEGNET_DATA",)
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment |= {**(SINGLE_THREAD if threads == 1 else {}), "MINISEGNET_QUIET": "1"}
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH", "")]))
    notebook = copy.deepcopy(notebook)
    client = NotebookClient(
        notebook, kernel_manager_class=ThisPythonsKernel, timeout=timeout, record_timing=False, store_widget_state=False
    )
    client.execute(cwd=str(folder), env=environment)
    return clean(notebook)


def clean(notebook: Any) -> Any:
    """Take out what changes from run to run and what only a live kernel can show; return the same notebook."""
    notebook.metadata = type(notebook.metadata)(METADATA)
    for cell in notebook.cells:
        cell.metadata = type(cell.metadata)({k: cell.metadata[k] for k in KEPT_CELL_METADATA if k in cell.metadata})
        if cell.cell_type != "code":
            continue
        outputs: list[Any] = []
        for output in cell.outputs:
            if output.output_type == "stream" and outputs and outputs[-1].get("name") == output.name:
                outputs[-1].text += output.text
                continue
            if "data" in output:
                # The static picture and the text twin stay; without a kernel a stored widget would be a blank.
                output.data.pop(WIDGET_VIEW, None)
                output.metadata = {k: v for k, v in output.metadata.items() if k in output.data}
            outputs.append(output)
        cell.outputs = outputs
    return notebook


def sanitize_patterns(path: Path = SANITIZE) -> list[tuple[str, str]]:
    """Return the (regex, replacement) pairs of an nbval sanitize file."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return re.findall(r"^regex: (.*)$\n^replace: (.*)$", text, flags=re.MULTILINE)


def compared(cell: Any, patterns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return what nbval compares of a cell: stream texts and every output but pictures, sanitized."""
    if cell.cell_type != "code" or "nbval-ignore-output" in cell.metadata.get("tags", []):
        return []
    seen = []
    for output in cell.outputs:
        if output.output_type == "stream":
            seen.append((output.name, output.text))
        seen += [(k, v) for k, v in output.get("data", {}).items() if k not in ("image/png", "image/jpeg", WIDGET_VIEW)]
    for pattern, replacement in patterns:
        seen = [(k, re.sub(pattern, replacement, v) if isinstance(v, str) else v) for k, v in seen]
    return sorted(seen)


def differences(one: Any, other: Any, patterns: list[tuple[str, str]]) -> list[str]:
    """Return, for two runs of a notebook, a line for each cell whose compared outputs differ."""
    lines = []
    for number, (a, b) in enumerate(zip(one.cells, other.cells, strict=True)):
        if compared(a, patterns) != compared(b, patterns):
            lines.append(f"cell {number}: {compared(a, patterns)} != {compared(b, patterns)}")
    return lines


def drift(source: Path) -> list[str]:
    """Return how the stored notebook differs from the one its source describes (outputs aside): empty if it does not."""
    import nbformat

    target = notebook_of(source)
    if not target.exists():
        return [f"{target.name} is missing"]
    wanted, stored = read_source(source), nbformat.read(target, as_version=4)
    old, new = _describe(stored).splitlines(), _describe(wanted).splitlines()
    return list(difflib.unified_diff(old, new, target.name, f"sources/{source.name}", n=1, lineterm=""))


def _describe(notebook: Any) -> str:
    parts = [json.dumps(notebook.metadata, sort_keys=True)]
    parts += [f"%% {c.cell_type} {c.id} {json.dumps(c.metadata, sort_keys=True)}\n{c.source}" for c in notebook.cells]
    return "\n".join(parts)


def build(source: Path, single_thread: bool = True) -> Path:
    """Make the notebook of a source, with outputs; raise ``RuntimeError`` where they depend on the number of threads."""
    import nbformat

    from ..storage import atomic_write

    empty, target = read_source(source), notebook_of(source)
    notebook = execute(empty, target.parent)
    if single_thread:
        lines = differences(notebook, execute(empty, target.parent, threads=1), sanitize_patterns())
        if lines:
            text = "\n".join(lines)
            raise RuntimeError(
                f"{source.name}: outputs change with the number of threads. Round what is printed, print a verdict with its "
                f"margin, or tag the cell nbval-ignore-output (and list it, with the reason).\n{text}"
            )
    with atomic_write(target, "w") as file:
        file.write(nbformat.writes(notebook, version=4) + "\n")
    return target


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m minisegnet.course.build", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("names", nargs="*", help="lessons, by the beginning of their names (all by default)")
    parser.add_argument("--check", action="store_true", help="run nothing; fail where a notebook is behind its source")
    parser.add_argument("--once", action="store_true", help="leave out the second run, the one with a single thread")
    options = parser.parse_args(arguments)
    status = 0
    for source in sources(names=options.names):
        if options.check:
            lines = drift(source)
            print(f"{source.stem}: " + ("differs from its source\n" + "\n".join(lines) if lines else "up to date"))
            status |= bool(lines)
            continue
        begin = time.perf_counter()
        target = build(source, single_thread=not options.once)
        print(f"{target.name}: built in {time.perf_counter() - begin:.0f} s, {target.stat().st_size / 1000:.0f} kB")
    return status


if __name__ == "__main__":
    sys.exit(main())
