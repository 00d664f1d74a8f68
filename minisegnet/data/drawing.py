"""A small painter: shapes as signed distances (negative inside), painted with soft edges over one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .noise import smooth_noise

IGNORE_INDEX = 255  # the label of pixels that no class claims
Color = Sequence[float] | np.ndarray
Points = Sequence[Sequence[float]] | Sequence[np.ndarray] | np.ndarray


class Canvas:
    """A picture (H, W, 3) in [0, 1] and its label map; positions in units of the shorter side, y downward.

    Every ``paint`` covers what was there. A pixel that is partly one class and partly another is nobody's: it gets
    ``IGNORE_INDEX``, as the rims in the PASCAL VOC maps do.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator):
        self.pixel = np.float32(1 / min(height, width))
        self.size, self.rng = (height, width), rng
        self.y = ((np.arange(height, dtype=np.float32) + 0.5) * self.pixel)[:, None]
        self.x = ((np.arange(width, dtype=np.float32) + 0.5) * self.pixel)[None, :]
        self.image = np.zeros((height, width, 3), dtype=np.float32)
        self.labels = np.zeros((height, width), dtype=np.int64)
        self.mixed = np.zeros((height, width), dtype=bool)

    def paint(
        self, distance: np.ndarray, color: Color, label: int | None = None, opacity: float = 1.0, soft: float = 0.0
    ) -> None:
        """Cover the inside of a shape with a colour, (3,) or (H, W, 3); ``soft`` widens its edge."""
        cover = np.clip(0.5 - distance / (self.pixel + np.float32(soft)), 0, 1).astype(np.float32)
        if cover.size == 0:
            return
        rows, columns = np.flatnonzero(cover.max(axis=1)), np.flatnonzero(cover.max(axis=0))
        if len(rows) == 0:
            return
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        color = np.asarray(color, dtype=np.float32)
        color = color[box] if color.ndim == 3 else color
        cover = cover[box]
        self.image[box] += (cover * np.float32(opacity))[..., None] * (color - self.image[box])
        if label is not None:
            rim = (cover > 0.12) & (self.labels[box] != label)
            self.mixed[box] = np.where(cover > 0.88, False, rim | self.mixed[box])
            self.labels[box] = np.where(cover >= 0.5, label, self.labels[box])

    def around(self, cx: float, cy: float, reach_x: float, reach_y: float) -> tuple[Canvas, tuple[slice, slice]]:
        """Return the part of the canvas within reach of a place, to paint on, and where it lies (rows, columns)."""
        (height, width), unit = self.size, 1 / self.pixel
        left, top = (self.x[0, 0] if width else 0), (self.y[0, 0] if height else 0)
        rows = [int(np.clip((cy + way * reach_y - top) * unit + (way > 0) * 2, 0, height)) for way in (-1, 1)]
        columns = [int(np.clip((cx + way * reach_x - left) * unit + (way > 0) * 2, 0, width)) for way in (-1, 1)]
        box = slice(*rows), slice(*columns)
        part = object.__new__(Canvas)
        part.pixel, part.rng, part.size = self.pixel, self.rng, (rows[1] - rows[0], columns[1] - columns[0])
        part.y, part.x = self.y[box[0]], self.x[:, box[1]]
        part.image, part.labels, part.mixed = self.image[box], self.labels[box], self.mixed[box]
        return part, box

    def shade(self, amount: np.ndarray) -> None:
        """Darken (positive) or brighten the picture by a share, (H, W)."""
        self.image *= (1 - amount).astype(np.float32)[..., None]

    def noise(self, scale: float | tuple[float, float]) -> np.ndarray:
        """Return a smooth random field (H, W), grains of ``scale`` units."""
        tall, wide = (scale, scale) if isinstance(scale, int | float) else scale
        return smooth_noise(self.rng, self.size, (tall / float(self.pixel), wide / float(self.pixel))).astype(
            np.float32
        )


def turned(canvas: Canvas, cx: float, cy: float, angle: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates (u, v) around a centre, turned clockwise by ``angle`` radians."""
    dx, dy = canvas.x - np.float32(cx), canvas.y - np.float32(cy)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return dx * c + dy * s, dy * c - dx * s


def ellipse(canvas: Canvas, cx: float, cy: float, a: float, b: float, angle: float = 0.0) -> np.ndarray:
    """Signed distance to an ellipse with semi-axes a, b (first order: exact on the outline, close near it)."""
    a, b = float(a), float(b)
    u, v = turned(canvas, cx, cy, angle)
    k = np.sqrt((u / a) ** 2 + (v / b) ** 2)
    slope = np.sqrt((u / (a * a)) ** 2 + (v / (b * b)) ** 2)
    return np.where(k < 0.3, (k - 1) * min(a, b), k * (k - 1) / np.maximum(slope, 1e-6))


def ball(
    canvas: Canvas, cx: float, cy: float, a: float, b: float, color: Color, light: Color, angle: float = 0.0
) -> np.ndarray:
    """Return the colours (H, W, 3) of an ellipsoid lit from ``light`` (unit vector x, y, z; z towards the viewer)."""
    u, v = turned(canvas, cx, cy, angle)
    a, b, c, s = float(a), float(b), float(np.cos(angle)), float(np.sin(angle))
    light = [float(part) for part in light]
    nu, nv = np.clip(u / a, -1, 1), np.clip(v / b, -1, 1)
    nz = np.sqrt(np.maximum(1 - nu**2 - nv**2, 0.0))
    lu, lv = light[0] * c + light[1] * s, light[1] * c - light[0] * s
    diffuse = np.maximum(nu * lu + nv * lv + nz * light[2], 0)
    return (0.5 + 0.58 * diffuse)[..., None] * np.asarray(color, dtype=np.float32)


def stroke(canvas: Canvas, points: Points, width: float | Sequence[float]) -> np.ndarray:
    """Signed distance to a line through ``points``, ``width`` thick (one number, or one for each point)."""
    p = np.asarray(points, dtype=np.float32)
    half = np.broadcast_to(np.asarray(width, dtype=np.float32) / 2, len(p))
    best = np.full(canvas.size, np.inf, dtype=np.float32)
    for (x0, y0), (x1, y1), h0, h1 in zip(p[:-1], p[1:], half[:-1], half[1:], strict=True):
        dx, dy = x1 - x0, y1 - y0
        t = np.clip(((canvas.x - x0) * dx + (canvas.y - y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        best = np.minimum(best, np.hypot(canvas.x - x0 - t * dx, canvas.y - y0 - t * dy) - (h0 + t * (h1 - h0)))
    return best


def polygon(canvas: Canvas, points: Points, rounding: float = 0.0) -> np.ndarray:
    """Signed distance to a convex polygon whose corners are rounded by ``rounding``; any direction of travel."""
    p = np.asarray(points, dtype=np.float64)
    a, b = p, np.roll(p, -1, axis=0)
    if np.sum(a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]) < 0:
        a, b = b, a
    inside = np.full(canvas.size, -np.inf, dtype=np.float32)
    outside = np.full(canvas.size, np.inf, dtype=np.float32)
    for (x0, y0), (x1, y1) in zip(a, b, strict=True):
        dx, dy = x1 - x0, y1 - y0
        length = np.hypot(dx, dy)
        side = ((canvas.x - x0) * dy - (canvas.y - y0) * dx) / length  # positive to the right of the edge: outside
        t = np.clip(((canvas.x - x0) * dx + (canvas.y - y0) * dy) / length**2, 0, 1)
        inside = np.maximum(inside, side)
        outside = np.minimum(outside, np.hypot(canvas.x - x0 - t * dx, canvas.y - y0 - t * dy))
    return np.where(inside > 0, outside, inside).astype(np.float32) - np.float32(rounding)


def curve(points: Points, n: int = 14) -> np.ndarray:
    """Return n points (n, 2) on the Bezier curve of these control points."""
    p = np.asarray(points, dtype=np.float64)
    t = np.linspace(0, 1, n)[:, None]
    rows = [p[i][None, :].repeat(n, axis=0) for i in range(len(p))]
    while len(rows) > 1:
        rows = [(1 - t) * a + t * b for a, b in pairwise(rows)]
    return rows[0]
