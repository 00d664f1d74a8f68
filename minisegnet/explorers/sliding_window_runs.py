"""What the explorer of the sliding window computes: two nets, slid patch by patch and in one pass, and what each costs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .. import data, nn
from ..autograd import no_grad
from ..models import PatchClassifier
from ..models.fully_convolutional import (
    WINDOWS,
    FullyConvolutional,
    Window,
    dilate_instead_of_stride,
    to_fully_convolutional,
)
from ..models.sliding_window import slide
from .few_numbers import few_numbers

KERNEL, WIDTHS, HIDDEN, CLASSES = 5, (4, 8), 16, 2
NET_STRIDE = 4  # two pools


@lru_cache(maxsize=8)
def classifier(patch: int, padded: bool) -> nn.Module:
    """Return a classifier of patches with fixed random weights: two times convolution, ReLU, pool; then two linear layers."""
    if padded:
        side = patch // NET_STRIDE
        first, second = (nn.Conv2d(a, b, KERNEL, padding=KERNEL // 2) for a, b in ((1, WIDTHS[0]), WIDTHS))
        net: nn.Module = nn.Sequential(
            *(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(WIDTHS[1] * side * side, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)),
        )
    else:
        net = PatchClassifier(1, CLASSES, patch, WIDTHS, (KERNEL, KERNEL), (HIDDEN,))
    noise = np.random.default_rng(0)
    for _, weight in net.named_parameters():
        fan = int(np.prod(weight.shape[1:])) if len(weight.shape) > 1 else 1
        scale = (2 / fan) ** 0.5 if fan > 1 else 0.1
        weight.data = noise.normal(scale=scale, size=weight.shape)  # float64: what differs is not rounding
    return net.eval()


@lru_cache(maxsize=8)
def tissue(size: int) -> np.ndarray:
    """Return synthetic tissue as grey values, float64 (H, W) from 0 to 1."""
    images, _ = data.synthetic_tissue(1, size=(96, 96), seed=3)
    grey: np.ndarray = np.asarray(images[0], dtype=np.float64)[:size, 96 - size :].mean(axis=2) / 255
    return grey


@lru_cache(maxsize=8)
def whole(patch: int, padded: bool, dense: bool) -> FullyConvolutional:
    """Return the same weights as a fully convolutional net; ``dense`` without strides, an output at every pixel."""
    net = to_fully_convolutional(classifier(patch, padded), patch_size=patch)
    return dilate_instead_of_stride(net) if dense else net


@lru_cache(maxsize=128)
def difference(patch: int, size: int, stride: int, padded: bool) -> np.ndarray:
    """Return by how much one pass differs from the sliding window, the larger of both scores, at every place (n, n)."""
    image = tissue(size)[None, None]
    dense = stride % NET_STRIDE != 0
    with no_grad(), few_numbers():
        slid = slide(classifier(patch, padded), image, stride, patch_size=patch).numpy()[0]
        passed = whole(patch, padded, dense)(image).numpy()[0]
    step = stride if dense else stride // NET_STRIDE
    result: np.ndarray = np.abs(passed[:, ::step, ::step] - slid).max(axis=0)
    return result


@lru_cache(maxsize=64)
def rings(patch: int, size: int) -> tuple[int, int]:
    """Return how wide the ring of wrong numbers is in the features of a padded patch: after each of both convolutions."""
    image, net = tissue(size)[None, None], classifier(patch, True)
    alone: Any
    among: Any
    start = (size - patch) // 2 // NET_STRIDE * NET_STRIDE
    found = []
    with no_grad(), few_numbers():
        for end, scale in ((1, 1), (4, 2)):
            layers = list(net.children())[:end]
            alone, among = image[:, :, start : start + patch, start : start + patch], image
            for layer in layers:
                alone, among = layer(alone), layer(among)
            first, side = start // scale, patch // scale
            inside = among.numpy()[0, :, first : first + side, first : first + side]
            wrong = (np.abs(inside - alone.numpy()[0]) > 1e-9).any(axis=(0, 1))
            wide = next((n for n in range(side // 2) if not _any(inside, alone.numpy()[0], n)), side // 2)
            found.append(wide if wrong.any() else 0)
    return found[0], found[1]


def _any(one: np.ndarray, other: np.ndarray, ring: int) -> bool:
    inner = slice(ring, one.shape[1] - ring)
    return bool((np.abs(one - other)[:, inner, inner] > 1e-9).any())


@lru_cache(maxsize=128)
def products(patch: int, size: int, padded: bool, dense: bool = False) -> int:
    """Return how many products a pass over ``size`` pixels takes (``size=patch``: one patch), layer by layer."""
    total, side = 0, size
    for kind, settings in whole(patch, padded, dense).config["layers"]:
        if kind in WINDOWS:
            window = Window.of(kind, settings)
            side = window.output_size(side)
            if not window.pool:
                total += side * side * window.kernel**2 * settings["in_channels"] * settings["out_channels"]
    return total
