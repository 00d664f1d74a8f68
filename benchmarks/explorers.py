"""How fast the explorers answer: time of a drawing, and from an arrow key to the changed sentence in a browser.

    python benchmarks/explorers.py                  every explorer
    python benchmarks/explorers.py dice hourglass   only these, printed and not written
    python benchmarks/explorers.py --no-browser     drawings alone, printed and not written

Limits: 20 ms for a drawing, 150 ms from key to sentence. The states are those of the tests: each control at its edges, from the
start and from each preset. "First visit" draws a state that nobody has seen (nothing of it is kept yet); "again" is the fastest
of three more drawings: what the picture alone costs. The training monitor has no states and is left out.

The browser is headless Chromium with JupyterLab and a kernel on this machine, as in ``tests/browser``; it needs the tests' packages
(``pip install -e ".[dev]"``) and the distribution's Chromium. The clock runs in the page, from the key's event to the change
of the sentence: key, slider, kernel, drawing, and the page again. A busy machine is slow everywhere: close everything else.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from machine import describe

HERE = Path(__file__).parent
DRAWING, KEY = 20.0, 150.0  # milliseconds
PRESSES, ROUNDS = 20, 3


class Drawn(NamedTuple):
    """Milliseconds of an explorer's drawings: how many states, the worst first visit, and best, median, worst again."""

    states: int
    first: float
    best: float
    median: float
    worst: float


def from_tests(path: str) -> ModuleType:
    """Return a module of the tests: states and the browser are the same there and here."""
    file = HERE.parent / "tests" / path
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(f"tests_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def milliseconds(explorer: Any, state: dict[str, Any]) -> float:
    start = time.perf_counter()
    explorer._draw_state(**state)
    return 1000 * (time.perf_counter() - start)


def drawings(explorer: Any, states: list[dict[str, Any]]) -> Drawn:
    """Time the drawing of each state; the explorer has drawn its start, and has loaded what it needs."""
    first = [milliseconds(explorer, state) for state in states]
    again = [min(milliseconds(explorer, state) for _ in range(ROUNDS)) for state in states]
    return Drawn(len(states), max(first), min(again), statistics.median(again), max(again))


@contextmanager
def jupyterlab(tests: ModuleType, folder: Path) -> Iterator[str]:
    """Start a JupyterLab over a folder; yield its address, and stop it."""
    for name in ("settings", "config", "data", "runtime", "ipython"):
        (folder / name).mkdir()
    (folder / "settings" / "overrides.json").write_text(json.dumps(tests.SETTINGS), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = {"CONFIG": "config", "DATA": "data", "RUNTIME": "runtime"}
    environment = {**os.environ, **{f"JUPYTER_{name}_DIR": str(folder / place) for name, place in places.items()}}
    known = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]  # this checkout, installed or not
    environment |= {
        "PYTHONPATH": os.pathsep.join(known),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "MINISEGNET_QUIET": "1",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    command += [f"--LabServerApp.app_settings_dir={folder / 'settings'}", f"--ServerApp.root_dir={folder}"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            tests._wait_for(server, f"http://127.0.0.1:{port}", folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


# In the page: note when a key goes down, and when the sentence is another one. The picture is new with it.
WATCH = """name => {
    const panel = document.querySelector(`.ms-${name}`);
    const said = () => panel.querySelector('.text-twin')?.innerText;
    window.minisegnet = {pressed: 0, took: null, said: said()};
    const seen = window.minisegnet;
    panel.addEventListener('keydown', event => { seen.pressed = event.timeStamp; seen.took = null; seen.said = said(); }, true);
    new MutationObserver(() => {
        if (seen.took === null && said() && said() !== seen.said) seen.took = performance.now() - seen.pressed;
    }).observe(panel, {childList: true, subtree: true, characterData: true});
}"""


def keys(page: Any, name: str) -> list[float]:
    """Press arrow keys on the first slider that changes the sentence; return the milliseconds of each press."""
    from playwright.sync_api import TimeoutError as Late

    page.locator(f".ms-{name}").evaluate("node => node.scrollIntoView({block: 'start'})")
    page.evaluate(WATCH, name)
    sliders = page.locator(f".ms-{name} input[type=range]")
    for index in range(sliders.count()):
        slider = sliders.nth(index)
        if not slider.is_enabled():
            continue
        slider.focus()
        took: list[float] = []
        way, silent = "ArrowRight", 0
        while len(took) < PRESSES and silent < 3:
            at, most = slider.evaluate("node => [+node.value, +node.max]")
            way = "ArrowLeft" if at >= most else "ArrowRight" if at <= 0 else way
            page.keyboard.press(way)
            try:
                page.wait_for_function("() => window.minisegnet.took !== null", timeout=3000, polling=20)
                took.append(page.evaluate("() => window.minisegnet.took"))
                silent = 0
            except Late:  # this step says the same sentence
                silent += 1
            page.wait_for_timeout(60)
        if len(took) == PRESSES:
            return took
    return []


def in_browser(names: list[str]) -> dict[str, list[float]]:
    """Open a notebook with each explorer in JupyterLab, and return the times of its key presses."""
    import nbformat
    from playwright.sync_api import sync_playwright

    tests = from_tests("browser/conftest.py")
    chromium = next(filter(None, map(shutil.which, tests.BROWSERS)), None)
    if chromium is None:
        raise SystemExit("no Chromium on this machine: apt-get install chromium, or --no-browser")
    times = {}
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        for name in names:  # one notebook each: nothing else waits in the page
            source = f"from minisegnet import explorers\ne = explorers.{name}()\ne.add_class('ms-{name}')\ne"
            notebook = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(source)], metadata={"kernelspec": kernel}
            )
            nbformat.write(notebook, Path(place) / f"{name}.ipynb")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        with jupyterlab(tests, Path(place)) as address:
            for name in names:
                context = browser.new_context(viewport={"width": 1280, "height": 720})
                lesson = tests.Lesson(context.new_page(), address, name)
                lesson.run()
                errors = lesson.outputs("application/vnd.jupyter.error")
                if errors:
                    raise SystemExit(f"{name} does not start in JupyterLab:\n{errors[0][-2000:]}")
                lesson.page.wait_for_selector(f".ms-{name} .text-twin", timeout=60_000)
                times[name] = keys(lesson.page, name)
                stop = "async () => await window.jupyterapp.shell.currentWidget.sessionContext.shutdown()"
                lesson.page.evaluate(stop)
                context.close()
        browser.close()
    return times


def page(drawn: dict[str, Drawn], pressed: dict[str, list[float]]) -> str:
    """Return the results as a page of Markdown."""
    machine, today = describe(), datetime.date.today()
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    lines = [
        f"# How fast the explorers answer, {today}",
        "",
        f"`python benchmarks/explorers.py`, {machine['processor']}, {machine['cores']} cores{busy}. Milliseconds.",
        f"Limits: a drawing {DRAWING:.0f} ms, from an arrow key to the changed sentence {KEY:.0f} ms (median of {PRESSES}).",
        "A first visit draws a state of which nothing is kept yet; bold where that takes longer than the limit.",
        "",
        "| explorer | states | first visit, worst | again: best | median | worst | key to sentence | worst | within limits |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, one in drawn.items():
        took = pressed.get(name, [])
        median, worst = (f"{statistics.median(took):.0f}", f"{max(took):.0f}") if took else ("–", "–")
        mark = "**" if one.first > DRAWING else ""
        numbers = " | ".join([f"{mark}{one.first:.1f}{mark}", *(f"{value:.1f}" for value in one[2:])])
        lines.append(f"| {name} | {one.states} | {numbers} | {median} | {worst} | {verdict(one, took)} |")
    return "\n".join([*lines, ""])


def verdict(one: Drawn, took: list[float]) -> str:
    """Say which limit is passed; a key that was not measured is not judged."""
    late = [f"drawing {one.worst:.0f} ms"] * (one.worst > DRAWING)
    late += [f"key {statistics.median(took):.0f} ms"] if took and statistics.median(took) > KEY else []
    return "no: " + ", ".join(late) if late else "yes"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="explorers; all of them by default")
    parser.add_argument("--no-browser", action="store_true", help="time drawings alone")
    chosen = parser.parse_args()
    from minisegnet import explorers

    tests = from_tests("explorers/test_every_explorer.py")
    names = chosen.names or tests.NAMES
    drawn = {}
    for name in names:
        explorer = getattr(explorers, name)()
        drawn[name] = drawings(explorer, tests.edge_states(explorer))
        print(f"{name}: {drawn[name]}", file=sys.stderr)
    pressed = {} if chosen.no_browser else in_browser(names)
    text = page(drawn, pressed)
    print(text)
    if not chosen.names and not chosen.no_browser:
        file = HERE / "results" / f"explorers_{datetime.date.today()}.md"
        file.write_text(text, encoding="utf-8")
        print(f"written to {file}", file=sys.stderr)
    return int(any(verdict(one, pressed.get(name, [])) != "yes" for name, one in drawn.items()))


if __name__ == "__main__":
    sys.exit(main())
