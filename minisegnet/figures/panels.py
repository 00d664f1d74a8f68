"""The parts of a figure: panels in rows, a picture in one of them, a legend below, the names of classes on a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .colors import UNLABELLED, class_colors, rgb, text_color
from .raster import as_labels, boundary, enlarge, unlabelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MOST_CLASSES_NAMED = 12  # a map with more labels is one of instances: no legend


def make_panels(
    shapes: Sequence[tuple[int, int]], columns: int | None, width: float, title: bool, lines_below: int
) -> tuple[Any, list[Axes]]:
    """Make a figure with one axes per picture, its height such that pictures touch neither texts nor each other."""
    from .picture import new_picture

    columns = min(columns or 4, len(shapes))
    rows = -(-len(shapes) // columns)
    side = width / columns
    height = max(h / w for h, w in shapes) * (side - 0.15) + 0.42 * title + 0.34 * lines_below + 0.1
    figure = new_picture(width, rows * height)
    grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for ax in grid[len(shapes) :]:
        ax.set_visible(False)
    return figure, list(grid[: len(shapes)])


def fine_scale(picture: np.ndarray, panels: int) -> int:
    """Return how often to repeat each pixel, so that patterns and outlines are drawn finer than the pixels."""
    return max(1, min(40, round((1200 / max(2, min(panels, 4)) + 100) / max(picture.shape[:2]))))


def draw_panel(ax: Axes, pixels: np.ndarray, title: str) -> None:
    """Put a picture (H, W, 3) into an axes, without ticks, with a title above."""
    ax.imshow(pixels)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_anchor("N")
    for spine in ax.spines.values():
        spine.set_edgecolor("#BBBBBB")
    if title:
        ax.set_title(title, fontsize=16)


def legend_below(ax: Axes, entries: Mapping[str, Any]) -> None:
    """Put coloured boxes with names under a panel; a value is a colour, or a colour and a hatch."""
    from matplotlib.patches import Patch

    if not entries:
        return
    boxes = []
    for name, style in entries.items():
        color, hatch = (style, "") if isinstance(style, str) else style
        boxes.append(Patch(facecolor=color, edgecolor="#333333", hatch=hatch, label=name, linewidth=0.8))
    ax.legend(
        handles=boxes,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=1 if len(boxes) <= 4 else 2,
        frameon=False,
        fontsize=13,
        handlelength=1.6,
        handleheight=1.1,
        borderaxespad=0.2,
        labelspacing=0.3,
        columnspacing=1.0,
    )


def map_image(labels: Any, colors: Sequence[str] | None = None, ignore_index: int = 255, scale: int = 1) -> np.ndarray:
    """Return a label map as flat colours, uint8 (H * scale, W * scale, 3), regions outlined in a darker tone."""
    truth = enlarge(as_labels(labels), scale)
    missing = unlabelled(truth, ignore_index)
    inside = np.where(missing, 0, truth)
    palette = np.array([rgb(c) for c in class_colors(int(inside.max()) + 1, colors)], dtype=np.uint8)
    canvas = palette[inside]
    canvas[missing] = rgb(UNLABELLED)
    edge = boundary(truth, max(1, scale // 3)) & (truth != 0)
    canvas[edge] = (canvas[edge] * 0.55).astype(np.uint8)
    return canvas


def label_legend(
    labels: np.ndarray,
    classes: Sequence[str] | None = None,
    colors: Sequence[str] | None = None,
    ignore_index: int = 255,
) -> dict[str, str]:
    """Return name -> colour for the classes present, in their order; empty for a map of many instances.

    Background is left out: the overlay does not paint it.
    """
    missing = unlabelled(labels, ignore_index)
    present = [int(k) for k in np.unique(labels[~missing]) if k != 0]
    if classes is None and len(present) > MOST_CLASSES_NAMED:
        return {}
    palette = class_colors(max(present, default=0) + 1, colors)
    legend = {class_name(k, classes): palette[k] for k in present}
    if missing.any():
        legend["unlabelled"] = UNLABELLED
    return legend


def name_regions(
    ax: Axes,
    labels: np.ndarray,
    classes: Sequence[str] | None,
    colors: Sequence[str] | None,
    ignore_index: int,
    scale: int,
) -> None:
    """Write each class's name onto the map, in the middle of its pixels, so that colour is not alone."""
    present = [int(k) for k in np.unique(labels) if k != ignore_index]
    if classes is None or len(present) < 3:
        return
    palette = class_colors(max(present) + 1, colors)
    for k in present:
        rows, cols = np.nonzero(labels == k)
        if k == 0 or len(rows) < 0.004 * labels.size:
            continue
        middle = np.array([np.median(rows), np.median(cols)])
        nearest = int(((np.stack([rows, cols], axis=1) - middle) ** 2).sum(axis=1).argmin())
        place = (cols[nearest] + 0.5) * scale, (rows[nearest] + 0.5) * scale
        name = class_name(k, classes).replace(" ", "\n")
        ax.text(*place, name, ha="center", va="center", fontsize=12, color=text_color(palette[k]), weight="bold")


def class_name(label: int, classes: Sequence[str] | None) -> str:
    """Return what a class is called; ``ValueError`` where the names given do not reach that far."""
    if classes is None:
        return f"class {label}"
    if label >= len(classes):
        raise ValueError(f"labels hold class {label}, classes names only {len(classes)}: {list(classes)}")
    return classes[label]
