"""Masks for the Dice explorer: a target of some shape and size, and a prediction that is moved, grown or widened."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

FIELD = 28  # pixels along the image's side
SHAPES = ("disk", "square", "four nuclei", "nothing")
OBJECTS = tuple(range(1, 17))


class Edit(NamedTuple):
    """What happened to the mask: moved right and down, grown all around, widened to the right; in pixels."""

    dx: int = 0
    dy: int = 0
    grow: int = 0
    wider: int = 0


class Counts(NamedTuple):
    """Pixels of a mask X against a target Y: true positives, false positives, false negatives, and all of the image."""

    found: int
    alarm: int
    missed: int
    pixels: int

    @property
    def mask(self) -> int:
        """The size of X."""
        return self.found + self.alarm

    @property
    def target(self) -> int:
        """The size of Y."""
        return self.found + self.missed

    @property
    def accuracy(self) -> float:
        """The share of pixels that are right, background and all."""
        return (self.pixels - self.alarm - self.missed) / self.pixels


@lru_cache(maxsize=512)
def _stamp(side: int, square: bool, wider: int) -> np.ndarray:
    """Return a square, or the disk in it, drawn out to the right: bool (side, side + wider), none of no side."""
    twice = 2 * np.arange(side) + 1 - side  # twice the distance from the middle
    one = (np.add.outer(twice**2, twice**2) <= side * side) | square
    return np.maximum.reduce([np.pad(one, ((0, 0), (shift, wider - shift))) for shift in range(wider + 1)])


def _put(image: np.ndarray, top: int, left: int, stamp: np.ndarray) -> None:
    """Set the stamp's pixels to True; what is outside of the image is lost."""
    cut = stamp[max(0, -top) :, max(0, -left) :]
    part = image[max(0, top) : top + len(stamp), max(0, left) : left + stamp.shape[1]]
    part |= cut[: part.shape[0], : part.shape[1]]


UNEDITED = Edit()


@lru_cache(maxsize=4096)
def make_mask(shape: str, size: int, edit: Edit = UNEDITED, field: int = FIELD) -> np.ndarray:
    """Return a mask, bool (field, field): ``size`` pixels across, in the middle, then edited. The target is unedited."""
    image = np.zeros((field, field), bool)
    middle = (field - size) // 2
    if shape == "four nuclei":  # in the corners of the same box, with a gap between them
        side = max(1, (size - 2) // 2)
        far = max(size - side, side + 1)
        places = [(0, 0), (0, far), (far, 0), (far, far)]
    else:
        side, places = size, [(0, 0)]
    stamp = _stamp(max(0, side + 2 * edit.grow), shape == "square", edit.wider)
    for y, x in places:
        _put(image, middle + y + edit.dy - edit.grow, middle + x + edit.dx - edit.grow, stamp)
    image.flags.writeable = False
    return image


def both_sets(shape: str, size: int, edit: Edit, field: int = FIELD) -> tuple[np.ndarray, np.ndarray]:
    """Return the edited mask and the target; the target of shape "nothing" is empty, its mask a disk."""
    mask = make_mask(shape, size, edit, field)
    return mask, make_mask(shape, size, UNEDITED, field) if shape != "nothing" else np.zeros_like(mask)


@lru_cache(maxsize=4096)
def count(shape: str, size: int, edit: Edit, field: int = FIELD) -> Counts:
    """Return how many pixels are right and wrong."""
    mask, target = both_sets(shape, size, edit, field)
    found = int(np.count_nonzero(mask & target))
    return Counts(found, int(mask.sum()) - found, int(target.sum()) - found, mask.size)


@lru_cache(maxsize=1024)
def by_size(shape: str, edit: Edit) -> tuple[float, ...]:
    """Return the Dice of the same edit for objects of every size; the image is as large as it must be."""
    counts = [count(shape, size, edit, 64) for size in OBJECTS]
    return tuple(2 * c.found / (c.mask + c.target) for c in counts)
