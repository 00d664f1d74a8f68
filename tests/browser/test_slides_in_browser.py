"""Every lesson as a deck, as docs/teaching.md makes it: all of it is there, and no slide is cut off at 1280 x 720."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SMALLEST_TYPE = 0.75  # of 24 pixels for text
# Per page: how far its content stands out, how small it is, whether there is anything at all.
MEASURE = """() => [...document.querySelectorAll('section.page')].map(page => {
    const box = page.getBoundingClientRect(), inner = page.querySelector(':scope > div');
    const parts = [...inner.querySelectorAll('*')].filter(e => !e.closest('svg') || e.tagName === 'svg')
        .filter(e => !e.closest('math') || e.tagName === 'math');
    const boxes = parts.map(e => e.getBoundingClientRect()).filter(b => b.width && b.height);
    return {
        bottom: Math.max(...boxes.map(b => b.bottom - box.bottom)),
        right: Math.max(...boxes.map(b => b.right - box.right)),
        width: box.width, height: box.height, type: +inner.dataset.type, picture: +inner.dataset.picture,
        text: inner.textContent, pictures: inner.querySelectorAll('img, svg').length,
    };
})"""


@pytest.fixture(scope="module")
def deck_of(tmp_path_factory):
    """Export all lessons by the command of docs/teaching.md; return a function from a notebook to its page."""
    pytest.importorskip("latex2mathml", reason="latex2mathml is not installed")
    folder = tmp_path_factory.mktemp("decks")
    command = [sys.executable, "-m", "nbconvert", "--config", "docs/slides/config.py", "--to", "slides"]
    command += ["--SlidesExporter.reveal_url_prefix=reveal.js", f"--output-dir={folder}"]
    command += [str(path.relative_to(ROOT)) for path in LESSONS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONUTF8": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    return lambda path: folder / f"{path.stem}.slides.html"


@pytest.fixture
def open_deck(chromium):
    """Return a function that opens a deck without a network, and without reveal.js: the pages stand below each other."""
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    page = context.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))

    def opened(path):
        page.goto(path.as_uri())
        page.wait_for_function("() => document.body.dataset.pages", timeout=60_000)
        return page

    yield opened
    context.close()


def squeezed(text):
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem[:2])
def test_a_lesson_can_be_shown_to_a_class(path, deck_of, open_deck):
    page = open_deck(deck_of(path))
    slides = page.evaluate(MEASURE)
    assert len(slides) > 15
    for number, slide in enumerate(slides, 1):
        begin = f"slide {number} ({squeezed(slide['text'])[:60]})"
        assert (slide["width"], slide["height"]) == (1280, 720)
        assert slide["bottom"] <= 0, f"{begin} is cut off at the bottom"
        assert slide["right"] <= 0, f"{begin} is cut off at the right"
        assert slide["type"] >= SMALLEST_TYPE, f"{begin} has type too small to read"
        assert slide["picture"] >= 0.5, f"{begin} has a picture too small to see"
        assert slide["pictures"] or squeezed(slide["text"]), f"slide {number} is empty"
    # What was in the lesson is on a slide: each line of code, each explorer and picture, formulas as formulas.
    shown = squeezed("".join(slide["text"] for slide in slides))
    cells = nbformat.read(path, as_version=4).cells
    for cell in cells:
        if cell.cell_type == "code" and not re.match(r"(question|exercise)\(|# ?(hint|solution)\(", cell.source):
            assert squeezed(cell.source) in shown, f"not on a slide: {cell.source}"
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    pictures = sum(any(kind.startswith("image/") for kind in data) for data in outputs)
    assert sum(slide["pictures"] for slide in slides) >= pictures
    assert not re.search(r"VBox\(|Explorer\(|<IPython|\$\$", "".join(slide["text"] for slide in slides))
    foreign = [url for url in page.asked if not url.startswith(("file:", "data:"))]
    assert foreign == []


def test_the_notes_of_the_teacher_are_the_speakers_notes(deck_of, open_deck):
    page = open_deck(deck_of(LESSONS[6]))
    notes = page.locator("section.page > aside.notes")
    wanted = LESSONS[6].read_text(encoding="utf-8").count('"slide_type": "notes"')
    assert notes.count() == wanted
    assert not notes.first.is_visible()
    assert page.locator("aside.notes details:not([open])").count() == 0, "folded notes cannot be read while speaking"


def test_the_page_for_teachers_has_this_command():
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    assert "nbconvert --config docs/slides/config.py --to slides" in text
