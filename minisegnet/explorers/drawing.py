"""What an explorer draws and declares: a picture with its words, and one discovery. Needs no widgets."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple


class Drawing(NamedTuple):
    """What a pure function makes of a state.

    Attributes
    ----------
    picture : str
        SVG or HTML, already escaped (a ``Canvas`` does that).
    twin : str
        The sentence that says what the picture says: screen readers and tests read it.
    formula : str or tuple of str
        The formula with this state's numbers in it; plain text, one line each.
    code, torch : str
        The line that does it here, and in PyTorch.
    aside : str
        More HTML beside the picture, above the words: a curve, a legend.
    """

    picture: str
    twin: str
    formula: str | tuple[str, ...] = ()
    code: str = ""
    torch: str = ""
    aside: str = ""

    @property
    def words(self) -> str:
        """The formula, the two lines of code and the twin, as HTML."""
        formulas = (self.formula,) if isinstance(self.formula, str) else self.formula
        lines = [f'<p class="formula">{escape(line)}</p>' for line in formulas]
        same = self.code == self.torch
        for name, code in (
            ("here and in PyTorch" if same else "here", self.code),
            ("PyTorch", "" if same else self.torch),
        ):
            if code:
                lines.append(f'<p class="code">{name}: <code>{escape(code)}</code></p>')
        lines.append(f'<p class="text-twin" role="status">{escape(self.twin)}</p>')
        return "\n".join(lines)

    @property
    def html(self) -> str:
        """The picture, and beside or below it the words."""
        return (
            f'<div class="ms-drawing"><div class="ms-picture">{self.picture}</div>\n'
            f'<div class="ms-words">{self.aside}{self.words}</div></div>'
        )


class Discovery(NamedTuple):
    """A question, the controls to move (name, value) to answer it, and the fact that is then on screen."""

    question: str
    path: tuple[tuple[str, Any], ...]
    fact: str


# The layout of a drawing: picture and words side by side where there is room. In projector mode the picture takes the
# width and the type is 24 pixels and more on a screen of 1080 lines, in proportion on one of 720; in print it is black on white.
DRAWING_STYLE = """
.ms-drawing { display: flex; flex-wrap: wrap; gap: 10px 24px; align-items: flex-start; }
.ms-picture { flex: 3 1 480px; max-width: 760px; min-width: 0; }
.ms-words { flex: 2 1 300px; min-width: 0; overflow-wrap: break-word; }
.ms-words p { margin: .35em 0; }
.ms-picture:has(> img) { flex: 0 1 auto; }
.ms-picture svg { display: block; height: auto; }
.ms-words .code { font-size: 15px; } .ms-words code { white-space: pre-wrap; }
.ms-words .text-twin { border-left: 4px solid #D55E00; padding-left: 10px; }
.ms-projector.ms-panel { max-width: none; font-size: 26px; }
.ms-projector .ms-picture { flex: 1 1 100%; max-width: none; }
.ms-projector .ms-picture svg { max-width: none !important; max-height: max(62vh, 650px); }
.ms-projector .ms-words svg { width: 640px !important; max-width: 100% !important; }
.ms-projector :is(p, code, label, button, select, option, input, .code, .widget-label, .widget-readout, .widget-html,
  .widget-html-content, .widget-dropdown select) { font-size: 26px !important; line-height: 1.4; height: auto; }
.ms-projector .widget-inline-hbox { height: auto; }
.ms-projector .ms-words { display: flex; flex-direction: column; }
.ms-projector .text-twin { order: -1; }
.ms-projector .ms-picture img { height: 58vh !important; width: auto; }
@media (max-height: 900px) { /* a projector of 1280 x 720: as large for those who look, and all of it on the screen */
  .ms-projector.ms-panel { font-size: 18px; }
  .ms-projector .ms-picture { flex: 3 1 480px; max-width: 760px; }
  .ms-projector .ms-picture svg { max-height: 50vh; }
  .ms-projector .ms-picture img { height: 50vh !important; }
  .ms-projector .ms-words svg { width: auto !important; }
  .ms-projector :is(p, code, label, button, select, option, input, .code, .widget-label, .widget-readout, .widget-html,
    .widget-html-content, .widget-dropdown select) { font-size: 18px !important; line-height: 1.3; }
}
@media print { .ms-drawing { color: #000; } }
"""
