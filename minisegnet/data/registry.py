"""What the downloaded images must be, pixel by pixel: a digest of each image and of its mask, kept in a JSON file.

Archives are packed anew from time to time, and PNG files re-encoded; pixels stay. So the digests are of pixels: of the
image, and of the union of its nuclei (which does not depend on how they are numbered).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("nuclei_registry.json")


def digest_image(image: np.ndarray) -> str:
    """Return the SHA-256 of an image uint8 (H, W, 3): of its size as text, then its bytes in row-major order."""
    height, width, _ = image.shape
    return hashlib.sha256(
        f"{height}x{width}:".encode() + np.ascontiguousarray(image, dtype=np.uint8).tobytes()
    ).hexdigest()


def digest_mask(labels: np.ndarray) -> str:
    """Return the SHA-256 of where labels (H, W) are not 0: of the size as text, then one byte 0 or 1 for each pixel."""
    height, width = labels.shape
    return hashlib.sha256(f"{height}x{width}:".encode() + (labels > 0).astype(np.uint8).tobytes()).hexdigest()


def read_registry() -> dict[str, list[dict[str, Any]]]:
    """Return for each kind of microscopy the list of its images: ``id``, ``field``, ``image`` and ``mask`` digests."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def write_registry(paths: Iterable[Path], file: Path = FILE) -> None:
    """Write the digests of the images in ``KIND.npz`` files; run once, when the choice of images changes."""
    from .nuclei import load_nuclei

    registry: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        nuclei = load_nuclei(path)
        registry[Path(path).stem] = [
            {"id": str(name), "field": int(field), "image": digest_image(image), "mask": digest_mask(labels)}
            for name, field, image, labels in zip(nuclei.ids, nuclei.fields, nuclei.images, nuclei.labels, strict=True)
        ]
    file.write_text(json.dumps(registry, indent=0) + "\n", encoding="utf-8")
