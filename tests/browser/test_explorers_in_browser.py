"""Every explorer in a real JupyterLab: by keyboard alone, in both themes, read by axe-core; pictures under test-output/.

One notebook holds them all, as a teacher would open them one after another.
"""

import nbformat
import pytest

pytest.importorskip("ipywidgets")
from reading import CONTRAST, reach_by_tab, serious_findings

from minisegnet import explorers

pytestmark = pytest.mark.browser
NAMES = [name for name in explorers.__all__ if name != "monitor"]  # it has a test of its own
TWIN = "name => document.querySelector(`.ms-${name} .text-twin`).innerText"


@pytest.fixture(scope="module")
def gallery(open_lesson, tmp_path_factory):
    """Return a notebook with every explorer, after Run All."""
    sources = ["from minisegnet import explorers"]
    # The class tells them apart in the page: many panels stand below each other.
    sources += [f"explorer = explorers.{name}()\nexplorer.add_class('ms-{name}')\nexplorer" for name in NAMES]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    }
    path = tmp_path_factory.mktemp("gallery") / "explorers.ipynb"
    nbformat.write(notebook, path)
    opened = open_lesson(path)
    opened.run()
    opened.page.wait_for_function(
        "names => names.every(name => document.querySelector(`.ms-${name} .text-twin`))", arg=NAMES, timeout=120_000
    )
    return opened


def look_at(gallery, name, label):
    """Bring an explorer to the top of the page and take a picture."""
    gallery.page.locator(f".ms-{name}").evaluate("node => node.scrollIntoView({block: 'start'})")
    gallery.picture(f"{name}-{label}")


def test_all_run_without_an_error(gallery):
    assert gallery.outputs("application/vnd.jupyter.error") == []
    assert gallery.outputs("application/vnd.jupyter.stderr") == []


@pytest.mark.parametrize("name", NAMES)
def test_it_is_reached_and_driven_by_keyboard_alone(gallery, name):
    from playwright.sync_api import Error as PlaywrightError

    page = gallery.page
    before = page.evaluate(TWIN, name)
    look_at(gallery, name, "laptop")
    assert reach_by_tab(page, f".ms-{name}", "input[type=range]"), "no slider is reached by Tab"
    # To the right, or to the left where it stands at its last value; some steps change the picture and not the words.
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "End", "Home"):
        page.keyboard.press(key)
        try:
            page.wait_for_function(f"([name, before]) => ({TWIN})(name) !== before", arg=[name, before], timeout=5000)
            break
        except PlaywrightError:
            continue
    assert page.evaluate(TWIN, name) != before
    # The picture says the same as the sentence.
    said = page.locator(f".ms-{name} .ms-drawing svg desc, .ms-{name} .ms-drawing img").first
    assert page.evaluate(TWIN, name) in (said.text_content(), said.get_attribute("alt"))


def test_a_number_is_typed_into_a_table_by_keyboard(gallery):
    page = gallery.page
    panel = page.locator(".ms-convolution")
    panel.locator("button", has_text="change the numbers").press("Enter")
    field = panel.get_by_label("kernel (first channel), row 0, column 0")
    for typed, shown, said in (("9", "9", ""), ("d", "9", "“d” is not a number: 9 stays.")):
        for _ in range(5):  # on a busy machine the panel may be drawn again between two keys: then type once more
            field.focus()
            page.keyboard.press(typed)  # "d" twice is a shortcut of JupyterLab: it deletes the cell
            page.keyboard.press(typed)
            page.keyboard.press("Backspace")
            page.keyboard.press("Enter")
            page.wait_for_timeout(1000)
            words = page.locator(".ms-convolution .ms-numbers p").last.text_content()
            if (words, field.input_value()) == (said, shown):
                break
        assert (words, field.input_value()) == (said, shown)
    assert "1·9 + 2·0" in page.locator(".ms-convolution .formula").all_inner_texts()[1]
    gallery.picture("convolution-numbers")


@pytest.mark.parametrize("name", NAMES)
def test_presets_reset_and_the_projector_work_by_keyboard(gallery, name):
    page = gallery.page
    button = page.locator(f".ms-{name} button", has_text="reset")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    start = page.evaluate(TWIN, name)
    assert start == getattr(explorers, name)().twin
    button = page.locator(f".ms-{name} button", has_text="projector")
    button.focus()
    page.keyboard.press("Space")
    page.locator(f".ms-{name}.ms-projector").wait_for()
    page.set_viewport_size({"width": 1920, "height": 1080})
    look_at(gallery, name, "projector")
    smallest = page.evaluate(SMALLEST_TYPE, name)
    page.set_viewport_size({"width": 1280, "height": 720})
    button.focus()
    page.keyboard.press("Space")
    page.wait_for_function(
        "name => !document.querySelector(`.ms-${name}`).classList.contains('ms-projector')", arg=name
    )
    assert smallest["pixels"] >= 24, smallest


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_it_is_readable_in_both_themes_and_axe_finds_nothing_serious(gallery, theme):
    gallery.theme(theme)
    for name in NAMES:
        look_at(gallery, name, theme.lower())
    contrasts = gallery.page.evaluate(CONTRAST)
    findings = serious_findings(gallery.page, ".ms-panel")
    gallery.theme("Light")
    assert [c for c in contrasts if c["ratio"] < 4.5] == []
    assert findings == []


def test_nothing_leaves_this_machine_and_the_console_is_clean(gallery):
    assert gallery.hosts == {"127.0.0.1"}
    assert gallery.console_errors == []


# The smallest type of an explorer as it stands on the screen, its pictures scaled by the layout.
SMALLEST_TYPE = """name => {
    let least = {pixels: 1e9};
    for (const node of document.querySelectorAll(
            `.ms-${name} text, .ms-${name} p, .ms-${name} code, .ms-${name} button, .ms-${name} label`)) {
        if (!node.textContent.trim() || !node.getClientRects().length || node.closest('.jp-Collapse, [hidden]')) continue;
        const matrix = node.getScreenCTM?.();
        const pixels = parseFloat(getComputedStyle(node).fontSize) * (matrix ? matrix.d : 1);
        if (pixels < least.pixels) least = {pixels: Math.round(pixels * 10) / 10, text: node.textContent.trim().slice(0, 40)};
    }
    return least;
}"""
