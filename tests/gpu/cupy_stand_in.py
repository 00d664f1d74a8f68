"""A stand-in for CuPy: the names that minisegnet uses, over NumPy, and kernels run by ``emulator.py``.

What CuPy refuses, it refuses: arrays of NumPy in arithmetic with arrays of the GPU, becoming a NumPy array by itself. So
the wrappers and the whole package above them run as they would on a GPU, and a forgotten conversion is found. Sums are
arrays of no axes, as in CuPy, never numbers. What ``empty`` holds is not a number.
"""
# ruff: noqa: SIM905 (lists of names, to be read)

import importlib.machinery
import sys
import time
import types
from contextlib import contextmanager

import numpy as np
from gpu import capture_stand_in as capture
from gpu.capture_stand_in import CUDARuntimeError, run
from gpu.emulator import Module

NAMES = """
    abs absolute add all allclose amax amin any arange argmax argmin argsort array_equal broadcast_to ceil clip concatenate
    copysign cos cumsum diff divide dot einsum equal exp expand_dims expm1 eye flip floor full_like greater hypot
    isfinite isinf isnan less log log1p log2 logaddexp logical_and logical_not logical_or matmul max maximum mean median
    min minimum moveaxis multiply negative nonzero ones_like outer pad power prod ravel repeat reshape roll rint round
    searchsorted shape sign sin sort split sqrt square squeeze stack subtract sum swapaxes take take_along_axis tanh
    tensordot tile transpose triu unique unravel_index var where zeros_like count_nonzero std bincount ndim size hstack
    vstack array_split atleast_1d ascontiguousarray isclose nan_to_num minimum fmax fmin isneginf result_type fill_diagonal
""".split()
MAKERS = "zeros ones full arange eye linspace".split()  # of nothing that is on a GPU already
# Only the GPU knows how large their results are, or CuPy copies something there first: they cannot be captured.
WAITING = "nonzero unique concatenate stack hstack vstack array".split()
TYPES = "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool_ newaxis inf nan pi e".split()


def _is_host(value):
    return isinstance(value, np.ndarray)


def _in(value):
    """Return what NumPy computes with in place of an array of the stand-in; refuse arrays of NumPy."""
    if isinstance(value, ndarray):
        return value._host
    if _is_host(value):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (tuple, list)):
        return type(value)(_in(v) for v in value)
    if isinstance(value, dict):
        return {k: _in(v) for k, v in value.items()}
    return value


def _out(value):
    """Return the stand-in's array around a result; a single number is an array of no axes."""
    if isinstance(value, (np.ndarray, np.generic)):
        return _around(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(_out(v) for v in value)
    return value


def _around(host):
    made = object.__new__(ndarray)
    made._host = host
    return made


def _function(name, function=None):
    function = function or getattr(np, name)

    def called(*args, **kwargs):
        if name in WAITING:
            capture.refuse_while_capturing()
        return _out(run(function, _in(args), _in(kwargs)))

    called.__name__ = name
    return called


class _Ufunc:
    """A function of each element, with the methods that CuPy has."""

    def __init__(self, ufunc):
        self.__name__ = ufunc.__name__
        self._ufunc = ufunc

    def __call__(self, *args, **kwargs):
        return _out(run(self._ufunc, _in(args), _in(kwargs), changes=_in(kwargs.get("out"))))

    def reduce(self, *args, **kwargs):
        return _out(run(self._ufunc.reduce, _in(args), _in(kwargs)))

    def reduceat(self, array, indices, axis=0):
        return _out(run(self._ufunc.reduceat, (_in(array), _in(indices), axis)))

    def at(self, a, indices, b):
        run(self._ufunc.at, (_in(a), _in(indices), _in(b)), changes=_in(a))


class ndarray:
    """An array on the GPU that is none."""

    __slots__ = ("__weakref__", "_host")
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float):
        self._host = empty(shape, dtype)._host

    def get(self):
        """Return a copy for the CPU."""
        capture.refuse_while_capturing()
        return self._host.copy(order="K")

    def set(self, array, stream=None):
        """Copy numbers from the CPU."""
        capture.refuse_while_capturing()
        if array.shape != self.shape or array.dtype != self.dtype:
            raise ValueError(f"set: {array.dtype} {array.shape} for {self.dtype} {self.shape}")
        self._host[...] = array

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *args, **kwargs):
        if method != "__call__":
            return NotImplemented
        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        return _Ufunc(ufunc)(*args, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        own = getattr(MODULE, function.__name__, None)
        if own is None or any(issubclass(kind, np.ndarray) for kind in types):
            return NotImplemented
        return own(*args, **kwargs)

    @property
    def flags(self):
        found = self._host.flags
        return types.SimpleNamespace(
            c_contiguous=found.c_contiguous, f_contiguous=found.f_contiguous, owndata=found.owndata
        )

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if not copy and self.dtype == dtype:
            return self
        return _around(run(np.ndarray.astype, (self._host, dtype), {"order": order}))

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (_out(row) for row in self._host)

    def __bool__(self):
        capture.refuse_while_capturing()
        return bool(self._host)

    def __int__(self):
        capture.refuse_while_capturing()
        return int(self._host)

    def __float__(self):
        capture.refuse_while_capturing()
        return float(self._host)

    def __repr__(self):
        capture.refuse_while_capturing()
        return repr(self._host)

    def __format__(self, spec):
        capture.refuse_while_capturing()
        return format(self._host if self.ndim else self._host[()], spec)

    def __getitem__(self, place):
        if any(_is_host(p) and p.dtype == bool for p in _as_tuple(_in(place))):  # only the GPU knows how many there are
            capture.refuse_while_capturing()
        found = run(np.ndarray.__getitem__, (self._host, _in(place)))
        return _around(found if _is_host(found) else self._host[(*_as_tuple(_in(place)), ...)])

    def __setitem__(self, place, value):
        if _is_host(value) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        run(
            np.ndarray.__setitem__,
            (self._host, _in(place), value if _is_host(value) else _in(value)),
            changes=self._host,
        )


def _as_tuple(place):
    return place if isinstance(place, tuple) else (place,)


def _delegate():
    methods = """all any argmax argmin argsort clip copy cumsum diagonal dot fill flatten max mean min nonzero prod ravel
        repeat reshape round sort squeeze std sum swapaxes take trace transpose var view""".split()
    for name in methods:

        def method(self, *args, _name=name, **kwargs):
            if _name in WAITING:
                capture.refuse_while_capturing()
            changes = self._host if _name in ("fill", "sort") else None
            found = run(getattr(np.ndarray, _name), (self._host, *_in(args)), _in(kwargs), changes)
            return None if changes is not None else _out(found)

        setattr(ndarray, name, method)
    for name in ("item", "tobytes", "tolist"):  # come to the CPU

        def to_host(self, *args, _name=name):
            capture.refuse_while_capturing()
            return getattr(self._host, _name)(*args)

        setattr(ndarray, name, to_host)
    for name in ("dtype", "itemsize", "nbytes", "ndim", "shape", "size", "strides"):
        setattr(ndarray, name, property(lambda self, _name=name: getattr(self._host, _name)))
    ndarray.T = property(lambda self: _around(self._host.T))
    operators = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
    operators = [*operators, *(f"r{name}" for name in operators), "lt", "le", "gt", "ge", "eq", "ne"]
    for name in (*operators, "neg", "pos", "abs", "invert"):

        def operator(self, *args, _name=f"__{name}__"):
            if any(_is_host(a) for a in args):
                return NotImplemented if _name.startswith("__r") else _in(args)
            if any(not isinstance(a, (ndarray, np.generic, int, float)) for a in args):
                return NotImplemented
            return _out(run(getattr(np.ndarray, _name), (self._host, *_in(args))))

        setattr(ndarray, f"__{name}__", operator)
    for name in "add sub mul truediv and or".split():

        def in_place(self, other, _name=f"__i{name}__"):
            run(getattr(np.ndarray, _name), (self._host, _in(other)), changes=self._host)
            return self

        setattr(ndarray, f"__i{name}__", in_place)


_delegate()


def empty(shape, dtype=float, order="C"):
    """Return an array that nothing is known of."""
    host = np.empty(shape, dtype, order)
    if host.nbytes > POOL.limit:
        raise OutOfMemoryError(f"Out of memory allocating {host.nbytes:,} bytes (limit set to: {POOL.limit:,} bytes).")
    host.reshape(-1, order="A").view(np.uint8)[...] = 0xFF  # not a number, -1
    return _around(capture.made(host))


def empty_like(a, dtype=None, order="K", subok=None, shape=None):
    """Return an array as ``empty``, lying in memory as ``a`` does."""
    made = np.empty_like(a._host, dtype=dtype, order=order, shape=shape)
    made.fill(np.nan if made.dtype.kind == "f" else -1)
    return _around(capture.made(made))


def asarray(a, dtype=None, order=None):
    """Return the array on the GPU; one of NumPy is copied there."""
    if isinstance(a, ndarray):
        return a if dtype is None or a.dtype == dtype else a.astype(dtype)
    if isinstance(a, (list, tuple)) and any(isinstance(v, ndarray) for v in a):
        a = [_in(v) for v in a]
    capture.refuse_while_capturing()  # CuPy copies from memory that is used again: a graph would repeat what lies there then
    return _around(np.array(a, dtype=dtype, order="C"))


def asnumpy(a):
    """Return the array on the CPU."""
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


class RawModule:
    """Kernels of a source, as ``cupy.RawModule``; compiled when first asked for."""

    def __init__(self, code=None, *, options=(), backend="nvrtc"):
        self.code, self.options, self._module = code, tuple(options), None

    def get_function(self, name):
        if self._module is None:
            self._module = Module(CHANGED(self.code), self.options)
        return _RawKernel(self._module, name)


class _RawKernel:
    max_dynamic_shared_size_bytes = 48 * 1024

    def __init__(self, module, name):
        self._module, self._name = module, name
        if name not in module.parameters:
            raise CUDADriverError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")

    def __call__(self, grid, block, args, *, shared_mem=0):
        if shared_mem > min(self.max_dynamic_shared_size_bytes, 227 * 1024):
            raise ValueError(f"{shared_mem} bytes of shared memory are more than this kernel may have")

        def launch(*given):
            LAUNCHED.append(self._name)
            self._module.launch(self._name, grid, block, given, shared_mem)

        run(launch, _in(args), changes=self)


LAUNCHED = []  # the kernels that ran, in order


def CHANGED(code):
    """Return the source that is compiled; a test of the tests puts mistakes into it."""
    return code


class OutOfMemoryError(MemoryError):
    """As ``cupy.cuda.memory.OutOfMemoryError``."""


class Pool:
    """As CuPy's memory pools, of which nothing is used; the limit is that of a single array here."""

    limit = 2**62

    def set_limit(self, size):
        self.limit = size or 2**62

    def used_bytes(self):
        return 3 * 2**30

    def total_bytes(self):
        return 5 * 2**30

    def free_all_blocks(self):
        FREED.append(self)


POOL, PINNED, FREED = Pool(), Pool(), []


class CUDADriverError(RuntimeError):
    """As ``cupy.cuda.driver.CUDADriverError``."""


CARD = {"name": b"none (emulated)", "major": 9, "minor": 0, "totalGlobalMem": 16 * 2**30, "multiProcessorCount": 1}


class Event:
    """As ``cupy.cuda.Event``: its time can be asked for after it was waited for."""

    def record(self):
        self._recorded = time.perf_counter()

    def synchronize(self):
        capture.refuse_while_capturing()
        self.time = self._recorded


def _module():
    made = types.ModuleType("cupy")
    made.__dict__.update({name: _function(name) for name in NAMES if not isinstance(getattr(np, name), np.ufunc)})
    made.__dict__.update({name: _Ufunc(getattr(np, name)) for name in NAMES if isinstance(getattr(np, name), np.ufunc)})
    made.__dict__.update({name: _function(name) for name in MAKERS})
    made.__dict__.update({name: getattr(np, name) for name in TYPES})
    made.__dict__.update(
        {f.__name__: f for f in (ndarray, empty, empty_like, asarray, asnumpy, RawModule)},
        array=_function("array", np.array),
    )
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: 1, CUDARuntimeError=CUDARuntimeError, memGetInfo=lambda: (2 * 2**30, 16 * 2**30),
        driverGetVersion=lambda: 0, runtimeGetVersion=lambda: 0, getDeviceProperties=lambda device: CARD,
    )  # fmt: skip
    made.get_default_memory_pool, made.get_default_pinned_memory_pool = lambda: POOL, lambda: PINNED
    made.cuda = types.SimpleNamespace(
        runtime=runtime,
        Event=Event,
        Stream=capture.Stream,
        Graph=capture.Graph,
        MemoryPool=capture.MemoryPool,
        get_current_stream=capture.get_current_stream,
        using_allocator=capture.using_allocator,
        get_elapsed_time=lambda a, b: 1000 * (b.time - a._recorded),
    )
    window_view = _function("sliding_window_view", np.lib.stride_tricks.sliding_window_view)
    made.lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(sliding_window_view=window_view))
    made.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    made.__version__ = "0 (stand-in)"
    return made


MODULE = _module()


@contextmanager
def installed():
    """``with installed():`` importing CuPy gives the stand-in, and minisegnet's wrappers of kernels use it."""
    from minisegnet import backend

    table, backend._on_gpu = backend._on_gpu, backend.Kernels("cupy")
    wrappers = [name for name in sys.modules if name.startswith("minisegnet.kernels.") and "cuda_gpu" in name]
    before = {name: sys.modules.pop(name) for name in ["cupy", *wrappers] if name in sys.modules}
    sys.modules["cupy"] = MODULE
    FREED.clear()
    capture.reset()
    try:
        yield MODULE
    finally:
        for name in [
            n for n in sys.modules if n == "cupy" or (n.startswith("minisegnet.kernels.") and "cuda_gpu" in n)
        ]:
            del sys.modules[name]
        sys.modules.update(before)
        backend._on_gpu = table
