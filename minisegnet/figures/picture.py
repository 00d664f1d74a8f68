"""A Matplotlib figure that a notebook shows by itself, with a sentence that says what it shows.

``pyplot`` keeps every figure until it is closed, and switches backends; so the figures here are made without it. This
file imports Matplotlib; the others import this file when they draw.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .svg import Svg

_TRIM: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.06}  # no empty space around what is drawn
_SHARPNESS = 1.25  # pixels stored per pixel shown
_LARGEST_PNG = 120_000  # bytes; noisy tissue takes a megabyte as PNG, and a tenth of that as JPEG


class Picture(Figure):
    """A figure with a text twin; ``repr`` is the twin, so a notebook stores the sentence beside the picture."""

    twin = ""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        FigureCanvasAgg(self)

    def __repr__(self) -> str:
        return self.twin or super().__repr__()

    __str__ = __repr__

    def png(self, sharpness: float = _SHARPNESS) -> bytes:
        """Return the picture as the bytes of a PNG file."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi * sharpness, metadata={"Software": None}, **_TRIM)
        return buffer.getvalue()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        kind, picture = "image/png", self.png()
        # The header of a PNG file says its width and height in bytes 16 to 23.
        width, height = (round(int.from_bytes(picture[at : at + 4], "big") / _SHARPNESS) for at in (16, 20))
        if len(picture) > _LARGEST_PNG:
            kind, picture = min((kind, picture), ("image/jpeg", jpeg(picture)), key=lambda choice: len(choice[1]))
        data = {"text/plain": repr(self), kind: base64.b64encode(picture).decode("ascii")}
        return data, {kind: {"width": width, "height": height, "alt": self.twin}}


def jpeg(png: bytes) -> bytes:
    """Return a PNG as JPEG, colours in full resolution so that thin outlines keep theirs."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, format="JPEG", quality=88, subsampling=0)
    return buffer.getvalue()


def new_picture(width: float, height: float, twin: str = "") -> Picture:
    """Return an empty figure of ``width`` by ``height`` inches (100 pixels each) whose text twin is ``twin``."""
    figure = Picture(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")
    figure.twin = twin
    return figure


def describe(figure: Any) -> str:
    """Return the sentence that says what a figure of this package shows, with its numbers."""
    if not isinstance(figure, (Picture, Svg)):
        raise TypeError(f"describe knows the figures of minisegnet.figures, got a {type(figure).__name__}")
    return figure.twin


def save(figure: Any, path: str | Path, dpi: float = 200) -> Path:
    """Write a figure, a drawing, or an image (H, W, 3), to a file: .png, .svg, .pdf, .jpg; complete or not at all.

    The same figure gives the same bytes: no date, no random identifiers. An image can be written as .png or .jpg only; a
    drawing (SVG text, such as ``explorer.drawing.picture``) as .svg, and through CairoSVG as .png or .pdf.
    Returns the path. Raises ``ValueError`` for another suffix and ``OSError`` where the file cannot be written.
    """
    from ..storage import atomic_write
    from . import svg_file

    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    drawing = svg_file.is_svg(figure)
    allowed = (
        svg_file.KINDS if drawing else ("png", "svg", "pdf", "jpg") if isinstance(figure, Figure) else ("png", "jpg")
    )
    if kind not in allowed:
        raise ValueError(f"path must end in {', '.join('.' + k for k in allowed)}; got {str(path)!r}")
    buffer = io.BytesIO()
    if drawing:
        buffer.write(svg_file.encode(figure, kind, dpi))
    elif isinstance(figure, Figure):
        plain = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        with matplotlib.rc_context({"svg.hashsalt": "minisegnet", "svg.fonttype": "none"}):
            figure.savefig(buffer, format=kind, dpi=dpi, metadata=plain, **_TRIM)
    else:
        from PIL import Image

        from .raster import as_image

        Image.fromarray(as_image(figure)).save(buffer, format="PNG" if kind == "png" else "JPEG", quality=92)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
    return path
