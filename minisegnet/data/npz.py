"""Read arrays from an ``.npz`` file that nobody vouches for; write one whole or not at all."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

MAX_BYTES = 4 << 30  # uncompressed, all arrays together: more than the whole Data Science Bowl set needs


def read_arrays(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read the named arrays of an ``.npz``; others are ignored.

    The header of each array is read first and compared with the size that the archive states, so that a small file
    cannot ask for more than ``MAX_BYTES`` of memory; pickled objects are refused.

    Raises
    ------
    ValueError
        If the file is no ``.npz``, is truncated or damaged, lacks a required array, or holds objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: info for info in archive.infolist() for name in [info.filename.removesuffix(".npy")]}
            missing = [name for name in required if name not in members]
            if missing:
                raise ValueError(f"has no array {', '.join(map(repr, missing))}, only {sorted(members)[:8]}")
            wanted = [name for name in (*required, *optional) if name in members]
            total = sum(members[name].file_size for name in wanted)
            if total > MAX_BYTES:
                raise ValueError(f"asks for {total / 2**30:.1f} GiB of memory, the limit is {MAX_BYTES >> 30} GiB")
            return {name: _read_array(archive, members[name], name) for name in wanted}
    except PermissionError:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, zlib.error, NotImplementedError, RuntimeError) as fault:
        raise ValueError(f"{path}: is no .npz file, or damaged or truncated ({fault}); get it once more") from None
    except ValueError as fault:
        raise ValueError(f"{path}: {fault}") from None


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"array {name!r} is of an unknown .npy version {version}")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.hasobject:
            raise ValueError(f"array {name!r} holds Python objects, which could run code when read: refused")
        expected = stream.tell() + dtype.itemsize * _product(shape)
        if expected != info.file_size or min(shape, default=1) < 0:
            raise ValueError(
                f"array {name!r} says {dtype} {shape}, which is {expected} bytes, but {info.file_size} are stored"
            )
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _product(shape: tuple[int, ...]) -> int:
    """Multiply without overflow (a hostile shape may exceed 64 bits)."""
    result = 1
    for n in shape:
        result *= n
    return result


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write a compressed ``.npz``: whole under its name, or not at all (temporary name, then rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
