"""Spelling, by codespell: the lessons, what their questions and checks say, the pages, the code and its comments."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("codespell_lib", reason="codespell is not installed")
ROOT = Path(__file__).resolve().parent.parent
PLACES = ["notebooks/sources", "minisegnet", "docs", "scripts", "tests", "README.md", "CHANGELOG.md", "start.py"]


def codespell(*arguments):
    command = [sys.executable, "-m", "codespell_lib", "--toml", str(ROOT / "pyproject.toml"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_word_is_misspelt():
    done = codespell("--quiet-level", "3", *PLACES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_misspelt_word_is_found(tmp_path):
    (tmp_path / "lesson.py").write_text("# The " + "gradient is " + "recie" + "ved.")
    done = codespell(str(tmp_path / "lesson.py"))
    assert done.returncode != 0
    assert "received" in done.stdout
