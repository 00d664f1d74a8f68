"""A picture of one's own: chosen by a button or named by a path, predicted, and shown beside what was found."""

from __future__ import annotations

import io
import os
from html import escape
from typing import Any

import numpy as np

from ..course.panel import Panel, html, widgets
from ..figures.raster import overlay_image
from ..figures.svg_image import data_uri

# Pixels a side; of a larger picture the middle is taken, because shrinking it would change the magnification.
LARGEST = 768


class OwnImage(Panel):
    """A button that takes a picture file, and what the network finds in it; ``show`` does the same from code."""

    def __init__(self, model: Any, path: str | os.PathLike[str] = ""):
        self.model = model
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="Choose a picture")
        self.upload.layout.width = "auto"
        self.words, self.result = html(""), html("")
        super().__init__([self.upload, self.words, self.result])
        self._tell("Your own image: choose a picture file, nothing leaves this machine.")
        self.upload.observe(self._uploaded, names="value")
        if path:
            from ..data import read_picture

            self.show(read_picture(path))

    def show(self, image: np.ndarray) -> np.ndarray:
        """Predict an image (H, W, 3) uint8, show it, and return the mask of nuclei (bool) of what is shown."""
        from ..metrics import connected_components

        middle = tuple(slice(max(0, (n - LARGEST) // 2), max(0, (n - LARGEST) // 2) + LARGEST) for n in image.shape[:2])
        shown = np.ascontiguousarray(image[middle])
        mask = self.model.predict(shown)[1] > 0.5
        height, width = shown.shape[:2]
        part = "" if shown.shape == image.shape else f", the middle of {image.shape[0]} × {image.shape[1]}"
        self._tell(
            f"Your image, {height} × {width} pixels{part}: {100 * mask.mean():.0f}% called nucleus, "
            f"in {connected_components(mask).max()} pieces."
        )
        pictures = ((shown, "your image"), (overlay_image(shown, mask.astype(np.int64)), "what the network finds"))
        wide = min(440, 2 * width)
        self.result.value = "".join(
            f'<img alt="{escape(what)}" title="{escape(what)}" width="{wide}" style="margin:4px;max-width:48%" '
            f'src="{data_uri(pixels, jpeg=True)}"/>'
            for pixels, what in pictures
        )
        return mask

    def _tell(self, text: str) -> None:
        self.twin = text
        self.words.value = f'<p role="status" aria-live="polite">{escape(text)}</p>'

    def _uploaded(self, change: Any) -> None:
        from ..data import read_picture

        for file in change["new"]:
            try:
                self.show(read_picture(io.BytesIO(bytes(file["content"]))))
            except ValueError as fault:
                self.result.value = ""
                self._tell(f"That did not work: {str(fault).split(': ', 1)[-1]}")


def own_image(model: Any, path: str | os.PathLike[str] = "") -> OwnImage:
    """Show a button that takes a picture, and what ``model`` finds in it; with a ``path`` that picture at once.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is no picture.
    """
    return OwnImage(model, path)
