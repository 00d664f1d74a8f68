"""The builder of lessons: outputs from a fresh kernel, nothing volatile, drift and dependence on threads are caught."""

import shutil

import pytest

from minisegnet.course import build

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("jupytext")

SOURCE = """# %% [markdown] slideshow={"slide_type": "slide"}
# # A lesson

# %%
from minisegnet import figures

figures.gallery([[[0.0, 1.0], [0.5, 0.2]]], ["two by two"], width=3)

# %% tags=["nbval-ignore-output"]
import os

print(os.environ.get("NUMBA_NUM_THREADS"))

# %%
from minisegnet.course import quiz

quiz.option("Which?", {"a": "Yes.", "b": "No."}, answer="a")
"""


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lessons")
    (folder / "sources").mkdir()
    source = folder / "sources" / "00_try.py"
    source.write_text(SOURCE, encoding="utf-8")
    build.build(source)
    return source


def test_the_notebook_holds_outputs_texts_and_nothing_volatile(lesson):
    notebook = nbformat.read(build.notebook_of(lesson), as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [1, 2, 3]
    assert cells[0].outputs[0].data["text/plain"] == "1 image: “two by two”."
    assert "image/png" in cells[0].outputs[0].data
    assert set(cells[2].outputs[0].data) == {"text/plain", "text/html"}
    assert notebook.metadata == build.METADATA
    assert notebook.cells[0].metadata == {"slideshow": {"slide_type": "slide"}}
    assert all(set(cell.metadata) <= set(build.KEPT_CELL_METADATA) for cell in notebook.cells)


def test_the_same_source_gives_the_same_cells_and_ids(lesson):
    one, two = (build.read_source(lesson) for _ in range(2))
    assert one == two
    assert build.drift(lesson) == []


def test_drift_is_seen_in_either_direction(lesson, tmp_path):
    for change in ("source", "notebook", "missing"):
        shutil.copytree(lesson.parent.parent, tmp_path / change)
        source = tmp_path / change / "sources" / lesson.name
        target = build.notebook_of(source)
        if change == "source":
            source.write_text(SOURCE.replace("two by two", "2 by 2"), encoding="utf-8")
        elif change == "notebook":
            target.write_text(target.read_text(encoding="utf-8").replace("A lesson", "The lesson"), encoding="utf-8")
        else:
            target.unlink()
        assert build.drift(source) != []


def test_an_output_that_depends_on_the_number_of_threads_is_refused(lesson, tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)  # under xdist every worker has one thread
    shutil.copytree(lesson.parent.parent, tmp_path / "copy")
    source = tmp_path / "copy" / "sources" / lesson.name
    text = '# %%\nimport os\n\nprint(os.environ.get("NUMBA_NUM_THREADS"))\n'
    source.write_text(text, encoding="utf-8")
    before = build.notebook_of(source).read_bytes()
    with pytest.raises(RuntimeError, match="outputs change with the number of threads"):
        build.build(source)
    assert build.notebook_of(source).read_bytes() == before


def test_what_is_compared_follows_the_sanitize_file_and_the_tag():
    patterns = build.sanitize_patterns()
    cell = nbformat.v4.new_code_cell("x")
    cell.outputs = [nbformat.v4.new_output("stream", text="took 1.25 s at 0x7f3ab974, in /home/me/a.png, 3.1it/s\n")]
    assert build.compared(cell, patterns) == [("stdout", "took TIME at ADDRESS, in FOLDER/a.png, SPEED\n")]
    picture = "data:image/jpeg;base64,/9j/4AAQ+Zz= 2·1,204 / (2·1,204 + 30 + 7) = 0.985, Dice 0.98"
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": picture, "image/png": "abc"})]
    assert build.compared(cell, patterns) == [("text/html", "PICTURE COUNTS, Dice 0.98")]
    cell.metadata["tags"] = ["nbval-ignore-output"]
    assert build.compared(cell, patterns) == []


def test_a_source_that_would_lose_something_is_refused(tmp_path):
    source = tmp_path / "00_a.py"
    source.write_text("# %% editable=false\n1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="editable"):
        build.read_source(source)
    source.write_text("# %% [raw]\n# text\n", encoding="utf-8")
    with pytest.raises(ValueError, match="raw"):
        build.read_source(source)


def test_lessons_are_chosen_by_the_beginning_of_their_name(lesson):
    folder = lesson.parent.parent
    assert build.sources(folder, ["00"]) == [lesson]
    assert build.sources(folder) == [lesson]
    with pytest.raises(FileNotFoundError, match="no lesson begins with '07'"):
        build.sources(folder, ["07"])


def test_the_command_line_checks_and_tells(lesson, monkeypatch, capsys):
    monkeypatch.setattr(build.sources, "__defaults__", (lesson.parent.parent, ()))
    assert build.main(["--check"]) == 0
    assert "00_try: up to date" in capsys.readouterr().out
    lesson.write_text(SOURCE + "\n# %%\n1\n", encoding="utf-8")
    assert build.main(["--check"]) == 1
    assert "differs from its source" in capsys.readouterr().out
    lesson.write_text(SOURCE, encoding="utf-8")
