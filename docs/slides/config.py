"""How ``jupyter nbconvert --config docs/slides/config.py --to slides NOTEBOOK`` makes a deck of a lesson.

Sections are divided into slides of 1280 x 720 in the browser (``classroom/pages.js``), formulas become MathML here, so that
beside the page nothing but reveal.js is needed.
"""

import re
from functools import partial
from pathlib import Path

from nbconvert.filters.markdown_mistune import markdown2html_mistune

HERE = Path(__file__).resolve().parent
FORMULA = re.compile(r"(?<!\\)\$\$(?P<block>.+?)\$\$|(?<![\\$])\$(?P<inline>\S(?:[^$\n]|\n(?!\n))*?)\$", re.S)
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.M | re.S)


def mathml(found):
    """Return a formula in TeX, found by ``FORMULA``, as MathML in one line."""
    try:
        from latex2mathml.converter import convert
    except ImportError:
        raise SystemExit("slides need latex2mathml for their formulas: pip install latex2mathml") from None
    display = "block" if found["block"] else "inline"
    return convert((found["block"] or found["inline"]).strip(), display=display).replace("\n", " ")


def markdown(text, **options):
    """Return Markdown as HTML, with formulas (outside of code) as MathML."""
    parts = CODE.split(text)
    parts[::2] = [FORMULA.sub(mathml, part) for part in parts[::2]]
    return markdown2html_mistune("".join(parts), **options)


c = get_config()  # noqa: F821
c.TemplateExporter.extra_template_basedirs = [str(HERE)]
c.SlidesExporter.template_name = "classroom"
c.SlidesExporter.exclude_input_prompt = True
c.SlidesExporter.exclude_output_prompt = True
c.SlidesExporter.filters = {"markdown2html": partial(markdown)}
