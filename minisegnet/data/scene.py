"""The lecture's scene: a table with a rose in a glass, a die and a teddy bear, and the map that labels each pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..shapes import SizeLike, pair
from .drawing import IGNORE_INDEX, Canvas
from .still_life import Look, beach_ball, die, glass, glass_front, room, rose, teddy_bear

CLASSES = ("background", "rose", "glass", "die", "teddy bear")
# Okabe and Ito (2008): told apart with any kind of colour vision, and in grey
COLORS = np.array([(0, 0, 0), (204, 121, 167), (86, 180, 233), (240, 228, 66), (213, 94, 0)], dtype=np.uint8)
IGNORE_COLOR = np.array([255, 255, 255], dtype=np.uint8)


@dataclass(frozen=True)
class Scene:
    """A picture and its map.

    Attributes
    ----------
    image
        uint8 (H, W, 3).
    labels
        int64 (H, W): 0 to 4 as ``classes`` says, 255 unlabelled: the ball, which no class claims, and pixels on a rim
        that are partly one thing and partly another.
    classes, colors
        Names, and their colours uint8 (5, 3).
    """

    image: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...] = CLASSES
    colors: np.ndarray = field(default_factory=COLORS.copy)

    def colored(self) -> np.ndarray:
        """Return the map in its colours, uint8 (H, W, 3); unlabelled is white."""
        table = np.full((256, 3), IGNORE_COLOR, dtype=np.uint8)
        table[: len(self.colors)] = self.colors
        return table[self.labels]


def scene(size: SizeLike = 256, seed: int = 0) -> Scene:
    """Draw the scene; the same ``size`` and ``seed`` give the same picture.

    Parameters
    ----------
    size
        One number or (height, width), at least 32 pixels.
    seed
        0 is the lecture's scene; any other varies places, sizes, colours and light.
    """
    height, width = pair(size, "size", minimum=32)
    rng = np.random.default_rng((seed, 3))
    canvas = Canvas(height, width, rng)
    wide, tall = width * float(canvas.pixel), height * float(canvas.pixel)
    vary = 0.0 if seed == 0 else 1.0
    look = _look(rng, vary)
    edge = tall - 0.38 + vary * rng.uniform(-0.04, 0.04)
    room(canvas, look, edge)
    mirror = vary and rng.random() < 0.5

    def place(x: float, y: float, sway: float) -> tuple[float, float]:
        x += vary * rng.uniform(-sway, sway)
        return wide * ((1 - x) if mirror else x), tall - (1 - y) + vary * rng.uniform(-0.02, 0.02)

    scale = 1 + vary * rng.uniform(-0.12, 0.12, size=4)
    bx, by = place(0.36, 0.86, 0.05)
    gx, gy = place(0.78, 0.83, 0.04)
    dx, dy = place(0.60, 0.955, 0.05)
    ox, oy = place(0.065, 0.80, 0.04)
    if not vary or rng.random() < 0.7:
        beach_ball(canvas, look, ox, oy, 1.05 * scale[3])
    teddy_bear(canvas, look, bx, by, 1.12 * scale[0], tilt=0.12 + vary * rng.uniform(-0.3, 0.2))
    g = 1.02 * scale[1]
    glass(canvas, look, gx, gy, g)
    rose(canvas, look, gx - 0.01, gy - 0.03 * g, 1.04 * g, (0.05 + vary * rng.uniform(-0.11, 0.03)), gy - 0.17 * g)
    glass_front(canvas, look, gx, gy, g)
    die(
        canvas,
        look,
        dx,
        dy,
        0.85 * scale[2],
        0.55 + vary * rng.uniform(-0.4, 0.5),
        int(rng.integers(1, 7)) if vary else 5,
    )
    u, v = canvas.x / wide - 0.5, canvas.y / tall - 0.5
    canvas.shade(0.55 * (u**2 + v**2))  # the lens is darker towards its corners
    labels = np.where(canvas.mixed, IGNORE_INDEX, canvas.labels)
    return Scene(np.rint(np.clip(canvas.image, 0, 1) * 255).astype(np.uint8), labels)


def scenes(n: int, seed: int = 0, size: SizeLike = 128) -> Iterator[Scene]:
    """Draw ``n`` different scenes; scene i follows from ``seed`` and i alone."""
    if n < 1:
        raise ValueError(f"n must be at least 1 scene, got {n}")
    for i in range(n):
        yield scene(size, seed=1_000_003 * (seed + 1) + i)


def _look(rng: np.random.Generator, vary: float) -> Look:
    """Choose colours and light; with ``vary`` 0 the lecture's."""

    def pick(*choices: tuple[float, float, float]) -> np.ndarray:
        color = np.array(choices[int(rng.integers(len(choices))) if vary else 0])
        tint = rng.normal(0, 0.05) + rng.normal(0, 0.02, 3)
        return np.clip(color * (1 + vary * tint), 0.02, 1.0).astype(np.float32)

    die_color = pick((0.97, 0.95, 0.90), (0.80, 0.12, 0.14), (0.15, 0.16, 0.20), (0.10, 0.45, 0.40))
    light = np.array([(-0.55 if not vary else rng.choice([-1, 1]) * rng.uniform(0.25, 0.65)), -0.60, 0.60])
    return Look(
        wall=pick((0.58, 0.74, 0.72), (0.85, 0.78, 0.66), (0.70, 0.70, 0.82), (0.78, 0.83, 0.70), (0.86, 0.70, 0.68)),
        wood=pick((0.62, 0.42, 0.26), (0.45, 0.30, 0.20), (0.74, 0.60, 0.44)),
        fur=pick((0.72, 0.48, 0.26), (0.50, 0.33, 0.22), (0.86, 0.72, 0.52), (0.62, 0.60, 0.60)),
        bow=pick((0.20, 0.36, 0.66), (0.72, 0.16, 0.22), (0.18, 0.50, 0.36), (0.55, 0.30, 0.60)),
        petal=pick((0.88, 0.14, 0.22), (0.95, 0.52, 0.62), (0.97, 0.80, 0.30), (0.96, 0.88, 0.86)),
        die=die_color,
        pips=np.array([0.08, 0.08, 0.10]) if die_color.mean() > 0.7 else np.array([0.97, 0.96, 0.93]),
        light=light / np.linalg.norm(light),
    )
