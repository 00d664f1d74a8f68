"""Scenes in batches, for the scripts that train the explorers' small nets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minisegnet import data


class Batches:
    """Batches of ``size`` scenes in an order that follows from the seed, each mirrored or not."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int, size: int):
        self.images, self.labels, self.seed, self.size = images, labels, seed, size

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (N, 3, H, W) and (N, H, W)."""
        rng = np.random.default_rng(self.seed)
        while True:
            order = rng.permutation(len(self.images))
            for at in range(0, len(order) - self.size + 1, self.size):
                chosen = order[at : at + self.size]
                turn = [slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in chosen]
                light = rng.uniform(0.85, 1.15, (self.size, 1, 1, 1)).astype(np.float32)
                x = np.stack([self.images[i][..., t] for i, t in zip(chosen, turn, strict=True)]) * light
                yield x, np.stack([self.labels[i][..., t] for i, t in zip(chosen, turn, strict=True)])


def drawn(count: int, seed: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scenes of ``side`` pixels, float32 (N, 3, H, W) and int64 (N, H, W)."""
    scenes = list(data.scenes(count, seed=seed, size=side))
    images = np.stack([s.image.transpose(2, 0, 1) for s in scenes]).astype(np.float32) / 255
    return images, np.stack([s.labels for s in scenes])
