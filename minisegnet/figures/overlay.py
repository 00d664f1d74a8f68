"""Input, map, overlay with legend, error map: what a segmentation looks like, and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .colors import ERROR_STYLES, UNLABELLED, class_colors, rgb, text_color
from .raster import as_image, as_labels, boundary, enlarge, error_counts, error_image, overlay_image, unlabelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .picture import Picture

_HATCHES = {"solid": "", "diagonal": "///", "dots": "..", "bars": "---"}
_MOST_CLASSES_NAMED = 12  # a map with more labels is one of instances: no legend


def gallery(
    images: Sequence[Any],
    titles: Sequence[str] = (),
    captions: Sequence[str] = (),
    *,
    columns: int | None = None,
    width: float = 12.0,
) -> Picture:
    """Show images side by side, each with a title above and a caption below; ``columns`` starts a new row.

    Parameters
    ----------
    images : sequence of images
        Any forms that ``as_image`` reads.
    titles, captions : sequences of str
        One for each image, or none at all.
    columns : int, optional
        How many in a row; by default up to four.
    width : float
        Width of the whole figure in inches.
    """
    pictures = [as_image(image, f"images[{i}]") for i, image in enumerate(images)]
    if not pictures:
        raise ValueError("images is empty: there is nothing to show")
    for name, texts in (("titles", titles), ("captions", captions)):
        if texts and len(texts) != len(pictures):
            raise ValueError(f"{name} must hold one text for each of {len(pictures)} images, got {len(texts)}")
    figure, axes = _panels([p.shape[:2] for p in pictures], columns, width, bool(titles), 1 if captions else 0)
    for i, (ax, picture) in enumerate(zip(axes, pictures, strict=True)):
        _draw(ax, enlarge(picture, _scale(picture, len(pictures))), titles[i] if titles else "")
        if captions:
            ax.set_xlabel(captions[i], fontsize=13)
    names = ", ".join(f"“{title}”" for title in titles) if titles else _size(pictures[0])
    figure.twin = (
        f"{len(pictures)} image{'s' * (len(pictures) > 1)}: {names}"
        + (f" ({'; '.join(captions)})" if captions else "")
        + "."
    )
    return figure


def overlay(
    image: Any,
    labels: Any,
    classes: Sequence[str] | None = None,
    alpha: float = 0.45,
    outline: bool = True,
    *,
    colors: Sequence[str] | None = None,
    ignore_index: int = 255,
    title: str = "",
    width: float = 6.0,
) -> Picture:
    """Show a label map laid over its image, with a legend.

    Parameters
    ----------
    image : (H, W, 3), (3, H, W) or (H, W), uint8 or float from 0 to 1
        The picture.
    labels : (H, W) integers
        A class per pixel, 0 is background; or an instance number per pixel (then without a legend).
    classes : sequence of str, optional
        The names of the classes, background included.
    alpha : float
        How strong the tint is, from 0 to 1.
    outline : bool
        Whether each region gets an outline in full colour.
    """
    picture = as_image(image)
    truth = as_labels(labels, like=picture)
    figure, (ax,) = _panels([picture.shape[:2]], 1, width, bool(title), 2)
    scale = _scale(picture, 2)
    pixels = overlay_image(
        picture, truth, alpha=alpha, outline=outline, colors=colors, ignore_index=ignore_index, scale=scale
    )
    _draw(ax, pixels, title)
    _legend(ax, label_legend(truth, classes, colors, ignore_index))
    figure.twin = f"Overlay of {_size(picture)}: {_shares(truth, classes, ignore_index)}."
    return figure


def error_map(
    image: Any, target: Any, prediction: Any, *, ignore_index: int = 255, title: str = "errors", width: float = 6.0
) -> Picture:
    """Show where a prediction is right and wrong, by colour and by pattern, with the counts and the Dice score."""
    picture = as_image(image)
    figure, (ax,) = _panels([picture.shape[:2]], 1, width, bool(title), 3)
    counts = _error_panel(ax, picture, target, prediction, ignore_index, title, 2)
    figure.twin = f"Errors on {_size(picture)}: {_count_text(counts, picture.shape[0] * picture.shape[1])}."
    return figure


def show(
    image: Any,
    target: Any,
    prediction: Any = None,
    classes: Sequence[str] | None = None,
    *,
    alpha: float = 0.45,
    colors: Sequence[str] | None = None,
    ignore_index: int = 255,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    width: float = 13.0,
) -> Picture:
    """Show input, map and overlay side by side; with a prediction, its overlay and its error map instead.

    Parameters
    ----------
    image, target : see ``overlay``
        ``target`` is the map drawn by people, (H, W) integers.
    prediction : (H, W) integers, optional
        The map computed. The panels are then: input, target, prediction over the input, errors.
    classes : sequence of str, optional
        Names for the legend, background included.
    """
    picture = as_image(image)
    truth = as_labels(target, "target", like=picture)
    guess = None if prediction is None else as_labels(prediction, "prediction", like=picture)
    count = 3 if guess is None else 4
    names = titles or (("input", "map", "overlay") if guess is None else ("input", "target", "prediction", "errors"))
    if len(names) != count:
        raise ValueError(f"titles must hold {count} texts, got {len(names)}")
    figure, axes = _panels([picture.shape[:2]] * count, columns, width, True, 3)
    scale = _scale(picture, count)
    _draw(axes[0], enlarge(picture, scale), names[0])
    axes[0].set_xlabel(f"{picture.shape[0]} × {picture.shape[1]} pixels", fontsize=13)
    _draw(axes[1], map_image(truth, colors, ignore_index, scale), names[1])
    _name_regions(axes[1], truth, classes, colors, ignore_index, scale)
    shown = truth if guess is None else guess
    pixels = overlay_image(picture, shown, alpha=alpha, colors=colors, ignore_index=ignore_index, scale=scale)
    _draw(axes[2], pixels, names[2])
    _legend(axes[2], label_legend(shown, classes, colors, ignore_index))
    if guess is None:
        figure.twin = f"{_size(picture).capitalize()}: {_shares(truth, classes, ignore_index)}."
    else:
        counts = _error_panel(axes[3], picture, truth, guess, ignore_index, names[3], count)
        shares = _shares(truth, classes, ignore_index)
        figure.twin = f"{_size(picture).capitalize()}, target {shares}: {_count_text(counts, picture.shape[0] * picture.shape[1])}."
    return figure


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
    if classes is None and len(present) > _MOST_CLASSES_NAMED:
        return {}
    palette = class_colors(max(present, default=0) + 1, colors)
    legend = {_class_name(k, classes): palette[k] for k in present}
    if missing.any():
        legend["unlabelled"] = UNLABELLED
    return legend


def _class_name(label: int, classes: Sequence[str] | None) -> str:
    if classes is None:
        return f"class {label}"
    if label >= len(classes):
        raise ValueError(f"labels hold class {label}, classes names only {len(classes)}: {list(classes)}")
    return classes[label]


def _error_panel(
    ax: Axes, picture: np.ndarray, target: Any, prediction: Any, ignore_index: int, title: str, count: int
) -> dict[str, float]:
    """Draw an error map into one panel, its legend carrying the counts; return the counts."""
    counts = error_counts(target, prediction, ignore_index)
    pixels = error_image(picture, target, prediction, ignore_index=ignore_index, scale=_scale(picture, count))
    _draw(ax, pixels, f"{title}: Dice {counts['Dice']:.3f}")
    present = [s for s in ERROR_STYLES if counts[s.short] or s.short != "wrong class"]
    entries = {f"{s.name} {int(counts[s.short]):,}": (s.color, _HATCHES[s.pattern]) for s in present}
    _legend(ax, entries)
    return counts


def _count_text(counts: Mapping[str, float], pixels: int) -> str:
    """Say the counts as shares: the twin is compared between machines, where one pixel may fall the other way."""
    kinds = {"TP": "found", "FP": "false alarms", "FN": "missed", "wrong class": "given a wrong class"}
    parts = [f"{100 * counts[k] / pixels:.1f}% {name}" for k, name in kinds.items() if k != "wrong class" or counts[k]]
    return f"{', '.join(parts)}, Dice {counts['Dice']:.2f}"


def _shares(labels: np.ndarray, classes: Sequence[str] | None, ignore_index: int) -> str:
    missing = unlabelled(labels, ignore_index)
    present = [int(k) for k in np.unique(labels[~missing]) if k != 0]
    if classes is None and len(present) > _MOST_CLASSES_NAMED:
        return f"{len(present)} instances on {100 * float((labels != 0).mean()):.1f}% of the pixels"
    parts = [f"{_class_name(k, classes)} {100 * float((labels == k).mean()):.1f}%" for k in present]
    if missing.any():
        parts.append(f"unlabelled {100 * float(missing.mean()):.1f}%")
    return ", ".join(parts) or "background only"


def _size(picture: np.ndarray) -> str:
    return f"an image of {picture.shape[0]} × {picture.shape[1]} pixels"


def _scale(picture: np.ndarray, panels: int) -> int:
    """Return how often to repeat each pixel, so that patterns and outlines are drawn finer than the pixels."""
    return max(1, min(40, round((1200 / max(2, min(panels, 4)) + 100) / max(picture.shape[:2]))))


def _panels(
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


def _draw(ax: Axes, pixels: np.ndarray, title: str) -> None:
    ax.imshow(pixels)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_anchor("N")
    for spine in ax.spines.values():
        spine.set_edgecolor("#BBBBBB")
    if title:
        ax.set_title(title, fontsize=16)


def _legend(ax: Axes, entries: Mapping[str, Any]) -> None:
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


def _name_regions(
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
        name = _class_name(k, classes).replace(" ", "\n")
        ax.text(*place, name, ha="center", va="center", fontsize=12, color=text_color(palette[k]), weight="bold")
