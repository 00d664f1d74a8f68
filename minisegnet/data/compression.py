"""The blocks and ripples of a JPEG, without a JPEG library (whose rounding differs from version to version)."""

from __future__ import annotations

import numpy as np

# Quantization of the luminance at quality 50: ISO/IEC 10918-1 (the JPEG standard), annex K, table K.1
_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float32,
)
_k = np.arange(8)
_COSINES = np.cos(np.pi * (2 * _k + 1) * _k[:, None] / 16) * np.where(_k == 0, np.sqrt(1 / 8), 0.5)[:, None]
COSINES = _COSINES.astype(np.float32)  # (8, 8), orthogonal: row k is the k-th cosine
# ITU-R BT.601: brightness, blue difference, red difference
_LUMA = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=np.float32)


def jpeg_like(picture: np.ndarray, quality: float) -> np.ndarray:
    """Return ``picture`` (H, W, 3), 0 to 255, as JPEG of this ``quality`` (1 to 100) would show it; float32.

    Colour differences are quantized twice as coarsely as brightness, and not subsampled.
    """
    height, width, _ = picture.shape
    scale = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    steps = np.maximum(np.rint(_STEPS * np.float32(scale)), 1)
    planes = np.asarray(picture, dtype=np.float32) @ _LUMA.T
    padded = np.pad(planes, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8, 3).transpose(
        4, 0, 2, 1, 3
    )  # (3, R, C, 8, 8)
    waves = COSINES @ blocks @ COSINES.T
    quantum = np.stack([steps, 2 * steps, 2 * steps])[:, None, None]
    waves = np.rint(waves / quantum) * quantum
    blocks = COSINES.T @ waves @ COSINES
    planes = blocks.transpose(1, 3, 2, 4, 0).reshape(padded.shape)[:height, :width]
    return planes @ np.linalg.inv(_LUMA).T.astype(np.float32)
