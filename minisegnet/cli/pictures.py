"""Any picture that Pillow reads, as 8-bit RGB, and in words what was done to it on the way."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

MOST_PIXELS = 100_000_000  # 10,000 x 10,000: some 3 GB of memory while it is predicted
OURS = ("_mask", "_overlay")  # how the names of our own results end


def find(words: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Return the files that paths, folders and patterns (``*.png``) name, each once, and what is wrong with the rest.

    Of a folder: the files with the suffix of a picture, in alphabetical order, without masks and overlays of ours.
    """
    found: dict[Path, Path] = {}
    wrong = []
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            files = [p for p in sorted(path.iterdir()) if p.suffix.lower() in suffixes() and p.is_file()]
            files = [p for p in files if not p.stem.endswith(OURS)]
            missing = f"{word}: there is no picture in this folder"
        elif path.exists():
            files, missing = [path], ""
        else:
            files = [p for p in map(Path, sorted(glob.glob(str(path), recursive=True))) if p.is_file()]
            missing = f"{word}: there is no such file or folder"
        if not files:
            wrong.append(missing)
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values()), wrong


def suffixes() -> set[str]:
    """Return the suffixes of all pictures that Pillow can read, such as ``.png``."""
    from PIL import Image

    Image.init()
    return {suffix for suffix, kind in Image.EXTENSION.items() if kind in Image.OPEN} - {".pdf", ".mpg", ".mpeg"}


def read(path: Path, most_pixels: int = MOST_PIXELS) -> tuple[np.ndarray, list[str]]:
    """Return a picture as uint8 (H, W, 3), and what was converted, in words.

    Raises
    ------
    ValueError
        If it is no picture, damaged, truncated, of numbers that have no obvious meaning, or too large.
    """
    from PIL import Image, ImageOps

    own_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # ours, below, can be set
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about odd metadata
            with Image.open(path) as picture:
                width, height = picture.size
                if width * height > most_pixels:
                    raise ValueError(
                        f"{width}x{height} = {width * height:,} pixels is more than the limit of {most_pixels:,}; "
                        "cut it into pieces, or allow it by --max-pixels if there is memory (about 30 bytes a pixel)"
                    )
                notes = []
                if (count := getattr(picture, "n_frames", 1)) > 1:
                    notes.append(f"the first of {count} pictures in the file")
                turned = ImageOps.exif_transpose(picture)
                if turned.size != picture.size:
                    notes.append("turned as its EXIF data say")
                return _to_rgb(turned, notes), notes
    except PermissionError:
        raise
    except MemoryError:
        raise ValueError("there is not enough memory for it") from None
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except ValueError:
        raise
    except Exception as fault:  # Pillow's decoders raise what they like: OSError, SyntaxError, struct.error
        reason = "is no picture that Pillow knows" if "cannot identify" in str(fault) else f"is damaged: {fault}"
        raise ValueError(reason) from None
    finally:
        Image.MAX_IMAGE_PIXELS = own_limit


def _to_rgb(picture: Any, notes: list[str]) -> np.ndarray:
    """Return uint8 (H, W, 3) of a Pillow picture of any mode."""
    from PIL import Image

    mode = picture.mode
    if mode.startswith(("I", "F")):
        return np.repeat(_from_numbers(np.asarray(picture), notes)[..., None], 3, axis=2)
    if mode == "P" and "transparency" not in picture.info:
        notes.append("palette to RGB")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        if picture.getextrema()[3][0] < 255:
            notes.append("what is transparent taken as white")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
    elif mode in ("L", "1"):
        notes.append("grey to RGB")
    elif mode not in ("RGB", "P"):
        notes.append(f"{mode} to RGB")
    return np.array(picture.convert("RGB"))


def _from_numbers(values: np.ndarray, notes: list[str]) -> np.ndarray:
    """Return grey uint8 (H, W) of 16-bit, 32-bit or floating-point numbers."""
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # also where there is NaN
            raise ValueError(f"holds floating-point numbers from {low:g} to {high:g}; scale them to 0..1, or to 8 bits")
        notes.append("floating-point grey to 8 bits")
        return np.rint(values * 255).astype(np.uint8)
    high = int(values.max())
    if values.min() < 0 or high > 65535:
        raise ValueError(f"holds integers from {values.min()} to {high}; scale them to 0..255 or 0..65535")
    # Cameras of 10, 12 or 14 bits write into 16: taken as 16 bits, their pictures would be nearly black.
    bits = next(b for b in (8, 10, 12, 14, 16) if high < 2**b)
    notes.append(f"{bits}-bit grey (largest value {high}) to 8 bits")
    return np.rint(values * (255 / (2**bits - 1))).astype(np.uint8)
