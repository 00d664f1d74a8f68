"""Synthetic microscopy with nuclei: stained tissue and fluorescence, drawn from physics and a look at real slides.

No download, no patient: the default where nothing else is at hand. Nothing is copied from real images; the ranges
(sizes, stains, contrast, crowding) were set by eye beside the images of the 2018 Data Science Bowl.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..shapes import SizeLike, pair
from .cells import Cells, outlines, paint_labels, scatter
from .compression import jpeg_like
from .noise import blur, smooth_noise

# How much of red, green and blue a unit of stain absorbs (natural logarithm). Haematoxylin runs from blue to violet
# with its recipe and with the white balance of the scanner; eosin from pink to brick red.
HAEMATOXYLIN = np.array([[0.65, 0.70, 0.29], [0.40, 0.90, 0.08], [0.45, 0.85, 0.28]])
BLOOD = np.array([0.08, 0.88, 0.48])  # red cells take eosin most strongly, and are red by themselves
EOSIN = np.array([[0.07, 0.99, 0.11], [0.20, 0.95, 0.30], [0.30, 0.90, 0.15]])


def synthetic_tissue(n: int, size: SizeLike = (256, 256), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``n`` pictures of stained tissue; returns images uint8 (n, H, W, 3) and labels int32 (n, H, W).

    Each picture is a slide of its own: stain and cast, magnification, crowding, tissue, focus, scanner. Light passes
    layers of stain, so the stains' optical densities add (Beer and Lambert); then come blur, sharpening, noise and the
    blocks of a JPEG. In ``labels`` 0 is background, each nucleus has its own number. Picture i depends on ``seed`` and
    i alone, not on ``n``.
    """
    return _draw(_tissue, n, size, (seed, 1))


def synthetic_fluorescence(n: int, size: SizeLike = (256, 256), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``n`` pictures of stained nuclei in the dark; returns images uint8 (n, H, W, 3), grey, and labels int32.

    Dim or bright nuclei of several sizes and shapes, out-of-focus haze, uneven light, shot noise and camera noise.
    """
    return _draw(_fluorescence, n, size, (seed, 2))


def _draw(one: Callable, n: int, size: SizeLike, seeds: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    height, width = pair(size, "size", minimum=16)
    if n < 1:
        raise ValueError(f"n must be at least 1 picture, got {n}")
    images = np.empty((n, height, width, 3), dtype=np.uint8)
    labels = np.empty((n, height, width), dtype=np.int32)
    for i in range(n):
        images[i], labels[i] = one(np.random.default_rng((*seeds, i)), (height, width))
    return images, labels


def _tissue(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    radius = float(6 * 5 ** rng.uniform() ** 1.15)  # 6 to 30 pixels: the magnification
    loose = rng.random() < 0.3  # single cells on glass rather than tissue
    flow = rng.uniform(0, np.pi) + rng.uniform(0.1, 0.9) * smooth_noise(rng, size, 12 * radius)
    room = _tissue_mask(rng, size, radius, loose)
    cells = _cells(rng, size, radius, room, flow)
    haematoxylin, labels = _stain_nuclei(rng, size, radius, cells)
    haematoxylin += _out_of_focus(rng, size, radius, room, flow)
    haematoxylin += rng.uniform(0.05, 0.3) * blur(haematoxylin, min(0.6 * radius, 8))  # glow of what lies deeper
    eosin = _ground(rng, size, radius, cells, room, flow, loose)
    blood = _blood(rng, size, radius, flow)
    haematoxylin += (
        rng.uniform(0, 0.25) * np.clip(smooth_noise(rng, size, 2.5 * radius), 0, 1) * room
    )  # bluish cytoplasm
    return _expose(rng, haematoxylin, eosin, blood, room, loose), labels


def _tissue_mask(rng: np.random.Generator, size: tuple[int, int], radius: float, loose: bool) -> np.ndarray:
    """Return (H, W) in [0, 1]: where there is tissue, and not a lumen or bare glass."""
    if loose:
        return np.clip(0.5 + 0.4 * smooth_noise(rng, size, 4 * radius), 0.05, 1)
    gaps = rng.choice([0.0, 0.1, 0.25, 0.45])
    if gaps == 0:
        return np.ones(size)
    field = smooth_noise(rng, size, rng.uniform(5, 14) * radius) + 0.15 * smooth_noise(rng, size, 1.5 * radius)
    return np.clip(0.5 + (field - np.quantile(field, gaps)) * rng.uniform(3, 10), 0, 1)


def _cells(rng: np.random.Generator, size: tuple[int, int], radius: float, room: np.ndarray, flow: np.ndarray) -> Cells:
    share = rng.uniform(0.08, 0.5)  # of the picture that nuclei cover
    clumps = smooth_noise(rng, size, rng.uniform(3, 8) * radius)
    density = room**2 * np.clip(0.5 + rng.uniform(0, 0.8) * clumps, 0.02, 1)
    return scatter(
        rng,
        size,
        count=max(int(share * size[0] * size[1] / (np.pi * radius**2)), 3),
        radius=radius,
        spread=rng.uniform(0.12, 0.4),
        aspect=float(rng.choice([1.25, 1.6, 2.4, 3.5], p=[0.4, 0.3, 0.2, 0.1])),
        density=density / density.max(),
        angle=flow,
        spacing=rng.uniform(0.72, 1.05),
        roughness=rng.uniform(0.01, 0.09),
    )


def _stain_nuclei(
    rng: np.random.Generator, size: tuple[int, int], radius: float, cells: Cells
) -> tuple[np.ndarray, np.ndarray]:
    """Return the amount of haematoxylin in the nuclei, (H, W), and their labels."""
    stain, labels = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.int32)
    best = np.ones(size, dtype=np.float32)
    fine = smooth_noise(rng, size, max(1.5, 0.13 * radius)).astype(np.float32)
    coarse = smooth_noise(rng, size, max(2.0, 0.4 * radius)).astype(np.float32)
    m = len(cells)
    amount = rng.uniform(0.5, 1.5) * np.exp(rng.normal(0, rng.uniform(0.1, 0.45), m))
    pale = rng.random(m) < rng.choice([0.1, 0.4, 0.8])  # open chromatin: a pale inside, a dark rim, clumps
    faint = rng.random(m) < 0.15  # above or below the plane of focus
    edge = rng.uniform(0.8, 1.6) * (1 + faint * rng.uniform(1, 3, m))  # pixels over which the outline fades
    amount *= np.where(faint, rng.uniform(0.4, 0.8, m), 1)
    grain, clump = rng.uniform(0.05, 0.25) + 0.2 * pale, rng.uniform(0.05, 0.25) + 0.1 * pale
    inside = np.where(pale, rng.uniform(0.12, 0.65, m), rng.uniform(0.8, 1.0, m))
    hand = rng.uniform(0.0, 1.1)  # pixels by which annotators draw around a nucleus, generously
    for i, box, level in outlines(cells, size, around=6):
        depth = (1 - level) * np.float32(cells.radius[i])  # pixels inside the outline
        cover = np.clip(depth / edge[i] + 0.5, 0, 1)
        rim = np.exp(-((depth / (1.0 + 0.08 * radius)) ** 2))
        chromatin = inside[i] * (1 + grain[i] * fine[box] + clump[i] * coarse[box]) + (1 - inside[i]) * 0.8 * rim
        layer = amount[i] * cover * np.maximum(chromatin, 0.15)
        stain[box] = np.maximum(stain[box], layer) + 0.35 * np.minimum(stain[box], layer)  # sections overlap in part
        paint_labels(labels, best, box, level - hand / np.float32(cells.radius[i]), i + 1)
    return stain, _renumbered(labels)


def _out_of_focus(
    rng: np.random.Generator, size: tuple[int, int], radius: float, room: np.ndarray, flow: np.ndarray
) -> np.ndarray:
    """Return the haze of nuclei too far from the plane of focus to be marked, and specks of dust."""
    haze = np.zeros(size, dtype=np.float32)
    count = int(rng.uniform(0, 0.12) * size[0] * size[1] / (np.pi * radius**2))
    ghosts = scatter(rng, size, count, radius, 0.3, 1.8, room, flow, 0.8, 0.03) if count else None
    if ghosts is not None and len(ghosts):
        for _, box, level in outlines(ghosts, size, reach=1.6):
            haze[box] += rng.uniform(0.08, 0.35) * np.clip(1.5 - level, 0, 1) ** 2
    specks = rng.poisson(rng.choice([0.0, 6.0]))
    if specks:
        dust = scatter(rng, size, specks, max(1.5, 0.15 * radius), 0.4, 1.3, np.ones(size), flow, 1.0, 0.1)
        for _, box, level in outlines(dust, size):
            haze[box] += rng.uniform(0.3, 1.2) * np.clip(1.6 - level, 0, 1)
    return haze


def _ground(
    rng: np.random.Generator,
    size: tuple[int, int],
    radius: float,
    cells: Cells,
    room: np.ndarray,
    flow: np.ndarray,
    loose: bool,
) -> np.ndarray:
    """Return the amount of eosin: fibres and ground, more or less of it around the nuclei than elsewhere."""
    near = np.zeros(size, dtype=np.float32)
    body = rng.uniform(1.3, 2.2)
    for _, box, level in outlines(cells, size, reach=body):
        np.maximum(near[box], np.clip((body - level) / (body - 0.9), 0, 1), out=near[box])
    cytoplasm = near * np.float32(rng.uniform(-0.4, 0.6))  # below 0: a clear rim, as shrinkage leaves
    if loose:
        return np.clip(cytoplasm, 0, None)
    ground = (
        0.6 + rng.uniform(0.1, 0.35) * _fibres(rng, size, radius, flow) + 0.15 * smooth_noise(rng, size, 2 * radius)
    )
    return np.clip((cytoplasm + rng.uniform(0.1, 0.9) * ground) * room, 0, None)


def _blood(rng: np.random.Generator, size: tuple[int, int], radius: float, flow: np.ndarray) -> np.ndarray:
    """Return where a vessel full of red cells crosses the picture, and how dense they lie; mostly there is none."""
    if rng.random() > 0.3:
        return np.zeros(size, dtype=np.float32)
    field = smooth_noise(rng, size, rng.uniform(6, 14) * radius)
    sheet = np.clip((field - np.quantile(field, rng.uniform(0.6, 0.9))) * 8, 0, 1)
    return rng.uniform(0.8, 2.2) * sheet * (1 + 0.08 * _fibres(rng, size, radius, flow))


def _fibres(rng: np.random.Generator, size: tuple[int, int], radius: float, flow: np.ndarray) -> np.ndarray:
    """Return fibres along ``flow``: a striped field read at positions that are turned with it and shaken."""
    thick = rng.uniform(0.08, 0.35) * radius + 1
    span = 2 * max(size)
    stripes = smooth_noise(rng, (span, span), (thick, 8 * thick))
    angle = float(np.mean(flow))
    y, x = np.mgrid[: size[0], : size[1]] - np.array(size)[:, None, None] / 2
    shake = rng.uniform(0.5, 2) * thick * smooth_noise(rng, size, 12 * thick)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle) + shake
    row, column = (np.clip(axis + span / 2, 0, span - 1).astype(int) for axis in (across, along))
    return stripes[row, column] + 0.3 * smooth_noise(rng, size, 1.5)


def _expose(
    rng: np.random.Generator,
    haematoxylin: np.ndarray,
    eosin: np.ndarray,
    blood: np.ndarray,
    room: np.ndarray,
    loose: bool,
) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 that a scanner takes through these amounts of stain."""
    h = rng.dirichlet(np.ones(3)) @ HAEMATOXYLIN + rng.normal(0, 0.03, 3)
    e = rng.dirichlet(np.ones(3)) @ EOSIN + rng.normal(0, 0.03, 3)
    strength = rng.uniform(0.9, 1.5)
    if rng.random() < 0.5:  # hardly any eosin, and a violet cast over the whole slide
        cast = rng.uniform(0.6, 1.2) * np.array([0.38, 0.50, 0.22]) + rng.normal(0, 0.04, 3)
        e, eosin, blood = 0.6 * h + 0.4 * e, rng.uniform(0.1, 0.35) * eosin, 0.1 * blood
    else:
        cast = rng.uniform(0.0, 0.3) + rng.normal(0, 0.03, 3)
        eosin = eosin * (rng.uniform(0.0, 0.4) if loose else rng.uniform(0.3, 1.2))
    ground = rng.uniform(0.0, 0.12) * room  # the tissue itself takes a little haematoxylin
    light = rng.uniform(0, 0.04) * smooth_noise(rng, haematoxylin.shape, 0.5 * max(haematoxylin.shape))
    density = (strength * haematoxylin + ground)[..., None] * np.maximum(h, 0.02) + eosin[..., None] * np.maximum(
        e, 0.02
    )
    picture = 255 * np.exp(-(density + np.clip(cast, 0, None) + light[..., None]))
    picture = blur(picture, rng.uniform(0.4, 1.3))
    if rng.random() < 0.5:
        picture += rng.uniform(0.2, 1.0) * (picture - blur(picture, 1.2))  # the scanner's sharpening
    grain = rng.standard_normal((*haematoxylin.shape, 3)) * 0.6 + rng.standard_normal((*haematoxylin.shape, 1))
    picture += rng.uniform(0.3, 3.5) * grain
    return _finish(rng, picture, 0.6)


def _fluorescence(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    radius = float(rng.uniform(4, 8) if rng.random() < 0.5 else rng.uniform(7, 15))
    flow = rng.uniform(0, np.pi) + 0.8 * smooth_noise(rng, size, 10 * radius)
    clumps = smooth_noise(rng, size, rng.uniform(4, 10) * radius)
    cells = scatter(
        rng,
        size,
        count=max(int(rng.uniform(0.01, 0.4) * size[0] * size[1] / (np.pi * radius**2)), 3),
        radius=radius,
        spread=rng.uniform(0.08, 0.3),
        aspect=float(rng.choice([1.1, 1.3, 1.7], p=[0.4, 0.4, 0.2])),
        density=np.clip(0.4 + rng.uniform(0, 0.8) * clumps, 0.01, 1),
        angle=flow,
        spacing=rng.uniform(0.75, 1.1),
        roughness=rng.uniform(0.01, 0.06),
    )
    glow, labels = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.int32)
    best = np.ones(size, dtype=np.float32)
    mottle = smooth_noise(rng, size, max(1.5, 0.3 * radius)).astype(np.float32)
    level_of = np.exp(rng.normal(0, rng.uniform(0.1, 0.8), len(cells)))
    flat, grain = rng.uniform(0.5, 3.0), rng.uniform(0.03, 0.3)
    for i, box, level in outlines(cells, size, around=4):
        depth = np.clip((1 - level) * cells.radius[i] / rng.uniform(1.0, 2.0) + 0.5, 0, 1)
        body = np.clip(1.2 - level**2, 0, 1) ** (1 / flat)  # from a flat disc to a ball
        glow[box] += level_of[i] * depth * body * np.clip(1 + grain * mottle[box], 0.2, 2)
        paint_labels(labels, best, box, level, i + 1)
    haze = blur(glow, min(1.5 * radius, 10))
    streaks = np.clip(_fibres(rng, size, radius, flow), 0, None) * blur(glow, 4)
    signal = blur(glow, rng.uniform(0.4, 2.2)) + rng.uniform(0.02, 0.2) * haze + rng.uniform(0, 0.05) * streaks
    peak = np.exp(rng.uniform(np.log(22), np.log(230)))
    black = rng.uniform(1, 16) * (1 + rng.uniform(0, 0.3) * smooth_noise(rng, size, 0.6 * max(size)))
    if rng.random() < 0.2:  # a bright thing just outside the picture, or below it
        black += rng.uniform(5, 70) * np.clip(smooth_noise(rng, size, 0.5 * max(size)) - 0.5, 0, 2)
    picture = peak * signal + black
    picture += rng.standard_normal(size) * np.sqrt(
        rng.uniform(0.0, 0.15) * np.abs(picture) + rng.uniform(0.1, 1.2) ** 2
    )
    grey = _finish(rng, np.repeat(picture[..., None], 3, axis=2), 0.15)[..., :1]  # the colours of a JPEG round apart
    return np.repeat(grey, 3, axis=2), _renumbered(labels)


def _finish(rng: np.random.Generator, picture: np.ndarray, chance: float) -> np.ndarray:
    if rng.random() < chance:
        picture = jpeg_like(picture, quality=rng.uniform(55, 95))
    return np.rint(np.clip(picture, 0, 255)).astype(np.uint8)


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """Return labels numbered 1, 2, ... without gaps (cells may be hidden by others), slivers below 6 pixels removed."""
    count = np.bincount(labels.ravel())
    stays = count >= 6
    stays[0] = False
    return np.where(stays, np.cumsum(stays), 0).astype(np.int32)[labels]
