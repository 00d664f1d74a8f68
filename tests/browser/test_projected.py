"""A teacher in front of a class, projector of 1280 x 720: the explorers of lessons 06 and 08, one after the other."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.mark.parametrize("number", ["06", "08"])
def test_every_explorer_is_seen_whole_with_its_sentence(number, open_lesson):
    """Its controls, its picture and the sentence below it fit on the screen together, also enlarged."""
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    lesson = open_lesson(path)
    lesson.run()
    page = lesson.page
    explorers = page.locator(".ms-panel:has(.text-twin):has(input[type=range])")
    assert explorers.count() >= 1
    for index in range(explorers.count()):
        explorer = explorers.nth(index)
        explorer.locator("button", has_text="projector").click()
        page.wait_for_timeout(400)
        explorer.evaluate("panel => panel.scrollIntoView({block: 'start'})")
        page.wait_for_timeout(300)
        lesson.picture(f"projected-{index}")
        seen = page.locator(".jp-WindowedPanel-outer").first.bounding_box()
        for part in ("input[type=range]", "svg", ".text-twin"):
            box = explorer.locator(part).first.bounding_box()
            assert box["y"] + box["height"] <= seen["y"] + seen["height"] + 1, f"{part} of explorer {index} is cut off"
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 1280
