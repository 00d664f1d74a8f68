"""The table of concepts: at most three core ideas a lesson, and no word before the lesson that teaches it."""

import re
import tomllib
from pathlib import Path

import pytest

from minisegnet.course import build

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CONCEPTS = tomllib.loads((NOTEBOOKS / "concepts.toml").read_text(encoding="utf-8"))
SOURCES = build.sources(NOTEBOOKS)
FREE_SECTIONS = ("Further", "Papers")


def taught_text(source):
    """Return the lines of a lesson that must do without later words: no notes, no "Further", no pointer to a lesson."""
    lines, free, notes = [], False, False
    for line in source.read_text(encoding="utf-8").splitlines():
        if line.startswith("# %%"):
            notes = '"notes"' in line
        if line.startswith("# ## "):
            free = line[5:].startswith(FREE_SECTIONS)
        words = re.sub(r"`?minisegnet[\w.]*`?|\b\w+\.(py|npz|ipynb)\b", "", line)
        pointer = re.search(r"\blessons? (\d\d|\d)\b", line, flags=re.IGNORECASE)
        imports = line.startswith(("import ", "from "))
        if not (free or notes or pointer or imports):
            lines.append(words)
    return lines


def test_the_table_names_every_lesson_once_in_order():
    assert list(CONCEPTS) == [f"{n:02d}" for n in range(16)]
    assert {source.stem[:2] for source in SOURCES} <= set(CONCEPTS)
    for source in SOURCES:
        assert (
            source.read_text(encoding="utf-8").split("\n")[1]
            == f"# # {source.stem[:2]} · {CONCEPTS[source.stem[:2]]['title']}"
        )


@pytest.mark.parametrize("number", list(CONCEPTS))
def test_a_lesson_has_at_most_three_core_ideas(number):
    assert 1 <= len(CONCEPTS[number]["core"]) <= 3


@pytest.mark.parametrize("source", [s for s in SOURCES if not s.stem.startswith("00")], ids=lambda path: path.stem)
def test_no_word_is_used_before_the_lesson_that_teaches_it(source):
    lines = taught_text(source)
    later = [(n, w) for n, lesson in CONCEPTS.items() if n > source.stem[:2] for w in lesson["words"]]
    used = [
        f"{word} (taught in {number}): {line}"
        for number, word in later
        for line in lines
        if re.search(word, line, flags=re.IGNORECASE)
    ]
    assert used == []


def test_the_reading_finds_a_word_and_leaves_out_what_is_free(tmp_path):
    source = tmp_path / "01_x.py"
    source.write_text(
        '# %% [markdown]\n# a U with skips\n# see lesson 09: skips\n# %% [markdown] slideshow={"slide_type": "notes"}\n'
        "# skips for the teacher\n# %%\nskip = 1\n# %% [markdown]\n# ## Further\n# skips\n",
        encoding="utf-8",
    )
    found = [line for line in taught_text(source) if re.search(r"\bskips?\b", line)]
    assert found == ["# a U with skips", "skip = 1"]
