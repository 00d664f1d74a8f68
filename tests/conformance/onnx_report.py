"""The table at the end of a test run: per operator what passed on each backend, and what is left out for which reason.

The tests send their part along as user properties of their reports, which reach the controller of pytest-xdist too.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

BACKENDS = ("reference", "numba")
COUNT, LEFT_OUT = "onnx_case", "onnx_left_out"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table if a test of this folder ran (a hook of pytest, which ``tests/conftest.py`` imports)."""
    reports = [r for kind in ("passed", "failed", "error") for r in terminalreporter.stats.get(kind, [])]
    ran: Counter[tuple[str, str]] = Counter()
    passed: Counter[tuple[str, str]] = Counter()
    left_out: dict[str, dict[str, int]] = {}
    for report in reports:
        properties = dict(getattr(report, "user_properties", ()))
        if getattr(report, "when", "") == "call" and COUNT in properties:
            ran[tuple(properties[COUNT])] += 1
            passed[tuple(properties[COUNT])] += report.passed
        left_out |= properties.get(LEFT_OUT, {})
    if ran:
        terminalreporter.write_sep("-", "ONNX conformance")
        for line in table(ran, passed, left_out):
            terminalreporter.write_line(line)


def table(ran: Counter, passed: Counter, left_out: dict[str, dict[str, int]]) -> list[str]:
    """Return the lines: a row for each operator, and the sum."""
    rows = sorted({row for row, _ in ran} | set(left_out), key=lambda row: (row.startswith("pytorch"), row))
    lines = [_line("cases passed of those run", *BACKENDS, "left out")]
    for row in rows:
        reasons = sorted(left_out.get(row, {}).items(), key=lambda item: -item[1])
        why = ", ".join(f"{reason} {count}" for reason, count in reasons)
        lines.append(_line(row, *(f"{passed[row, b]} of {ran[row, b]}" for b in BACKENDS), why))
    total = sum(sum(reasons.values()) for reasons in left_out.values())
    sums = [f"{_sum(passed, b)} of {_sum(ran, b)}" for b in BACKENDS]
    return [*lines, _line("all", *sums, str(total) if left_out else "")]


def _sum(counts: Counter, backend: str) -> int:
    return sum(count for (_, b), count in counts.items() if b == backend)


def _line(name: str, first: str, second: str, rest: str) -> str:
    return f"{name:26}{first:>12}{second:>12}   {rest}".rstrip()
