"""``minisegnet doctor``: is this machine ready, and if not, what to do about it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..kernels.threads import processors
from . import Form

EXAMPLES = """\
Looks at versions, kernels, threads, the graphics card, the caches, memory and data, and lets a tiny network learn for
two seconds by two backends that must agree. Says what to do about each problem. Exit code 1 if there is one.
"""
PACKAGES = ("numpy", "numba", "llvmlite", "safetensors", "pillow", "matplotlib", "pooch", "tqdm")
NOTEBOOK_PACKAGES = ("jupyterlab", "ipywidgets", "anywidget", "ipykernel")


class Finding(NamedTuple):
    """What one look gave: "ok", "note" (works, could be better) or "problem"; what was found; what to do."""

    state: str
    text: str
    cure: str = ""


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("doctor", help="is this machine ready?", description=EXAMPLES, formatter_class=Form)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at everything; a look that fails is a finding itself."""
    problems = 0
    for look in LOOKS:
        try:
            findings = list(look())
        except Exception as error:  # whatever is wrong with this machine, the doctor reports it and goes on
            findings = [Finding("problem", f"{look.__name__}: {type(error).__name__}: {error}", "see the message")]
        for finding in findings:
            print(f"[{finding.state:^7}] {finding.text}", flush=True)
            if finding.cure:
                print(f"{'':10}-> {finding.cure}")
            problems += finding.state == "problem"
    print(
        f"\n{problems} problem{'s' * (problems != 1)}"
        if problems
        else "\nall is well: minisegnet lab opens the lessons"
    )
    return 1 if problems else 0


def versions() -> Iterator[Finding]:
    """Python and the packages."""
    from .. import __version__

    yield Finding("ok", f"minisegnet {__version__} in {Path(__file__).resolve().parent.parent}")
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})"
    old = sys.version_info < (3, 11)
    yield Finding("problem" if old else "ok", text, "install Python 3.11 or newer" if old else "")
    yield from _installed(PACKAGES, "problem", "pip install minisegnet")
    yield from _installed(NOTEBOOK_PACKAGES, "note", 'for the lessons: pip install "minisegnet[notebooks]"')


def _installed(names: tuple[str, ...], state: str, cure: str) -> Iterator[Finding]:
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if found:
        yield Finding("ok", ", ".join(found))
    if missing:
        yield Finding(state, f"not installed: {', '.join(missing)}", cure)


def kernels() -> Iterator[Finding]:
    """Backends, threads, and where Numba keeps what it compiled."""
    from .. import backend

    for name in ("reference", "numba"):
        try:
            backend.require(name)
            yield Finding("ok", f"backend {name}")
        except (RuntimeError, ValueError) as error:
            yield Finding("problem", f"backend {name}", str(error))
            return
    yield from _threads()
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        yield Finding("note", "NUMBA_DISABLE_JIT is set: the kernels run as plain Python", "unset it for speed")
    yield _numba_cache()


def _threads() -> Iterator[Finding]:
    """How many threads run a kernel, on which layer, and whether they have a processor each."""
    import numba

    numba.njit(parallel=True)(_sum)(np.ones(8))
    layer, threads = numba.threading_layer(), numba.get_num_threads()
    cure = "kernels called from several Python threads wait for each other (pip install tbb helps where there is one)"
    yield Finding(
        "note" if layer == "workqueue" else "ok",
        f"{threads} threads of {os.cpu_count()} processors, threading layer {layer}; "
        "compiled kernels call no BLAS, so NumPy's threads sleep while these work",
        cure if layer == "workqueue" else "",
    )
    share = processors()
    if threads > share:
        cure = f"set NUMBA_NUM_THREADS={share}: threads without a processor make the others wait"
        yield Finding("note", f"{threads} threads share {share} processor{'s' * (share != 1)}", cure)
    if layer == "omp" and os.environ.get("OMP_WAIT_POLICY", "").upper() == "ACTIVE":
        cure = "unset it: waiting threads take the processor from the one that is waited for, and from NumPy's BLAS"
        yield Finding("note", "OMP_WAIT_POLICY is ACTIVE", cure)


def _sum(values: Any) -> Any:
    return values.sum()


def _numba_cache() -> Finding:
    """Numba caches beside the source, or where that is not writable in the user's cache folder."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    place = Path(chosen) if chosen else Path(__file__).resolve().parent.parent / "kernels"
    if _writable(place):
        return Finding("ok", f"compiled kernels are kept in {place}")
    if not chosen:
        import numba.misc.appdirs as appdirs

        place = Path(appdirs.user_cache_dir(appname="numba", appauthor=False))
        if _writable(place):
            return Finding("ok", f"compiled kernels are kept in {place}")
    return Finding(
        "problem",
        f"no folder for compiled kernels: {place} cannot be written",
        "set the environment variable NUMBA_CACHE_DIR to a folder of yours; without it every start compiles for a minute",
    )


def _writable(folder: Path) -> bool:
    """Return whether a file can be made in this folder, or in the nearest one above that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def graphics_card() -> Iterator[Finding]:
    """CuPy and a GPU, if any."""
    if importlib.util.find_spec("cupy") is None:
        cure = ""
        if shutil.which("nvidia-smi"):
            cure = 'there is an NVIDIA driver: pip install "minisegnet[gpu13]" (or gpu12 for a driver of CUDA 12)'
        yield Finding("note", "no GPU is used: CuPy is not installed (none is needed)", cure)
        return
    import cupy

    try:
        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        free, total = cupy.cuda.runtime.memGetInfo()
        cupy.ones(4).sum()
        yield Finding("ok", f"CuPy {cupy.__version__}, {name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    except Exception as error:  # a driver that is too old, a library that is missing, no card
        yield Finding(
            "note", f"CuPy {cupy.__version__} finds no usable GPU: {error}", "update the driver; CPUs work as well"
        )


def memory() -> Iterator[Finding]:
    """Main memory and disk."""
    total = _main_memory()
    if total is not None:
        small = total < 3 * 2**30
        cure = "close other programs before a lesson that trains; use smaller batches" if small else ""
        yield Finding("note" if small else "ok", f"{total / 2**30:.1f} GiB of memory", cure)
    free = shutil.disk_usage(Path.cwd()).free
    full = free < 2**30
    yield Finding(
        "problem" if full else "ok", f"{free / 2**30:.1f} GiB free on this disk", "free some space" if full else ""
    )


def _main_memory() -> int | None:
    """Return the bytes of main memory, where the system says it without another package."""
    try:
        import psutil

        return int(psutil.virtual_memory().total)
    except ImportError:
        pass
    if hasattr(os, "sysconf") and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(os.sysconf_names):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def lessons_and_data() -> Iterator[Finding]:
    """The lessons, the pre-trained weights, the real images."""
    from .. import data, models
    from .lab import lessons

    try:
        yield Finding("ok", f"{len(lessons())} lesson(s)")
    except FileNotFoundError as error:
        yield Finding("problem", "the lessons are missing", str(error))
    names = models.pretrained_names()
    if names:
        for name in names:
            models.load_pretrained(name)
        yield Finding("ok", f"pre-trained weights: {', '.join(names)}")
    else:
        yield Finding("problem", "the pre-trained weights are missing", "install the package anew")
    try:
        nuclei = data.load_nuclei()
        yield Finding(
            "ok", f"real images: {len(nuclei)} of {len(set(nuclei.fields.tolist()))} fields in {nuclei.source}"
        )
    except FileNotFoundError:
        cure = "`minisegnet data nuclei` fetches some; or set MINISEGNET_DATA to a file or folder of yours"
        yield Finding("note", "no real images here; synthetic ones will do", cure)
    except ValueError as error:
        yield Finding("problem", "the real images cannot be read", str(error))


def self_test() -> Iterator[Finding]:
    """A tiny network learns by both backends: losses and gradients must agree, and the loss must fall."""
    from .. import backend

    with backend.use_backend("numba"):
        _learn(1)  # compiles what is not compiled yet
    start = time.perf_counter()
    losses = {}
    for name in ("reference", "numba"):
        with backend.use_backend(name):
            losses[name] = _learn()
    difference = max(abs(a - b) for a, b in zip(losses["reference"], losses["numba"], strict=True))
    falls = losses["numba"][-1] < 0.9 * losses["numba"][0]
    text = f"loss {losses['numba'][0]:.3f} to {losses['numba'][-1]:.3f}, backends differ by {difference:.1e}"
    seconds = f"{time.perf_counter() - start:.1f} s"
    if difference < 1e-3 and falls:
        yield Finding("ok", f"self-test: {text} ({seconds})")
    else:
        cure = "delete the folders __pycache__ in minisegnet/kernels, try again; then report it with this text"
        yield Finding("problem", f"self-test failed: {text}", cure)


def _learn(steps: int = 8) -> list[float]:
    """Return the losses of a few steps of a small U-Net on two synthetic images."""
    from .. import data, functional, manual_seed, models, optim

    before = _random_state()
    manual_seed(0)
    images, labels = data.synthetic_tissue(2, (32, 32), seed=0)
    x, y = data.to_input(images), (labels > 0).astype(np.int64)
    model = models.UNet(3, 2, base_channels=4, depth=2)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    history = []
    for _ in range(steps):
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss))
    before()
    return history


def _random_state() -> Callable[[], None]:
    """Return a function that puts the package's random numbers back."""
    from .. import random

    state = random.get_state()
    return lambda: random.set_state(state)


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    versions,
    kernels,
    graphics_card,
    memory,
    lessons_and_data,
    self_test,
)
