"""Pixels inside a drawing: images, masks and heat maps, so that they share the canvas with grids, arrows and words."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

import numpy as np

from .colors import OKABE_ITO, rgb
from .raster import as_image
from .svg import Canvas, number
from .svg_grid import Grid


def data_uri(pixels: np.ndarray, jpeg: bool = False) -> str:
    """Return an image, uint8 (H, W, 3), as the text of a ``data:`` address; ``jpeg`` for photographs, PNG for the rest."""
    from PIL import Image

    buffer = io.BytesIO()
    if jpeg:
        Image.fromarray(pixels).save(buffer, format="JPEG", quality=86, subsampling=0)
    else:
        Image.fromarray(pixels).save(buffer, format="PNG")
    kind = "jpeg" if jpeg else "png"
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def image(
    canvas: Canvas,
    x: float,
    y: float,
    width: float,
    pixels: Any,
    *,
    alt: str,
    label: str = "",
    jpeg: bool = False,
    uri: str = "",
    border: bool = True,
) -> Grid:
    """Draw an image and return its pixels as a ``Grid``: ``middle(row, column)`` is where a pixel stands.

    Parameters
    ----------
    canvas, x, y, width
        Where, the left upper corner; the height follows from the image. ``label`` stands above it.
    pixels : (H, W), (H, W, 3) or (3, H, W)
        Numbers from 0 to 1, or uint8. Few pixels are drawn as crisp squares.
    alt : str
        What the image shows, for who cannot see it.
    uri : str, optional
        ``data_uri(pixels)`` where it is known already: an image that does not change is encoded once.
    """
    shown = as_image(pixels)
    rows, columns = shown.shape[:2]
    where = Grid(x, y, rows, columns, width / columns)
    if label:
        canvas.text(x, y - 10, label, anchor="start", bold=True)
    crisp = ' style="image-rendering:pixelated"' if width > 2 * columns else ""
    place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(where.bottom - y)}"'
    canvas.raw(
        f'<image {place} preserveAspectRatio="none"{crisp} href="{uri or data_uri(shown, jpeg)}">'
        f"<title>{escape(alt)}</title></image>"
    )
    if border:
        canvas.raw(f'<rect {place} fill="none" stroke="currentColor" stroke-opacity="0.4"/>')
    return where


def heat(values: Any, *, low: float | None = None, high: float | None = None, color: str = "") -> np.ndarray:
    """Return numbers (H, W) as colours, uint8 (H, W, 3): dark is little and bright is much, in grey too.

    With ``color`` (a name of the Okabe-Ito palette) white is none and the colour is all: a map that lies beside text.
    Without it black, blue, vermilion, yellow, white follow each other, each brighter than the one before.
    """
    table = np.asarray(values, dtype=np.float64)
    bottom = float(np.nanmin(table)) if low is None else low
    top = float(np.nanmax(table)) if high is None else high
    share = np.clip((np.nan_to_num(table, nan=bottom) - bottom) / ((top - bottom) or 1.0), 0, 1)
    stops = np.array([(255, 255, 255), rgb(OKABE_ITO[color])] if color else _HEAT, dtype=np.float64)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(share, at, stops[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


def signed(values: Any, reach: float | None = None) -> np.ndarray:
    """Return numbers (H, W) of both signs as colours: blue below 0, white at 0, vermilion above; ``reach`` is the end."""
    table = np.asarray(values, dtype=np.float64)
    end = (float(np.abs(table).max()) if reach is None else reach) or 1.0
    stops = np.array([rgb(OKABE_ITO["blue"]), (255, 255, 255), rgb(OKABE_ITO["vermilion"])], dtype=np.float64)
    share = np.clip(table / end, -1, 1)
    return np.stack([np.interp(share, (-1, 0, 1), stops[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


_HEAT = ((0, 0, 0), (0, 58, 130), (190, 70, 30), (240, 200, 66), (255, 255, 240))
