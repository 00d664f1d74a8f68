"""The nuclei recipe: a small U-Net learns to find nuclei in minutes on a laptop, and is judged on fields it never saw.

A U-Net of base width 8 and depth 4 (0.49 million parameters, batch norm) sees 396 batches of 8 crops of 128 x 128
pixels, turned, flipped and recoloured; the loss is cross-entropy + soft Dice; AdamW steps with a one-cycle rate up to
4e-3. It is judged on whole images by the mean over images of the Dice of class 1. All of it is in this file:
``train_nuclei`` is the recipe, ``cross_validate`` runs it once a fold.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import data, losses, metrics, models, optim, random, training

STEPS = 396
BASE_CHANNELS, DEPTH = 8, 4
CROP, BATCH = 128, 8
MAX_LR, PCT_START, WEIGHT_DECAY = 4e-3, 0.3, 1e-2
SMOOTH = 1.0  # added above and below in the soft Dice
FOLDS = 4
EMPTY = 1.0  # the Dice of an image without nuclei in which none was found; Kaggle's rule
CURVE = 4  # validations along the way, for the curve alone

Images = np.ndarray | Sequence[np.ndarray]
Split = tuple[np.ndarray, np.ndarray]


@dataclass
class Result:
    """A trained network and what it reached.

    Attributes
    ----------
    model, history
        The network in evaluation mode; its loss, rate and validations.
    test_index : integers
        The images that it was judged on, and did not see.
    dice : list of float
        For each of them, the Dice of class 1.
    seconds : float
        Time of training, validations included, judging not.
    """

    model: models.UNet
    history: training.History
    test_index: np.ndarray
    dice: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def mean_dice(self) -> float:
        """The mean over the images; nan where there are none."""
        return float(np.mean(self.dice)) if self.dice else float("nan")


def train_nuclei(
    images: Images,
    labels: Images,
    train_index: Sequence[int] | np.ndarray,
    test_index: Sequence[int] | np.ndarray = (),
    steps: int = STEPS,
    base_channels: int = BASE_CHANNELS,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    crop: int = CROP,
    batch: int = BATCH,
    curve: int = CURVE,
    callbacks: Sequence[Any] = (),
) -> Result:
    """Train on some images, judge on others.

    Parameters
    ----------
    images, labels
        uint8 (N, H, W, 3) and integers (N, H, W), 0 background; or lists where sizes differ.
    train_index, test_index
        Which of them to learn from and which to judge; from ``field_folds``. No test index: nothing is judged.
    steps, base_channels, seed, crop, batch
        The length of the training, the width of the network, where chance starts; pixels and crops of a batch.
    checkpoint, resume, progress, callbacks
        As ``training.fit``. An interrupted training is not judged: resume it.
    curve
        How often to validate along the way. It draws the curve and chooses nothing: the last weights are judged.
    """
    model = new_model(base_channels, seed)
    passes = max(1, min(curve, steps))
    train = batches(images, labels, train_index, -(-steps // passes), seed, crop, batch)
    validation = [_whole(images[i], labels[i]) for i in test_index] if curve else []
    optimizer = optim.AdamW(model.parameters(), lr=MAX_LR, weight_decay=WEIGHT_DECAY)
    history = training.fit(
        model,
        train,
        validation or None,
        loss=losses.CombinedLoss(classes=(1,), smooth=SMOOTH),
        optimizer=optimizer,
        scheduler=optim.OneCycleLR(optimizer, MAX_LR, total_steps=steps, pct_start=PCT_START),
        steps=steps,
        metric=metrics.MeanDice(empty=EMPTY) if validation else None,
        checkpoint=checkpoint,
        resume=resume,
        callbacks=callbacks,
        progress=progress,
    )
    result = Result(model, history, np.asarray(test_index, dtype=np.int64))
    result.seconds = history.seconds[-1] if history.seconds else 0.0
    if not history.interrupted:
        result.dice = judge(model, images, labels, test_index)
    return result


def cross_validate(nuclei: data.Nuclei, folds: int = FOLDS, split: str = "field", **options: Any) -> Iterator[Result]:
    """Yield the ``train_nuclei`` result of each fold, ``split`` by "field" or "leaky"; options go to the training."""
    for train_index, test_index in SPLITS[split](nuclei, folds):
        yield train_nuclei(nuclei.images, nuclei.labels, train_index, test_index, **options)


def new_model(base_channels: int = BASE_CHANNELS, seed: int = 0) -> models.UNet:
    """Return the network of the recipe before training; the same seed gives the same weights."""
    random.manual_seed(seed)
    return models.UNet(3, 2, base_channels, DEPTH)


def batches(
    images: Images,
    labels: Images,
    index: Sequence[int] | np.ndarray,
    steps: int,
    seed: int = 0,
    crop: int = CROP,
    batch: int = BATCH,
) -> data.CropSampler:
    """Return the batches, ``steps`` a pass, that the images chosen by ``index`` are learnt from."""
    chosen = [images[i] for i in index], [labels[i] for i in index]
    return data.CropSampler(*chosen, crop, batch, seed=seed, augment=True, steps=steps)


def judge(model: models.DensePrediction, images: Images, labels: Images, index: Any) -> list[float]:
    """Return the Dice of class 1 for each chosen image: the whole image at once, the class with the largest score."""
    found = (model.predict(images[i]).argmax(0) == 1 for i in index)
    return [metrics.dice(mask, labels[i] > 0, empty=EMPTY) for mask, i in zip(found, index, strict=True)]


def field_folds(nuclei: data.Nuclei, folds: int = FOLDS) -> list[Split]:
    """Return (train, test) of each fold: every field of view is judged once, and never stands on both sides."""
    return data.split_by_field(nuclei.fields, folds)


def leaky_folds(nuclei: data.Nuclei, folds: int = FOLDS, seed: int = 0) -> list[Split]:
    """Return (train, test) of each fold, dealt image by image as one should not: tiles of one field on both sides.

    What this measures is how well a network knows fields that it has seen. Lesson 14 holds it beside ``field_folds``.
    """
    fold = np.random.default_rng(seed).permutation(np.arange(len(nuclei)) % folds)
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]


SPLITS = {"field": field_folds, "leaky": leaky_folds}


def _whole(image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its target as one batch, cut to sizes that the network takes."""
    height, width = (n - n % 2**DEPTH for n in label.shape)
    return data.to_input(image[:height, :width]), (label[None, :height, :width] > 0).astype(np.int64)
