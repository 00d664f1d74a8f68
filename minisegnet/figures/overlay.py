"""Input, map, overlay with legend, error map: what a segmentation looks like, and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .colors import ERROR_STYLES
from .panels import (
    MOST_CLASSES_NAMED,
    class_name,
    draw_panel,
    fine_scale,
    label_legend,
    legend_below,
    make_panels,
    map_image,
    name_regions,
)
from .raster import as_image, as_labels, enlarge, error_counts, error_image, overlay_image, unlabelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .picture import Picture

_HATCHES = {"solid": "", "diagonal": "///", "dots": "..", "bars": "---"}


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
    figure, axes = make_panels([p.shape[:2] for p in pictures], columns, width, bool(titles), 1 if captions else 0)
    for i, (ax, picture) in enumerate(zip(axes, pictures, strict=True)):
        draw_panel(ax, enlarge(picture, fine_scale(picture, len(pictures))), titles[i] if titles else "")
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
    figure, (ax,) = make_panels([picture.shape[:2]], 1, width, bool(title), 2)
    scale = fine_scale(picture, 2)
    pixels = overlay_image(
        picture, truth, alpha=alpha, outline=outline, colors=colors, ignore_index=ignore_index, scale=scale
    )
    draw_panel(ax, pixels, title)
    legend_below(ax, label_legend(truth, classes, colors, ignore_index))
    figure.twin = f"Overlay of {_size(picture)}: {_shares(truth, classes, ignore_index)}."
    return figure


def error_map(
    image: Any, target: Any, prediction: Any, *, ignore_index: int = 255, title: str = "errors", width: float = 6.0
) -> Picture:
    """Show where a prediction is right and wrong, by colour and by pattern, with the counts and the Dice score."""
    picture = as_image(image)
    figure, (ax,) = make_panels([picture.shape[:2]], 1, width, bool(title), 3)
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
    figure, axes = make_panels([picture.shape[:2]] * count, columns, width, True, 3)
    scale = fine_scale(picture, count)
    draw_panel(axes[0], enlarge(picture, scale), names[0])
    axes[0].set_xlabel(f"{picture.shape[0]} × {picture.shape[1]} pixels", fontsize=13)
    draw_panel(axes[1], map_image(truth, colors, ignore_index, scale), names[1])
    name_regions(axes[1], truth, classes, colors, ignore_index, scale)
    shown = truth if guess is None else guess
    pixels = overlay_image(picture, shown, alpha=alpha, colors=colors, ignore_index=ignore_index, scale=scale)
    draw_panel(axes[2], pixels, names[2])
    legend_below(axes[2], label_legend(shown, classes, colors, ignore_index))
    if guess is None:
        figure.twin = f"{_size(picture).capitalize()}: {_shares(truth, classes, ignore_index)}."
    else:
        counts = _error_panel(axes[3], picture, truth, guess, ignore_index, names[3], count)
        shares = _shares(truth, classes, ignore_index)
        figure.twin = f"{_size(picture).capitalize()}, target {shares}: {_count_text(counts, picture.shape[0] * picture.shape[1])}."
    return figure


def _error_panel(
    ax: Axes, picture: np.ndarray, target: Any, prediction: Any, ignore_index: int, title: str, count: int
) -> dict[str, float]:
    """Draw an error map into one panel, its legend carrying the counts; return the counts."""
    counts = error_counts(target, prediction, ignore_index)
    pixels = error_image(picture, target, prediction, ignore_index=ignore_index, scale=fine_scale(picture, count))
    draw_panel(ax, pixels, f"{title}: Dice {counts['Dice']:.3f}")
    present = [s for s in ERROR_STYLES if counts[s.short] or s.short != "wrong class"]
    entries = {f"{s.name} {int(counts[s.short]):,}": (s.color, _HATCHES[s.pattern]) for s in present}
    legend_below(ax, entries)
    return counts


def _count_text(counts: Mapping[str, float], pixels: int) -> str:
    """Say the counts as shares: the twin is compared between machines, where one pixel may fall the other way."""
    kinds = {"TP": "found", "FP": "false alarms", "FN": "missed", "wrong class": "given a wrong class"}
    parts = [f"{100 * counts[k] / pixels:.1f}% {name}" for k, name in kinds.items() if k != "wrong class" or counts[k]]
    return f"{', '.join(parts)}, Dice {counts['Dice']:.2f}"


def _shares(labels: np.ndarray, classes: Sequence[str] | None, ignore_index: int) -> str:
    missing = unlabelled(labels, ignore_index)
    present = [int(k) for k in np.unique(labels[~missing]) if k != 0]
    if classes is None and len(present) > MOST_CLASSES_NAMED:
        return f"{len(present)} instances on {100 * float((labels != 0).mean()):.1f}% of the pixels"
    parts = [f"{class_name(k, classes)} {100 * float((labels == k).mean()):.1f}%" for k in present]
    if missing.any():
        parts.append(f"unlabelled {100 * float(missing.mean()):.1f}%")
    return ", ".join(parts) or "background only"


def _size(picture: np.ndarray) -> str:
    return f"an image of {picture.shape[0]} × {picture.shape[1]} pixels"
