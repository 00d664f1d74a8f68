"""Which images a model learned from: short digests in its file, so that ``eval`` can tell a test from a memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

LENGTH = 12  # hexadecimal digits, 48 bits: chance agreement among thousands of images is one in 10^8


def digests(images: Iterable[np.ndarray]) -> list[str]:
    """Return the beginning of the SHA-256 of each image's size and pixels."""
    from ..data.registry import digest_image

    return [digest_image(image)[:LENGTH] for image in images]


def seen(about: dict[str, Any], images: Iterable[np.ndarray]) -> np.ndarray:
    """Return for each image whether the model with this ``about`` learned from it; bool (N,)."""
    known = set(about.get("trained_on", ()))
    return np.array([digest in known for digest in digests(images)], dtype=bool)
