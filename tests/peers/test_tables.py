"""docs/metrics.md: each row of its tables of differences names a test that exists, and each such test has a row."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PAGE = (HERE.parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("title", "file"), [("Metrics", "test_metrics_peers.py"), ("Losses", "test_losses_peers.py")])
def test_each_row_has_its_test(title, file):
    section = PAGE.split(f"## {title}: where the rules differ")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    rows = [re.findall(r"`(test_\w+)`", line.rsplit("|", 2)[1]) for line in table]
    assert all(len(names) == 1 for names in rows), [line for line, names in zip(table, rows, strict=True) if not names]
    source = (HERE / file).read_text(encoding="utf-8")
    after = source[: source.index("# The differences:")].count("\n")
    defined = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    assert [names[0] for names in rows] == [n.name for n in defined if n.lineno > after]
