"""Questions lock, explain each wrong answer, say everything in text, and leave a static copy that never changes."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet.course import question, quiz
from minisegnet.course.questions import QUESTIONS

OPTIONS = {"first": "Yes: channels first.", "last": "That is how files store them.", "none": "Colour needs an axis."}


def option():
    return quiz.option("Where are the colours in `(3, 8, 9)`?", OPTIONS, answer="first")


def number():
    return quiz.number("How many numbers?", 216, "3 · 8 · 9 = 216.", {72: "You left out the 3 colours."}, "Multiply.")


def cell():
    return quiz.cell("Where is the 7?", [[1, 2], [7, 4]], (1, 0), "Row 1, column 0.", {(0, 1): "Row first."}, "Look.")


def test_an_option_locks_and_each_has_its_own_explanation():
    for choice, explanation in OPTIONS.items():
        question = option()
        assert "Not answered yet" in question.twin
        assert explanation not in question.answer_box.value
        twin = question.commit(choice)
        assert question.state == ("right" if choice == "first" else "wrong")
        assert explanation in question.answer_box.value
        assert explanation in twin
        assert question.children[2].disabled
        assert question.button.disabled
        assert question.commit("first") == twin  # locked


def test_the_button_commits_what_is_chosen_and_asks_where_nothing_is():
    question = option()
    question.button.click()
    assert question.state == "open"
    assert "Choose one" in question.answer_box.value
    question.children[2].value = "last"
    question.button.click()
    assert question.state == "wrong"


def test_a_number_is_read_forgivingly_and_explained():
    question = number()
    field = question.children[2]
    field.value = "many"
    question.button.click()
    assert question.state == "open"
    assert "“many” is not a number" in question.answer_box.value
    field.value = " 216,0 "
    question.button.click()
    assert question.state == "right"
    assert "You left out the 3 colours" in number().commit(72)
    assert "3 · 8 · 9" in number().commit(72)
    assert "Multiply." in number().commit(5)
    close = quiz.number("About?", 0.5, "Half.", tolerance=0.05, unit="of the pixels")
    assert "right" in close.commit(0.54)


def test_a_cell_is_chosen_by_button_and_the_right_one_is_marked_by_a_sign():
    question = cell()
    grid = question.children[2]
    grid.children[1].click()
    assert grid.children[1].description == "▸2"
    question.button.click()
    assert question.state == "wrong"
    assert "Row first." in question.twin
    assert grid.children[2].description == "✓7"
    assert all(button.disabled for button in grid.children)
    assert "right" in cell().commit((1, 0))
    assert "Look." in cell().commit((0, 0))
    empty = cell()
    empty.button.click()
    assert "Choose a cell" in empty.answer_box.value


def test_bad_questions_and_answers_are_named():
    with pytest.raises(ValueError, match="one of the options"):
        quiz.option("?", OPTIONS, answer="second")
    with pytest.raises(ValueError, match="one of the options"):
        option().commit("second")
    with pytest.raises(ValueError, match=r"of a 2 × 2 grid, got \(5, 5\)"):
        cell().commit((5, 5))


@pytest.mark.parametrize("make", [option, number, cell])
def test_what_a_notebook_stores_is_the_same_each_time_and_does_not_give_the_answer_away(make):
    first, second = make()._repr_mimebundle_(), make()._repr_mimebundle_()
    for kind in ("text/plain", "text/html"):
        assert first[kind] == second[kind]
        for explanation in (*OPTIONS.values(), "216 =", "Row 1, column 0."):
            assert explanation not in first[kind]
    assert "Not answered yet" in first["text/plain"]


@pytest.mark.parametrize("make", [option, number, cell])
def test_every_control_has_a_name_that_a_screen_reader_reads(make):
    question = make()
    assert question.button.description == "Commit"
    inputs = question.children[2]
    for part in getattr(inputs, "children", [inputs]):
        assert part.description or part.tooltip or getattr(part, "options", None)
    question.commit({option: "last", number: 72, cell: (0, 1)}[make])
    assert 'role="status"' in question.answer_box.value


def test_text_is_escaped_and_backticks_become_code():
    question = quiz.option("Is `a < b`?", {"<b>": "x", "y": "z"}, answer="y")
    assert "<code>a &lt; b</code>" in question.static
    assert "&lt;b&gt;" in question.static


# What questions need that ask about something in the lesson.
TARGET = np.repeat([5, 0], [2, 8])[:, None] * np.ones((1, 10), int)
VALUES = {"share-of-nuclei": (TARGET,)}
for module in sorted(Path(__file__).parent.glob("right_answers_*.py")):
    VALUES |= getattr(import_module(module.stem), "QUESTION_VALUES", {})


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_questions_of_the_lessons_explain_every_option_and_every_expected_mistake(name):
    expected = question(name, *VALUES.get(name, ())).expected
    asked = [question(name, *VALUES.get(name, ())) for _ in expected]
    twins = [q.commit(answer) for q, answer in zip(asked, expected, strict=True)]
    assert [q.state for q in asked].count("right") == 1
    assert len({twin.split(": ", 1)[1] for twin in twins}) == len(expected)
    assert len(expected) >= 3 or name in VALUES, "name the wrong answers that people give"


def test_one_cell_alone_has_the_strongest_answer():
    rows = question("strongest-answer").twin.split("Rows: ")[1].split(".")[0].split("; ")
    grid = np.array([[int(n) for n in row.split()] for row in rows])
    answers = {(i + 1, j + 1): int((grid[i : i + 3, j + 2] - grid[i : i + 3, j]).sum()) for i, j in np.ndindex(3, 3)}
    best = [place for place, answer in answers.items() if answer == max(answers.values())]
    assert len(best) == 1
    asked = question("strongest-answer")
    asked.commit(best[0])
    assert asked.state == "right"


def test_a_question_without_that_name_and_one_about_the_lesson():
    assert "80%" in question("share-of-nuclei", TARGET).commit(22)
    with pytest.raises(ValueError, match=r"no question 'what'; there are .*row-and-column"):
        question("what")


def test_the_label_stands_above_the_question():
    assert "Exit ticket." in question("shape-of-a-picture").static
    assert "Predict." in question("row-and-column").static


def test_an_explanation_is_emphasized_and_products_are_left_alone():
    from minisegnet.course.panel import notice

    said = notice("wrong", "It gives *one* on each *side of it*, `(K - 1)*d`, `a*b*c`, 2 * 3 * 4.")
    assert "<em>one</em> on each <em>side of it</em>" in said
    assert "<code>(K - 1)*d</code>, <code>a*b*c</code>, 2 * 3 * 4." in said
