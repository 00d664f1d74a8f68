"""What the commands write and print alike: tables, JSON, names of files that nothing overwrites."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..storage import atomic_write


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table, its columns aligned to be read in a terminal too; numbers to the right."""
    body = [[_cell(value) for value in row] for row in rows]
    right = [all(isinstance(row[k], int | float) for row in rows) for k in range(len(columns))] if body else []
    widths = [max(len(row[k]) for row in [list(columns), *body]) for k in range(len(columns))]
    right = right or [False] * len(columns)

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    return "\n".join([line(columns), rule, *(line(row) for row in body)])


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all; NaN becomes null, which every reader of JSON knows."""
    with atomic_write(path, "w") as file:
        json.dump(_without_nan(content), file, indent=1, allow_nan=False)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Read JSON that this package wrote; raises ValueError naming the file where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise ValueError(f"{path} is damaged ({fault}); remove it, or choose another --out") from None


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all."""
    with atomic_write(path, "w") as file:
        file.write(text)


def file_name(text: str) -> str:
    """Return a name that every file system takes: letters, digits, ``-``, ``_`` and ``.``, at most 60."""
    return re.sub(r"[^\w.-]+", "_", text)[:60].strip(".") or "unnamed"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and value != value else value
