"""Fields of view: which tiles were cut from one field, and folds that never divide a field.

A microscope takes large fields; data sets cut them into tiles. Two tiles of one field show the same patient, the same
stain and the same light, often the two halves of one nucleus: if one is trained on and the other judged, the figure
says nothing about new patients. So we split by field, never by tile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

SEAM_RATIO = 1.8  # a seam is a join where its step is below this many times the step inside the two images


def split_by_field(fields: Sequence | np.ndarray, folds: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return ``folds`` pairs (train index, test index) in which no field stands on both sides.

    The rule, fixed and without a seed: write each field's name as text, order the fields by the SHA-256 of that text,
    deal them out to the folds in turn. So the folds are the same for everybody on every machine, no fold is empty, and
    the numbers of fields differ by at most one. (The hash decides the order because tiles of one study often stand
    beside one another.)

    Parameters
    ----------
    fields
        (N,) a name or number per image, such as ``nuclei.fields``.
    folds
        Number of folds, at least 2 and at most the number of fields.

    Raises
    ------
    ValueError
        If ``fields`` is not one-dimensional or has fewer different values than ``folds``.
    """
    fields = np.asarray(fields)
    if fields.ndim != 1 or fields.dtype.kind not in "iuSU":
        raise ValueError(
            f"fields must be one-dimensional, integers or text, one per image; got {fields.dtype} {fields.shape}"
        )
    names = [str(name) for name in np.unique(fields)]
    if not 2 <= folds <= len(names):
        raise ValueError(
            f"folds must be from 2 to the number of fields; got {folds} for {len(names)} fields of {len(fields)} images"
        )
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    fold_of = {name: place % folds for place, name in enumerate(ordered)}
    fold = np.array([fold_of[str(name)] for name in fields])
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]


def find_fields(images: Sequence[np.ndarray] | np.ndarray, ratio: float = SEAM_RATIO) -> np.ndarray:
    """Return the field of each image, found from seams: int32 (N,), numbered in the order of first appearance.

    Two tiles are neighbours where the last column of one continues in the first column of the other (or row, for
    tiles one above the other): the mean step across the seam, in grey levels, is less than ``ratio`` times the mean
    step between neighbouring columns inside the two images, and each is the other's best on that side. Tiles joined by
    neighbours, directly or over others, make a field. Only images of one size are compared.

    The test errs to both sides. Dark edges (fluorescence) continue in any other dark edge; an out-of-focus or torn
    field may not be recognized: look at what it found, and where the source names its fields use those.

    Parameters
    ----------
    images
        (N, H, W, 3), or a sequence of (H, W, 3) of any sizes; uint8.
    """
    pictures = [np.asarray(image) for image in images]
    parent = list(range(len(pictures)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, picture in enumerate(pictures):
        if picture.ndim not in (2, 3) or min(picture.shape[:2]) < 2:
            raise ValueError(f"images[{i}] must be (H, W) or (H, W, C), at least 2 pixels wide; got {picture.shape}")
        by_shape.setdefault(picture.shape, []).append(i)
    for members in by_shape.values():
        for axis in (0, 1):
            for a, b in _seams([pictures[i] for i in members], axis, ratio):
                parent[root(members[a])] = root(members[b])
    roots = [root(i) for i in range(len(pictures))]
    number = {r: n for n, r in enumerate(dict.fromkeys(roots))}
    return np.array([number[r] for r in roots], dtype=np.int32)


def _seams(pictures: list[np.ndarray], axis: int, ratio: float) -> list[tuple[int, int]]:
    """Return pairs (a, b) where b continues a along ``axis`` (0: below it, 1: to its right)."""
    n = len(pictures)
    if n < 2:
        return []
    ends = np.stack([p.take(-1, axis).ravel() for p in pictures]).astype(np.float32)  # (n, L)
    starts = np.stack([p.take(0, axis).ravel() for p in pictures]).astype(np.float32)  # (n, L)
    inside = np.array([np.abs(np.diff(p.astype(np.float32), axis=axis)).mean() for p in pictures])
    step = np.stack([np.abs(end - starts).mean(axis=1) for end in ends])  # (n, n): from the end of a to the start of b
    np.fill_diagonal(step, np.inf)
    right, left = step.argmin(axis=1), step.argmin(axis=0)
    return [
        (a, int(b)) for a, b in enumerate(right) if left[b] == a and step[a, b] < ratio * 0.5 * (inside[a] + inside[b])
    ]
