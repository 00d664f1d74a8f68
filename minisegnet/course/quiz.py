"""Questions to commit to: an option, a number or a cell of a grid. Committing locks, then comes the explanation.

Whoever has said "about 3" aloud listens to why it is 9: so nothing is explained before the answer is locked, and each
wrong answer that we expect has its own explanation. Run the cell again to answer again. The questions of the lessons
live in ``course/questions``, so that a notebook does not show the answer above its question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .panel import Panel, html, notice, rich, widgets


class Question(Panel):
    """A question with an input, a button that commits, and the explanation that appears.

    ``state`` is "open", "right" or "wrong"; ``commit(answer)`` does what the button does, for tests and for the teacher.
    ``expected`` are the answers that have an explanation of their own, right and wrong.
    """

    expected: tuple[Any, ...] = ()

    def __init__(
        self,
        text: str,
        inputs: Any,
        explain: Any,
        read: Any,
        lock: Any,
        choices: str = "",
        what: str = "Options",
        label: str = "Predict.",
    ):
        self.state, self.text = "open", text
        self._explain, self._read, self._lock = explain, read, lock
        self.button = widgets.Button(description="Commit", tooltip="Lock my answer", button_style="primary")
        self.button.on_click(lambda _: self._committed())
        self.answer_box = html("")
        lead = f"<p><strong>{escape(label)}</strong></p>{rich(text)}"
        listed = f"<ul>{''.join(f'<li>{escape(c)}</li>' for c in choices.split(chr(10)))}</ul>" if choices else ""
        super().__init__([html(lead), inputs, self.button, self.answer_box], static=lead + listed)
        plain = f" {what}: {'; '.join(choices.splitlines())}." if choices else ""
        self.twin = f"Question: {text.strip()}{plain} Not answered yet."

    def commit(self, answer: Any) -> str:
        """Lock ``answer`` and return the text twin, which then holds the explanation; a second call changes nothing."""
        if self.state == "open":
            right, explanation = self._explain(answer)
            self.state = "right" if right else "wrong"
            self._lock(answer)
            self.button.disabled = True
            self.button.description = "Locked"
            self.answer_box.value = notice(self.state, explanation)
            self.twin = f"{self.text.strip()} Answered {answer}: {self.state}. {' '.join(explanation.split())}"
        return self.twin

    def _committed(self) -> None:
        try:
            answer = self._read()
        except ValueError as error:
            self.answer_box.value = notice("open", str(error))
            return
        self.commit(answer)


def option(text: str, options: Mapping[str, str], answer: str, label: str = "Predict.") -> Question:
    """Ask for one of a few options.

    Parameters
    ----------
    text : str
        The question; backticks mark code.
    options : mapping of str to str
        Each option with the explanation that its choice brings up.
    answer : str
        The right option, one of ``options``.
    label : str
        What stands above the question.
    """
    if answer not in options:
        raise ValueError(f"answer must be one of the options {list(options)}, got {answer!r}")
    radio = widgets.RadioButtons(options=list(options), value=None, layout={"width": "auto"})

    def read() -> str:
        if radio.value is None:
            raise ValueError("Choose one of the options first.")
        return radio.value

    def lock(value: str) -> None:
        radio.value, radio.disabled = value, True

    def explain(value: str) -> tuple[bool, str]:
        if value not in options:
            raise ValueError(f"answer must be one of the options {list(options)}, got {value!r}")
        return value == answer, options[value]

    asked = Question(text, radio, explain, read, lock, "\n".join(options), label=label)
    asked.expected = tuple(options)
    return asked


def number(
    text: str,
    answer: float,
    explain: str,
    wrong: Mapping[float, str] | None = None,
    otherwise: str = "",
    tolerance: float = 0.0,
    unit: str = "",
    label: str = "Predict.",
) -> Question:
    """Ask for a number.

    Parameters
    ----------
    answer, tolerance : float
        What is right, give or take.
    explain : str
        Shown for the right answer, and after any other.
    wrong : mapping of float to str
        Explanations for the wrong answers that people give (within ``tolerance`` too).
    otherwise : str
        What to say to any other number.
    """
    field = widgets.Text(placeholder="a number", description="my answer", style={"description_width": "initial"})
    row = widgets.HBox([field, widgets.Label(unit)]) if unit else field

    def read() -> float:
        typed = field.value.strip().replace(",", ".")
        try:
            return float(typed)
        except ValueError:
            raise ValueError(f"“{field.value}” is not a number: write digits, for example 12 or 0.5.") from None

    def lock(value: float) -> None:
        field.value, field.disabled = f"{value:g}", True

    def judge(value: float) -> tuple[bool, str]:
        if abs(value - answer) <= tolerance:
            return True, explain
        near = [reason for number, reason in (wrong or {}).items() if abs(value - number) <= tolerance]
        return False, "\n\n".join(filter(None, [near[0] if near else otherwise, explain]))

    asked = Question(text, row, judge, read, lock, label=label)
    asked.expected = (answer, *(wrong or {}))
    return asked


def cell(
    text: str,
    grid: Sequence[Sequence[Any]],
    answer: tuple[int, int],
    explain: str,
    wrong: Mapping[tuple[int, int], str] | None = None,
    otherwise: str = "",
    label: str = "Predict.",
) -> Question:
    """Ask for a cell (row, column), counted from 0, of a grid of numbers or words; the rest is as in ``number``."""
    rows, columns = len(grid), len(grid[0])
    chosen: list[tuple[int, int]] = []
    buttons: dict[tuple[int, int], Any] = {}

    def mark(place: tuple[int, int], sign: str = "") -> None:
        for (row, column), button in buttons.items():
            here = (row, column) == place
            button.button_style = "info" if here else ""
            button.description = f"{sign if here else ''}{grid[row][column]}" or " "

    def choose(place: tuple[int, int]) -> None:
        chosen[:] = [place]
        mark(place, "▸")

    for row in range(rows):
        for column in range(columns):
            name = f"row {row}, column {column}"
            button = widgets.Button(description=str(grid[row][column]), tooltip=name, layout={"width": "56px"})
            button.on_click(lambda _, place=(row, column): choose(place))
            buttons[row, column] = button
    box = widgets.GridBox(list(buttons.values()), layout={"grid_template_columns": f"repeat({columns}, 62px)"})

    def read() -> tuple[int, int]:
        if not chosen:
            raise ValueError("Choose a cell first.")
        return chosen[0]

    def lock(place: tuple[int, int]) -> None:
        mark(place, "▸")
        for button in buttons.values():
            button.disabled = True
        buttons[answer].description = f"✓{grid[answer[0]][answer[1]]}"

    def judge(place: tuple[int, int]) -> tuple[bool, str]:
        if place not in buttons:
            raise ValueError(f"answer must be a (row, column) of a {rows} × {columns} grid, got {place}")
        if place == answer:
            return True, explain
        return False, "\n\n".join(filter(None, [(wrong or {}).get(place, otherwise), explain]))

    table = "\n".join("  ".join(str(value) for value in line) for line in grid)
    asked = Question(text, box, judge, read, lock, table, "Rows", label=label)
    asked.expected = (answer, *(wrong or {}))
    return asked
