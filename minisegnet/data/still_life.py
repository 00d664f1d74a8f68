"""The things in the lecture's scene: a room, a teddy bear, a rose, a glass, a die, and a ball that no class claims.

Sizes are in units of the shorter side of the picture; ``x``, ``y`` is the point where a thing stands on the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .drawing import IGNORE_INDEX, Canvas, ball, curve, ellipse, polygon, stroke, turned

BACKGROUND, ROSE, GLASS, DIE, BEAR = range(5)


@dataclass(frozen=True)
class Look:
    """What varies from scene to scene beside places: colours in [0, 1], and where the light comes from."""

    wall: np.ndarray
    wood: np.ndarray
    fur: np.ndarray
    bow: np.ndarray
    petal: np.ndarray
    die: np.ndarray
    pips: np.ndarray
    light: np.ndarray  # unit vector (x, y, z) towards the light; y is negative, it hangs above


def room(canvas: Canvas, look: Look, edge: float) -> None:
    """Paint wall and table; the table begins at height ``edge``."""
    x, y = canvas.x, canvas.y
    glow = np.exp(-(((x - 0.5 - 0.9 * look.light[0]) / 0.75) ** 2 + ((y - 0.2) / 0.65) ** 2))
    canvas.image[:] = look.wall * (0.62 + 0.5 * glow + 0.006 * canvas.noise(0.004))[..., None]
    for _ in range(7):  # lights out of focus
        cx, cy, r = canvas.rng.uniform(0, 1.4), canvas.rng.uniform(0, edge - 0.1), canvas.rng.uniform(0.03, 0.09)
        canvas.paint(ellipse(canvas, cx, cy, r, r), (1.0, 0.96, 0.85), opacity=0.10, soft=0.012)
    depth = np.clip((y - edge) / (1 - edge), 0, 1)
    plank = (x - 0.5) / (0.35 + 0.9 * depth) * 5 + 0.17  # boards run towards the viewer
    board = np.floor(plank)
    tone = 1 + 0.07 * np.sin(board * 12.9898 + 4.1)
    grain = 0.05 * np.sin(22 * plank + 5 * canvas.noise((0.3, 0.04)) + 9 * board) + 0.05 * canvas.noise((0.15, 0.008))
    gap = 1 - 0.35 * np.exp(-((np.abs(plank - board - 0.5) - 0.5) ** 2) / 0.0004)
    shine = 0.82 + 0.35 * np.exp(-(((x - 0.5 - 0.5 * look.light[0]) / 0.5) ** 2)) * (0.4 + 0.6 * depth)
    canvas.paint(np.float32(edge) - y + 0 * x, look.wood * (tone * (1 + grain) * gap * shine)[..., None], soft=0.004)
    canvas.shade(0.35 * np.exp(-(((y - edge) / 0.02) ** 2)) * (y > edge) + 0 * x)


def shadow(canvas: Canvas, look: Look, x: float, y: float, a: float, b: float, strength: float = 0.5) -> None:
    """Darken the table under a thing: a dark touch beneath it, and a long soft one away from the light."""
    canvas, _ = canvas.around(x - 0.5 * look.light[0] * a, y, 4.2 * a, 4.2 * b)
    for reach, wide, dark in ((0.15, 1.0, 0.75), (1.1, 1.7, 0.55)):
        u, v = canvas.x - (x - reach * look.light[0] * a), canvas.y - y
        canvas.shade(strength * dark * np.exp(-((u / (wide * a)) ** 2) - (v / (wide * b)) ** 2))


def teddy_bear(canvas: Canvas, look: Look, x: float, y: float, size: float, tilt: float = 0.0) -> None:
    """Paint a sitting teddy bear, 0.6 * size tall."""
    shadow(canvas, look, x, y - 0.01 * size, 0.24 * size, 0.05 * size)
    canvas, _ = canvas.around(x, y - 0.3 * size, 0.33 * size, 0.37 * size)
    fluff = 0.0035 * size * canvas.noise(0.007 * size) + 0.0045 * size * canvas.noise(0.018 * size)
    fleece = 1 + 0.06 * canvas.noise(0.004 * size) + 0.045 * canvas.noise(0.011 * size)
    cream = 0.45 * look.fur + 0.55 * np.array([0.98, 0.90, 0.76])

    def part(px: float, py: float, a: float, b: float, color: np.ndarray, angle: float = 0.0, fur: float = 1.0) -> None:
        lean = tilt * max(-py - 0.25, 0)  # the head leans, the seat does not
        cx, cy = x + size * (px + lean), y + size * py
        near, box = canvas.around(cx, cy, (max(a, b) + 0.05) * size, (max(a, b) + 0.05) * size)
        outline = ellipse(near, cx, cy, a * size, b * size, angle)
        paint = ball(near, cx, cy, a * size, b * size, color, look.light, angle)
        if fur:  # a dark seam beneath, so that parts of one colour stay apart
            near.paint(outline - 0.006 * size, 0.45 * np.asarray(color), opacity=0.35, soft=0.025 * size)
            outline, paint = outline + fur * fluff[box], paint * fleece[box][..., None]
        near.paint(outline, paint, BEAR)

    dark = np.array([0.10, 0.07, 0.06])
    for side in (-1, 1):
        part(side * 0.115, -0.545, 0.058, 0.058, look.fur)
        part(side * 0.115, -0.540, 0.033, 0.034, cream, fur=0.5)
        part(side * 0.165, -0.205, 0.052, 0.115, look.fur, angle=-side * 0.45)
    part(0, -0.175, 0.155, 0.18, look.fur)
    part(0, -0.150, 0.095, 0.115, cream, fur=0.6)
    for side in (-1, 1):
        part(side * 0.135, -0.055, 0.078, 0.072, look.fur)
        part(side * 0.145, -0.052, 0.047, 0.047, cream, fur=0.5)
    part(0, -0.425, 0.152, 0.136, look.fur)
    part(0, -0.383, 0.075, 0.058, cream, fur=0.5)
    lean = tilt * 0.15
    for side in (-1, 1):
        part(side * 0.060, -0.452, 0.0175, 0.019, dark, fur=0)
        part(side * 0.060 - 0.005, -0.459, 0.0055, 0.0055, np.array([1.7, 1.7, 1.7]), fur=0)
        smile = curve([(0, -0.385), (side * 0.012, -0.352), (side * 0.042, -0.365)], 7)
        canvas.paint(stroke(canvas, smile * size + (x + lean * size, y), 0.008 * size), dark, BEAR)
    part(0, -0.410, 0.027, 0.019, dark, fur=0)
    part(-0.006, -0.416, 0.008, 0.004, np.array([1.3, 1.25, 1.25]), fur=0)
    for side in (-1, 1):  # the bow
        part(side * 0.055, -0.295, 0.052, 0.033, look.bow, angle=side * 0.35, fur=0)
        part(side * 0.045, -0.295, 0.020, 0.010, 0.6 * look.bow, angle=side * 0.3, fur=0)
    part(0, -0.295, 0.021, 0.023, 1.1 * look.bow, fur=0)


def glass(canvas: Canvas, look: Look, x: float, y: float, size: float) -> None:
    """Paint a tumbler with water, 0.30 * size tall; what stands behind it shines through."""
    top, half, foot, rim = y - 0.30 * size, 0.098 * size, 0.074 * size, 0.020 * size
    shadow(canvas, look, x, y, 0.11 * size, 0.025 * size, 0.3)
    canvas, _ = canvas.around(x, y - 0.15 * size, 0.12 * size, 0.2 * size)
    u = canvas.x - x
    t = np.clip((canvas.y - top) / (y - top), 0, 1)
    wall = half + (foot - half) * t  # half width at this height
    body = np.maximum.reduce([np.abs(u) - wall, top - canvas.y + 0 * u, canvas.y - y + 0 * u])
    body = np.minimum(body, np.minimum(ellipse(canvas, x, top, half, rim), ellipse(canvas, x, y, foot, 0.75 * rim)))
    side = np.clip(np.abs(u) / np.maximum(wall, 1e-3), 0, 1)
    canvas.paint(body, (0.86, 0.95, 0.98), GLASS, opacity=0.16)
    level = y - 0.17 * size
    water = np.maximum(body, level - canvas.y)
    canvas.paint(water, np.array([0.45, 0.70, 0.82]) * (1.05 - 0.35 * side)[..., None], opacity=0.30)
    canvas.paint(ellipse(canvas, x, level, 0.088 * size, 0.8 * rim), (0.80, 0.93, 0.97), opacity=0.45)
    edge = np.clip((side - 0.80) / 0.2, 0, 1) ** 2 * (body < 0)
    canvas.image += (0.55 * edge)[..., None] * (np.array([0.93, 0.98, 1.0], dtype=np.float32) - canvas.image)
    base = np.maximum(body, y - 0.022 * size - canvas.y)
    canvas.paint(base, (0.88, 0.96, 1.0), opacity=0.35)


def glass_front(canvas: Canvas, look: Look, x: float, y: float, size: float) -> None:
    """Paint the near rim and the reflections, over whatever stands in the glass."""
    canvas, _ = canvas.around(x, y - 0.15 * size, 0.12 * size, 0.2 * size)
    top, half, rim = y - 0.30 * size, 0.098 * size, 0.020 * size
    ring = np.abs(ellipse(canvas, x, top, half, rim)) - 0.0035 * size
    canvas.paint(ring, (0.97, 0.99, 1.0), opacity=0.75)
    lit = np.sign(look.light[0]) or 1.0
    streak = stroke(
        canvas, [(x + lit * 0.066 * size, top + 0.05 * size), (x + lit * 0.055 * size, y - 0.06 * size)], 0.014 * size
    )
    canvas.paint(streak, (1.0, 1.0, 1.0), opacity=0.55, soft=0.008 * size)
    thin = stroke(
        canvas, [(x - lit * 0.078 * size, top + 0.07 * size), (x - lit * 0.064 * size, y - 0.09 * size)], 0.006 * size
    )
    canvas.paint(thin, (1.0, 1.0, 1.0), opacity=0.40, soft=0.005 * size)


def rose(canvas: Canvas, look: Look, x: float, y: float, size: float, lean: float, stands_at: float) -> None:
    """Paint a rose whose stem ends at (x, y); ``stands_at`` is the height of the water's surface, where the stem jumps."""
    canvas, _ = canvas.around(x + 0.5 * lean * size, y - 0.3 * size, (0.22 + abs(lean)) * size, 0.36 * size)
    green = np.array([0.20, 0.45, 0.18], dtype=np.float32)
    head = np.array([x + lean * size, y - 0.50 * size])
    path = curve([(x, y), (x - 0.1 * lean * size, y - 0.25 * size), tuple(head)], 16)
    tone = 0.95 + 0.2 * np.sign(look.light[0]) * np.clip(
        (canvas.x - np.interp(canvas.y, path[::-1, 1], path[::-1, 0])) / (0.01 * size), -1, 1
    )
    air, water = (
        stroke(canvas, path + np.array([bent * size, 0]), 0.020 * size) for bent in (0.0, 0.010)
    )  # water bends the light
    for part, side_of in (
        (np.maximum(air, canvas.y - stands_at), 1.0),
        (np.maximum(water, stands_at - canvas.y), 0.85),
    ):
        canvas.paint(part, green * (side_of * tone)[..., None], ROSE)
    for side, place, length in ((-1, 9, 0.115), (1, 11, 0.095)):
        _leaf(canvas, look, path[place], side, length * size, green)
    r = 0.105 * size
    cx, cy = float(head[0]), float(head[1])
    canvas, _ = canvas.around(cx, cy, 1.25 * r, 1.25 * r)
    for k in range(5):  # sepals
        a = np.pi * (0.15 + 0.175 * k)
        canvas.paint(
            ellipse(canvas, cx + 0.75 * r * np.cos(a), cy + 0.75 * r * np.sin(a), 0.42 * r, 0.13 * r, a),
            0.9 * green,
            ROSE,
        )
    rings = ((6, 0.60, 0.58, 0.50), (5, 0.42, 0.52, 0.44), (5, 0.28, 0.42, 0.36), (4, 0.15, 0.32, 0.27))
    for depth, (count, away, wide, tall) in enumerate(rings):
        start = 0.4 + 1.1 * depth
        canvas.paint(
            ellipse(canvas, cx, cy + 0.05 * r, (away + 0.45) * r, 0.9 * (away + 0.40) * r),
            0.35 * look.petal,
            opacity=0.5,
            soft=0.18 * r,
        )
        for k in range(count):
            a = start + 2 * np.pi * k / count
            px, py = cx + away * r * np.cos(a), cy + 0.9 * away * r * np.sin(a)
            outline = ellipse(canvas, px, py, wide * r, tall * r, a + np.pi / 2)
            u, v = turned(canvas, cx, cy)
            outward = np.clip((u * np.cos(a) + v * np.sin(a)) / ((away + tall) * r), -0.2, 1)
            lit = 0.80 + 0.20 * (np.cos(a) * look.light[0] + np.sin(a) * look.light[1])
            tone = lit * (0.50 + 0.48 * outward) + 0.16 * np.exp(-((outline / (0.07 * r)) ** 2))
            canvas.paint(outline - 0.02 * r, 0.35 * look.petal, ROSE, opacity=0.55, soft=0.05 * r)
            canvas.paint(outline, look.petal * tone[..., None], ROSE)
    u, v = turned(canvas, cx, cy - 0.02 * r)
    swirl = np.hypot(u, v / 0.9) / r
    spiral = 0.5 + 0.5 * np.sin(34 * swirl - np.arctan2(v, u))
    canvas.paint((swirl - 0.24) * r, look.petal * (0.40 + 0.42 * spiral)[..., None], ROSE, soft=0.03 * r)


def _leaf(canvas: Canvas, look: Look, root: np.ndarray, side: int, length: float, green: np.ndarray) -> None:
    angle = -0.55 if side > 0 else np.pi + 0.55
    u, v = turned(canvas, root[0], root[1], angle)
    s = np.clip(u / length, 0, 1)
    half = 0.62 * length * s**0.8 * (1 - s) ** 0.9
    outline = np.maximum(np.abs(v) - half, np.maximum(-u, u - length))
    vein = np.exp(-((v / (0.02 * length)) ** 2)) + 0.5 * np.exp(
        -(((np.sin(26 * s - 9 * np.abs(v) / length)) / 0.25) ** 2)
    )
    tone = 0.85 + 0.25 * (v * side * -1 > 0) + 0.16 * vein
    canvas.paint(outline, green * tone[..., None], ROSE)


def die(canvas: Canvas, look: Look, x: float, y: float, size: float, turn: float, top: int) -> None:
    """Paint a die of edge 0.17 * size, turned by ``turn`` radians, showing ``top`` (1 to 6) on top."""
    h, slant = 0.085 * size, 0.55  # half the edge; sine of the angle from which we look down
    shadow(canvas, look, x, y - 0.4 * h, 1.5 * h, 0.6 * h)
    c, s = np.cos(turn), np.sin(turn)
    right, front, up = (
        np.array([c, slant * s]) * h,
        np.array([-s, slant * c]) * h,
        np.array([0, -np.sqrt(1 - slant**2)]) * h,
    )
    canvas, _ = canvas.around(x, y - h, 2.2 * h, 2.4 * h)
    middle = np.array([x, y - h * (np.sqrt(1 - slant**2) + 0.3)])
    around = [n for n in (1, 2, 3, 4, 5, 6) if n not in (top, 7 - top)]
    first, second = around[0], next(n for n in around if n not in (around[0], 7 - around[0]))
    faces = (
        (front, right, up, first, (-s, slant * c)),
        (right, front, up, second, (c, slant * s)),
        (up, right, front, top, (0, -1)),
    )
    for underlay in (True, False):  # first the whole in one tone, so that nothing shows through the seams
        for outward, a, b, number, normal in faces:
            out = 1.0 if number == top or outward[1] > 0 else -1.0
            centre = middle + out * outward
            corners = [centre + 0.88 * (i * a + j * b) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            face = polygon(canvas, corners, 0.115 * h)
            if underlay:
                canvas.paint(face - 0.02 * h, 0.72 * look.die, DIE)
                continue
            (ua, va), (ub, vb) = np.linalg.inv(np.stack([a, b], axis=1)).astype(np.float32)
            dx, dy = canvas.x - float(centre[0]), canvas.y - float(centre[1])
            u, v = ua * dx + va * dy, ub * dx + vb * dy
            bright = 1.02 if number == top else 0.72 + 0.22 * out * normal[0] * look.light[0]
            gloss = 0.06 * np.exp(-((u - 0.3) ** 2 + (v + 0.2) ** 2) / 0.5)
            canvas.paint(face, look.die * np.float32(bright) + gloss[..., None], DIE)
            for i, j in _PIPS[number]:
                spot = (np.hypot(u - 0.52 * i, v - 0.52 * j) - 0.185) * (0.8 * h)
                canvas.paint(spot, look.pips * (0.8 + 0.5 * np.clip(v - 0.52 * j + 0.1, -0.2, 0.2))[..., None], DIE)


_PIPS = {
    1: ((0, 0),),
    2: ((-1, -1), (1, 1)),
    3: ((-1, -1), (0, 0), (1, 1)),
    4: ((-1, -1), (-1, 1), (1, -1), (1, 1)),
    5: ((-1, -1), (-1, 1), (0, 0), (1, -1), (1, 1)),
    6: ((-1, -1), (-1, 0), (-1, 1), (1, -1), (1, 0), (1, 1)),
}


def beach_ball(canvas: Canvas, look: Look, x: float, y: float, size: float) -> None:
    """Paint a ball that belongs to no class: every pixel of it is unlabelled."""
    r = 0.10 * size
    shadow(canvas, look, x, y, 1.0 * r, 0.3 * r)
    cx, cy = x, y - 0.93 * r
    canvas, _ = canvas.around(cx, cy, 1.1 * r, 1.1 * r)
    u, v = turned(canvas, cx, cy, 0.5)
    wedge = np.sin(3 * np.arctan2(v + 0.35 * r, u - 0.1 * r)) > 0
    base = np.where(wedge[..., None], np.array([0.16, 0.42, 0.72]), np.array([0.95, 0.95, 0.92]))
    lit = ball(canvas, cx, cy, r, r, np.ones(3), look.light) * base
    canvas.paint(ellipse(canvas, cx, cy, r, r), lit, IGNORE_INDEX)
    gleam = ellipse(canvas, cx + 0.35 * r * look.light[0], cy + 0.42 * r * look.light[1], 0.16 * r, 0.1 * r)
    canvas.paint(gleam, (1.0, 1.0, 1.0), opacity=0.8, soft=0.15 * r)
