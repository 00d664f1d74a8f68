"""SVG drawings as files: SVG as it is, PNG and PDF through CairoSVG (imported when it is needed)."""

from __future__ import annotations

from typing import Any

from .svg import on_paper

KINDS = ("svg", "png", "pdf")


def encode(svg: str, kind: str, dpi: float = 200) -> bytes:
    """Return a drawing as the bytes of an SVG, PNG or PDF file, in the colours of paper: black ink on white.

    A drawing unit is 1/96 inch, so a drawing 760 units wide is 20 cm wide in a PDF; ``dpi`` is for PNG.
    Raises ``ImportError`` with the cure where PNG or PDF is wanted and CairoSVG or its library is missing.
    """
    paper = on_paper(svg).replace('style="', 'color="#222" style="', 1)
    if kind == "svg":
        return b'<?xml version="1.0" encoding="UTF-8"?>\n' + paper.encode()
    cairosvg = _cairosvg(kind)
    # CairoSVG reads families from the attribute alone, and does not know system-ui.
    paper = paper.replace("<svg ", '<svg font-family="DejaVu Sans, Segoe UI, Helvetica Neue, Arial, sans-serif" ', 1)
    convert = cairosvg.svg2png if kind == "png" else cairosvg.svg2pdf
    scale = dpi / 96 if kind == "png" else 1.0
    return convert(bytestring=paper.encode(), background_color="white", scale=scale)


def _cairosvg(kind: str) -> Any:
    try:
        import cairosvg
    except ImportError as error:
        raise ImportError(f"a drawing as .{kind} needs CairoSVG: pip install cairosvg (or save it as .svg)") from error
    except OSError as error:  # the Python package is there, the library is not
        raise ImportError(
            f"a drawing as .{kind} needs the Cairo library: apt install libcairo2, brew install cairo, or conda install cairo "
            "(or save it as .svg)"
        ) from error
    return cairosvg


def is_svg(figure: Any) -> bool:
    """Return whether it is SVG text."""
    return isinstance(figure, str) and figure.lstrip().startswith("<svg ")
