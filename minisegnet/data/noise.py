"""Smooth random fields and Gaussian blur, in NumPy: what synthetic pictures are textured with."""

from __future__ import annotations

import numpy as np

from .augmentation import between


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], scale: float | tuple[float, float]) -> np.ndarray:
    """Return a random field of ``size`` (H, W), mean about 0 and standard deviation 1, whose grains are ``scale`` wide.

    Random numbers on a grid of points ``scale`` pixels apart (one number, or one for each axis), between them cubic
    interpolation: eight multiplications a pixel, whatever the scale.
    """
    scales = (scale, scale) if isinstance(scale, int | float) else scale
    points = [max(int(np.ceil(n / max(s, 1.0))) + 1, 2) for n, s in zip(size, scales, strict=True)]
    if max(scales) <= 1:
        return rng.standard_normal(size)
    field = between(rng.standard_normal(points), size)
    return field / max(float(field.std()), 1e-6) if min(points) > 4 else field


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return ``image`` (H, W, ...) blurred by a Gaussian of ``sigma`` pixels, mirrored at the edges; float32.

    Separable: along the rows, then along the columns; each a sum of shifted copies.
    """
    image = np.asarray(image, dtype=np.float32)
    if sigma < 0.2:
        return image.copy()
    radius = int(np.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    taps = (taps / (taps[0] + 2 * taps[1:].sum())).astype(np.float32)
    for axis in (0, 1):
        n = image.shape[axis]
        padding = [(radius, radius) if a == axis else (0, 0) for a in range(image.ndim)]
        padded = np.pad(image, padding, mode="symmetric").swapaxes(0, axis)
        total = padded[radius : radius + n] * taps[0]
        for k in range(1, radius + 1):
            total += (padded[radius - k : radius - k + n] + padded[radius + k : radius + k + n]) * taps[k]
        image = total.swapaxes(0, axis)
    return image
