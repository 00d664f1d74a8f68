"""Files that are never half written and never trusted: atomic writing, safetensors, ``.npz`` without pickle.

Writing goes to a temporary name in the same folder, which then takes the place of the old file in one step: whoever
reads, or pulls the plug, finds the old file or the new one, whole. Reading checks before it believes: a truncated,
foreign or hostile file gives one ``ValueError`` that names the file and what is wrong with it. Nothing here can run
code from a file: no pickle, ever.
"""

from __future__ import annotations

import errno
import json
import math
import os
import struct
import time
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from .arrays import to_device

PathLike = str | os.PathLike[str]

# More than any data set of the course, far less than what a zip bomb unpacks to.
LARGEST_NPZ = 8 * 2**30
# Leftovers of killed runs are removed when they have lain for an hour: nobody writes to them any more.
STALE_SECONDS = 3600.0

_CURES = {
    errno.ENOSPC: "the disk is full. Free some space, or choose a folder on another disk",
    getattr(errno, "EDQUOT", errno.ENOSPC): "the disk (or your quota) is full. Free some space, or choose another disk",
    errno.EACCES: "no permission to write there. Choose a folder that you own, or have its permissions changed",
    errno.EPERM: "no permission to write there. Choose a folder that you own, or have its permissions changed",
    errno.EROFS: "the disk is read-only. Choose a folder on another disk",
    errno.ENOTDIR: "a part of the path is a file, not a folder. Choose another path",
    errno.EEXIST: "a part of the path is a file, not a folder. Choose another path",
    errno.EISDIR: "the path is a folder. Add a file name",
    errno.ENAMETOOLONG: "the name is too long. Choose a shorter one",
}


@contextmanager
def atomic_write(path: PathLike, mode: str = "wb", encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file to be written as a whole: it appears under its name when the block ends well, or not at all.

    Parameters
    ----------
    path : path
        Where the file shall be. Missing folders are made; a symbolic link is followed.
    mode : "wb" or "w"
        Bytes or text.
    encoding : str, optional
        For text; UTF-8 by default.

    Yields
    ------
    file
        Write into it. It has a temporary name in the same folder (``file.name``) until the block ends.

    Raises
    ------
    OSError
        Where the disk is full, writing is not permitted or the path is no good; the message names path and cure. The
        temporary file is then removed, and a file that was there before is as it was.
    """
    if mode not in ("wb", "w"):
        raise ValueError(f'mode must be "wb" or "w", got {mode!r}')
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        with open(partial, mode.replace("w", "x"), encoding=encoding or (None if "b" in mode else "utf-8")) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the bytes are on the disk before the name points to them
        _replace(partial, target)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and _is_about(error, partial, target):
            reason = _CURES.get(error.errno or 0, error.strerror or str(error))
            raise OSError(error.errno or errno.EIO, f"cannot write {os.fspath(path)}: {reason}") from error
        raise


def _is_about(error: OSError, partial: Path, target: Path) -> bool:
    """Return whether an error came from the file being written, not from another that the caller reads meanwhile."""
    if error.filename is None:
        return True
    name = Path(os.fsdecode(error.filename))
    return name in (partial, target) or name in target.parents


def _replace(partial: Path, target: Path) -> None:
    """Rename over the old file; on Windows a virus scanner may hold it for a moment, so try again for a second."""
    for attempt in range(10):
        try:
            return os.replace(partial, target)
        except PermissionError:
            if os.name != "nt" or attempt == 9:
                raise
            time.sleep(0.1)


def _remove_stale(target: Path) -> None:
    """Remove what killed runs left of this file."""
    with suppress(OSError):  # another process may be faster
        for name in os.listdir(target.parent):
            leftover = target.parent / name
            ours = name.startswith(f".{target.name}.") and name.endswith(".partial")
            if ours and time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                leftover.unlink()


def save_safetensors(path: PathLike, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays and text to one safetensors file, atomically.

    Parameters
    ----------
    path : path
        Where to.
    arrays : mapping of names to arrays
        Any shape and layout (written in C order); Tensors and scalars will do.
    metadata : mapping of str to str, optional
        Text kept in the header.

    Raises
    ------
    TypeError
        If an array is of objects, text or another type that the format has no name for, or the metadata is not text.
    OSError
        As ``atomic_write``.
    """
    from safetensors.numpy import save

    plain = {}
    for name, array in arrays.items():
        plain[name] = np.array(to_device(array, "cpu"), order="C")
        if plain[name].dtype.kind not in "fiub" or plain[name].dtype.itemsize > 8:
            raise TypeError(f"cannot store {name!r} in a safetensors file: its type is {plain[name].dtype}")
    for key, text in (metadata or {}).items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise TypeError(f"metadata must be text by text, got {key!r}: {type(text).__name__}")
    content = save(plain, dict(metadata) if metadata else None)
    with atomic_write(path) as file:
        file.write(content)


def load_safetensors(path: PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the metadata of a safetensors file, after checking it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, corrupt, hostile (offsets that overlap or point outside, sizes that don't fit the shapes, a
        huge header) or something else than safetensors; the message names the file and the reason.
    """
    from safetensors import SafetensorError, safe_open

    _require_file(path)
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            # Copies: they outlive the mapped file, which Windows could otherwise not replace.
            arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            for name, array in arrays.items():
                if (
                    array.dtype.kind not in "fiub"
                ):  # bfloat16 and its like, where another package has taught them to NumPy
                    raise TypeError(f"{name!r} is of type {array.dtype}, which NumPy lacks")
            return arrays, metadata
    except (SafetensorError, ValueError, TypeError, AttributeError, KeyError, OverflowError, MemoryError) as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise ValueError(f"{os.fspath(path)} is no sound safetensors file: {_guess(path) or reason}") from error


def save_npz(path: PathLike, arrays: Mapping[str, Any]) -> None:
    """Write named arrays to one compressed ``.npz`` file, atomically.

    Raises
    ------
    TypeError
        If an array holds Python objects, which only pickle could store.
    OSError
        As ``atomic_write``.
    """
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise TypeError(f"cannot store {name!r}: it holds Python objects, give it a numeric or text type")
    with atomic_write(path) as file:
        np.savez_compressed(file, **plain)  # type: ignore[arg-type]


def load_npz(
    path: PathLike,
    required: Iterable[str] = (),
    optional: Iterable[str] | None = None,
    largest: int = LARGEST_NPZ,
) -> dict[str, np.ndarray]:
    """Return arrays of an ``.npz`` file, after checking it; nothing is ever unpickled.

    Parameters
    ----------
    path : path
        The file.
    required : names
        Arrays that must be there.
    optional : names, optional
        What else to read if it is there; by default everything.
    largest : int
        How many bytes the arrays may unpack to, all together.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, corrupt, hostile, too large when unpacked, holds Python objects, is something else than an
        ``.npz`` file, or a required array is missing; the message names the file and the reason.
    """
    _require_file(path)
    name = os.fspath(path)
    try:
        with zipfile.ZipFile(name) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            missing = [key for key in required if key not in members]
            if missing:
                raise ValueError(f"it has no array {', '.join(missing)}, only {', '.join(members) or 'nothing at all'}")
            wanted = [key for key in members if optional is None or key in {*required, *optional}]
            unpacked = sum(members[key].file_size for key in wanted)
            if unpacked > largest:
                raise ValueError(
                    f"it would unpack to {unpacked / 2**30:.1f} GiB, the limit is {largest / 2**30:.1f} GiB"
                )
            return {key: _read_npy(archive, members[key]) for key in wanted}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{name} is no sound .npz file: {_guess(path) or _lower(error)}") from error
    except PermissionError:
        raise
    except (ValueError, TypeError, LookupError, RuntimeError, SyntaxError, OSError, zlib.error, struct.error) as error:
        raise ValueError(f"{name} is no sound .npz file: {_lower(error)}") from error
    except (EOFError, NotImplementedError, OverflowError, MemoryError) as error:
        raise ValueError(f"{name} is no sound .npz file: {_lower(error)}") from error


def _read_npy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """Read one array, after comparing what its header asks for with what is stored: memory is only taken for that."""
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.hasobject:
            raise ValueError(f"{entry.filename} holds Python objects, which could run any code and are never loaded")
        asked, stored = dtype.itemsize * math.prod(shape), entry.file_size - stream.tell()
        if asked != stored or min(shape, default=0) < 0:
            raise ValueError(f"{entry.filename} claims to be {dtype} {shape}, {asked} bytes, but {stored} are stored")
    with archive.open(entry) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _lower(error: BaseException) -> str:
    """Return an error's text as the end of a sentence."""
    text = str(error) or type(error).__name__
    return text[0].lower() + text[1:]


def _require_file(path: PathLike) -> None:
    """Raise FileNotFoundError or IsADirectoryError where there is no file to read."""
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{os.fspath(path)} is a folder, not a file")
    if not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, f"there is no file {os.fspath(path)}")


def _missing_bytes(path: PathLike, header: int, size: int) -> str:
    """Return how much a safetensors file lacks, "" where its size is not the trouble (or its header cannot be read)."""
    with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError), open(path, "rb") as file:
        entries = json.loads(file.read(8 + min(header, 2**26))[8:])
        needed = 8 + header + max(entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__")
        if size < needed:
            return f"it is truncated: {needed} bytes were written, {size} are there"
    return ""


def _guess(path: PathLike) -> str:
    """Return what a file that could not be read seems to be, "" where it is not known."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(16)
    if not start:
        return "it is empty"
    if size >= 8 and start[8:9] == b"{":
        header = int.from_bytes(start[:8], "little")
        if 8 + header > size:
            return f"its header should be {header} bytes long, but the file has {size} in all: truncated or foreign"
        return _missing_bytes(path, header, size)
    if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "it is a Python pickle, which could run any code and is never loaded. Convert it to safetensors or .npz"
    if start[:4] == b"PK\x03\x04":
        return (
            "it is a zip archive (an .npz file, or a PyTorch .pt file that holds a pickle), or the first part of one. "
            "If a download or a copy was interrupted, do it again; a .pt file must be converted to safetensors"
        )
    if start[:6] == b"\x93NUMPY":
        return "it is a single .npy array, not an archive of named arrays"
    if start.lstrip()[:1] == b"<":
        return "it is a web page: the download went wrong"
    return ""
