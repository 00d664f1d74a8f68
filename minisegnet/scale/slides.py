"""A slide on disk, of which a window is read at a time: Zarr, OME-Zarr, and TIFF pyramids."""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CURE = "Install it with `pip install minisegnet[scale]`."


@dataclass
class Slide:
    """A picture of (H, W, C) or (H, W) that lies on disk.

    Attributes
    ----------
    source : an array of Zarr's, which reads what is asked for
    axes : the letter of each of its axes: "y" and "x", "c" for channels; others have one place, the first
    scale : size of a pixel (y, x) in the file's own unit, 1 where it says nothing
    """

    path: str
    level: int
    source: Any
    axes: str
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        sizes = dict(zip(self.axes, self.source.shape, strict=True))
        return sizes["y"], sizes["x"], sizes.get("c", 1)

    def read(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the window (h, w, C) of these rows and columns; they may repeat and turn around, as mirrored borders do."""
        (top, bottom), (left, right) = (rows.min(), rows.max() + 1), (columns.min(), columns.max() + 1)
        place = {"y": slice(int(top), int(bottom)), "x": slice(int(left), int(right)), "c": slice(None)}
        window = np.asarray(self.source[tuple(place.get(axis, 0) for axis in self.axes)])
        kept = [axis for axis in self.axes if axis in "yxc"]
        window = window.transpose([kept.index(axis) for axis in "yxc" if axis in kept])  # -> (h, w, C) or (h, w)
        window = window[:, :, None] if window.ndim == 2 else window
        return window[(rows - top)[:, None], columns - left]


def open_slide(path: str | os.PathLike[str], level: int = 0) -> Slide:
    """Open a slide without reading it.

    Parameters
    ----------
    path : a Zarr array (H, W, C), (C, H, W) or (H, W); an OME-Zarr picture; or a TIFF, also a pyramid
    level : of a pyramid: 0 is the finest

    Raises
    ------
    FileNotFoundError, ValueError
        If there is none, or it is no picture of whole numbers from 0 to 255 in one or more channels.
    RuntimeError
        If Zarr or tifffile are missing; the message says what to install.
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"there is no slide {str(path)!r}")
    slide = _open_tiff(place, level) if place.is_file() else _open_zarr(place, level)
    if slide.source.dtype != np.uint8:
        raise ValueError(f"{path}: a slide must hold uint8, 0 to 255, got {slide.source.dtype}; convert it first")
    if 0 in slide.shape:
        raise ValueError(f"{path}: the slide is empty, its shape is {slide.shape}")
    return slide


def _open_zarr(path: Path, level: int) -> Slide:
    zarr = _import("zarr")
    try:
        node = zarr.open(str(path), mode="r")
    except Exception as error:  # every version raises its own
        raise ValueError(
            f"{path}: no Zarr array or picture can be read there ({type(error).__name__}: {error})"
        ) from error
    if hasattr(node, "shape"):
        if level:
            raise ValueError(f"{path}: level {level} was asked for, but this is a single array")
        return Slide(str(path), 0, node, _plain_axes(path, node.shape))
    scales = (node.attrs.get("ome", {}) or node.attrs).get("multiscales")
    if not scales:
        raise ValueError(
            f"{path}: this Zarr group has no 'multiscales', so it is no OME-Zarr picture; name an array in it"
        )
    datasets = scales[0]["datasets"]
    if not 0 <= level < len(datasets):
        raise ValueError(f"{path}: level must lie between 0 and {len(datasets) - 1}, got {level}")
    axes = "".join(a["name"] if isinstance(a, dict) else a for a in scales[0].get("axes", "tczyx"))
    source = node[datasets[level]["path"]]
    if len(axes) != source.ndim or not {"y", "x"} <= set(axes):
        raise ValueError(f"{path}: its axes {axes!r} do not fit its shape {source.shape}")
    transforms = datasets[level].get("coordinateTransformations", [])
    sizes = next((t["scale"] for t in transforms if t.get("type") == "scale"), [1.0] * source.ndim)
    return Slide(str(path), level, source, axes, (float(sizes[axes.index("y")]), float(sizes[axes.index("x")])))


def _open_tiff(path: Path, level: int) -> Slide:
    tifffile, zarr = _import("tifffile"), _import("zarr")
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            if not 0 <= level < len(series.levels):
                raise ValueError(f"{path}: level must lie between 0 and {len(series.levels) - 1}, got {level}")
            axes = series.levels[level].axes.lower().replace("s", "c")
    except tifffile.TiffFileError as error:
        raise ValueError(f"{path}: this is no TIFF ({error}); slides are TIFF or Zarr") from error
    if not {"y", "x"} <= set(axes) or axes.count("c") > 1:
        raise ValueError(f"{path}: its axes {axes!r} are none of a picture")
    store = tifffile.imread(path, aszarr=True, level=level)
    slide = Slide(str(path), level, zarr.open(store, mode="r"), axes)
    weakref.finalize(slide, store.close)  # the file stays open as long as somebody may read from it
    return slide


def _plain_axes(path: Path, shape: tuple[int, ...]) -> str:
    """Return which axis is which of an array that does not say: few channels come first or last."""
    if len(shape) == 2:
        return "yx"
    if len(shape) == 3 and shape[-1] <= 4:
        return "yxc"
    if len(shape) == 3 and shape[0] <= 4:
        return "cyx"
    raise ValueError(f"{path}: an array must be (H, W), (H, W, C) or (C, H, W) with at most 4 channels, got {shape}")


def _import(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise RuntimeError(f"slides need the package {name}, which is not installed. {CURE}") from error
