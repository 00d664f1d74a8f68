"""Saved explorers, opened from a file without a network: keyboard, presets, both colour schemes, axe-core."""

import pytest

pytest.importorskip("ipywidgets")
from reading import reach_by_tab, serious_findings

from minisegnet import explorers

pytestmark = pytest.mark.browser
NAMES = [name for name in explorers.__all__ if name != "monitor"]


def few_states(explorer):
    """Return what to keep so that a page has a few states: two controls move, the others stay at the start."""
    controls = explorer.controls
    moving = [n for n, c in controls.items() if hasattr(c, "values") and len(c.values) > 1][:2]
    still = {n: c.start for n, c in controls.items() if hasattr(c, "values") and n not in moving}
    near = {}
    for n in moving:  # four values, the start among them
        values = list(controls[n].values)
        first = max(0, min(values.index(controls[n].start) - 1, len(values) - 4))
        near[n] = tuple(values[first : first + 4])
    return still | {n: kept for n, kept in near.items() if type(controls[n]).__name__ == "Slider"}


@pytest.fixture(scope="module", params=NAMES)
def saved(request, chromium, tmp_path_factory):
    """Yield an explorer, and its saved page in a browser that has no network."""
    explorer = getattr(explorers, request.param)()
    path = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    explorer.save_html(path, **few_states(explorer))
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    page = context.new_page()
    page.errors = []
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.requests = []
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(path.as_uri())
    yield explorer, page
    context.close()


def twin(page):
    return page.locator(".text-twin").inner_text()


def test_it_opens_at_the_start_and_answers_the_keyboard(saved):
    explorer, page = saved
    start = twin(page)
    assert start == explorer.reset()
    assert page.locator("svg, img").first.is_visible()
    if page.locator("input[type=range]:visible:not([disabled])").count():
        assert reach_by_tab(page, "#panel", "input[type=range]")
        for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
            if twin(page) != start:
                break
    else:
        assert reach_by_tab(page, "#panel", "select, input[type=checkbox]")
        page.keyboard.press("ArrowDown")
    assert twin(page) != start
    button = page.locator("button", has_text="reset")
    button.focus()
    page.keyboard.press("Enter")
    assert twin(page) == start


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(saved, scheme):
    page = saved[1]
    page.emulate_media(color_scheme=scheme)
    assert serious_findings(page, "main") == []


def test_it_asks_for_nothing_and_reports_no_error(saved):
    page = saved[1]
    assert page.errors == []
    assert all(url.startswith(("file:", "data:")) for url in page.requests)
