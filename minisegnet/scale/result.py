"""The result of a slide's prediction on disk: what is being made, whether it is the same job as before, and how far it is.

It is made under another name and takes its own when it is whole. Each tile that has been written leaves a mark: an empty
file in a folder beside it. Killed at any moment, the next run of the same job finds the marks, and goes on.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.tiling import cut_axis
from ..models import DensePrediction
from .slides import Slide, _import, open_slide

LOOKED_AT = 64  # pixels a side of the windows by which a slide is told from another one

Tile = tuple[int, int]  # the row and column of a tile


@dataclass(frozen=True)
class Job:
    """What every task must know; small, so that it travels."""

    source: str
    level: int
    pixels: str  # SHA-256 of some of the slide's: another one under the same name has others
    out: str
    output: str
    tile: int
    margin: int
    multiple: int
    valid: bool
    weights: str  # SHA-256 of the network: how it is made, and its numbers
    run: str  # another one each time, so that workers do not take files of an earlier run for those of this one


@functools.lru_cache(maxsize=4)
def spans(job: Job, shape: tuple[int, int, int]) -> list[list[Any]]:
    """Return the tiles along the height and along the width."""
    return [cut_axis(n, job.tile, job.margin, job.multiple, job.valid, job.valid) for n in shape[:2]]


def prepare(job: Job, slide: Any, classes: int, chunk: int) -> Any:
    """Make the result, or open what an earlier run of the same job has left."""
    zarr, place, told = _import("zarr"), Path(job.out), asdict(job)
    if place.exists():
        try:
            group = zarr.open_group(str(place), mode="r+")
            before = group.attrs["minisegnet"]
        except Exception as error:
            raise ValueError(f"{place} exists and was not made by predict_slide: choose another place") from error
        different = [name for name in told if before.get(name) != told[name] and name not in ("out", "run")]
        if different:
            raise ValueError(
                f"{place} is the result of another job: {', '.join(different)} differ. Remove it, or choose another place"
            )
        return group["0"]
    height, width, _ = slide.shape
    labels = job.output == "labels"
    shape, chunks = ((height, width), (chunk, chunk)) if labels else ((classes, height, width), (classes, chunk, chunk))
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    group = zarr.create_group(
        str(fresh), attributes={"minisegnet": told, "ome": _multiscales(place.name, slide.scale, labels)}
    )
    group.create_array("0", shape=shape, chunks=chunks, dtype="uint8" if labels else "float32")
    shutil.rmtree(folder(job), ignore_errors=True)  # marks of a result that somebody has removed since
    os.replace(fresh, place)  # whole, or not at all
    return zarr.open_group(str(place), mode="r+")["0"]


def _multiscales(name: str, scale: tuple[float, float], labels: bool) -> dict[str, Any]:
    """Return OME-Zarr's description (version 0.5) of a picture with one level."""
    space = [{"name": axis, "type": "space"} for axis in "yx"]
    axes = space if labels else [{"name": "c", "type": "channel"}, *space]
    sizes = list(scale) if labels else [1.0, *scale]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": sizes}]}
    return {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": [level]}]}


def digest_of_slide(slide: Slide) -> str:
    """Return a SHA-256 of a slide's size and of nine of its windows: corners, edges and middle."""
    digest = hashlib.sha256(str(slide.shape).encode())
    along = [
        [
            np.arange(start, min(start + LOOKED_AT, n))
            for start in (0, (n - min(LOOKED_AT, n)) // 2, max(n - LOOKED_AT, 0))
        ]
        for n in slide.shape[:2]
    ]
    for rows in along[0]:
        for columns in along[1]:
            digest.update(np.ascontiguousarray(slide.read(rows, columns)).tobytes())
    return digest.hexdigest()


def digest_of_network(model: DensePrediction) -> str:
    """Return the SHA-256 of a network."""
    digest = hashlib.sha256(f"{type(model).__name__} {sorted(model.config.items())}".encode())
    for name, array in model.state_dict().items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def folder(job: Job) -> Path:
    """Return where the marks lie."""
    return Path(f"{job.out}.done")


def mark(job: Job, place: Tile) -> None:
    """Note that a tile is on disk: a file that is there or not."""
    folder(job).mkdir(exist_ok=True)
    (folder(job) / f"{place[0]}.{place[1]}").touch()


def marks(job: Job) -> set[Tile]:
    """Return the tiles that are done; all, where the job was finished."""
    if (Path(job.out) / "0").exists() and _import("zarr").open_group(job.out, mode="r").attrs.get("complete"):
        slide = open_slide(job.source, job.level)
        rows, columns = spans(job, slide.shape)
        return {(r, c) for r in range(len(rows)) for c in range(len(columns))}
    if not folder(job).is_dir():
        return set()
    return {(int(r), int(c)) for r, c in (path.name.split(".") for path in folder(job).iterdir())}


def finish(job: Job) -> None:
    """Say in the result that it is complete, and take the marks away."""
    _import("zarr").open_group(job.out, mode="r+").attrs["complete"] = True
    shutil.rmtree(folder(job), ignore_errors=True)
