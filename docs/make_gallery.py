"""Make a gallery of all explorers that needs neither Python nor a network: ``python docs/make_gallery.py FOLDER``.

One page an explorer (``explorer.save_html``), and ``index.html`` with the question of each: for a teacher's web site.
"""

import argparse
from html import escape
from pathlib import Path

from tqdm import tqdm

from minisegnet import explorers
from minisegnet.storage import atomic_write

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>minisegnet: explorers</title>
<style>:root {{ color-scheme: light dark; }} body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 46em; margin: 2em auto;
padding: 0 1em; }} li {{ margin: .6em 0; }} a {{ font-weight: 600; }}</style></head>
<body><main><h1>Explorers</h1><p>One idea each: move the sliders, by mouse or arrow keys.</p>
<ul>
{links}
</ul></main></body></html>
"""


def main() -> None:
    """Write the pages and their index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    links = []
    for name in tqdm([n for n in explorers.__all__ if n != "monitor"], desc="explorers"):
        explorer = getattr(explorers, name)()
        explorer.save_html(folder / f"{name}.html")
        title, question = escape(explorer.title.rstrip(".")), escape(explorer.discovery.question)
        links.append(f'<li><a href="{name}.html">{title}</a><br>{question}</li>')
    with atomic_write(folder / "index.html") as file:
        file.write(PAGE.format(links="\n".join(links)).encode())
    total = sum(path.stat().st_size for path in folder.glob("*.html"))
    print(f"{folder}: {len(links)} explorers, {total / 1e6:.0f} MB; open index.html")


if __name__ == "__main__":
    main()
