"""Lesson 15 quotes measured times: each row stands so in the file of that day, rows where we lose among them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "notebooks" / "sources" / "15_how_fast.py"
LESSON = SOURCE.read_text(encoding="utf-8")
MEASURED = (ROOT / "benchmarks" / "results" / "cpu_2026-11-23.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^# (\| (?!work |---).+ \|)$", LESSON, flags=re.MULTILINE)


def ratio(row):
    return float(row.split("|")[-2])


@pytest.mark.parametrize("row", QUOTED)
def test_a_quoted_row_is_the_beginning_of_a_measured_one(row):
    assert sum(line.startswith(row) for line in MEASURED.splitlines()) == 1


def test_what_the_text_says_of_the_rows_is_so():
    assert len(QUOTED) == 11
    assert [ratio(row) > 1 for row in QUOTED] == [True] * 4 + [False] * 7, "the text says: its first four rows"
    assert ratio(QUOTED[-1]) == min(map(ratio, QUOTED)) < 0.5, (
        "the text says: the last one takes more than twice PyTorch's time"
    )
    lowest = min(float(n) for n in re.findall(r"^\| conv .*forward \| \S+ \| \S+ \| (\S+) ", MEASURED, re.MULTILINE))
    assert lowest in map(ratio, QUOTED), "the worst forward convolution is not left out"


def test_the_day_the_machine_and_its_roof_are_those_of_the_file():
    assert "**2026-11-23** (two threads of an AMD EPYC" in LESSON
    assert "Measured on 2026-11-23: AMD EPYC (x86_64), 2 threads" in MEASURED
    assert "torch 2.13.0" in MEASURED
    assert "PyTorch 2.13.0" in LESSON
    peak, bandwidth = re.findall(r"measured peak: (\d+) GFLOP/s, (\d+) GB/s", MEASURED)[0]
    quoted = re.findall(r"^PEAK, BANDWIDTH = (\d+), (\d+)$", LESSON, re.MULTILINE)[0]
    for here, there in zip(quoted, (peak, bandwidth), strict=True):  # the day's runs measured it again and again
        assert abs(int(here) / int(there) - 1) < 0.06
    above = [line for line in MEASURED.splitlines() if "4x64x64x64 to 64, forward" in line and "| 418 |" in line]
    assert above
    assert above[0].startswith("| conv 3x3 |")
