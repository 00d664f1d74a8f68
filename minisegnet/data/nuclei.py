"""Microscopy with nuclei marked: ``load_nuclei`` reads ``.npz`` files and the folders of the Data Science Bowl.

An ``.npz`` holds ``images`` uint8 (N, H, W, 3), ``labels`` integer (N, H, W) with 0 = background and one number per
nucleus, and where known ``ids`` text (N,) and ``fields`` integer (N,), the field of view that a tile was cut from.
The folders hold ``ID/images/ID.png`` and one ``ID/masks/*.png`` per nucleus.

Whatever is read is distrusted: no pickle, sizes are checked before memory is taken, and each fault names its file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..storage import load_npz
from .fields import find_fields
from .pictures import read_mask, read_picture

KINDS = ("histology", "fluorescence", "brightfield")
ENVIRONMENT_VARIABLE = "MINISEGNET_DATA"


@dataclass(frozen=True)
class Nuclei:
    """Images with their nuclei. ``images`` and ``labels`` are arrays where all sizes agree, lists otherwise.

    Attributes
    ----------
    images
        uint8 (N, H, W, 3), or a list of N arrays (H, W, 3).
    labels
        int32 (N, H, W), or a list of N arrays (H, W): 0 background, 1..n one number per nucleus.
    ids
        Text (N,): the name of each image in its source.
    fields
        int32 (N,): the field of view that each image was cut from. Split by this, never by image.
    kinds
        Text (N,): "histology", "fluorescence" or "brightfield".
    source
        Where they came from.
    """

    images: np.ndarray | list[np.ndarray]
    labels: np.ndarray | list[np.ndarray]
    ids: np.ndarray
    fields: np.ndarray
    kinds: np.ndarray
    source: str = ""

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        count = sum(int(label.max(initial=0)) for label in self.labels)
        kinds = ", ".join(f"{np.sum(self.kinds == kind)} {kind}" for kind in dict.fromkeys(self.kinds.tolist()))
        return f"<Nuclei: {len(self)} images ({kinds}) of {len(np.unique(self.fields))} fields, {count} nuclei>"

    def subset(self, index: Sequence[int] | np.ndarray) -> Nuclei:
        """Return the images that ``index`` (numbers, or a mask of N booleans) chooses; equal sizes become an array."""
        index = np.asarray(index)
        chosen = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        if index.dtype == bool and index.shape != (len(self),):
            raise IndexError(f"index: a mask must have one boolean per image ({len(self)}), got shape {index.shape}")
        return Nuclei(
            _together([self.images[i] for i in chosen]),
            _together([self.labels[i] for i in chosen]),
            self.ids[chosen],
            self.fields[chosen],
            self.kinds[chosen],
            self.source,
        )

    def masks(self) -> np.ndarray | list[np.ndarray]:
        """Return what a network learns: int64, 0 background and 1 nucleus, shaped as ``labels``."""
        return _together([(label > 0).astype(np.int64) for label in self.labels])


def load_nuclei(path: str | os.PathLike | None = None, kind: str | None = None) -> Nuclei:
    """Read images of nuclei and their labels.

    Parameters
    ----------
    path
        An ``.npz`` file; a folder with such files; or the folder ``stage1_train`` of the Data Science Bowl (or the
        folder above it). Without it: the path in the environment variable MINISEGNET_DATA, then the cache that
        ``download_nuclei`` fills.
    kind
        "histology", "fluorescence" or "brightfield": only images of that kind.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path; the message says how to get the data.
    ValueError
        If a file is damaged or is not what it should be; the message names the file and the fault.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)} or None, got {kind!r}")
    place = _find_path(path)
    if place.is_dir():
        files = sorted(place.glob("*.npz"))
        if kind is not None and place / f"{kind}.npz" in files:
            files = [place / f"{kind}.npz"]
        parts = [_load_npz(file) for file in files] if files else [_load_folders(place)]
    else:
        parts = [_load_npz(place)]
    nuclei = parts[0] if len(parts) == 1 else _joined(parts, str(place))
    if kind is None:
        return nuclei
    if not np.any(nuclei.kinds == kind):
        raise ValueError(f"{place}: has no image of kind {kind!r}, only {sorted(set(nuclei.kinds.tolist()))}")
    return nuclei if np.all(nuclei.kinds == kind) else nuclei.subset(nuclei.kinds == kind)


def kind_of(image: np.ndarray) -> str:
    """Guess the kind of microscopy from an (H, W, 3) uint8 image: coloured, grey and dark, or grey and bright."""
    pixels = image.reshape(-1, 3).astype(np.float32)
    if float(np.mean(pixels.max(axis=1) - pixels.min(axis=1))) > 8:
        return "histology"
    return "fluorescence" if float(np.median(pixels)) < 128 else "brightfield"


def cache_folder() -> Path:
    """Return the folder that ``download_nuclei`` fills (a user cache folder, as the operating system has it)."""
    import pooch

    return Path(pooch.os_cache("minisegnet")) / "nuclei"


def _find_path(path: str | os.PathLike | None) -> Path:
    origin = "path"
    if path is None and os.environ.get(ENVIRONMENT_VARIABLE):
        path, origin = os.environ[ENVIRONMENT_VARIABLE], f"the environment variable {ENVIRONMENT_VARIABLE}"
    if path is not None:
        place = Path(path).expanduser()
        if not place.exists():
            raise FileNotFoundError(
                f"{origin}: there is no file or folder {str(place)!r} (looked in {str(Path.cwd())!r}). Give an .npz "
                "file, the folder stage1_train, or nothing to use what `minisegnet data nuclei` has downloaded."
            )
        return place
    place = cache_folder()
    if not any(place.glob("*.npz")):
        raise FileNotFoundError(
            f"no images of nuclei on this machine yet (looked in {str(place)!r}). Three ways out: download them once "
            "with `minisegnet data nuclei`; name a copy that you have, load_nuclei(path=...) or the environment "
            f"variable {ENVIRONMENT_VARIABLE}; or go on without: data.synthetic_tissue(n) draws some."
        )
    return place


def _load_npz(path: Path) -> Nuclei:
    arrays = load_npz(path, required=("images", "labels"), optional=("ids", "fields"))
    images, labels = arrays["images"], arrays["labels"]
    n = len(images) if images.ndim else 0
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ValueError(f"{path}: images must be uint8 (N, H, W, 3), got {images.dtype} {images.shape}")
    if n == 0 or 0 in images.shape:
        raise ValueError(f"{path}: the data set is empty, its images have shape {images.shape}")
    if labels.dtype.kind not in "iub" or labels.shape != images.shape[:3]:
        raise ValueError(
            f"{path}: labels must be integers of shape {images.shape[:3]} (N, H, W) as its images are, "
            f"got {labels.dtype} {labels.shape}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        raise ValueError(f"{path}: labels must lie from 0 (background) to 2**31 - 1, got {low} to {high}")
    ids = arrays.get("ids", np.array([f"{path.stem}-{i:04d}" for i in range(n)]))
    fields = arrays["fields"] if "fields" in arrays else find_fields(images)
    for name, array, letters in (("ids", ids, "US"), ("fields", fields, "iu")):
        if array.shape != (n,) or array.dtype.kind not in letters:
            expected = "text" if name == "ids" else "integers"
            raise ValueError(f"{path}: {name} must be {expected} of shape ({n},), got {array.dtype} {array.shape}")
    kinds = np.array([path.stem] * n) if path.stem in KINDS else np.array([kind_of(image) for image in images])
    return Nuclei(images, labels.astype(np.int32), ids.astype(np.str_), fields.astype(np.int32), kinds, str(path))


def _load_folders(root: Path) -> Nuclei:
    """Read ``ID/images/ID.png`` and ``ID/masks/*.png`` below ``root`` or its ``stage1_train``."""
    from tqdm.auto import tqdm

    if (root / "stage1_train").is_dir():
        root = root / "stage1_train"
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if not folders:
        raise ValueError(
            f"{root}: the data set is empty; expected .npz files, or one folder ID per image with "
            "ID/images/ID.png and ID/masks/*.png"
        )
    images, labels = [], []
    for folder in tqdm(folders, desc="reading nuclei", unit="image", delay=2):  # silent where it is quick
        image, label = read_folder(folder)
        images.append(image)
        labels.append(label)
    return Nuclei(
        _together(images),
        _together(labels),
        np.array([folder.name for folder in folders]),
        find_fields(images),
        np.array([kind_of(image) for image in images]),
        str(root),
    )


def read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one image and its masks: uint8 (H, W, 3) and int32 (H, W), nuclei numbered in the order of file names.

    Where masks overlap, the pixel goes to the later one.
    """
    for part in ("images", "masks"):
        if not (folder / part).is_dir():
            raise ValueError(f"{folder}: has no folder {part!r}; expected ID/images/ID.png and ID/masks/*.png")
    pictures = sorted((folder / "images").glob("*.png"))
    if len(pictures) != 1:
        raise ValueError(f"{folder / 'images'}: expected one .png, found {len(pictures)}")
    image = read_picture(pictures[0])
    height, width = image.shape[:2]
    label = np.zeros((height, width), dtype=np.int32)
    for number, file in enumerate(sorted((folder / "masks").glob("*.png")), start=1):
        mask = read_mask(file)
        if mask.shape != (height, width):
            raise ValueError(
                f"{file}: the mask is {mask.shape[0]}x{mask.shape[1]} pixels (height x width), "
                f"its image {height}x{width}"
            )
        label[mask] = number
    return image, label


def _together(arrays: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """Stack arrays where all sizes agree."""
    return np.stack(arrays) if arrays and len({array.shape for array in arrays}) == 1 else arrays


def _joined(parts: list[Nuclei], source: str) -> Nuclei:
    """Join data sets; fields are renumbered one after the other, so that no two sets share one."""
    fields, first = [], 0
    for part in parts:
        fields.append(part.fields + first)
        first += int(part.fields.max()) + 1
    return Nuclei(
        _together([image for part in parts for image in part.images]),
        _together([label for part in parts for label in part.labels]),
        np.concatenate([part.ids for part in parts]),
        np.concatenate(fields),
        np.concatenate([part.kinds for part in parts]),
        source,
    )
