"""From pictures to what a network takes: ``to_input``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def to_input(images: np.ndarray | Sequence[np.ndarray], channels: int = 3) -> np.ndarray:
    """Return pictures as a network's input: float32 (N, C, H, W) in [0, 1].

    The rule is fixed and the same for training and prediction: uint8 is divided by 255, uint16 by 65535, floating
    point must lie in [0, 1] already. Nothing is measured on the picture (no mean, no stretching), so a tile of a large
    picture and the whole of it are scaled alike.

    Parameters
    ----------
    images
        (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): one picture; (N, H, W, 1 | 3 | 4), or a sequence of pictures of one
        size. The fourth channel is opacity and is dropped.
    channels
        3 repeats a grey picture in three channels; 1 takes grey pictures only.

    Raises
    ------
    TypeError, ValueError
        Where the type, the shape or the values are none of these.
    """
    if not isinstance(images, np.ndarray):
        pictures = [np.asarray(image) for image in images]
        sizes = {picture.shape for picture in pictures}
        if len(sizes) != 1:
            raise ValueError(
                f"images: a batch needs pictures of one shape, got {sorted(sizes)}; give them one by one, or crop them"
            )
        images = np.stack(pictures)
        if images.ndim == 3:  # N grey pictures (N, H, W)
            images = images[..., None]
    if images.ndim == 2:
        images = images[..., None]
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"images must be (H, W), (H, W, C) or (N, H, W, C) with 1, 3 or 4 channels last, got shape {images.shape}; "
            "for N grey pictures write images[..., None]"
        )
    images = images[..., :3]
    if images.dtype == np.uint8 or images.dtype == np.uint16:
        scale = np.float32(1 / np.iinfo(images.dtype).max)
        values = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        values *= scale
    elif images.dtype.kind == "f":
        values = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        if values.size and not (values.min() >= 0 and values.max() <= 1):  # also False for NaN
            raise ValueError(
                f"images: floating-point pictures must lie in [0, 1], got {values.min():g} to {values.max():g}; "
                "divide by the largest value that the camera can give, and look for NaN"
            )
    else:
        raise TypeError(
            f"images must be uint8, uint16 or floating point in [0, 1], got {images.dtype}; "
            "for labels use .astype(numpy.int64) instead"
        )
    if channels not in (1, 3) or (channels == 1 and values.shape[1] == 3):
        raise ValueError(f"channels must be 3, or 1 for grey pictures; got {channels} for {values.shape[1]} channels")
    return np.repeat(values, 3, axis=1) if channels == 3 and values.shape[1] == 1 else values
