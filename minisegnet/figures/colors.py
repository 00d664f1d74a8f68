"""Colours that the colour-blind can tell apart, and the pattern that goes with each, so that colour is never alone.

The palette is by Okabe and Ito, Color Universal Design (2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "bluish green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "reddish purple": "#CC79A7",
}
# Green first: it stands out from the pinks and purples of stained tissue, and from the grey of fluorescence.
_CLASS_ORDER = ("bluish green", "orange", "sky blue", "vermilion", "blue", "yellow", "reddish purple")
BACKGROUND = "#F2F2F2"
UNLABELLED = "#8C8C8C"


class ErrorStyle(NamedTuple):
    """How one kind of pixel is drawn in an error map: its name, short name, colour and pattern."""

    name: str
    short: str
    color: str
    pattern: str


# The order is that of the codes in ``raster.error_codes``: 1, 2, 3, 4.
ERROR_STYLES = (
    ErrorStyle("found (TP)", "TP", OKABE_ITO["blue"], "solid"),
    ErrorStyle("false alarm (FP)", "FP", OKABE_ITO["vermilion"], "diagonal"),
    ErrorStyle("missed (FN)", "FN", OKABE_ITO["yellow"], "dots"),
    ErrorStyle("wrong class", "wrong class", OKABE_ITO["reddish purple"], "bars"),
)


def rgb(color: str) -> tuple[int, int, int]:
    """Return the red, green and blue of a ``#RRGGBB`` colour, 0 to 255."""
    digits = color.removeprefix("#")
    if len(digits) != 6:
        raise ValueError(f"color must look like '#RRGGBB', got {color!r}")
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def class_colors(num_classes: int, colors: Sequence[str] | None = None) -> list[str]:
    """Return a colour per class: class 0 is the background's pale grey, then the palette, which repeats after seven.

    ``colors`` (one ``#RRGGBB`` for each class, background included) replaces the palette.
    """
    if colors is not None:
        chosen = [c if isinstance(c, str) else "#{:02X}{:02X}{:02X}".format(*(int(v) for v in c)) for c in colors]
        if len(chosen) < num_classes:
            raise ValueError(f"colors must name one colour for each of {num_classes} classes, got {len(chosen)}")
        return chosen
    return [BACKGROUND] + [OKABE_ITO[_CLASS_ORDER[k % len(_CLASS_ORDER)]] for k in range(num_classes - 1)]


def text_color(color: str) -> str:
    """Return black or white, whichever is easier to read on ``color`` (relative luminance, WCAG 2.1)."""
    linear = [((v / 255 + 0.055) / 1.055) ** 2.4 if v > 10 else v / 255 / 12.92 for v in rgb(color)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#FFFFFF"
