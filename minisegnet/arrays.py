"""Arrays and where they live: the array module, devices, layout. Beside the CUDA kernels the only file that touches CuPy."""

from __future__ import annotations

import functools
import os
import sys
from types import ModuleType
from typing import Any

import numpy as np

from .deferred import current, no_copy_while_capturing

CUPY_CURE = (
    "Install it with `pip install minisegnet[gpu12]` (CUDA 12) or `pip install minisegnet[gpu13]` (CUDA 13), "
    'on a machine with an NVIDIA GPU, or stay on device="cpu".'
)

SMALL = 2**16  # bytes of a constant that is kept on the GPU
FEW = 4  # channels that are copied one after the other
MANY, BLOCK = 64, 32768  # pixels from which on blocks pay; numbers of a block: 128 KiB of float32


def is_cupy(array: Any) -> bool:
    """Return whether this is a CuPy array, without importing CuPy."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def array_module(*arrays: Any) -> ModuleType:
    """Return NumPy or CuPy, whichever the arrays belong to.

    Raises
    ------
    TypeError
        If the arrays are on different devices.
    """
    cupy = sys.modules.get("cupy")
    if cupy is None:
        return np
    known = [a for a in arrays if a is not None and hasattr(a, "dtype")]
    if not any(isinstance(a, cupy.ndarray) for a in known):
        return np
    if not all(isinstance(a, cupy.ndarray) or not a.ndim for a in known):  # a number is at home everywhere
        places = ", ".join(f"{tuple(a.shape)} on {device_of(a)}" for a in known)
        raise TypeError(f"the arrays are on different devices ({places}): move them together with .to(device)")
    return cupy


def device_of(array: Any) -> str:
    """Return "cpu" or "cuda"."""
    return "cuda" if is_cupy(array) else "cpu"


def owned(box: list[Any]) -> Any:
    """Return the array in a list of one for the caller to keep and change: itself where nobody else sees it, else a copy.

    An array of a training step's size is not copied without need: what a kernel has just made is known to this list alone.
    Python counts who holds an object; a view holds the object that owns its memory, which is asked as well.
    """
    array, fresh = box[0], np.empty(0)
    alone = sys.getrefcount(fresh) + 1  # and the list, or the view
    seen = not isinstance(array, np.ndarray) or sys.getrefcount(array) > alone
    owner = array
    while not seen and isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
        seen = sys.getrefcount(owner) > alone
    if seen or not array.flags.writeable or 0 in array.strides:  # strides of 0: one number stands for many
        return array.copy(order="K")
    owns = owner.flags.owndata if isinstance(owner, np.ndarray) else getattr(owner, "owns_memory", False)
    return array if owns else array.copy(order="K")


class _Device:
    """Holds until the ``with`` block ends; without ``with``, for good."""

    def __init__(self, device: str):
        global _default
        self._before, _default = _default, device

    def __enter__(self) -> str:
        return _default

    def __exit__(self, *_: object) -> None:
        global _default
        _default = self._before


def _known(device: Any, what: str) -> str:
    if device not in ("cpu", "cuda", "gpu"):
        raise ValueError(f'{what} must be "cpu" or "cuda" ("gpu" is understood), got {device!r}')
    return "cpu" if device == "cpu" else "cuda"


def set_default_device(device: str) -> _Device:
    """Let everything new live on ``device`` ("cpu" or "cuda"; "gpu" is understood), for good or for a ``with`` block.

    New are tensors of ``tensor``, ``zeros``, ``ones`` and ``randn``, parameters and buffers of a module that is made, and NumPy
    arrays that are given to an operation. What is on a device already stays there, as in PyTorch; where a NumPy array meets
    a tensor of the CPU, the operation takes place on the CPU. It is one setting of the process. The environment variable
    ``MINISEGNET_DEVICE`` names the device to begin with.

    Raises
    ------
    ValueError
        For a device that does not exist.
    RuntimeError
        If CuPy or the GPU is missing; the message says what to install.
    """
    chosen = _known(device, "set_default_device: device")
    if chosen == "cuda":
        _import_cupy()
    return _Device(chosen)


def get_default_device() -> str:
    """Return where everything new lives, "cpu" or "cuda"."""
    return _default


def cuda_is_available() -> bool:
    """Return whether arrays can be on a GPU: CuPy is installed, and finds one."""
    try:
        _import_cupy()
    except RuntimeError:
        return False
    return True


_default = _known(os.environ.get("MINISEGNET_DEVICE", "cpu"), "the environment variable MINISEGNET_DEVICE")


def placed(array: Any) -> Any:
    """Return a new array of NumPy on the default device; one that is on the GPU as it is."""
    return array if _default == "cpu" else to_device(array, _default)


def to_device(array: Any, device: str) -> Any:
    """Return the array on ``device`` ("cpu" or "cuda"; "gpu" is understood), itself if it is there already.

    Raises
    ------
    ValueError
        For a device that does not exist.
    RuntimeError
        If CuPy or the GPU is missing; the message says what to install.
    """
    if device == "cpu":
        return array.get() if is_cupy(array) else np.asarray(array)
    if device not in ("cuda", "gpu"):
        raise ValueError(f'device must be "cpu" or "cuda", got {device!r}')
    if is_cupy(array):
        return array
    no_copy_while_capturing(f"an array of shape {np.shape(array)}")
    return _import_cupy().asarray(array)


def constant(value: Any, xp: ModuleType, dtype: Any = None) -> Any:
    """Return numbers that are the same in every step, such as class weights, as an array of ``xp`` that nobody changes.

    They go to the GPU once, not in every step.
    """
    if xp is np or is_cupy(value):
        return xp.asarray(value, dtype)
    host = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
    if host.nbytes > SMALL:
        return to_device(host, "cuda")
    made, later = _on_gpu(host.tobytes(), host.dtype, host.shape), current()
    if later is not None:
        later.kept.append(made)
    return made


@functools.lru_cache(maxsize=256)
def _on_gpu(numbers: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> Any:
    return to_device(np.frombuffer(numbers, dtype).reshape(shape), "cuda")


def _import_cupy() -> ModuleType:
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError(f"device cuda needs CuPy, which is not installed. {CUPY_CURE}") from error
    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"CuPy is installed, but finds no working GPU ({error}). {CUPY_CURE}") from error
    if not found:
        raise RuntimeError(f"CuPy is installed, but finds no GPU. {CUPY_CURE}")
    return cupy


def is_channels_last(array: Any) -> bool:
    """Return whether an (N, C, H, W) array lies in memory as contiguous (N, H, W, C)."""
    return array.ndim == 4 and array.transpose(0, 2, 3, 1).flags.c_contiguous


def channels_last(array: Any) -> Any:
    """Return the (N, C, H, W) array as a contiguous (N, H, W, C) array: a view where memory lies so, else one copy."""
    last = array.transpose(0, 2, 3, 1)
    if is_cupy(array):
        return array_module(array).ascontiguousarray(last)
    images, channels, height, width = array.shape
    if channels > FEW and height * width >= MANY and array.flags.c_contiguous and not last.flags.c_contiguous:
        return _turn_blocks(array.reshape(images, channels, height * width)).reshape(last.shape)
    if channels > FEW or last.flags.c_contiguous:
        return np.ascontiguousarray(last)
    copy = np.empty(last.shape, last.dtype)
    for channel in range(channels):  # NumPy would copy pixel by pixel
        copy[..., channel] = array[:, channel]
    return copy


def _turn_blocks(planes: np.ndarray) -> np.ndarray:
    """Return (N, P, C) of contiguous (N, C, P), by blocks of pixels that pass through memory in the second cache.

    Planes are often a power of two apart, and then the same pixel of all channels competes for a few places of a cache:
    in the block's own memory they are not.
    """
    images, channels, pixels = planes.shape
    many = min(max(BLOCK // channels, 16), pixels)
    turned, block = np.empty((images, pixels, channels), planes.dtype), np.empty((channels, many + 16), planes.dtype)
    for image, plane in zip(turned, planes, strict=True):
        for start in range(0, pixels, many):
            count = min(many, pixels - start)
            block[:, :count] = plane[:, start : start + count]
            image[start : start + count] = block[:, :count].T
    return turned


def channels_first(array: Any) -> Any:
    """Return the (N, H, W, C) array as an (N, C, H, W) view of the same memory."""
    return array.transpose(0, 3, 1, 2)
