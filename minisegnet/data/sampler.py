"""``CropSampler``: batches of augmented crops for training, resumable bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..shapes import SizeLike, pair
from .augmentation import augment, random_crop
from .images import to_input


class CropSampler:
    """An iterable over batches ``(x, y)`` of crops at random places of random images.

    ``x`` is float32 (batch, 3, h, w) in [0, 1] (``to_input``), ``y`` int64 (batch, h, w). Every pass of a ``for`` loop
    gives ``steps`` batches and goes on in the same stream of random numbers, so no two passes are alike and all of them
    follow from ``seed``. Each image is drawn with a chance proportional to its area.

    Parameters
    ----------
    images, labels
        (N, H, W, 3) uint8 and (N, H, W) integer, or lists where sizes differ.
    crop
        Size of the crops (one number or height, width); images that are smaller are mirrored at their edges.
    batch, steps
        Crops in a batch; batches in a pass, None for a pass without end.
    seed
        An integer, as for ``numpy.random.default_rng``.
    augment
        True: flips, quarter turns and colour as ``data.augment``; a dictionary: its options, such as
        ``{"elastic_chance": 0.3}``; False: crops only; or a function of your own, called as
        ``f(image, *maps, rng=rng, crop=(h, w))`` on the whole image; it returns the crop and its maps.
    binary
        True: y is 1 where the label is not 0 (instances to "nucleus or not"). False: y is the label as it is.
    weights
        (N, H, W) float or a list: per-pixel loss weights (``border_weights``), cropped and turned alike; the batches
        are then ``(x, y, w)`` with ``w`` float32 (batch, h, w).

    Examples
    --------
    >>> sampler = CropSampler(images, labels, crop=128, batch=8, seed=0, steps=50)  # doctest: +SKIP
    >>> for x, y in sampler: ...  # doctest: +SKIP
    """

    def __init__(
        self,
        images: np.ndarray | Sequence[np.ndarray],
        labels: np.ndarray | Sequence[np.ndarray],
        crop: SizeLike = 128,
        batch: int = 8,
        seed: int = 0,
        augment: bool | dict[str, Any] | Callable[..., tuple[np.ndarray, ...]] = True,
        steps: int | None = None,
        binary: bool = True,
        weights: np.ndarray | Sequence[np.ndarray] | None = None,
    ):
        self.images, self.labels, self.weights = images, labels, weights
        self.crop, self.batch, self.steps, self.binary = pair(crop, "crop", minimum=1), batch, steps, binary
        _check(images, labels, weights, batch, steps)
        area = np.array([image.shape[0] * image.shape[1] for image in images], dtype=np.float64)
        self._chance = np.cumsum(area / area.sum())
        self._variant = _variant(augment)
        self._rng = np.random.default_rng(seed)
        self._done = 0  # batches of this pass that have been given out

    def __len__(self) -> int:
        if self.steps is None:
            raise TypeError("this CropSampler has no end: give it steps=...")
        return self.steps

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Give out the batches of this pass that are left: all of them, or after ``load_state`` the rest."""
        while self.steps is None or self._done < self.steps:
            batch = self.sample()
            self._done += 1  # before it is handed over: a state saved after this step goes on with the next
            yield batch
        self._done = 0

    def sample(self) -> tuple[np.ndarray, ...]:
        """Draw one batch."""
        crops, targets, weights = [], [], []
        for _ in range(self.batch):
            i = min(int(np.searchsorted(self._chance, self._rng.random(), side="right")), len(self._chance) - 1)
            maps = [self.labels[i]] if self.weights is None else [self.labels[i], self.weights[i]]
            image, *maps = self._variant(self.images[i], *maps, rng=self._rng, crop=self.crop)
            crops.append(image)
            targets.append(maps[0] > 0 if self.binary else maps[0])
            weights += maps[1:]
        batch = to_input(np.stack(crops)), np.stack(targets).astype(np.int64)
        return (*batch, np.stack(weights).astype(np.float32)) if weights else batch

    def state(self) -> dict[str, Any]:
        """Return where the stream of batches stands, as plain numbers and text that JSON can hold."""
        return {"done": self._done, "random": self._rng.bit_generator.state}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``: the next batch is the one that would have come then."""
        try:
            done, random = int(state["done"]), state["random"]
            self._rng.bit_generator.state = random
        except (KeyError, TypeError, ValueError) as fault:
            raise ValueError(f"state is not one that CropSampler.state() returned: {fault!r}") from None
        self._done = done


def _variant(choice: Any) -> Callable[..., tuple[np.ndarray, ...]]:
    if choice is False or choice is None:
        return lambda image, *maps, rng, crop: random_crop(image, *maps, rng=rng, size=crop)
    if choice is True:
        return augment
    if isinstance(choice, dict):
        return partial(augment, **choice)
    if callable(choice):
        return choice
    raise TypeError(f"augment must be True, False, a dictionary of options or a function, got {type(choice).__name__}")


def _check(images: Any, labels: Any, weights: Any, batch: int, steps: int | None) -> None:
    if len(images) == 0:
        raise ValueError("images: the data set is empty")
    if len(labels) != len(images) or (weights is not None and len(weights) != len(images)):
        raise ValueError(f"images, labels and weights must be equally many, got {len(images)} and {len(labels)}")
    if batch < 1 or (steps is not None and steps < 1):
        raise ValueError(f"batch and steps must be at least 1, got {batch} and {steps}")
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        if image.ndim != 3 or label.shape != image.shape[:2]:
            raise ValueError(
                f"images[{i}] must be (H, W, 3) and labels[{i}] (H, W), got {image.shape} and {label.shape}"
            )
        if label.dtype.kind not in "iub":
            raise TypeError(f"labels[{i}] must be integers, got {label.dtype}")
