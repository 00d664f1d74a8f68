"""Declared controls: what they accept, where their limits lie, and the widgets and the page made from them."""

import json
import re

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet.explorers import controls as c
from minisegnet.explorers.drawing import Discovery, Drawing
from minisegnet.explorers.explorer import Explorer
from minisegnet.explorers.inputs import CellGrid
from minisegnet.explorers.page import MOST_STATES, pack, page_states, page_values, unpack
from minisegnet.figures.svg import Canvas


def draw(count=2, step=0, kind="a", deep=False, table=((1, 2), (3, 4)), cell=((1, 0), (0, 0))):
    canvas = Canvas(100, 40, "a <test>")
    canvas.text(5, 20, f"{count} {step} {kind} {deep} {table} {cell}")
    twin = f"count {count}, step {step} of {count}, {kind}, {deep}, {table}, {cell}"
    return Drawing(canvas.svg(twin), twin, f"{count} < {count + 1}", "here()", "there()")


def make(**options):
    controls = {
        "count": c.Slider((1, 2, 3), 2, "count"),
        "step": c.Slider(range(4), 0, "step", limit=lambda s: s["count"], play=True),
        "kind": c.Choice(("a", "b <i>"), "a", "kind"),
        "deep": c.Toggle(False, "deep"),
        "table": c.Numbers(((1, 2), (3, 4)), "table"),
        "cell": c.Cells(((1, 0), (0, 0)), "cell", single=True),
    }
    presets = {"far": {"count": 3, "step": 3}, "other": {"table": ((0, 0), (0, 9))}}
    options = {"presets": presets, "name": "test", **options}
    return Explorer("Test <b>.", controls, draw, Discovery("Why?", (("count", 3),), "three"), **options)


def test_the_state_is_set_from_code_and_shared_as_a_line_of_code():
    explorer = make()
    assert explorer.code == "explorers.test()"
    explorer.set(count=3, step=2, kind="b <i>", table=np.array([[5, 6], [7, 8]]))
    assert explorer.code == "explorers.test(count=3, step=2, kind='b <i>', table=((5, 6), (7, 8)))"
    state = eval(explorer.code.replace("explorers.test", "dict"))
    assert make(state=state).state == explorer.state
    assert make(state=state).twin == explorer.twin == draw(**explorer.state).twin
    explorer.reset()
    assert explorer.code == "explorers.test()"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"speed": 1}, "no control 'speed'"),
        ({"count": 4}, "count must be one of 1, 2, 3; got 4"),
        ({"kind": "c"}, "kind must be one of 'a'"),
        ({"deep": 3}, "deep must be True or False"),
        ({"table": ((1, 2),)}, "table must be a table of 2 by 2"),
        ({"table": ((1, 2), (3, 40))}, "not between -9 and 9"),
        ({"table": ((1, 2), (3, float("nan")))}, "not between"),
        ({"table": ((1, 2), (3, 0.5))}, "not a whole number"),
        ({"cell": ((1, 1), (0, 0))}, "exactly one cell"),
    ],
)
def test_what_is_not_declared_is_refused_in_words_and_changes_nothing(state, said):
    explorer = make()
    before = explorer.twin
    with pytest.raises(ValueError, match=said):
        explorer.set(**state)
    assert explorer.twin == before


def test_a_slider_beyond_its_limit_comes_back_to_it():
    explorer = make(state={"count": 3, "step": 3})
    explorer.inputs["count"].index = 0  # as a hand would
    assert explorer.state["step"] == 1
    assert explorer.inputs["step"].names == ["0", "1"]
    assert explorer.inputs["step"].index == 1
    assert "step 1 of 1" in explorer.twin
    explorer.inputs["count"].index = 2
    assert explorer.inputs["step"].names == ["0", "1", "2", "3"]


def test_a_place_behind_the_last_value_is_the_last_value():
    explorer = make()
    explorer.inputs["step"].index = 3  # from a screen that has not yet heard that 2 is the last
    assert explorer.state["step"] == explorer.inputs["step"].index == 2
    assert "step 2 of 2" in explorer.picture.value


def test_a_preset_is_one_drawing_and_starts_from_the_start():
    drawn = []

    def counted(**state):
        drawn.append(state)
        return draw(**state)

    explorer = make()
    explorer._draw_state = counted
    explorer.set(deep=True)
    drawn.clear()
    assert "count 3, step 3" in explorer.choose("far")
    assert len(drawn) == 1
    assert explorer.state["deep"] is False
    with pytest.raises(ValueError, match="no preset 'near'"):
        explorer.choose("near")


def test_wrong_numbers_are_refused_kindly_and_right_ones_drawn():
    explorer = make()
    table = explorer.inputs["table"]
    for typed, said in (
        ("x<1>", "“x<1>” is not a number: 2 stays."),
        ("99", "not between -9 and 9"),
        ("1.5", "whole"),
    ):
        table.typed(0, 1, typed)
        assert said in table.message
        assert table.rows[0][1] == "2"
        assert explorer.state["table"] == ((1, 2), (3, 4))
    table.typed(0, 1, "−7")
    assert table.message == ""
    assert table.rows[0][1] == "−7"
    assert explorer.state["table"] == ((1, -7), (3, 4))
    assert "(1, -7)" in explorer.twin


def test_a_clicked_cell_releases_the_others_and_stays_on():
    explorer = make()
    explorer.inputs["cell"].clicked(1, 0)
    assert explorer.state["cell"] == explorer.inputs["cell"].value == ((0, 0), (1, 0))
    explorer.inputs["cell"].clicked(1, 0)
    assert explorer.state["cell"] == ((0, 0), (1, 0))
    many = CellGrid(c.Cells(((1, 0), (0, 0)), "cells"))
    many.clicked(1, 1)
    many.clicked(0, 0)
    assert many.value == ((0, 0), (0, 1))


def test_text_is_escaped_and_the_static_copy_is_complete():
    explorer = make(state={"kind": "b <i>"})
    bundle = explorer._repr_mimebundle_()
    assert "<i>" not in bundle["text/html"]
    assert "<b>." not in bundle["text/html"]
    assert "b &lt;i&gt;" in bundle["text/html"]
    assert "2 &lt; 3" in bundle["text/html"]
    assert bundle["text/plain"] == explorer.twin
    assert bundle["image/svg+xml"].startswith("<svg ")
    assert "var(" not in bundle["image/svg+xml"]


def test_projector_mode_is_a_switch():
    explorer = make()
    explorer.projector.value = True
    assert "ms-projector" in explorer._dom_classes
    explorer.projector.value = False
    assert "ms-projector" not in explorer._dom_classes


def test_the_page_holds_every_possible_state_once():
    explorer = make()
    most = {}
    values = page_values(explorer, {})
    found = dict(page_states(explorer.controls, values, most))
    # count 1, 2, 3 allow 2, 3, 4 steps; 2 kinds, 2 depths, 2 tables (start and preset), 4 cells
    assert len(found) == (2 + 3 + 4) * 2 * 2 * 2 * 4
    assert len({json.dumps(state) for state in found.values()}) == len(found)
    assert most == {"0,": 2, "1,": 3}
    assert {
        state["count"]
        for state in dict(page_states(explorer.controls, page_values(explorer, {"count": 3}), {})).values()
    } == {3}


def test_packing_gives_back_each_text():
    texts = {str(n): "\n".join(f"line {k * (1 + n % 3)}" for k in range(90)) for n in range(30)}
    packed = json.loads(json.dumps(pack(texts)))
    assert all(unpack(packed, key) == text for key, text in texts.items())
    assert len(json.dumps(packed)) < sum(map(len, texts.values())) / 5


def test_the_saved_page_is_complete_and_draws_what_python_draws(tmp_path):
    explorer = make(state={"count": 3})
    page = explorer.save_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=|https?://(?!www\.w3\.org/2000/svg)", page)
    data = json.loads(re.search(r'<script type="application/json" id="states">(.*?)</script>', page, re.DOTALL)[1])
    for key, state in page_states(explorer.controls, page_values(explorer, {}), {}):
        assert unpack(data, key) == draw(**state).html
    assert [label for label, _ in data["presets"]] == ["far", "other", "reset"]
    assert "<i>" not in page


def test_a_page_that_would_be_too_large_says_what_to_keep(tmp_path):
    explorer = make()
    explorer.controls["count"] = c.Slider(range(1, MOST_STATES), 2, "count")
    with pytest.raises(ValueError, match=r"more than 2,000 states.*count 1999.*save_html\('x.html', count=\.\.\.\)"):
        explorer.save_html(tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()
    explorer.save_html(tmp_path / "x.html", count=(1, 2))
    explorer._draw_state = lambda **state: Drawing(f"{state}" + f"{state}" * 2000, "long")
    with pytest.raises(ValueError, match=r"more than 3 MB"):
        explorer.save_html(tmp_path / "y.html", count=(1, 2, 3, 4))
    with pytest.raises(ValueError, match=r"must end in \.html"):
        explorer.save_html(tmp_path / "y.pdf")
    with pytest.raises(ValueError, match="no control 'size'"):
        explorer.save_html(tmp_path / "y.html", size=3)
