"""An explorer as one page of HTML that needs neither Python nor a network: all its states are drawn beforehand.

Drawings of neighbouring states are nearly the same text. So each different line is stored once, each different run of
lines once, and a state is a short list of runs: a thousand pictures of 30 kB take less than one megabyte.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .controls import Cells, Choice, Control, Numbers, Slider, State, Toggle
from .drawing import DRAWING_STYLE

if TYPE_CHECKING:
    from .explorer import Explorer

MOST_STATES = 2000
MOST_BYTES = 3_000_000
_RUN = 24  # lines stored together: short runs repeat more often, long ones make short lists


def page_values(explorer: Explorer, keep: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the values that each control has on the page; ``keep`` (one value, or several) goes before ``explorer.page``."""
    values: dict[str, list[Any]] = {}
    for name in keep:
        if name not in explorer.controls:
            raise ValueError(f"there is no control {name!r}; there are {list(explorer.controls)}")
    for name, control in explorer.controls.items():
        kept = keep.get(name, explorer.page.get(name))
        if isinstance(control, (Numbers, Cells)):
            known = [control.start, *(preset[name] for preset in explorer.presets.values() if name in preset)]
            values[name] = list(dict.fromkeys(known)) if not getattr(control, "single", False) else control.allowed({})
        elif kept is None:
            values[name] = list(control.values)
        else:
            several = isinstance(kept, Sequence) and not isinstance(kept, str)
            chosen = [control.accept(value) for value in (kept if several else [kept])]
            values[name] = [v for v in control.values if v in chosen]
    return values


def page_states(
    controls: Mapping[str, Control], values: Mapping[str, list[Any]], most: dict[str, int]
) -> Iterator[tuple[str, State]]:
    """Yield every possible state with its key ("0,3,1,": the places of its values); note in ``most`` where fewer are possible."""
    names = list(controls)

    def walk(depth: int, key: str, state: State) -> Iterator[tuple[str, State]]:
        if depth == len(names):
            yield key, state
            return
        name = names[depth]
        control, known = controls[name], values[name]
        possible = known
        if isinstance(control, Slider):
            allowed = set(control.allowed(state))
            possible = [v for v in known if v in allowed] or known[:1]
            if len(possible) < len(known):
                most[key] = len(possible)
        for place, value in enumerate(possible):
            yield from walk(depth + 1, f"{key}{place},", {**state, name: value})

    yield from walk(0, "", {name: control.start for name, control in controls.items()})


def pack(texts: Mapping[str, str]) -> dict[str, Any]:
    """Store many similar texts once: ``lines``, ``runs`` of lines, and for each key the runs of its text."""
    lines: dict[str, int] = {}
    runs: dict[tuple[int, ...], int] = {}
    states: dict[str, list[int]] = {}
    for key, text in texts.items():
        numbers = [lines.setdefault(line, len(lines)) for line in text.split("\n")]
        pieces = [tuple(numbers[at : at + _RUN]) for at in range(0, len(numbers), _RUN)]
        states[key] = [runs.setdefault(piece, len(runs)) for piece in pieces]
    return {"lines": list(lines), "runs": list(runs), "states": states}


def unpack(packed: Mapping[str, Any], key: str) -> str:
    """Return the text of a key: what the page's JavaScript does."""
    return "\n".join(packed["lines"][line] for run in packed["states"][key] for line in packed["runs"][run])


def save_page(explorer: Explorer, path: str | Path, keep: Mapping[str, Any]) -> Path:
    """Draw every state and write the page; see ``Explorer.save_html``."""
    from ..storage import atomic_write

    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"path must end in .html; got {str(path)!r}")
    values = page_values(explorer, keep)
    most: dict[str, int] = {}
    texts: dict[str, str] = {}
    sizes = ", ".join(f"{name} {len(known)}" for name, known in values.items())
    for key, state in page_states(explorer.controls, values, most):
        if len(texts) == MOST_STATES:
            raise ValueError(
                f"the page would have more than {MOST_STATES:,} states; the values of each control: {sizes}. "
                f"Keep fewer: save_html({path.name!r}, {next(iter(values))}=...)"
            )
        texts[key] = explorer._draw_state(**state).html
    places = {name: {value: place for place, value in enumerate(known)} for name, known in values.items()}
    presets = []
    for label, preset in [*explorer.presets.items(), ("reset", {})]:
        wanted = {**{name: control.start for name, control in explorer.controls.items()}, **preset}
        chosen = [places[name].get(value, -1 if name in preset else 0) for name, value in wanted.items()]
        if -1 not in chosen:  # a preset that the page cannot show is left out
            presets.append([label, chosen])
    data = {**pack(texts), "most": most, "presets": presets}
    # "<" never stands in the script's text, so no "</script>" can end it early.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = _PAGE.format(
        title=escape(explorer.title),
        heading=explorer._heading,
        style=DRAWING_STYLE,
        controls="\n".join(_control(explorer, name, known) for name, known in values.items()),
        data=text,
        script=_SCRIPT,
    ).encode()
    if len(page) > MOST_BYTES:
        raise ValueError(
            f"the page would take {len(page) / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB, for {len(texts):,} states; "
            f"the values of each control: {sizes}. Keep fewer: save_html({path.name!r}, {next(iter(values))}=...)"
        )
    with atomic_write(path) as file:
        file.write(page)
    return path


def _control(explorer: Explorer, name: str, known: list[Any]) -> str:
    """Return the input of one control: its value is the place of the state's value among the known ones."""
    control = explorer.controls[name]
    state = explorer.state[name]
    at = known.index(state) if state in known else 0
    hidden = " hidden" if len(known) == 1 else ""
    label = f'<label{hidden}><span class="name">{escape(control.label)}</span> '
    if isinstance(control, Slider):
        names = escape(json.dumps([str(v) for v in known]))
        play = f'<button type="button" data-play aria-label="play {escape(control.label)}">▶</button>' * (
            control.play and len(known) > 1
        )
        return (
            f'{label}<input type="range" data-control min="0" max="{len(known) - 1}" value="{at}" '
            f'data-names="{names}"> <output>{escape(str(known[at]))}</output></label>{play}'
        )
    if isinstance(control, Toggle):
        return f'{label}<input type="checkbox" data-control{" checked" * bool(at)}></label>'
    titles = {control.start: "start"} | {
        preset[name]: key for key, preset in explorer.presets.items() if name in preset
    }
    words = [str(v) if isinstance(control, Choice) else titles.get(v, f"{i + 1}") for i, v in enumerate(known)]
    options = "".join(
        f'<option value="{i}"{" selected" * (i == at)}>{escape(word)}</option>' for i, word in enumerate(words)
    )
    return f"{label}<select data-control>{options}</select></label>"


_SCRIPT = """
const data = JSON.parse(document.getElementById("states").textContent);
const view = document.getElementById("view");
const inputs = [...document.querySelectorAll("[data-control]")];
const place = (input) => (input.type === "checkbox" ? +input.checked : +input.value);
function show() {
  let key = "";
  for (const input of inputs) {
    if (input.type === "range") {
      const names = JSON.parse(input.dataset.names);
      input.max = (data.most[key] ?? names.length) - 1;
      input.disabled = input.max === "0";
      input.nextElementSibling.textContent = names[+input.value];
      input.setAttribute("aria-valuetext", names[+input.value]);
    }
    key += place(input) + ",";
  }
  view.innerHTML = data.states[key].flatMap((run) => data.runs[run].map((line) => data.lines[line])).join("\\n");
}
inputs.forEach((input) => input.addEventListener("input", show));
for (const [label, places] of data.presets) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
  button.addEventListener("click", () => {
    inputs.forEach((input, i) => {
      if (input.type === "checkbox") input.checked = places[i] === 1;
      else { if (input.type === "range") input.max = 1e6; input.value = places[i]; }
    });
    show();
  });
  document.getElementById("presets").append(button);
}
document.querySelectorAll("[data-play]").forEach((button) => {
  let timer = 0;
  const input = button.previousElementSibling.querySelector("input");
  button.addEventListener("click", () => {
    clearInterval(timer);
    timer = timer ? 0 : setInterval(() => {
      input.value = input.value === input.max ? 0 : +input.value + 1;
      show();
    }, 600);
    button.textContent = timer ? "⏸" : "▶";
  });
});
document.getElementById("projector").addEventListener("change", (event) =>
  document.getElementById("panel").classList.toggle("ms-projector", event.target.checked));
show();
"""

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --jp-content-font-color1: CanvasText; }}
body {{ font: 16px/1.45 system-ui, sans-serif; background: Canvas; color: CanvasText; margin: 12px; }}
.ms-panel {{ max-width: 1140px; margin: auto; }}
.controls {{ display: flex; flex-wrap: wrap; gap: 8px 22px; align-items: center; margin: 8px 0; }}
.controls [hidden] {{ display: none; }}
label {{ display: inline-flex; gap: 8px; align-items: center; }}
button, select {{ font: inherit; padding: 2px 10px; }}
:focus-visible {{ outline: 3px solid #0072B2; outline-offset: 2px; }}
{style}</style></head>
<body><main class="ms-panel" id="panel">
{heading}
<div class="controls">
{controls}
</div>
<div class="controls" id="presets"><label><input type="checkbox" id="projector"> projector</label></div>
<div id="view"></div>
</main>
<script type="application/json" id="states">{data}</script>
<script>{script}</script>
</body></html>
"""
