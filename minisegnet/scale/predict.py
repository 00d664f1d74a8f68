"""A slide that does not fit in memory: every tile is a task, whoever does it, whenever; what is done stays done.

A task reads its window, runs the network, and writes its chunk of the result. It depends on nothing but the slide, the
network and its place, so tasks may run on threads, processes or other machines, twice if a worker dies, and in any order.
Windows and margins are those of ``data.tiling``, so the result equals the prediction in memory bit for bit. (Dask's own
``map_overlap`` mirrors a border with its edge pixel twice, and knows no grid of strides: here windows slide inward instead,
and the network pads as it would the whole.)

A chunk counts as done when a mark has been written after it: a chunk that was torn when its writer died is made again.
"""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels.threads import share_processors
from ..models import DensePrediction, load, save
from .result import Job, Tile, digest_of_network, digest_of_slide, finish, mark, marks, prepare, spans
from .slides import _import, open_slide

IN_FLIGHT = 4  # tasks waiting for each worker: none waits for work, and a gigapixel is not a million tasks at once


def predict_slide(
    model: DensePrediction,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    output: str = "labels",
    level: int = 0,
    tile: int = 512,
    scheduler: str | Any = "threads",
    workers: int = 1,
    progress: bool = True,
) -> Any:
    """Predict a slide of any size into a Zarr picture, in bounded memory; go on where an earlier run was stopped.

    Parameters
    ----------
    model : network of ``minisegnet.models``
        In whatever mode; it predicts in evaluation mode.
    source, level : as ``open_slide``
    out : a folder, by habit ``NAME.zarr``
        An OME-Zarr picture with one level, "0": uint8 (H, W), the class of each pixel, or float32 (K, H, W), probabilities.
    output : "labels" or "probabilities"
    tile : pixels a side of what is predicted at once, and of a chunk of the result
    scheduler : "threads", "processes", the address of a ``dask.distributed`` scheduler, or its Client
        Threads and processes of this machine, or whoever listens there; all must see ``source`` and ``out`` under these names.
    workers : how many of this machine's, for "threads" and "processes"
    progress : show a bar

    Returns
    -------
    The Zarr array.

    Raises
    ------
    TypeError, ValueError
        For a network that is none of ours, a slide that is none, and a result there of another network or slide.
    """
    _check(model, output, tile, workers)
    slide = open_slide(source, level)
    height, width, channels = slide.shape
    if channels != model.in_channels:
        raise ValueError(f"{source}: the slide has {channels} channels, the network takes {model.in_channels}")
    kept, margin = model.tile_and_margin(max(height, width), tile)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save(model, file)
        network = file.read_bytes()
    job = Job(
        *(str(Path(source).resolve()), level, digest_of_slide(slide), str(Path(out).resolve()), output, kept, margin),
        *(model.stride, model.padding == "valid", digest_of_network(model), uuid.uuid4().hex),
    )
    rows, columns = spans(job, slide.shape)
    classes = max(model.num_classes, 2) if output == "labels" else model.num_classes
    array = prepare(job, slide, classes, chunk=kept // model.stride * model.stride)
    places = [(r, c) for r in range(len(rows)) for c in range(len(columns))]
    done = marks(job)
    todo = [place for place in places if place not in done]
    with _bar(progress, len(places), len(places) - len(todo)) as advance:
        for place in _run(job, network, todo, scheduler, workers):
            mark(job, place)
            advance(1)
    finish(job)
    return array


def predict_tile(job: Job, network: bytes, place: Tile, processes: int = 1) -> Tile:
    """Do one task: read, predict, write; returns its place. Safe to repeat."""
    share_processors(processes)
    model, slide, array = _model(network), _slide(job.source, job.level, job.run), _array(job.out, job.run)
    rows, columns = spans(job, slide.shape)
    r, c = rows[place[0]], columns[place[1]]
    window = slide.read(r.rows, c.rows).transpose(2, 0, 1).astype(np.float32) / 255  # as DensePrediction.predict does
    chances = model.probabilities(window[None])[0][:, r.keep, c.keep]
    if job.output == "probabilities":
        array[:, r.start : r.stop, c.start : c.stop] = chances
    else:
        labels = chances.argmax(axis=0) if len(chances) > 1 else chances[0] > 0.5
        array[r.start : r.stop, c.start : c.stop] = labels.astype(np.uint8)
    return place


# One of each for a worker, however many tasks it gets.
@functools.lru_cache(maxsize=2)
def _model(network: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        file.write_bytes(network)
        return load(file)


@functools.lru_cache(maxsize=4)
def _slide(source: str, level: int, run: str) -> Any:
    return open_slide(source, level)


@functools.lru_cache(maxsize=4)
def _array(out: str, run: str) -> Any:
    return _import("zarr").open_array(out, path="0", mode="r+")


def _run(job: Job, network: bytes, todo: list[Tile], scheduler: Any, workers: int) -> Iterator[Tile]:
    """Yield the places as their tasks end, in any order."""
    tasks = iter(todo)
    if scheduler == "threads":
        with ThreadPoolExecutor(workers) as pool:
            begin = functools.partial(pool.submit, functools.partial(predict_tile, job, network))
            running = {begin(place) for place in itertools.islice(tasks, workers * IN_FLIGHT)}
            try:
                while running:
                    done, running = wait(running, return_when="FIRST_COMPLETED")
                    running |= {begin(place) for place in itertools.islice(tasks, len(done))}
                    yield from (task.result() for task in done)
            finally:
                pool.shutdown(cancel_futures=True)
        return
    distributed = _import("distributed")
    with _client(distributed, scheduler, workers) as (client, processes):
        shared = client.scatter(network, broadcast=True, hash=True)
        many = max(1, len(client.scheduler_info()["workers"])) * IN_FLIGHT
        submit = functools.partial(client.submit, predict_tile, job, shared, pure=False, retries=3)
        futures = distributed.as_completed([submit(place, processes) for place in itertools.islice(tasks, many)])
        for task in futures:
            yield task.result()
            for place in itertools.islice(tasks, 1):
                futures.add(submit(place, processes))


@contextmanager
def _client(distributed: Any, scheduler: Any, workers: int) -> Iterator[tuple[Any, int]]:
    """Yield a client, and how many processes share this machine (1: unknown, elsewhere)."""
    if isinstance(scheduler, distributed.Client):
        yield scheduler, 1
    elif scheduler == "processes":
        options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
            yield client, workers
    else:
        try:
            client = distributed.Client(scheduler, timeout="10s")
        except (OSError, TimeoutError, ValueError) as error:
            raise ValueError(
                f'scheduler must be "threads", "processes" or an address, got {scheduler!r}: {error}'
            ) from error
        with client:
            yield client, 1


@contextmanager
def _bar(wanted: bool, total: int, done: int) -> Iterator[Any]:
    from tqdm.auto import tqdm

    with tqdm(total=total, initial=done, unit="tile", desc="slide", disable=not wanted) as bar:
        yield bar.update


def _check(model: Any, output: str, tile: int, workers: int) -> None:
    if not isinstance(model, DensePrediction) or type(model).predict is not DensePrediction.predict:
        raise TypeError(
            f"model must be a network that labels each pixel, such as models.UNet, got {type(model).__name__}"
        )
    if output not in ("labels", "probabilities"):
        raise ValueError(f'output must be "labels" or "probabilities", got {output!r}')
    for name, value in (("tile", tile), ("workers", workers)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
