"""Augmentation: images and their maps moved together, images alone recoloured; every draw from a given generator.

Each function takes an image (H, W, 3) uint8, where it moves things the maps that belong to it, and a NumPy generator;
it returns new arrays (or views) and never writes to its input. Maps are sampled at the nearest pixel, so that they
never get a value that they had not.

Optical density is where stains are linear (Beer and Lambert): light that passes two layers of stain is multiplied
twice, so the logarithms add.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..shapes import SizeLike, pair

# Absorption of red, green and blue by haematoxylin and eosin, and the remaining direction; Ruifrok and Johnston (2001).
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)
UNMIX = np.linalg.inv(STAINS)

BEND_REACH = 24  # pixels; nine displacements in ten of the default elastic() are smaller along both axes

Maps = tuple[np.ndarray, ...]


def augment(
    image: np.ndarray,
    *maps: np.ndarray,
    rng: np.random.Generator,
    crop: SizeLike | None = None,
    flip: bool = True,
    colour: str | None = "auto",
    elastic_chance: float = 0.0,
    eosin_chance: float = 0.5,
) -> tuple[np.ndarray, ...]:
    """Return one random variant of an image and of its maps.

    In this order: a random crop, elastic deformation with probability ``elastic_chance``, one of the eight flips and
    turns, colour.

    Parameters
    ----------
    image
        uint8 (H, W, 3).
    *maps
        Labels, masks or weights, (H, W) each.
    rng
        The source of all chance; the same state gives the same result.
    crop
        Size of the crop, or None for the whole. A picture that is too small is mirrored at its edges.
    flip
        Whether to flip and turn; without a crop an oblong picture is only flipped, so that its size stays.
    colour
        "stain" (``jitter_stain``), "light" (``adjust_light``), None, or "auto": stain where the image is bright (its
        median is 128 or more), light where it is dark.
    elastic_chance
        Probability of ``elastic``; the U-Net paper calls it the key to training with few images.
    eosin_chance
        Probability of ``add_eosin``, where the colour is "stain".
    """
    image, maps = _checked(image, maps)
    if colour not in ("auto", "stain", "light", None):
        raise ValueError(f'colour must be "auto", "stain", "light" or None, got {colour!r}')
    bend = elastic_chance > 0 and rng.random() < elastic_chance
    reach = BEND_REACH if bend and crop is not None else 0  # what bending pulls in from around the crop
    if crop is not None:
        h, w = pair(crop, "crop", minimum=1)
        image, *moved = random_crop(image, *maps, rng=rng, size=(h + 2 * reach, w + 2 * reach))
        maps = tuple(moved)
    if bend:
        image, *moved = elastic(image, *maps, rng=rng, trim=reach)
        maps = tuple(moved)
    if flip:
        square = image.shape[0] == image.shape[1]
        image, *moved = dihedral(image, *maps, which=int(rng.integers(8 if square else 4)))
        maps = tuple(moved)
    if colour == "auto":
        colour = "stain" if np.median(image[::4, ::4]) >= 128 else "light"
    if colour is not None:
        image = (jitter_stain if colour == "stain" else adjust_light)(image, rng)
    if colour == "stain" and eosin_chance > 0 and rng.random() < eosin_chance:
        image = add_eosin(image, rng)
    return (image, *maps)


def dihedral(*arrays: np.ndarray, which: int) -> tuple[np.ndarray, ...]:
    """Return views of arrays (H, W, ...) under one of the eight symmetries of the square.

    ``which`` 0 to 7 in bits: 1 flips left and right, 2 flips up and down, 4 swaps rows and columns (after the flips).
    0 is the identity, 3 a half turn, 5 and 6 quarter turns.
    """
    if which not in range(8):
        raise ValueError(f"which must be 0 to 7, got {which!r}")
    moved = []
    for array in arrays:
        view = array[:: -1 if which & 2 else 1, :: -1 if which & 1 else 1]
        moved.append(view.swapaxes(0, 1) if which & 4 else view)
    return tuple(moved)


def random_crop(
    image: np.ndarray, *maps: np.ndarray, rng: np.random.Generator, size: SizeLike
) -> tuple[np.ndarray, ...]:
    """Return a window of ``size`` (height, width) at a random place; what is too small is mirrored at its edges."""
    image, maps = _checked(image, maps)
    (h, w), (height, width) = pair(size, "size", minimum=1), image.shape[:2]
    top, left = (int(rng.integers(max(have - need, 0) + 1)) for have, need in ((height, h), (width, w)))
    if h <= height and w <= width:
        return tuple(array[top : top + h, left : left + w] for array in (image, *maps))
    rows, columns = mirrored(np.arange(top, top + h), height), mirrored(np.arange(left, left + w), width)
    return tuple(array[rows[:, None], columns] for array in (image, *maps))


def mirrored(index: np.ndarray, n: int) -> np.ndarray:
    """Return positions on a line of ``n`` pixels mirrored at both ends without repeating the edge: -1 is 1, n is n-2.

    Works at any distance (the mirror images repeat with period 2n - 2), where ``numpy.pad`` would need the padded copy.
    """
    if n == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * n - 2)
    return np.where(index < n, index, 2 * n - 2 - index)


def jitter_stain(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Return the slide as another laboratory might have stained and scanned it; uint8 (H, W, 3).

    The amounts of haematoxylin, eosin and the rest vary by 20% times ``strength``, each with a small shift, the light
    of the three channels by 5%. Worked in optical density, as Tellez et al. (2018) do.
    """
    gain = 1 + strength * rng.normal(0, (0.2, 0.2, 0.1))
    shift = strength * rng.normal(0, (0.03, 0.03, 0.01))
    light = strength * rng.normal(0, 0.05, size=3)
    # one affine map of the densities: unmix the stains, scale and shift each, mix again
    matrix = (UNMIX * np.clip(gain, 0.2, 3.0)) @ STAINS
    offset = shift @ STAINS - light
    density = _DENSITY[image].reshape(-1, 3) @ matrix.astype(np.float32)
    density += offset.astype(np.float32)
    np.negative(density, out=density)
    np.exp(density, out=density)
    density *= 255
    np.clip(density, 0, 255, out=density)
    return np.rint(density, out=density).astype(np.uint8).reshape(image.shape)


def add_eosin(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Return the slide with clouds of eosin over it, between pale pink and red; uint8 (H, W, 3).

    Laboratories differ more in eosin than in anything else, and some slides have hardly any. A network that learned from
    those takes red tissue for nuclei, unless it has seen that eosin, which leaves red light alone, means nothing.
    """
    absorption = rng.uniform((0.05, 0.7, 0.1), (0.35, 1.3, 0.4)).astype(np.float32)  # of red, green and blue
    clouds = between(rng.normal(rng.uniform(-0.3, 0.6), 0.5, size=(5, 5)), image.shape[:2])
    amount = strength * np.maximum(clouds, 0).astype(np.float32)
    return np.rint(image * np.exp(-amount[..., None] * absorption)).astype(np.uint8)


_DENSITY = -np.log(np.maximum(np.arange(256), 1) / 255).astype(np.float32)  # of a grey level; 0 counts as 1


def adjust_light(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Return a fluorescence image under another exposure, background and gamma; uint8 (H, W, 3), all channels alike."""
    gain = np.exp(strength * rng.normal(0, 0.35))
    gamma = np.exp(strength * rng.normal(0, 0.15))
    shift = strength * rng.normal(0, 6)
    levels = 255 * (np.arange(256) / 255) ** gamma * gain + shift
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)[image]


def elastic(
    image: np.ndarray, *maps: np.ndarray, rng: np.random.Generator, sigma: float = 10.0, grid: int = 3, trim: int = 0
) -> tuple[np.ndarray, ...]:
    """Bend the image and its maps as rubber; U-Net paper, section 3.1.

    Random displacement vectors on a coarse ``grid`` x ``grid`` over the picture, Gaussian with a standard deviation of
    ``sigma`` pixels; the displacement of each pixel by bicubic interpolation; the image bilinearly, maps at the nearest
    pixel; mirrored beyond the edges. ``trim`` pixels on each side lend what lies around, and are not returned.
    """
    image, maps = _checked(image, maps)
    height, width = image.shape[:2]
    coarse = rng.normal(0, sigma, size=(2, grid, grid))
    dy, dx = between(coarse, (height, width))
    kept = slice(trim, height - trim), slice(trim, width - trim)
    y, x = (np.arange(height)[:, None] + dy)[kept], (np.arange(width) + dx)[kept]
    near = mirrored(np.rint(y).astype(np.intp), height) * width + mirrored(np.rint(x).astype(np.intp), width)
    return (_bilinear(image, y, x), *(array.reshape(height * width, *array.shape[2:])[near] for array in maps))


def between(coarse: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return (..., H, W): values between the points of ``coarse`` (..., g, g'), which are spread over ``size``.

    Bicubic (Keys, 1981, a = -1/2): four taps along the columns, then four along the rows; beyond the grid its edge
    values go on.
    """
    for axis, n in ((-2, size[0]), (-1, size[1])):
        points = coarse.shape[axis]
        if points < 2:
            raise ValueError(f"grid must be at least 2 points a side, got {points}")
        place = np.linspace(0, points - 1, n)
        first = np.minimum(place.astype(np.intp), points - 2)
        t = (place - first)[:, None] if axis == -2 else place - first
        taps = (
            ((-0.5 * t + 1) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1,
            ((-1.5 * t + 2) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        )
        coarse = sum(
            coarse.take(np.clip(first + k, 0, points - 1), axis=axis) * tap
            for k, tap in zip((-1, 0, 1, 2), taps, strict=True)
        )
    return coarse


def _bilinear(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sample (H, W, C) at real positions y, x (h, w), mirrored at the edges; the type stays."""
    height, width, channels = image.shape
    top, left = np.floor(y), np.floor(x)
    fy, fx = (y - top).astype(np.float32), (x - left).astype(np.float32)
    top, left = top.astype(np.intp), left.astype(np.intp)
    rows = mirrored(top, height) * width, mirrored(top + 1, height) * width
    columns = mirrored(left, width), mirrored(left + 1, width)
    corners = [(r + c) for r in rows for c in columns]  # places in the flat plane: upper left, right, lower left, right
    shares = (1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx
    result = np.empty((*y.shape, channels), dtype=image.dtype)
    for channel in range(
        channels
    ):  # one plane at a time: gathers of single numbers are several times faster than of rows
        plane = image[..., channel].ravel()
        value = sum(plane[corner] * share for corner, share in zip(corners, shares, strict=True))
        result[..., channel] = np.rint(value) if image.dtype.kind in "iu" else value
    return result


def _checked(image: np.ndarray, maps: Sequence[np.ndarray]) -> tuple[np.ndarray, Maps]:
    """Return arrays, after a look at their shapes."""
    image, maps = np.asarray(image), tuple(np.asarray(array) for array in maps)
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"image must be (H, W, C) and not empty, got shape {image.shape}")
    for array in maps:
        if array.shape[:2] != image.shape[:2]:
            raise ValueError(f"a map must be as large as its image {image.shape[:2]}, got shape {array.shape}")
    return image, maps
