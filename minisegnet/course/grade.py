"""Judge the exercises of a class without a server: ``python -m minisegnet.course.grade FOLDER``.

Every notebook below the folder is read, never written, and run in a fresh kernel; what each ``check(...)`` says is written
into a table: ``FOLDER/grades.csv``, a row for each notebook and exercise.

This runs the students' code on your computer, as opening their notebooks and pressing "Run all" does: do it where you would
do that. Needs the ``test`` extra (nbclient).
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path
from typing import Any

COLUMNS = ("notebook", "answer", "verdict", "said")
VERDICTS = {"✓": "right", "✗": "wrong", "○": "not attempted"}
CHECK = re.compile(r"^\s*check\((.+)\)\s*$", re.M)


def judge(notebook: Path, timeout: int = 300) -> list[dict[str, str]]:
    """Run a notebook and return a row for each of its checks; one that breaks says where.

    Parameters
    ----------
    notebook : Path
        A lesson as a student handed it in; it is read, never written.
    timeout : int
        Seconds that a cell may take; an endless loop ends there.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError

    try:
        lesson = nbformat.read(notebook, as_version=4)
    except Exception as error:  # whatever was handed in under this name
        return [_row(notebook, "", "unreadable", f"{type(error).__name__}: {error}")]
    for cell in lesson.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    # A cell that fails must not hide the exercises behind it.
    client = NotebookClient(
        lesson, timeout=timeout, allow_errors=True, resources={"metadata": {"path": str(notebook.parent)}}
    )
    rows = []
    try:
        client.execute()
    except CellTimeoutError:
        rows.append(
            _row(notebook, "", "stopped", f"a cell took more than {timeout} seconds; what follows it was not run")
        )
    for cell in lesson.cells:
        found = CHECK.search(cell.source) if cell.cell_type == "code" else None
        if found:
            rows.append(_row(notebook, found[1].split(",")[0].strip(), *_verdict(cell)))
    return rows


def _verdict(cell: Any) -> tuple[str, str]:
    """Return what the check in this cell said, in a word and in its own words."""
    for output in cell.outputs:
        if output.output_type == "error":
            return "error", f"{output.ename}: {output.evalue}"
        said = " ".join(str(output.get("data", {}).get("text/plain", "")).split())
        if said[:1] in VERDICTS:
            return VERDICTS[said[0]], said
    return "not run", ""


def _row(notebook: Path, *values: str) -> dict[str, str]:
    return dict(zip(COLUMNS, (str(notebook), *values), strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Judge all notebooks of a folder and write the table."""
    parser = argparse.ArgumentParser(prog="python -m minisegnet.course.grade", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="the notebooks that were handed in, in folders as you like")
    parser.add_argument("--timeout", type=int, default=300, help="seconds that a cell may take (%(default)s)")
    chosen = parser.parse_args(arguments)
    notebooks = sorted(p for p in chosen.folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    if not notebooks:
        print(f"no notebooks in {chosen.folder}", file=sys.stderr)
        return 2
    rows = []
    for notebook in notebooks:
        judged = judge(notebook.resolve(), chosen.timeout)
        for row in judged:
            row["notebook"] = notebook.relative_to(chosen.folder).as_posix()
        rows += judged
        right = sum(row["verdict"] == "right" for row in judged)
        print(f"{notebook.relative_to(chosen.folder)}: {right} of {len(judged)} right")
    table = chosen.folder / "grades.csv"
    with table.open("w", encoding="utf-8-sig", newline="") as file:  # spreadsheets know UTF-8 by its mark
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"written to {table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
