"""Each lesson in a real JupyterLab: runs to its end without an error, a console error or a request to elsewhere.

Pictures of every page are kept under test-output/, light and dark: a lesson that nobody has looked at is not done.
"""

from pathlib import Path

import pytest
from reading import CONTRAST

pytestmark = pytest.mark.browser
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(scope="module", params=LESSONS, ids=lambda path: path.stem)
def lesson(request, open_lesson):
    """Return a lesson after Run All."""
    opened = open_lesson(request.param)
    opened.run()
    return opened


def test_runs_to_its_end_without_any_error(lesson):
    assert lesson.outputs("application/vnd.jupyter.error") == []
    assert lesson.outputs("application/vnd.jupyter.stderr") == []
    prompts = lesson.page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert [p.strip() for p in prompts] == [f"[{n}]:" for n in range(1, len(prompts) + 1)]
    lesson.pictures()


def test_every_picture_is_drawn(lesson):
    pictures = lesson.page.locator(".jp-Notebook .jp-OutputArea img")
    assert pictures.count() > 0
    widths = pictures.evaluate_all("images => images.map(image => image.complete ? image.naturalWidth : 0)")
    assert min(widths) > 0


def test_a_question_is_answered_by_keyboard_alone(lesson):
    question = lesson.page.locator(".ms-panel:has(input[type=radio])").first
    if not question.count():
        pytest.skip("this lesson asks no question with options")
    radio = question.locator("input[type=radio]").first
    radio.scroll_into_view_if_needed()
    radio.focus()
    lesson.page.keyboard.press("Space")
    for _ in range(8):  # ipywidgets makes each option a stop of its own
        lesson.page.keyboard.press("Tab")
        if "Commit" in lesson.page.evaluate("document.activeElement.innerText"):
            break
    lesson.page.keyboard.press("Enter")
    answer = question.locator('[role="status"]')
    answer.wait_for()
    assert answer.inner_text().startswith(("✓ Right.", "✗ Not this one."))
    assert question.locator("input[type=radio]:not([disabled])").count() == 0


def test_an_explorer_follows_the_arrow_keys(lesson):
    explorers = lesson.page.locator(".ms-panel:has(.text-twin):has(input[type=range])")
    for number in range(explorers.count()):
        explorer = explorers.nth(number)
        twin = explorer.locator(".text-twin")
        before = twin.inner_text()
        handle = explorer.locator("input[type=range]").first
        handle.scroll_into_view_if_needed()
        handle.focus()
        lesson.page.keyboard.press("ArrowRight")
        lesson.page.wait_for_function(
            "([index, before]) => [...document.querySelectorAll('.ms-panel:has(.text-twin):has(input[type=range])')][index]"
            ".querySelector('.text-twin').innerText !== before",
            arg=[number, before],
        )
        handle.evaluate("node => node.closest('.ms-panel').scrollIntoView({block: 'center'})")
        lesson.picture(f"explorer-{number}")


def test_panels_are_readable_in_the_dark_theme(lesson):
    lesson.theme("Dark")
    contrasts = lesson.page.evaluate(CONTRAST)
    lesson.pictures("-dark")
    lesson.theme("Light")
    assert [c for c in contrasts + lesson.page.evaluate(CONTRAST) if c["ratio"] < 4.5] == []


def test_nothing_leaves_this_machine_and_the_console_is_clean(lesson):
    assert lesson.hosts == {"127.0.0.1"}
    assert lesson.console_errors == []
