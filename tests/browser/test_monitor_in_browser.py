"""The training monitor in a real JupyterLab: it moves while the cell runs, and its Stop button arrives meanwhile."""

import nbformat
import pytest

pytestmark = pytest.mark.browser
SETUP = """import numpy as np
from minisegnet import data, losses, metrics, models, optim, training
from minisegnet.explorers.monitor import monitor
images, labels = data.synthetic_tissue(12, size=(96, 96), seed=3)
x = (images.transpose(0, 3, 1, 2) / 255).astype(np.float32)
y = (labels > 0).astype(np.int64)
net = models.UNet(3, 2, base_channels=8, depth=2)"""
TRAIN = """watch = monitor(x[8:11], y[8:11])
history = training.fit(
    net, [(x[:4], y[:4]), (x[4:8], y[4:8])], loss=losses.CrossEntropyLoss(),
    optimizer=optim.Adam(net.parameters(), lr=0.003), steps=100_000, callbacks=[watch],
)"""
AFTER = "print(history.stopped, history.steps < 100_000, net.training, len(watch.shown) > 0, watch.panel)"
TEXT = "() => document.querySelector('.ms-panel svg text')?.textContent || ''"


@pytest.fixture(scope="module", params=["Light", "Dark"])
def running(request, open_lesson, tmp_path_factory):
    """Return a notebook whose second cell trains, and will for an hour."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (SETUP, TRAIN, AFTER)])
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    }
    path = tmp_path_factory.mktemp("monitor") / f"monitor_{request.param}.ipynb"
    nbformat.write(notebook, path)
    opened = open_lesson(path)
    opened.theme(request.param)
    opened.page.get_by_role("menuitem", name="Run", exact=True).click()
    opened.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return opened


def test_it_moves_while_the_cell_runs_and_the_stop_button_ends_it_by_keyboard(running):
    page = running.page
    stop = page.get_by_role("button", name="Stop")
    stop.wait_for(timeout=180_000)
    page.wait_for_function(f"() => / of 100,000 steps/.test(({TEXT})())", timeout=180_000)
    first = page.evaluate(TEXT)
    page.wait_for_function(f"first => ({TEXT})() !== first", arg=first)
    page.locator(".ms-panel .text-twin").wait_for(timeout=120_000)  # after the first prediction
    assert "Dice on the pictures shown" in page.locator(".ms-panel .text-twin").inner_text()
    stop.scroll_into_view_if_needed()
    running.picture("live")
    assert page.locator(".jp-InputPrompt", has_text="[*]").count() >= 1
    stop.focus()
    page.keyboard.press("Enter")
    page.locator(".ms-training").wait_for(timeout=60_000)
    page.locator('[data-mime-type="application/vnd.jupyter.stdout"]').wait_for()
    assert [t.strip() for t in running.outputs("application/vnd.jupyter.stdout")] == ["callback True False True None"]
    assert page.locator(".ms-training .text-twin").inner_text().startswith("Stopped: ")
    assert page.get_by_role("button", name="Stop", exact=True).count() == 0
    assert running.outputs("application/vnd.jupyter.error") == []
    assert running.outputs("application/vnd.jupyter.stderr") == []
    page.locator(".ms-training").scroll_into_view_if_needed()
    running.picture("stopped")
    assert running.hosts == {"127.0.0.1"}
    assert running.console_errors == []
