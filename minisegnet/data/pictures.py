"""Read picture files that nobody vouches for, through Pillow."""

from __future__ import annotations

import os
import warnings
from typing import BinaryIO

import numpy as np

MAX_PIXELS = 200_000_000  # 14,000 x 14,000; a file of a few bytes can ask for far more


Source = str | os.PathLike | BinaryIO


def read_picture(path: Source) -> np.ndarray:
    """Read a picture (a path or an open file) as uint8 (H, W, 3). Opacity is dropped; 16-bit grey is divided by 257.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is no picture, damaged, truncated or absurdly large.
    """
    grey16, pixels = _decode(path, "RGB")
    return np.repeat((pixels / 257 + 0.5).astype(np.uint8)[..., None], 3, axis=2) if grey16 else pixels


def read_mask(path: Source) -> np.ndarray:
    """Read a picture as a mask: bool (H, W), true where it is not black. Raises as ``read_picture``."""
    return _decode(path, "L")[1] > 0


def _decode(source: Source, mode: str) -> tuple[bool, np.ndarray]:
    """Return whether the file is 16-bit grey, and its pixels: uint16 (H, W) then, converted to ``mode`` otherwise."""
    from PIL import Image

    path = getattr(source, "name", source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
            with Image.open(source) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise ValueError(f"{width}x{height} pixels, the limit is {MAX_PIXELS:,}")
                if picture.mode.startswith(("I", "F")):
                    values = np.asarray(picture)
                    if values.dtype.kind == "f" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
                        raise ValueError("neither 8-bit nor 16-bit; convert it first")
                    return True, values.astype(np.uint16)
                return False, np.array(picture.convert(mode))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except PermissionError:
        raise
    except Exception as fault:  # Pillow's decoders raise what they like: SyntaxError, struct.error
        raise ValueError(f"{path}: is no picture that can be read, or is damaged: {fault}") from None
