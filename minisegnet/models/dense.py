"""What every network that labels each pixel can do: say which sizes work, and predict images of any size."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np

from .. import functional as F
from ..arrays import to_device
from ..autograd import Tensor, no_grad, unwrap
from ..shapes import ReceptiveField
from .base import Model


class DensePrediction(Model):
    """A network from (N, C, H, W) to (N, K, H', W'). Its models set the attributes and, where the rules differ, the methods."""

    padding: str = "same"

    @property
    def stride(self) -> int:
        """The total stride: input sizes work in steps of it."""
        raise NotImplementedError

    def output_size(self, size: int) -> int | None:
        """Return the output size for one side of the input; None where a size does not work.

        Unless a model says otherwise: as large as the input, which must be a multiple of the stride.
        """
        return size if size > 0 and size % self.stride == 0 else None

    def receptive_field(self) -> ReceptiveField:
        """Return what one output pixel sees on one axis, from the layers themselves; ``size`` is infinite for global pooling."""
        from ..nn.receptive_field import receptive_field

        return receptive_field(self, self.in_channels, self.valid_sizes(1, 1)[0])

    def valid_sizes(self, near: int, count: int = 2) -> list[int]:
        """Return input sizes that work: the last one below ``near``, and the next ones from ``near`` on."""
        above = list(islice((n for n in range(max(near, 1), near + 4096) if self.output_size(n) is not None), count))
        below = next((n for n in range(near - 1, 0, -1) if self.output_size(n) is not None), None)
        return ([below] if below else []) + above

    def check_input(self, x: Any) -> None:
        """Raise a ValueError that says which sizes work unless ``x`` is (N, C, H, W) of one that does."""
        name = type(self).__name__
        if len(x.shape) != 4:
            raise ValueError(
                f"{name}: input must have 4 axes (N, C, H, W), got shape {tuple(x.shape)}; for one image add image[None]"
            )
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f"{name}: input must have {self.in_channels} channels, got {x.shape[1]} in shape {tuple(x.shape)}"
            )
        for axis, n in zip(("height", "width"), x.shape[2:], strict=True):
            if self.output_size(n) is None:
                sizes = ", ".join(map(str, self.valid_sizes(n)))
                raise ValueError(
                    f"{name}: a {axis} of {n} pixels does not work with padding={self.padding!r}; sizes near it that do: "
                    f"{sizes}. predict() takes any size: it pads and crops"
                )

    def predict(
        self,
        image: Any,
        tile: int | None = 512,
        margin: int | None = None,
        out: np.ndarray | None = None,
        progress: Any = None,
    ) -> np.ndarray:
        """Return the probabilities (K, H, W) of an image of any size, in bounded memory and without seams.

        The network runs in evaluation mode and off the tape. What it cannot take is filled up by mirroring and cut off
        again; an image larger than ``tile`` is predicted in overlapping tiles, equal to the whole (overlap-tile, figure 2).

        Parameters
        ----------
        image : uint8 (H, W, C) or (H, W), 0 to 255; or float (C, H, W), scaled as in training (0 to 1)
        tile : largest side predicted at once, pixels; None predicts everything at once
        margin : pixels seen beyond each tile; by default as far as an output pixel sees, which makes tiles seamless
        out : array or memory map (K, H, W) to write into
        progress : called with (tiles done, tiles in all)

        Raises
        ------
        TypeError, ValueError
            For another shape, another number of channels, integers other than uint8, or NaN in the image.
        """
        from ..data.tiling import predict_tiled

        pixels = self._pixels(image)
        before = [(m, m.training) for m in self.modules()]
        self.eval()
        try:
            valid = self.padding == "valid"
            kept, margin = self.tile_and_margin(max(pixels.shape[1:]), tile, margin)
            return predict_tiled(
                self.probabilities,
                pixels,
                tile=kept,
                margin=margin,
                multiple=self.stride,
                valid=valid,
                out=out,
                progress=progress,
            )
        finally:
            for module, training in before:
                object.__setattr__(module, "training", training)

    def tile_and_margin(self, largest: int, tile: int | None = 512, margin: int | None = None) -> tuple[int, int]:
        """Return the tile (pixels a side) that this network can produce for about ``tile``, and the margin that it must see.

        ``largest`` is the image's larger side: the tile where there are no tiles, because ``tile`` is None or the network sees
        everything at once (global pooling).
        """
        valid = self.padding == "valid"
        if margin is None:
            margin = self._lost() if valid else self._reach()
        if margin is None:
            margin, tile = 0, None
        return self._tile(largest if tile is None else tile, self._lost() if valid else 0), margin

    def probabilities(self, windows: np.ndarray) -> np.ndarray:
        """Return the probabilities (N, K, h, w) of float32 windows (N, C, h, w), off the tape, in the mode that the model is in."""
        from ..data.augmentation import mirrored

        (height, width), least = windows.shape[2:], self.valid_sizes(1, 1)[0]
        if min(height, width) < least:  # an image smaller than the network takes: more mirrored pixels
            rows, columns = (mirrored(np.arange(max(n, least)), n) for n in (height, width))
            windows = windows[:, :, rows[:, None], columns]
        with no_grad():
            scores = self.forward(Tensor(to_device(np.ascontiguousarray(windows), self.device)))
            chances = F.softmax(scores, 1) if self.num_classes > 1 else F.sigmoid(scores)
        return to_device(chances.data, "cpu")[:, :, :height, :width]

    def _reach(self) -> int | None:
        """Return how far an output pixel sees, by the layers themselves; None where it sees everything."""
        from ..nn.receptive_field import reach

        pixels = reach(self, self.in_channels, self.valid_sizes(1, 1)[0])
        return None if math.isinf(pixels) else int(pixels)

    def _lost(self) -> int:
        """Return how many pixels the network takes off each side."""
        size = self.valid_sizes(1, 1)[0]
        return (size - (self.output_size(size) or 0)) // 2

    def _tile(self, size: int, lost: int) -> int:
        """Return the smallest tile of at least ``size`` pixels that the network can produce; in strides where nothing is lost."""
        size = max(size, 1)
        while self.output_size(size + 2 * lost) is None or (lost == 0 and size % self.stride):
            size += 1
        return size

    def _pixels(self, image: Any) -> np.ndarray:
        """Return the image as float32 (C, H, W) in the units of training, or say what is wrong with it."""
        array = np.asarray(to_device(unwrap(image), "cpu"))
        if array.dtype == np.uint8:
            if array.ndim == 2:
                array = array[:, :, None].repeat(self.in_channels, axis=2)
            if array.ndim == 3 and array.shape[2] == 4 and self.in_channels == 3:
                array = array[:, :, :3]
            array = np.moveaxis(array, -1, 0).astype(np.float32) / 255 if array.ndim == 3 else array
        elif array.dtype.kind != "f":
            raise TypeError(
                f"predict: image must be uint8 (H, W, C) with 0 to 255, or float (C, H, W) with 0 to 1, got {array.dtype}; "
                "divide by the largest possible value first"
            )
        if array.ndim != 3 or array.shape[0] != self.in_channels or 0 in array.shape:
            raise ValueError(
                f"predict: image must be uint8 (H, W, {self.in_channels}) or float ({self.in_channels}, H, W), "
                f"got {np.asarray(image).dtype} {np.shape(image)}"
            )
        if not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(f"predict: image holds {array[where]} at (channel, y, x) = {where}; replace it first")
        return array.astype(np.float32, copy=False)
