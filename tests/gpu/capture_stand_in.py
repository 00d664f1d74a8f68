"""Streams, CUDA graphs and memory pools of the stand-in for CuPy.

While a stream captures, nothing is executed: what an operation makes is not a number, what it changes stays as it is, and a
graph keeps the operation with the *places* of its arrays. ``Graph.launch`` does all of it again, on the very same memory. So
what CUDA would get wrong in silence is found: a number that was baked in, an array that was replaced or freed between two
launches, memory that somebody else may get. What CUDA refuses is refused: a look at a number, a wait, another stream.
"""

import weakref
from contextlib import contextmanager

import numpy as np

ILLEGAL = "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"


class CUDARuntimeError(RuntimeError):
    """As ``cupy.cuda.runtime.CUDARuntimeError``."""


class MemoryPool:
    """As ``cupy.cuda.MemoryPool``; what a graph has from it is lost when it is freed."""

    def __init__(self, allocator=None):
        self.alive = True

    def malloc(self, size):
        raise NotImplementedError("the stand-in's arrays are NumPy's: only using_allocator(pool.malloc) is known")

    def free_all_blocks(self, stream=None):
        self.alive = False


class _State:
    def __init__(self):
        self.stream = self.pool = self.recording = self.capturing = None


class _Place:
    """Where an array lies: its owner, which may die, and how it is seen."""

    def __init__(self, array, owned):
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        self.offset = array.ctypes.data - owner.ctypes.data
        self.shape, self.strides, self.dtype = array.shape, array.strides, array.dtype
        self.owner = weakref.ref(owner)
        self.held = owner if id(owner) in owned else None  # the graph's own pool holds it

    def __call__(self):
        owner = self.owner()
        if owner is None:
            raise CUDARuntimeError(
                f"the graph uses an array of shape {self.shape} that was freed since it was captured"
            )
        flat = np.ndarray((owner.nbytes,), np.uint8, buffer=owner.ravel(order="K").data)
        return np.ndarray(self.shape, self.dtype, flat, self.offset, self.strides)


class Graph:
    """As ``cupy.cuda.Graph``: what was recorded, in order."""

    def __init__(self, pool):
        self._work, self._owned, self._pool = [], {}, weakref.ref(pool) if pool is not None else None

    def launch(self, stream=None):
        refuse_while_capturing()
        pool = self._pool and self._pool()
        if self._owned and (pool is None or not pool.alive):
            raise CUDARuntimeError("the graph's memory went back to a pool, and may be somebody else's")
        for work in self._work:
            work()

    def _own(self, array):
        self._owned[id(array)] = array


class Stream:
    """As ``cupy.cuda.Stream``; work is done when it is queued."""

    def __init__(self, null=False, non_blocking=False, ptds=False):
        self.null_stream, self.non_blocking, self._failed = null, non_blocking, False

    def __enter__(self):
        self._before, STATE.stream = STATE.stream, self
        return self

    def __exit__(self, *_):
        STATE.stream = self._before

    def begin_capture(self, mode=None):
        refuse_while_capturing()
        if self.null_stream:
            raise CUDARuntimeError(ILLEGAL)
        STATE.recording, STATE.capturing, self._failed = Graph(STATE.pool), self, False

    def end_capture(self):
        if STATE.recording is None or STATE.capturing is not self:
            raise CUDARuntimeError("cudaErrorIllegalState: the stream is not capturing")
        made, STATE.recording = STATE.recording, None
        if self._failed:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture"
            )
        return made

    def is_capturing(self):
        return STATE.recording is not None and STATE.capturing is self

    def synchronize(self):
        refuse_while_capturing()


STATE = _State()
Stream.null = STATE.stream = Stream(null=True)


def get_current_stream():
    return STATE.stream


@contextmanager
def using_allocator(allocator=None):
    """As ``cupy.cuda.using_allocator``, of a pool's ``malloc``."""
    before, STATE.pool = STATE.pool, getattr(allocator, "__self__", None)
    try:
        yield
    finally:
        STATE.pool = before


def refuse_while_capturing():
    """Raise as CUDA does where something waits, and let the capture fail."""
    if STATE.recording is not None:
        STATE.capturing._failed = True
        raise CUDARuntimeError(ILLEGAL)


def reset():
    """Forget a capture that a failed test left behind."""
    STATE.stream, STATE.pool, STATE.recording = Stream.null, None, None


def made(array):
    """Tell a recording of new memory, which holds no number; return it."""
    if STATE.recording is not None:
        STATE.recording._own(array)
        spoil(array)
    return array


def spoil(array):
    """Fill with what is no number; integers with -1, or the largest there is."""
    array[...] = np.nan if array.dtype.kind == "f" else np.array(-1).astype(array.dtype)


def run(function, args, kwargs=None, changes=None):
    """Call a function of NumPy on arrays of NumPy, or record it; ``changes``: the array that it writes in place."""
    kwargs = kwargs or {}
    if STATE.recording is None:
        return function(*args, **kwargs)
    if STATE.stream is not STATE.capturing:
        raise CUDARuntimeError("cudaErrorStreamCaptureImplicit: work for another stream while one is capturing")
    graph, given = STATE.recording, (args, kwargs)
    if changes is not None:
        places = _places(given, graph)
        graph._work.append(lambda: _call(function, places))
        return changes
    with np.errstate(all="ignore"):
        found = function(*args, **kwargs)
    results = found if isinstance(found, (tuple, list)) else (found,)
    if not any(isinstance(r, (np.ndarray, np.generic)) for r in results):
        return found  # a shape, a type
    if all(isinstance(r, np.ndarray) and any(np.may_share_memory(r, a) for a in _arrays(given)) for r in results):
        return found  # views: nothing is computed
    results = [np.array(r, copy=None) for r in results]
    for result in results:
        made(result)
    places, outputs = _places(given, graph), [_Place(r, graph._owned) for r in results]

    def work():
        again = _call(function, places)
        for place, value in zip(outputs, again if isinstance(again, (tuple, list)) else (again,), strict=True):
            place()[...] = value

    graph._work.append(work)
    return type(found)(results) if isinstance(found, (tuple, list)) else results[0]


def _call(function, places):
    args, kwargs = _filled(places)
    return function(*args, **kwargs)


def _arrays(value):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for v in value.values() if isinstance(value, dict) else value:
            yield from _arrays(v)


def _places(value, graph):
    if isinstance(value, np.ndarray):
        return _Place(value, graph._owned)
    if isinstance(value, (tuple, list)):
        return type(value)(_places(v, graph) for v in value)
    return {k: _places(v, graph) for k, v in value.items()} if isinstance(value, dict) else value


def _filled(value):
    if isinstance(value, _Place):
        return value()
    if isinstance(value, (tuple, list)):
        return type(value)(_filled(v) for v in value)
    return {k: _filled(v) for k, v in value.items()} if isinstance(value, dict) else value
