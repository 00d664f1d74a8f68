"""The sliding window: a network that says what the middle of a patch shows, asked once for every pixel.

It is where the lecture begins, and what Ciresan, Giusti, Gambardella and Schmidhuber won the ISBI challenge of 2012 with, three
years before U-Net ("Deep neural networks segment neuronal membranes in electron microscopy images", NIPS 2012):

    image -> cut out a patch -> [convolution, pool] x 4 -> flatten -> linear -> linear -> what its middle pixel is
                ^                                                                                 |
                +--------------------------- go on to the next pixel -----------------------------+

As published, their net N4: ``PatchClassifier(1, 2)`` sees 95 x 95 pixels, through 4 x 4, 5 x 5, 4 x 4, 4 x 4 convolutions with 48
channels, each with a 2 x 2 pool behind it, and 200 hidden units. A pool of 2 makes windows even, a convolution of 4 odd
again: so there is a middle pixel.

``slide`` does it literally, patch by patch. Neighbouring patches share nearly all of their pixels, so it computes nearly
everything again and again; ``fully_convolutional.py`` gets the same numbers without.
For a laptop: ``PatchClassifier(3, 4, patch_size=21, widths=(16, 32), kernel_sizes=(4, 4), hidden=(64,))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from .. import nn
from ..arrays import array_module
from ..autograd import Tensor, no_grad, unwrap
from ..functional import cat, pad
from ..functional.checks import images as as_images
from ..functional.checks import together, unbatch
from ..shapes import ReceptiveField
from .base import Model
from .blocks import he_initialization
from .classifier import check_count

BORDERS = ("valid", "reflect", "zeros")


class PatchClassifier(Model):
    """One score a class for the middle pixel of each patch.

    Parameters
    ----------
    in_channels : channels of the image, C
    num_classes : scores a patch, K
    patch_size : P, pixels on a side; one at which nothing is left over at a pool, so that every pixel counts
    widths, kernel_sizes : channels, and the kernel size, of each stage's convolution; a 2x2 pool follows it
    hidden : features of each linear layer before the last
    norm : "batch" (batch norm after each convolution, which then has no bias) or None
    dropout : probability of dropout after each hidden layer

    Input (N, C, P, P) float32, output (N, K) scores.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        patch_size: int = 95,
        widths: Sequence[int] = (48, 48, 48, 48),
        kernel_sizes: Sequence[int] = (4, 5, 4, 4),
        hidden: Sequence[int] = (200,),
        norm: str | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        counts = {"in_channels": in_channels, "num_classes": num_classes}
        counts |= {"patch_size": patch_size}
        check_count("PatchClassifier", **counts)
        for name, values in (("widths", widths), ("kernel_sizes", kernel_sizes), ("hidden", hidden)):
            if not isinstance(values, (tuple, list)) or any(not isinstance(v, int) or v < 1 for v in values):
                raise ValueError(f"PatchClassifier: {name} must be positive integers, one a layer, got {values!r}")
        if not widths or len(widths) != len(kernel_sizes):
            raise ValueError(
                f"PatchClassifier: widths and kernel_sizes must be equally long, one entry a stage, "
                f"got {len(widths)} and {len(kernel_sizes)}"
            )
        if norm not in ("batch", None):
            raise ValueError(f'PatchClassifier: norm must be "batch" or None, got {norm!r}')
        self.config = {**counts, "widths": list(widths), "kernel_sizes": list(kernel_sizes)}
        self.config |= {"hidden": list(hidden), "norm": norm, "dropout": dropout}
        self.in_channels, self.num_classes, self.patch_size = in_channels, num_classes, patch_size

        encoder, field = nn.Sequential(), ReceptiveField()
        for before, width, kernel in zip([in_channels, *widths], widths, kernel_sizes, strict=False):
            encoder.append(nn.Conv2d(before, width, kernel, bias=norm is None))
            if norm == "batch":
                encoder.append(nn.BatchNorm2d(width))
            encoder.extend([nn.ReLU(), nn.MaxPool2d(2)])
            field = field.through(kernel).through(2, 2)
        side = (patch_size - field.size) // field.stride + 1  # of the last plane, pixels
        if side < 1 or (patch_size - field.size) % field.stride:
            near = max(field.size, patch_size - (patch_size - field.size) % field.stride)
            raise ValueError(
                f"PatchClassifier: patch_size must be {field.size} or a multiple of {field.stride} more, so that the pools leave "
                f"nothing over, got {patch_size}; sizes near it: {near}, {near + field.stride}"
            )
        features = [widths[-1] * side**2, *hidden]
        bottleneck = nn.Sequential(nn.Flatten())
        for before, after in pairwise(features):
            bottleneck.extend([nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)])
        self.encoder, self.bottleneck, self.head = encoder, bottleneck, nn.Linear(features[-1], num_classes)
        self.apply(he_initialization)
        for layer in (*bottleneck, self.head):
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x: Any) -> Tensor:
        """Return one score a class, (N, K), of patches (N, C, P, P)."""
        expected = (self.in_channels, self.patch_size, self.patch_size)
        if tuple(x.shape[1:]) != expected:
            raise ValueError(
                f"PatchClassifier: input must be patches (N, {', '.join(map(str, expected))}), got shape {tuple(x.shape)}; "
                "slide(classifier, images) cuts images into patches"
            )
        return self.head(self.bottleneck(self.encoder(x)))


def slide(
    classifier: nn.Module,
    images: Any,
    stride: int = 1,
    border: str = "valid",
    patch_size: int | None = None,
    batch_size: int = 256,
    progress: Callable[[int, int], Any] | None = None,
) -> Tensor:
    """Return the scores of a classifier of patches slid over images: cut out a patch, classify it, go on to the next.

    The classifier runs in evaluation mode and off the tape.

    Parameters
    ----------
    classifier : from (N, C, P, P) to (N, K)
    images : (N, C, H, W), or (C, H, W) for one image
    stride : from one patch to the next, pixels
    border : "valid", patches inside of the image only; "reflect" (the image is mirrored around its border) or "zeros", the
        patches around pixels 0, stride, 2 stride ...; the middle of P pixels is number P // 2
    patch_size : P; by default the classifier's own
    batch_size : how many patches at once
    progress : called with (patches done, patches in all)

    Returns
    -------
    (N, K, OH, OW), or (K, OH, OW) for one image: OH = (H - P) // stride + 1, or with a border ceil(H / stride)
    """
    size = getattr(classifier, "patch_size", None) if patch_size is None else patch_size
    if size is None:
        raise ValueError(f"slide: patch_size must be given, for a {type(classifier).__name__} does not tell its own")
    check_count("slide", patch_size=size, stride=stride, batch_size=batch_size)
    if border not in BORDERS:
        raise ValueError(f"slide: border must be one of {', '.join(BORDERS)}, got {border!r}")
    _, images = together(next(classifier.parameters(), None), images)
    batch, single = as_images(images, "slide")
    around = (size // 2, (size - 1) // 2) if border != "valid" else (0, 0)
    least = size if border == "valid" else size // 2 + 1 if border == "reflect" else 1
    if min(batch.shape[2:]) < least:
        raise ValueError(
            f'slide: images must have {least} pixels or more on each side for patches of {size} and border "{border}", '
            f"got shape {batch.shape}"
        )
    with predicting(classifier):
        x = unwrap(pad(batch, around * 2, mode="reflect" if border == "reflect" else "constant"))
        xp = array_module(x)
        windows = xp.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
        patches = windows.transpose(0, 2, 3, 1, 4, 5)  # (N, OH, OW, C, P, P): views of the image, not copies
        count, found = patches.shape[0] * patches.shape[1] * patches.shape[2], []
        for start in range(0, max(count, 1), batch_size):
            done = min(start + batch_size, count)
            chosen = xp.unravel_index(xp.arange(start, done), patches.shape[:3]) if count else slice(0)
            found.append(classifier(Tensor(patches[chosen].reshape(-1, *patches.shape[3:]))))
            if found[-1].shape[:-1] != (done - start,):
                raise ValueError(
                    f"slide: the classifier must return scores (N, K), got shape {found[-1].shape} for {done - start} patches"
                )
            if progress is not None:
                progress(done, count)
        scores = cat(found)
        result = scores.reshape(*patches.shape[:3], scores.shape[1]).permute(0, 3, 1, 2)
        return unbatch(result, single)


@contextmanager
def predicting(network: nn.Module) -> Iterator[None]:
    """Run a block off the tape with the network in evaluation mode; afterwards each part is in its own mode again."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in before:
            object.__setattr__(module, "training", training)
