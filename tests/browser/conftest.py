"""A JupyterLab on localhost, seen through headless Chromium: what a student sees, without a student."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "test-output"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SETTINGS = {
    "@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Light"},
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    # All cells stay in the page, so that the test can look at each.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
# Console errors that JupyterLab itself makes and nobody can act on, each with the reason why it is harmless.
HARMLESS = {
    "favicon": "the browser asks for an icon that a bare server does not have",
    "/lab/api/translations": "no language packs are installed, English is built in",
    "@jupyterlite/services": "the builder of the website is installed here, and its kernel asks for a JupyterLite",
}


@pytest.fixture(scope="session")
def chromium_path():
    """Return the distribution's Chromium, or skip."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: install the distribution's package (apt-get install chromium)")
    return path


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Start a JupyterLab over a temporary folder; yield its address and the folder, and stop it at the end."""
    home = tmp_path_factory.mktemp("lab")
    for name in ("settings", "notebooks", "config", "data", "runtime", "ipython"):
        (home / name).mkdir()
    (home / "settings" / "overrides.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "MINISEGNET_QUIET": "1",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    command += [f"--LabServerApp.app_settings_dir={home / 'settings'}", f"--ServerApp.root_dir={home / 'notebooks'}"]
    address = f"http://127.0.0.1:{port}"
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            _wait_for(server, address, home / "server.log")
            yield address, home / "notebooks"
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(server, address, log, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{address}/api", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start within {seconds} s:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def chromium(chromium_path):
    """Return a running headless Chromium."""
    from playwright.sync_api import sync_playwright

    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu", *quiet])
        yield browser
        browser.close()


class Lesson:
    """One notebook open in the browser: ``run`` it, look at its cells, take pictures."""

    def __init__(self, page, address, name):
        self.page, self.name = page, name
        self.console_errors, self.hosts = [], set()
        page.set_default_timeout(60_000)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        page.on("request", lambda request: self._host(request.url))
        page.on("websocket", lambda socket: self._host(socket.url))
        page.goto(f"{address}/lab/tree/{name}.ipynb?reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(
            "() => window.jupyterapp && window.jupyterapp.shell.currentWidget.sessionContext.isReady"
        )
        self.command("application:toggle-left-area")

    def _console(self, message):
        text = f"{message.text} ({message.location.get('url', '')})"
        if message.type == "error" and not any(known in text for known in HARMLESS):
            self.console_errors.append(text)

    def _host(self, url):
        if url.split(":", 1)[0] in ("http", "https", "ws", "wss"):
            self.hosts.add(url.split("/")[2].rsplit(":", 1)[0])

    def command(self, name, **arguments):
        """Run one of JupyterLab's commands."""
        self.page.evaluate("([name, options]) => window.jupyterapp.commands.execute(name, options)", [name, arguments])

    def run(self, seconds=240):
        """Run all cells, through the menu, and wait until each code cell has its number and the kernel is idle."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(
            """() => {
                const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
                const done = prompts.length && prompts.every(p => /^\\[\\d+\\]:/.test(p.innerText.trim()));
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                return document.querySelector('.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]')
                    || (done && kernel.status === 'idle');
            }""",
            timeout=seconds * 1000,
        )
        self.page.wait_for_timeout(500)

    def outputs(self, kind):
        """Return the texts of all outputs of one type, for example "application/vnd.jupyter.error"."""
        return self.page.locator(f'.jp-Notebook [data-mime-type="{kind}"]').all_inner_texts()

    def theme(self, name):
        """Switch to "Light" or "Dark"."""
        self.command("apputils:change-theme", theme=f"JupyterLab {name}")
        self.page.wait_for_function(
            "dark => (document.body.dataset.jpThemeLight === 'false') === dark", arg=name == "Dark"
        )
        self.page.wait_for_timeout(700)

    def pictures(self, label=""):
        """Save the whole notebook as pages of 1280 x 720 under test-output/, and return their paths."""
        PICTURES.mkdir(exist_ok=True)
        scroller = self.page.locator(".jp-WindowedPanel-outer").first
        scroller.evaluate("panel => panel.scrollTo(0, 0)")
        height, step = scroller.evaluate(
            """panel => [[...panel.querySelectorAll('.jp-Cell')].at(-1).getBoundingClientRect().bottom
                - panel.getBoundingClientRect().top, panel.clientHeight - 40]"""
        )
        saved = []
        for number in range(int(-(-height // step))):
            scroller.evaluate("(panel, to) => panel.scrollTo(0, to)", number * step)
            self.page.wait_for_timeout(150)
            saved.append(PICTURES / f"{self.name}{label}-{number:02d}.png")
            self.page.screenshot(path=saved[-1])
        return saved

    def picture(self, label):
        """Save what is in view."""
        PICTURES.mkdir(exist_ok=True)
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=PICTURES / f"{self.name}-{label}.png")


@pytest.fixture(scope="session")
def open_lesson(lab, chromium):
    """Return a function that copies a notebook, emptied of outputs, into the lab and opens it."""
    import nbformat

    address, folder = lab
    contexts = []

    def opened(path, size=(1280, 720)):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, folder / path.name)
        contexts.append(chromium.new_context(viewport={"width": size[0], "height": size[1]}))
        return Lesson(contexts[-1].new_page(), address, path.stem)

    yield opened
    for context in contexts:
        context.close()
