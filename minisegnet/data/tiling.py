"""Overlap-tile prediction: pictures of any size, in bounded memory, without seams.

U-Net paper, section 2 and figure 2: cut the picture into tiles, predict each from a window that is larger by a margin,
keep the middle. Two conditions make the result *equal* to predicting the whole at once, not merely alike:

1. **Margin.** Every pixel that is kept must have all that it sees inside the window. So the margin must be at least the
   radius of the receptive field; with less, the kept pixels see the window's border, and a seam appears.
2. **Grid.** A network that pools s = 2^depth times over is not the same for an input shifted by one pixel: pool windows
   start at multiples of s. So every window must start at a multiple of the total stride ``multiple``. (This is also why
   the published 388-pixel tiles, set side by side, are *not* exactly seamless: 388 is no multiple of 16. We let such
   tiles overlap by 4 and step by 384.)

What must also hold: the network looks only nearby. Batch norm in eval mode does; a global pooling layer, or
interpolation with align_corners=True, makes every pixel see the whole picture, and no margin is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..shapes import SizeLike, pair
from .augmentation import mirrored


def predict_tiled(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    tile: SizeLike = 256,
    margin: SizeLike = 96,
    multiple: int = 1,
    valid: bool = False,
    border: str = "network",
    batch: int = 1,
    out: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Predict an image (C, H, W) tile by tile; returns (K, H, W).

    Parameters
    ----------
    predict
        (N, C, h, w) -> (N, K, h, w), or with ``valid`` -> (N, K, h - 2 margin, w - 2 margin). The same function of its
        input each time (a network in eval mode).
    image
        (C, H, W); a ``numpy.memmap`` will do: it is read a window at a time.
    tile
        Height and width of what is kept of each window. A multiple of ``multiple`` unless ``valid``.
    margin
        Pixels around it that the network sees besides. At least the radius of its receptive field; rounded up to a
        multiple of ``multiple``. With ``valid`` exactly what the network takes off each side (92 in the paper).
    multiple
        Total stride of the network, 2**depth for a U-Net. Height and width are filled up to it by mirroring.
    valid
        Whether the network has no padding and so returns less than it gets; the border is then mirrored, as in the
        paper.
    border
        What a network with padding sees beyond the picture. "network": windows stop at the picture's edge, so that the
        network's own padding stands there as it would for the whole: equal to ``predict(image[None])[0]`` (sides filled
        up to ``multiple``). "mirror": the picture mirrored by ``margin`` on all sides, as in the paper.
    batch
        Windows for each call of ``predict``. Memory grows with it.
    out
        Where to write, (K, H, W), for instance a ``numpy.memmap``; allocated if not given.
    progress
        Called as ``progress(done, total)`` in tiles after each batch.

    Raises
    ------
    ValueError
        If a size does not fit, or ``predict`` returns another shape than it should.
    """
    image = image if isinstance(image, np.ndarray) else np.asarray(image)
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"image must be (C, H, W) and not empty, got shape {image.shape}; call it once per image")
    if border not in ("network", "mirror"):
        raise ValueError(f'border must be "network" or "mirror", got {border!r}')
    if multiple < 1 or batch < 1:
        raise ValueError(f"multiple and batch must be at least 1, got {multiple} and {batch}")
    tiles, margins = pair(tile, "tile", minimum=1), pair(margin, "margin")
    for name, t in zip(("height", "width"), tiles, strict=True):
        if (t < multiple) if valid else (t % multiple):
            near = max(t // multiple, 1) * multiple
            raise ValueError(
                f"tile: the {name} {t} must be a multiple of the network's total stride {multiple}; {near} is"
            )
    axes = [
        cut_axis(n, t, m, multiple, valid or border == "mirror", valid)
        for n, t, m in zip(image.shape[1:], tiles, margins, strict=True)
    ]
    places = [(row, column) for row in axes[0] for column in axes[1]]
    done = 0
    for group in _groups(places, batch):
        windows = np.stack([image[:, r.rows[:, None], c.rows] for r, c in group])
        predicted = predict(windows)
        _check_prediction(predicted, windows, margins if valid else (0, 0))
        if out is None:
            out = np.empty((predicted.shape[1], *image.shape[1:]), dtype=predicted.dtype)
        elif out.shape != (predicted.shape[1], *image.shape[1:]):
            raise ValueError(
                f"out must be (K, H, W) = {(predicted.shape[1], *image.shape[1:])} for this network, got {out.shape}"
            )
        for one, (r, c) in zip(predicted, group, strict=True):
            out[:, r.start : r.stop, c.start : c.stop] = one[:, r.keep, c.keep]
        done += len(group)
        if progress is not None:
            progress(done, len(places))
    assert out is not None
    return out


class Span:
    """One tile along one axis: what is read (``rows``), what is kept of it (``keep``), where it goes."""

    __slots__ = ("keep", "rows", "start", "stop")

    def __init__(self, window: int, size: int, first: int, start: int, stop: int, n: int, lost: int):
        self.rows = mirrored(np.arange(window, window + size), n)
        self.start, self.stop = start, stop
        self.keep = slice(start - first - lost, stop - first - lost)


def cut_axis(n: int, tile: int, margin: int, multiple: int, mirror: bool, valid: bool) -> list[Span]:
    """Cut an axis of ``n`` pixels into tiles.

    All windows have one size and start at a multiple of ``multiple``, counted from the first pixel (``mirror``: from
    the first mirrored one).
    """
    filled = -(-n // multiple) * multiple
    if not valid:
        margin = -(-margin // multiple) * multiple
        tile = min(tile, filled)
    step = tile // multiple * multiple
    size = tile + 2 * margin
    if not mirror:
        size = min(size, filled)
    spans = []
    for start in range(0, max(n - (tile - step), 1), step):
        window, last = start - margin, start + tile >= n
        if not mirror:  # the window slides inward at an edge: beyond it the network pads by itself
            window = min(max(window, 0), filled - size)
        spans.append(Span(window, size, window, start, n if last else start + step, n, margin if valid else 0))
    return spans


def _groups(places: list, batch: int) -> Iterator[list]:
    for i in range(0, len(places), batch):
        yield places[i : i + batch]


def _check_prediction(predicted: np.ndarray, windows: np.ndarray, margins: tuple[int, int]) -> None:
    n, _, h, w = windows.shape
    expected = (n, h - 2 * margins[0], w - 2 * margins[1])
    if getattr(predicted, "ndim", 0) != 4 or (predicted.shape[0], *predicted.shape[2:]) != expected:
        raise ValueError(
            f"predict returned shape {getattr(predicted, 'shape', type(predicted).__name__)} for a window of "
            f"{windows.shape}; expected ({n}, K, {expected[1]}, {expected[2]}), which is the window "
            f"less {margins[0]} and {margins[1]} pixels on each side"
        )
