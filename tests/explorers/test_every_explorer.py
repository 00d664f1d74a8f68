"""What holds for every explorer: edges of all controls, readable SVG, stored references, discovery, shared state, pages.

A drawing that was changed on purpose is looked at, and then stored: ``MINISEGNET_STORE_REFERENCES=1 pytest`` this file.
"""

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("ipywidgets")
from minisegnet import explorers
from minisegnet.explorers.controls import Cells, Numbers, accept, settle
from minisegnet.explorers.explorer import Explorer
from minisegnet.explorers.page import MOST_BYTES, MOST_STATES
from minisegnet.figures.svg import SMALLEST, WIDEST

SVG = "{http://www.w3.org/2000/svg}"
NAMES = [name for name in explorers.__all__ if name != "monitor"]  # a training has no finite states
REFERENCES = Path(__file__).parent / "references"
STORE = bool(os.environ.get("MINISEGNET_STORE_REFERENCES"))
_made: dict[str, Explorer] = {}


@pytest.fixture(params=NAMES)
def explorer(request):
    """Return each explorer at its start; it is made once."""
    made = _made.get(request.param) or _made.setdefault(request.param, getattr(explorers, request.param)())
    made.reset()
    return made


def edges(control):
    """Return the values of a control where something may go wrong: both ends, every word, full and empty tables."""
    if isinstance(control, Numbers):
        rows, columns = len(control.start), len(control.start[0])
        return [((value,) * columns,) * rows for value in (control.low, 0, control.high) if control.low <= value]
    if isinstance(control, Cells):
        allowed = control.allowed({})
        if control.single:
            return [allowed[0], allowed[-1]]
        return [tuple(tuple(value for _ in row) for row in control.start) for value in (0, 1)]
    values = list(control.values)
    return values if len(values) <= 6 else [*values[:2], *values[-2:]]


def edge_states(explorer):
    """Return the states in which one control stands at an edge, from the start and from every preset."""
    start = {name: control.start for name, control in explorer.controls.items()}
    states = [{**start, **preset} for preset in ({}, *explorer.presets.values())]
    moved = [
        settle(explorer.controls, {**state, name: value})
        for state in states
        for name, control in explorer.controls.items()
        for value in edges(control)
    ]
    return list({repr(s): s for s in states + moved}.values())


def in_words(drawing):
    """Return the drawing as text that is the same on every machine: pixels are compared elsewhere."""
    return re.sub(r'"data:[^"]*"', '"data:"', f"{drawing.picture}\n{drawing.aside}\n{drawing.words}") + "\n"


def test_every_edge_of_every_control_draws_a_readable_picture(explorer):
    for state in edge_states(explorer):
        drawing = explorer._draw_state(**state)
        assert drawing.twin.strip().endswith((".", "?", "!")), state
        assert "nan" not in re.findall(r"[a-z]+", in_words(drawing).lower()), state
        if not drawing.picture.startswith("<svg"):
            continue
        root = ElementTree.fromstring(drawing.picture)
        width, height = map(float, root.get("viewBox").split()[2:])
        assert width <= WIDEST
        assert root.find(f"{SVG}title").text
        assert root.find(f"{SVG}desc").text == drawing.twin
        for text in root.iter(f"{SVG}text"):
            said = f"{text.text!r} in {state}"
            assert float(text.get("font-size")) >= SMALLEST, said
            assert 0 <= float(text.get("x")) <= width, said
            assert 0 < float(text.get("y")) <= height, said
        for kind in ("rect", "image"):
            for box in root.iter(f"{SVG}{kind}"):
                x, y, wide, tall = (float(box.get(side)) for side in ("x", "y", "width", "height"))
                assert x >= 0, state
                assert y >= 0, state
                assert x + wide <= width + 0.01, state
                assert y + tall <= height + 0.01, state


def test_the_same_state_gives_the_same_text_without_ids_or_addresses(explorer):
    state = explorer.state
    drawing = explorer._draw_state(**state)
    assert drawing == explorer._draw_state(**state)
    assert explorer.state == state
    assert " id=" not in drawing.html
    assert "http" not in drawing.html.replace("http://www.w3.org/2000/svg", "")


def test_formula_code_and_twin_stand_beside_the_picture(explorer):
    for preset in (None, *explorer.presets):
        explorer.reset() if preset is None else explorer.choose(preset)
        assert explorer.drawing.formula
        assert explorer.drawing.code
        assert explorer.drawing.torch
        assert explorer.twin == explorer.drawing.twin
        for line in (explorer.drawing.code, explorer.drawing.torch):
            compile(line, "shown code", "exec")


def test_the_state_is_shared_as_one_line_of_code(explorer):
    for preset in (None, *explorer.presets):
        twin = explorer.reset() if preset is None else explorer.choose(preset)
        again = eval(explorer.code, {"explorers": explorers})
        assert again.state == explorer.state
        assert again.twin == twin


def test_presets_are_possible_states_and_differ(explorer):
    assert explorer.presets
    seen = {explorer.reset()}
    for name, preset in explorer.presets.items():
        start = {key: control.start for key, control in explorer.controls.items()}
        wanted = {**start, **accept(explorer.controls, preset)}
        assert settle(explorer.controls, wanted) == wanted, name
        seen.add(explorer.choose(name))
    assert len(seen) > len(explorer.presets) * 0.7


def test_the_discovery_is_reached_through_possible_states(explorer):
    before = explorer.reset()
    assert explorer.discovery.question.endswith("?")
    assert explorer.discovery.fact.endswith(".")
    assert explorer.discover() != before
    state = explorer.state
    for name, value in dict(explorer.discovery.path).items():
        assert state[name] == value, "the path was cut short by a limit"


def test_an_unknown_control_or_value_is_refused_by_name(explorer):
    with pytest.raises(ValueError, match="there is no control 'colour'"):
        explorer.set(colour="red")
    name = next(iter(explorer.controls))
    with pytest.raises(ValueError, match=r"must be|is not"):
        explorer.set(**{name: "no such value"})


def test_a_static_picture_goes_out_with_the_output(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == explorer.twin
    assert explorer.drawing.picture in bundle["text/html"]
    if explorer.drawing.picture.startswith("<svg"):
        assert "var(" not in bundle["image/svg+xml"]
        ElementTree.fromstring(bundle["image/svg+xml"])


@pytest.mark.parametrize("moment", ["start", "discovery"])
def test_the_drawing_is_the_stored_one(explorer, moment):
    if moment == "discovery":
        explorer.discover()
    path = REFERENCES / f"{explorer.name}_{moment}.txt"
    drawn = in_words(explorer.drawing)
    if STORE:
        path.write_text(drawn, encoding="utf-8", newline="\n")
    assert path.exists(), "look at the picture; then store it as the first lines of this file say"
    assert drawn == path.read_text(encoding="utf-8"), "look at the picture; if it is meant, store it again"


def test_it_is_saved_as_one_page(explorer, tmp_path):
    path = explorer.save_html(tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size <= MOST_BYTES
    assert 1 < text.count("],") <= 100 * MOST_STATES
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
