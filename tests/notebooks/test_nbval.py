"""What nbval lets pass and what it stops, with the options and the sanitize file of this project."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minisegnet.course import build

pytest.importorskip("nbval")
nbformat = pytest.importorskip("nbformat")
ROOT = Path(__file__).resolve().parents[2]
CELLS = (
    # source, stored text, whether it must pass
    ("print('Dice 0.90')", "Dice 0.90\n", True),
    ("print('Dice 0.90')", "Dice 0.91\n", False),
    ("print('took 3.25 s')", "took 1.07 s\n", True),
    ("print('took 3.25 s, Dice 0.90')", "took 1.07 s, Dice 0.91\n", False),
    ("import sys; print('careful', file=sys.stderr)", None, False),
    ("object()", "<object at 0x7fd0aa28f4b0>", True),
    ("'../a/b/mask.png', 0.25", "('/home/me/b/mask.png', 0.25)", False),
    ("1 / 0", None, False),
)


def test_a_changed_output_fails_and_a_changed_time_does_not(tmp_path):
    cells = []
    for number, (source, text, _) in enumerate(CELLS, start=1):
        cell = nbformat.v4.new_code_cell(source, execution_count=number)
        if text is not None and source.startswith("print"):
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        elif text is not None:
            cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": text}, execution_count=number)]
        cells.append(cell)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=build.METADATA), tmp_path / "hostile.ipynb")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=60", "-n0", "-p", "no:cacheprovider", "-rA"]
    options += [f"--nbval-sanitize-with={ROOT / 'tests' / 'sanitize.cfg'}", "--color=no"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "hostile.ipynb"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    for number, (source, _, passes) in enumerate(CELLS):
        outcome = "PASSED" if passes else "FAILED"
        assert f"{outcome} hostile.ipynb::Cell {number}" in run.stdout, (
            f"{source}\n{run.stdout[-4000:]}{run.stderr[-1000:]}"
        )
