"""Where cells lie and what outline they have: deformed ellipses, crowded but not piled up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

WAVES = (2, 3, 4, 5)  # how often the outline swings in and out on its way round


@dataclass
class Cells:
    """M cells: centres and semi-axes in pixels, angles of the long axis in radians, outlines."""

    y: np.ndarray
    x: np.ndarray
    long: np.ndarray
    short: np.ndarray
    angle: np.ndarray
    swing: np.ndarray  # (M, len(WAVES)): amplitude of each wave, as a share of the radius
    phase: np.ndarray  # (M, len(WAVES))
    bend: np.ndarray  # (M,): how far the ends of the long axis are bent aside, as a share of the short one

    def __len__(self) -> int:
        return len(self.y)

    @property
    def radius(self) -> np.ndarray:
        """Radius of the circle of equal area."""
        return np.sqrt(self.long * self.short)


def scatter(
    rng: np.random.Generator,
    size: tuple[int, int],
    count: int,
    radius: float,
    spread: float,
    aspect: float,
    density: np.ndarray,
    angle: np.ndarray,
    spacing: float,
    roughness: float,
) -> Cells:
    """Throw ``count`` cells, or as many as find room.

    Parameters
    ----------
    radius, spread
        Median radius and the standard deviation of its logarithm.
    aspect
        Typical ratio of the axes.
    density, angle
        (H, W): the chance of a place relative to others; the direction of the long axis there.
    spacing
        Least distance of two centres as a share of the sum of their semi-axes: 1 just touches, below 1 overlaps.
    roughness
        Standard deviation of the outline's slowest wave.
    """
    height, width = size
    margin = int(radius)  # some are cut by the edge of the picture
    tries = 8 * count
    y = rng.uniform(-margin, height + margin, tries)
    x = rng.uniform(-margin, width + margin, tries)
    at = np.clip(y.astype(int), 0, height - 1), np.clip(x.astype(int), 0, width - 1)
    keep = rng.random(tries) < density[at]
    y, x, turn = y[keep], x[keep], angle[at][keep]
    m = len(y)
    equal = radius * np.exp(rng.normal(0, spread, m))
    ratio = np.sqrt(1 + (aspect - 1) * rng.gamma(4, 0.25, m))
    long, short = equal * ratio, equal / ratio
    turn = turn + rng.normal(0, 0.35, m)
    chosen: list[int] = []
    cos, sin = np.cos(turn), np.sin(turn)
    for i in range(m):
        if chosen:
            others = np.array(chosen)
            dy, dx = y[others] - y[i], x[others] - x[i]
            along = (dx * cos[i] + dy * sin[i]) / (long[i] + long[others])
            across = (dy * cos[i] - dx * sin[i]) / (short[i] + short[others])
            if np.min(along**2 + across**2) < spacing**2:
                continue
        chosen.append(i)
        if len(chosen) == count:
            break
    k = np.array(chosen, dtype=int)
    swing = np.abs(rng.normal(0, roughness, (len(k), len(WAVES)))) / (np.array(WAVES) - 1)
    phase = rng.uniform(0, 2 * np.pi, swing.shape)
    return Cells(y[k], x[k], long[k], short[k], turn[k], swing, phase, rng.normal(0, 2 * roughness, len(k)))


def outlines(
    cells: Cells, size: tuple[int, int], reach: float = 1.0, around: float = 2.0
) -> Iterator[tuple[int, tuple[slice, slice], np.ndarray]]:
    """Give out (cell, box, level) for each cell: ``level`` float32 (h, w) is 0 at its centre and 1 on its outline.

    The box holds the cell at ``reach`` times its size and ``around`` pixels more; cells outside the picture are skipped.
    """
    height, width = size
    half = cells.long * (1.25 + cells.swing.sum(axis=1)) * reach + around
    tops, lefts = np.maximum(cells.y - half, 0).astype(int), np.maximum(cells.x - half, 0).astype(int)
    bottoms = np.minimum(cells.y + half + 2, height).astype(int)
    rights = np.minimum(cells.x + half + 2, width).astype(int)
    for i in range(len(cells)):
        if bottoms[i] <= tops[i] or rights[i] <= lefts[i]:
            continue
        box = slice(tops[i], bottoms[i]), slice(lefts[i], rights[i])
        dy = np.arange(tops[i], bottoms[i], dtype=np.float32)[:, None] - np.float32(cells.y[i])
        dx = np.arange(lefts[i], rights[i], dtype=np.float32) - np.float32(cells.x[i])
        c, s = np.float32(np.cos(cells.angle[i])), np.float32(np.sin(cells.angle[i]))
        u = (dx * c + dy * s) / np.float32(cells.long[i])
        v = (dy * c - dx * s) / np.float32(cells.short[i])
        v += np.float32(cells.bend[i]) * (u * u - np.float32(0.3))
        rho = np.sqrt(u * u + v * v)
        # cos(k theta + phase) without an arc tangent: powers of the unit vector as a complex number
        unit = (u + 1j * v) / np.maximum(rho, 1e-6)
        power, edge = unit, np.ones_like(rho)
        for wave, swing, phase in zip(WAVES, cells.swing[i], cells.phase[i], strict=True):
            power = power * unit if wave > 1 else power
            edge += np.float32(swing) * (power * np.complex64(np.exp(1j * phase))).real
        yield i, box, rho / np.maximum(edge, 0.3)


def paint_labels(
    labels: np.ndarray, best: np.ndarray, box: tuple[slice, slice], level: np.ndarray, number: int
) -> None:
    """Give the pixels of one cell its number, in place; where two overlap, the one whose centre is nearer wins.

    ``best`` (H, W) holds the least level so far and starts at 1, the outline.
    """
    wins = level < best[box]
    labels[box][wins] = number
    best[box][wins] = level[wins]
