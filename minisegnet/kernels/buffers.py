"""Memory for results that is used again: ``empty`` instead of ``np.empty`` for arrays that come and go with every step.

Fresh memory is not free. The operating system hands it out page by page, each wiped when it is first touched, and takes it
back with the array: for a large array that costs as much as a simple kernel's whole work, and a training step asks for the
same sizes again and again.

When may memory be used again? When *nobody* can see it any more: neither the array, nor a view, a reshape, a memoryview or
another library's tensor on it. Each of these keeps its ``base`` alive, and NumPy lets views point straight to the object that
owns the memory. So the owner is made an object of ours, a ``_Lease``, that is no array: whoever sees the memory holds it,
and when the last one lets go, Python calls its ``__del__``, and the memory goes on the shelf. A prediction kept for a year
keeps its memory for a year.

The shelf is bounded: what is in use and what waits there are together never more than what was in use at once in the recent
past, and as much again, but at most 64 MiB. A block serves its own size, and where none of that size waits, a smaller array
too, down to half of it: otherwise a step with arrays of many sizes (weights and their gradients among the activations) throws
away what it needs a moment later, and takes more memory at its peak besides. What a job now over has needed is given back.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from typing import Any

import numpy as np

SMALLEST = 1 << 17  # bytes; below, the C library itself keeps memory for the next one
ALIGNMENT = 64  # a cache line
ROOM = 2**26  # bytes beyond the recent peak that may wait, where the peak is as large itself
FORGET = 0.9999  # by this much a peak is forgotten with each array: to a third within 10,000 arrays


class _Block:
    """A piece of memory, aligned, with room for ``size`` bytes."""

    __slots__ = ("_memory", "address", "size")

    def __init__(self, size: int):
        self.size, self._memory = size, np.empty(size + ALIGNMENT, np.uint8)
        start = self._memory.ctypes.data
        self.address = start + -start % ALIGNMENT


class _Lease:
    """What owns the memory of one array; NumPy makes an array of it by ``__array_interface__``."""

    __slots__ = ("__array_interface__", "_block", "_returned")
    owns_memory = True  # whoever sees the memory holds this object: nothing else knows of it

    def __init__(self, block: _Block, shape: tuple[int, ...], dtype: np.dtype, returned: deque[_Block]):
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": dtype.str, "data": (block.address, False)}
        self._block, self._returned = block, returned

    def __del__(self) -> None:
        # At any time, in any thread, even inside of `Shelf.empty`: nothing but one atomic append.
        self._returned.append(self._block)


class Shelf:
    """Blocks of memory by size, those that wait and a count of those in use; any thread may ask.

    Attributes
    ----------
    in_use, waiting : int
        Bytes of both kinds, as of the last ``empty``.
    """

    def __init__(self) -> None:
        self.in_use = self.waiting = 0
        self._limit = 0.0
        self._returned: deque[_Block] = deque()
        self._blocks: OrderedDict[int, list[_Block]] = OrderedDict()  # by size, the least recently asked for first
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array of that shape and type, C-contiguous, with whatever its memory holds: ``np.empty``."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < SMALLEST:
            return np.empty(shape, dtype)
        with self._lock:
            block = self._take(size)
        return np.asarray(_Lease(block, tuple(map(int, shape)), dtype, self._returned))

    def release(self) -> None:
        """Give everything that waits back to the operating system."""
        with self._lock:
            self._collect()
            self._blocks.clear()
            self.waiting, self._limit = 0, self.in_use

    def _take(self, size: int) -> _Block:
        """Return a block for ``size`` bytes, a used one if there is one, and keep within the limit."""
        self._collect()
        fitting = size if self._blocks.get(size) else self._roomier(size)
        block = None
        if fitting:
            block = self._blocks[fitting].pop()  # the last one that came: the likeliest to be in a cache
            self.waiting -= fitting
            self._blocks.move_to_end(fitting)
        self.in_use += fitting or size
        self._limit = max(self.in_use, FORGET * self._limit)
        while self.waiting and self.in_use + self.waiting > self._limit + min(self._limit, ROOM):
            oldest, blocks = next(iter(self._blocks.items()))
            if blocks:
                blocks.pop()
                self.waiting -= oldest
            if not blocks:
                del self._blocks[oldest]
        return block or _Block(size)

    def _roomier(self, size: int) -> int:
        """Return the size of the smallest block that waits and is large enough, up to twice as large; 0 if there is none."""
        return min((kept for kept, blocks in self._blocks.items() if blocks and size < kept <= 2 * size), default=0)

    def _collect(self) -> None:
        """Put what was let go since the last time on the shelf."""
        while self._returned:
            block = self._returned.popleft()
            self.in_use -= block.size
            self.waiting += block.size
            self._blocks.setdefault(block.size, []).append(block)


_shelf = Shelf()
empty, release = _shelf.empty, _shelf.release
