"""Stored lessons: built from their sources, run in order, without errors, with a text for every picture, in the right order."""

import html
import json
import re
import tomllib
from pathlib import Path

import pytest

from minisegnet.course import build

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parents[1] / "notebooks"
SOURCES = build.sources(NOTEBOOKS)
IGNORED = tomllib.loads((HERE / "ignored_outputs.toml").read_text(encoding="utf-8"))
SECTIONS = (
    "Recall",
    "What you will be able to do",
    "The question",
    "Predict",
    "Build it",
    "Explore",
    "The same by the library",
    "Exercises",
    "What goes wrong in practice",
    "Three sentences to remember",
    "Exit ticket",
    "Papers",
)
LESSONS = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def stored(source):
    return nbformat.read(build.notebook_of(source), as_version=4)


def code_cells(source):
    return [cell for cell in stored(source).cells if cell.cell_type == "code"]


def headings(source):
    text = "\n".join(cell.source for cell in stored(source).cells if cell.cell_type == "markdown")
    return re.findall(r"^## (.*)$", text, flags=re.MULTILINE)


def test_every_notebook_has_a_source_and_every_source_a_notebook():
    assert SOURCES
    assert [p.stem for p in sorted(NOTEBOOKS.glob("*.ipynb"))] == [p.stem for p in SOURCES]


@LESSONS
def test_the_notebook_is_the_one_its_source_describes(source):
    assert build.drift(source) == [], f"run: python -m minisegnet.course.build {source.stem}"


@LESSONS
def test_every_cell_ran_in_order_from_a_fresh_kernel(source):
    cells = code_cells(source)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@LESSONS
def test_no_error_no_warning_and_no_widget_is_stored(source):
    for cell in code_cells(source):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", cell.source
            assert build.WIDGET_VIEW not in output.get("data", {}), cell.source
    assert "widgets" not in stored(source).metadata


@LESSONS
def test_every_picture_explorer_and_question_leaves_a_text(source):
    for cell in code_cells(source):
        shown = [output.data for output in cell.outputs if "data" in output]
        for data in shown:
            text = data.get("text/plain", "")
            if set(data) & {"image/png", "image/jpeg", "image/svg+xml", "text/html"}:
                assert len(text) > 20, cell.source
                assert not re.match(r"<|Figure\(|VBox\(|HBox\(", text), cell.source
        if re.search(r"^((figures|explorers)\.\w+|question)\(", cell.source, flags=re.MULTILINE):
            assert shown, f"nothing is shown by: {cell.source}"


@LESSONS
def test_at_most_two_cells_go_uncompared_each_with_its_reason(source):
    reasons = IGNORED.get(source.stem, {})
    ignored = [c.source for c in code_cells(source) if "nbval-ignore-output" in c.metadata.get("tags", [])]
    assert len(ignored) <= 2
    for text in ignored:
        assert sum(piece in text for piece in reasons) == 1, f"not listed in ignored_outputs.toml: {text}"
    for piece, reason in reasons.items():
        assert sum(piece in text for text in ignored) == 1, f"listed, but not in the lesson: {piece}"
        assert len(reason) > 20
    assert set(IGNORED) <= {path.stem for path in SOURCES}


@LESSONS
def test_nothing_else_hides_an_output_from_the_comparison(source):
    tags = {tag for cell in stored(source).cells for tag in cell.metadata.get("tags", [])}
    assert tags <= {"nbval-ignore-output"}
    for cell in code_cells(source):
        assert not re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE)", cell.source), cell.source
        assert "clear_output" not in cell.source


@LESSONS
def test_the_sections_stand_in_the_order_of_every_lesson(source):
    found = [next((s for s in SECTIONS if heading.startswith(s)), None) for heading in headings(source)]
    expected = [s for s in SECTIONS if s != "Recall" or not source.stem.startswith("00")]
    assert [s for s in found if s] == expected
    assert re.search(r"\b\d+ minutes\b", stored(source).cells[0].source)


@LESSONS
def test_the_teacher_finds_notes_and_the_deck_has_slides(source):
    kinds = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in stored(source).cells]
    assert kinds.count("notes") >= 3
    assert kinds.count("slide") >= 5
    assert kinds[0] == "slide"
    for cell in stored(source).cells:
        if cell.metadata.get("slideshow", {}).get("slide_type") == "notes":
            assert cell.source.startswith("<details>"), "notes are folded for students"


@LESSONS
def test_three_questions_lock_the_exit_ticket_and_two_exercises_are_set(source):
    code = "\n".join(cell.source for cell in code_cells(source))
    after = code[code.rindex("check(") :]
    assert len(re.findall(r"^question\(", after, flags=re.MULTILINE)) == 3
    assert len(re.findall(r"^exercise\(", code, flags=re.MULTILINE)) >= 2
    assert len(re.findall(r"^explorers\.\w+\(", code, flags=re.MULTILINE)) >= 1
    assert not re.search(r"^quiz\.", code, flags=re.MULTILINE), "an answer must not stand above its question"
    assert re.search(r"^assert ", code, flags=re.MULTILINE), "the library and the hand-made agree by an assertion"


@LESSONS
def test_nothing_of_the_machine_it_was_built_on_is_stored(source):
    outputs = json.dumps([cell.outputs for cell in code_cells(source)])
    assert not re.search(
        r"/home/|/work/|/tmp/|/Users/|[A-Z]:\\\\|0x[0-9a-f]{8}",
        re.sub(r"base64,[^\"]*|/9j/[^\"]*|iVBOR[^\"]*", "", outputs),
    )


@LESSONS
def test_the_notebook_is_small_enough_for_a_page_on_the_web(source):
    assert build.notebook_of(source).stat().st_size < 2_500_000


@LESSONS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_slides_hold_pictures_for_explorers_and_notes_for_the_teacher(source):
    exporters = pytest.importorskip("nbconvert").exporters
    deck, _ = exporters.SlidesExporter().from_notebook_node(stored(source))
    assert '<aside class="notes">' in deck
    explorers = [c for c in code_cells(source) if c.source.startswith("explorers.")]
    for cell in explorers:
        # An image by its bytes, a drawing by its title and description: nbconvert writes attributes in its own order.
        picture = re.search(r"data:image/jpeg;base64,.{200}|<title>.*?</desc>", cell.outputs[0].data["text/html"])
        assert picture
        assert html.unescape(picture[0]) in html.unescape(deck)  # nbconvert writes an apostrophe as such
