"""The pictures that a training monitor watches: predicted, scored, and laid side by side with image and target."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..figures.raster import as_image, overlay_image

if TYPE_CHECKING:
    from ..nn import Module


def predicted_labels(model: Module, images: np.ndarray) -> np.ndarray:
    """Return the label maps (N, H, W) that a model gives, on whatever device it is."""
    from ..arrays import to_device
    from ..autograd import Tensor
    from ..metrics import labels_of
    from ..models.sliding_window import predicting

    with predicting(model):
        return to_device(labels_of(model(Tensor(to_device(images, model.device)))), "cpu")


def dice_of_pictures(labels: np.ndarray, targets: np.ndarray | None) -> float:
    """Return the Dice of all pixels together, the mean over the classes but 0 that occur; NaN where nothing is to compare."""
    if targets is None:
        return math.nan
    labels, targets, known = comparable(labels, targets)
    scores = []
    for label in range(1, int(max(labels.max(), targets[known].max(initial=0))) + 1):
        guess, truth = (labels == label) & known, targets == label
        both = int(guess.sum()) + int(truth.sum())
        scores += [2 * int((guess & truth).sum()) / both] if both else []
    return float(np.mean(scores)) if scores else math.nan


def comparable(labels: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both maps in the size that they share, and where the target is known."""
    size = tuple(min(a, b) for a, b in zip(labels.shape[1:], targets.shape[1:], strict=True))
    targets = middle(targets, size, first=1)
    return middle(labels, size, first=1), targets, targets != 255


def middle(array: np.ndarray, size: tuple[int, ...], first: int = 0) -> np.ndarray:
    """Return the middle ``size`` of two axes: a net without padding sees less than it was given."""
    top, left = ((array.shape[first + k] - size[k]) // 2 for k in (0, 1))
    return array[(slice(None),) * first + (slice(top, top + size[0]), slice(left, left + size[1]))]


def viewable(image: np.ndarray) -> np.ndarray:
    """Return an input of a network (C, H, W) as a picture uint8 (H, W, 3), stretched to 0..1 where it was normalized."""
    image = image[:3] if len(image) >= 3 else image[:1]
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        image = (image - low) / max(high - low, 1e-9)
    return as_image(np.clip(image, 0, 1).transpose(1, 2, 0))


def jpeg(pixels: np.ndarray) -> bytes:
    """Return pixels (H, W, 3), enlarged to what a screen shows, as the bytes of a JPEG file."""
    from PIL import Image

    scale = max(1, round(640 / max(pixels.shape)))
    buffer = io.BytesIO()
    Image.fromarray(pixels.repeat(scale, 0).repeat(scale, 1)).save(buffer, format="JPEG", quality=85, subsampling=0)
    return buffer.getvalue()


def shown_width(count: int) -> int:
    """Return how wide the pictures are shown: three rows of them are as high as the curves."""
    return {1: 400, 2: 360}.get(count, 340)


def dice_formula(labels: np.ndarray | None, targets: np.ndarray | None, score: float) -> str:
    """Return the Dice of the pictures with its numbers in it, where there is one class beside the background."""
    if labels is None or targets is None or not math.isfinite(score):
        return ""
    labels, targets, known = comparable(labels, targets)
    if max(labels.max(), targets[known].max(initial=0)) > 1:
        return "<p>Dice = 2·|X∩Y| / (|X| + |Y|), X predicted and Y target, the mean over the classes</p>"
    found, guessed, wanted = (
        int((k & known).sum()) for k in ((labels == 1) & (targets == 1), labels == 1, targets == 1)
    )
    return (
        "<p>Dice of the pictures = 2·|X∩Y| / (|X| + |Y|) = "
        f"2·{found:,} / ({guessed:,} + {wanted:,}) = {score:.3f}, X predicted and Y target</p>"
    )


def mosaic(views: Sequence[np.ndarray], targets: np.ndarray | None, labels: np.ndarray | None) -> np.ndarray:
    """Return the pictures (H, W, 3): a row each with the image, its target where given, and the prediction over it."""
    rows = []
    for index, view in enumerate(views):
        maps = [] if targets is None else [targets[index]]
        maps.append(np.zeros(view.shape[:2], int) if labels is None else labels[index])
        size = tuple(min(sides) for sides in zip(view.shape[:2], *(m.shape for m in maps), strict=True))
        tiles = [middle(view, size)] + [overlay_image(middle(view, size), middle(m, size)) for m in maps]
        rows.append(np.concatenate([np.pad(t, ((2, 2), (2, 2), (0, 0)), constant_values=255) for t in tiles], axis=1))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    return np.concatenate(rows)
