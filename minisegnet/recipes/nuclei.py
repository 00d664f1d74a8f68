"""The nuclei recipe: a small U-Net learns to find nuclei in minutes on a laptop, and is judged on fields it never saw.

A U-Net of base width 8 and depth 4 (0.49 million parameters, batch norm) sees 396 batches of 8 crops of 128 x 128
pixels, turned, flipped and recoloured; the loss is cross-entropy + soft Dice; AdamW steps with a one-cycle rate up to
4e-3. It is judged on whole images by the mean over images of the Dice of class 1. Everything is in this file:
``train_nuclei`` is the recipe, ``cross_validate`` runs it once a fold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, metrics, models, random

STEPS = 396
BASE_CHANNELS, DEPTH = 8, 4
CROP, BATCH = 128, 8
MAX_LR, PCT_START, WEIGHT_DECAY = 4e-3, 0.3, 1e-2
SMOOTH = 1.0
FOLDS = 4
EMPTY = 1.0  # the Dice of an image without nuclei in which none was found; Kaggle's rule

Images = np.ndarray | Sequence[np.ndarray]
Split = tuple[np.ndarray, np.ndarray]


def new_model(base_channels: int = BASE_CHANNELS, seed: int = 0) -> models.UNet:
    """Return the network of the recipe before training; the same seed gives the same weights."""
    random.manual_seed(seed)
    return models.UNet(3, 2, base_channels, DEPTH)


def batches(images: Images, labels: Images, index: Sequence[int], steps: int, seed: int = 0) -> data.CropSampler:
    """Return the ``steps`` batches that the images chosen by ``index`` are learnt from."""
    return data.CropSampler(
        [images[i] for i in index], [labels[i] for i in index], CROP, BATCH, seed=seed, augment=True, steps=steps
    )


def field_folds(nuclei: data.Nuclei, folds: int = FOLDS) -> list[Split]:
    """Return (train, test) a fold: each field of view is judged once, and never stands on both sides."""
    return data.split_by_field(nuclei.fields, folds)


def leaky_folds(nuclei: data.Nuclei, folds: int = FOLDS, seed: int = 0) -> list[Split]:
    """Return (train, test) a fold, dealt image by image as one should not: tiles of one field stand on both sides.

    What it measures is how well a network knows fields it has seen. Lesson 14 holds it beside ``field_folds``.
    """
    fold = np.random.default_rng(seed).permutation(np.arange(len(nuclei)) % folds)
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]
