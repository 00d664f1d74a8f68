"""Pictures: pure functions from arrays to a Matplotlib figure, to pixels, or to SVG text.

``overlay_image`` and ``error_image`` need NumPy alone; the others import Matplotlib when they are first called, never
``pyplot``: no global state, no figure that stays open. A notebook shows the returned figure, ``describe`` says in one
sentence what it shows, ``save`` writes it to a file. Drawings (``svg``, ``svg_grid``, ``svg_network``) are SVG text.
"""

from typing import Any

from .colors import ERROR_STYLES, OKABE_ITO, class_colors
from .curves import curves
from .overlay import error_map, gallery, overlay, show
from .panels import label_legend
from .raster import as_image, as_labels, error_counts, error_image, overlay_image
from .svg import Canvas, Svg
from .svg_image import heat, signed
from .svg_network import network

__all__ = [
    "ERROR_STYLES",
    "OKABE_ITO",
    "Canvas",
    "Svg",
    "as_image",
    "as_labels",
    "class_colors",
    "curves",
    "describe",
    "error_counts",
    "error_image",
    "error_map",
    "gallery",
    "heat",
    "label_legend",
    "network",
    "overlay",
    "overlay_image",
    "save",
    "show",
    "signed",
]


def __getattr__(name: str) -> Any:
    """Import what needs Matplotlib when it is first asked for."""
    if name in ("describe", "save"):
        from . import picture

        return getattr(picture, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
