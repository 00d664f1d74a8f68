"""The course as a website, opened in a browser: only Python itself would come from elsewhere."""

import functools
import http.server
import importlib.util
import threading
from pathlib import Path

import pytest

pytest.importorskip("jupyterlite_core", reason="jupyterlite-core is not installed: pip install -e .[site]")
pytest.importorskip("jupyterlite_pyodide_kernel", reason="jupyterlite-pyodide-kernel is not installed")
pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def site(tmp_path):
    """Build the site as `python start.py site` does, and serve it; yield its address."""
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "scripts" / "build_site.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    try:
        assert tool.main([str(tmp_path / "site")]) == 0
    except SystemExit as error:
        if "pip download" in str(error):
            pytest.skip(f"the wheels beside ours cannot be downloaded here: {str(error)[-300:]}")
        raise

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path / "site"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_lesson_opens_and_lacks_nothing_but_python(site, chromium):
    failed, errors = set(), []
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.on("requestfailed", lambda request: failed.add(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{site}/lab/index.html?path=02_convolution.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-MarkdownOutput h1", timeout=60000)
    page.locator(".jp-MarkdownOutput", has_text="Eighteen numbers").first.wait_for(timeout=20000)
    page.wait_for_selector(".jp-OutputArea-output", timeout=20000)
    names = page.locator(".jp-DirListing-itemName").all_inner_texts()
    page.wait_for_timeout(3000)
    (ROOT / "test-output").mkdir(exist_ok=True)
    page.screenshot(path=ROOT / "test-output" / "site.png")
    context.close()
    assert len(names) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    assert all("/pyodide/" in url for url in failed), failed  # Python for the browser is not on this machine
    assert all("pyodide" in error for error in errors), errors
