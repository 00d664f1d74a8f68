"""What a U-Net's levels hold: the map after each block, what one cell sees, and the scores after a change at the waist.

For the explorers of evidence and of feature maps; the net is the pre-trained one for nuclei.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from .. import data, models, nn
from ..autograd import Tensor
from ..functional import cat
from ..nn.receptive_field import receptive_field

SIZE = 96  # pixels of the tissue shown; the net takes multiples of 16
LEVELS = (
    "encoder 1",
    "encoder 2",
    "encoder 3",
    "encoder 4",
    "waist",
    "decoder 4",
    "decoder 3",
    "decoder 2",
    "decoder 1",
)
WAIST = LEVELS.index("waist")


@lru_cache(maxsize=1)
def net() -> models.UNet:
    """Return the pre-trained net for nuclei: depth 4, 8 channels at the first level."""
    loaded = models.load_pretrained("nuclei")
    assert isinstance(loaded, models.UNet)
    loaded.requires_grad_(False)  # gradients are asked for of the image only
    return loaded


@lru_cache(maxsize=8)
def tissue(seed: int = 0) -> np.ndarray:
    """Return synthetic tissue, uint8 (SIZE, SIZE, 3)."""
    images, _ = data.synthetic_tissue(1, size=(SIZE, SIZE), seed=seed)
    return np.asarray(images[0])


def as_input(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3) uint8 as the net takes it: float32 (1, 3, H, W) from 0 to 1."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def blocks(model: models.UNet, x: Any, at_waist: Callable[[Any], Any] | None = None) -> tuple[list[Any], Any]:
    """Return the map after each block (named by ``LEVELS``) and the scores (N, K, H, W), line by line as ``UNet.forward``.

    ``at_waist`` gets the map (N, C, h, w) of the waist and returns the one to go on with.
    """
    maps, skips = [], []
    for block in model.encoder:
        x = block(x)
        skips.append(x)
        maps.append(x)
        x = model.pool(x)
    x = model.bottleneck(x)
    if at_waist is not None:
        x = at_waist(x)
    maps.append(x)
    for up, block in zip(model.upsample, model.decoder, strict=True):
        x = block(cat([skips.pop(), up(x)], dim=1))
        maps.append(x)
    return maps, model.head(x)


class _UpTo(nn.Module):
    """The net up to a level."""

    def __init__(self, model: models.UNet, level: int):
        super().__init__()
        self.model, self.level = model, level

    def forward(self, x: Any) -> Tensor:
        result: Tensor = blocks(self.model, x)[0][self.level]
        return result


@lru_cache(maxsize=16)
def field(level: int) -> int:
    """Return how many pixels one cell of a level's map sees on a side, by arithmetic over the net's own layers."""
    return int(receptive_field(_UpTo(net(), level), 3, SIZE).size)
