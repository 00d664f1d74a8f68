"""Compiles CUDA C++ with g++ and runs its kernels on the CPU, with every load and store looked at (``runtime.cpp``).

``Module(source, options)`` is what a driver makes of a source, ``Module.launch`` what it does with a kernel.
"""

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
# Loads, stores and risky arithmetic call functions of runtime.cpp; no library of a sanitizer is linked.
REPORTS = ["-fsanitize=thread", "-fsanitize=bounds,shift,signed-integer-overflow,integer-divide-by-zero"]
COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
KERNEL_FLAGS = [*COMMON, "-O1", "-g1", *REPORTS, "-Wno-unknown-pragmas", "-Wno-unused-function", "-ffp-contract=off"]
GAP = 1 << 20  # bytes between the arrays of a kernel: nothing lies there, and an index that is wrong leads there
CTYPES = {  # what a parameter of a kernel may be, and what NumPy calls it
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "unsigned": np.uint32,
    "long long": np.int64,
    "bool": np.bool_,
    "unsigned char": np.uint8,
}
KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\(.*?\)\s+)?void\s+(?:__launch_bounds__\(.*?\)\s+)?(\w+)\s*\((.*?)\)\s*\{',
    re.DOTALL,
)
DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+)?([\w ]+?)\s*(\w+)\[\];")


class EmulationError(RuntimeError):
    """What a kernel did wrong, and where."""


def missing():
    """Return why nothing can be emulated here, or None."""
    if os.name != "posix" or os.uname().sysname != "Linux":
        return "the emulation of CUDA needs Linux (fibers, and g++'s reports of loads and stores)"
    if shutil.which("g++") is None:
        return "the emulation of CUDA needs g++, which is not installed"
    return None


class Module:
    """The kernels of one source, compiled for this processor."""

    def __init__(self, source, options=(), name="kernel.cu"):
        self.defines = dict(re.findall(r"-D\s*(\w+)=([\w ]+)", " ".join(options)))
        self.defines |= {
            name: self.defines.get(kind, kind) for kind, name in re.findall(r"typedef (\w+) (\w+);", source)
        }
        self.parameters = {n: _parameters(p, self.defines) for n, p in KERNEL.findall(_without_comments(source))}
        if not self.parameters:
            raise EmulationError('there is no kernel in this source: extern "C" __global__ void name(...) { ... }')
        self._path = _compiled(source, tuple(options), name, tuple(self.parameters.items()))
        self._library = ctypes.PyDLL(str(self._path))
        self._library.emulate_launch.restype = ctypes.c_char_p

    def launch(self, name, grid, block, arguments, shared=0, seed=None):
        """Run a kernel over NumPy arrays (contiguous, written in place) and NumPy numbers of just the right types."""
        if name not in self.parameters:
            raise EmulationError(f"there is no kernel {name!r}; there are {', '.join(self.parameters)}")
        grid, block = (tuple(map(int, (*size, 1, 1)[:3])) for size in (grid, block))
        _check_launch(name, grid, block, self.parameters[name], arguments)
        arena, places = _Arena(), []
        for (kind, label), value in zip(self.parameters[name], arguments, strict=True):
            places.append(arena.put(value, label, kind) if kind.endswith("*") else np.array(value))
        arena.copy_in()
        pointers = [arena.address(p) if isinstance(p, int) else p.ctypes.data for p in places]
        cells = [ctypes.c_void_p(p) for p in pointers]  # of arrays, their address; of numbers, where they lie
        slots = [ctypes.addressof(c) if isinstance(p, int) else c.value for p, c in zip(places, cells, strict=True)]
        seed = int.from_bytes(os.urandom(4), "little") if seed is None else seed
        said = self._library.emulate_launch(
            getattr(self._library, f"emulate_call_{name}"),
            (ctypes.c_void_p * len(slots))(*slots),
            (ctypes.c_uint * 3)(*grid),
            (ctypes.c_uint * 3)(*block),
            ctypes.c_size_t(shared),
            *arena.given(),
            ctypes.c_uint(seed),
        )
        if said:
            raise EmulationError(f"kernel {name}: {self._with_line(said.decode())} (seed {seed})")
        arena.copy_out()

    def _with_line(self, message):
        """Replace the address at the end of a message by file and line."""
        message, _, address = message.rstrip("]").rpartition(" [")
        if address == "0" or shutil.which("addr2line") is None:
            return message
        found = subprocess.run(
            ["addr2line", "-e", self._path, f"0x{address}"], capture_output=True, text=True, check=False
        ).stdout
        place = Path(found.split(" (")[0].strip()).name
        return f"{message}, at {place}" if place and "?" not in place else message


class _Given(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("start", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("granule", ctypes.c_size_t),
        ("writable", ctypes.c_int),
    )


class _Arena:
    """Copies of a kernel's arrays, far apart; an array that is given twice has one copy."""

    def __init__(self):
        self._arrays, self._starts, self._labels, self._writable, self._size = [], [], [], [], GAP

    def put(self, array, label, kind):
        """Make room for an array; return its number."""
        const = kind.startswith("const ")
        for i, known in enumerate(self._arrays):
            if array.size and known.ctypes.data == array.ctypes.data and known.nbytes == array.nbytes:
                self._writable[i] |= not const
                return i
        self._arrays.append(array)
        self._starts.append(self._size)
        self._labels.append(f"`{label}`".encode())
        self._writable.append(not const)
        self._size += (array.nbytes + 255) // 256 * 256 + GAP
        return len(self._arrays) - 1

    def copy_in(self):
        self._memory = np.empty(self._size + 256, np.uint8)
        self._base = (self._memory.ctypes.data + 255) // 256 * 256 - self._memory.ctypes.data  # as the driver aligns
        for array, view in zip(self._arrays, self._views(), strict=True):
            view[...] = array

    def _views(self):
        for array, start in zip(self._arrays, self._starts, strict=True):
            first = self._base + start
            yield self._memory[first : first + array.nbytes].view(array.dtype).reshape(array.shape)

    def address(self, number):
        return self._memory.ctypes.data + self._base + self._starts[number]

    def given(self):
        """Return the table of arrays for the runtime, and its length."""
        rows = [
            _Given(label, self.address(i), array.nbytes, array.itemsize, writable)
            for i, (label, array, writable) in enumerate(zip(self._labels, self._arrays, self._writable, strict=True))
        ]
        return (_Given * max(len(rows), 1))(*rows), len(rows)

    def copy_out(self):
        for array, view, writable in zip(self._arrays, self._views(), self._writable, strict=True):
            if writable:
                array[...] = view


def _check_launch(name, grid, block, parameters, arguments):
    """Refuse what the driver would refuse, and what it would take and get wrong."""
    if min(grid + block) < 1 or grid[0] > 2**31 - 1 or max(grid[1:]) > 65535:
        raise EmulationError(
            f"kernel {name}: grid {grid} is not possible (an empty grid, or more than 65535 along y, z)"
        )
    if np.prod(block) > 1024 or block[2] > 64:
        raise EmulationError(f"kernel {name}: a block has 1024 threads at most, this one is {block}")
    if len(parameters) != len(arguments):
        raise EmulationError(f"kernel {name} takes {len(parameters)} arguments, got {len(arguments)}")
    for (kind, label), value in zip(parameters, arguments, strict=True):
        wanted = np.dtype(CTYPES[kind.removeprefix("const ").removesuffix("*").strip()])
        if kind.endswith("*") != isinstance(value, np.ndarray):
            raise EmulationError(f"kernel {name}: argument {label} must be {kind}, got {type(value).__name__}")
        found = value.dtype if isinstance(value, (np.ndarray, np.generic)) else _of_python(value)
        if found != wanted:
            raise EmulationError(f"kernel {name}: argument {label} must be {kind}, got {found}")
        if isinstance(value, np.ndarray) and not value.flags.c_contiguous:
            raise EmulationError(
                f"kernel {name}: argument {label} is not contiguous, and kernels know nothing of strides"
            )


def _of_python(value):
    """Return how CuPy hands a Python number over."""
    kinds = {bool: np.bool_, int: np.int64, float: np.float64}
    if type(value) not in kinds:
        raise EmulationError(f"a kernel takes arrays and numbers, got {type(value).__name__}")
    return np.dtype(kinds[type(value)])


def _without_comments(source):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.DOTALL)


def _parameters(text, defines):
    """Return (type, name) of each parameter of a kernel."""
    found = []
    for part in (p.strip() for p in text.split(",") if p.strip()):
        words = re.sub(r"__restrict__|\*", lambda m: " * " if m[0] == "*" else " ", part).split()
        kind, name = [defines.get(w, w) for w in words[:-1]], words[-1]
        if kind[0] == "const" and kind[-1] != "*":
            kind = kind[1:]  # a number of the kernel's own
        found.append((" ".join(kind).replace(" *", "*"), name))
        base = found[-1][0].removeprefix("const ").removesuffix("*").strip()
        if base not in CTYPES:
            raise EmulationError(f"parameter {name} has the type {base!r}; known are {', '.join(CTYPES)}")
    return tuple(found)


def _call(name, parameters):
    """Return a function that any kernel can be called by."""
    given = ", ".join(f"*({kind}*)a[{i}]" for i, (kind, _) in enumerate(parameters))
    return (
        f'extern "C" __attribute__((visibility("default"), no_sanitize("thread", "undefined"))) '
        f"void emulate_call_{name}(void** a) {{ {name}({given}); }}"
    )


@functools.cache
def _compiler():
    return subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout


def _folder():
    folder = Path(tempfile.gettempdir()) / f"minisegnet-cuda-emulation-{os.getuid()}"
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EmulationError(f"{' '.join(map(str, command))}\n{done.stderr}")


@functools.cache
def _compiled(source, options, name, parameters):
    """Return the path of a source's library; it is compiled once for all processes."""
    headers = "".join((HERE / file).read_text() for file in ("emulate.h", "runtime.h", "runtime.cpp"))
    source = DYNAMIC.sub(r"\1* \2 = reinterpret_cast<\1*>(emulate_dynamic_shared());", source)
    calls = "\n".join(_call(*kernel) for kernel in parameters)
    defines = "".join(f"#define {o[2:].strip().replace('=', ' ', 1)}\n" for o in options if o.startswith("-D"))
    text = f'#include "emulate.h"\n{defines}#line 1 "{name}"\n{source}\n{calls}\n'
    key = hashlib.sha256(repr((text, headers, KERNEL_FLAGS, _compiler())).encode()).hexdigest()[:24]
    library = _folder() / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=_folder()) as scratch:
            place = Path(scratch)
            (place / "kernel.cpp").write_text(text)
            _run(["g++", *KERNEL_FLAGS, f"-I{HERE}", "-c", place / "kernel.cpp", "-o", place / "kernel.o"])
            objects = [place / "kernel.o", _runtime()]
            _run(["g++", "-shared", "-Wl,-Bsymbolic", *objects, "-ldl", "-o", place / "kernel.so"])
            os.replace(place / "kernel.so", library)
    return library


@functools.cache
def _runtime():
    text = (HERE / "runtime.cpp").read_text() + (HERE / "runtime.h").read_text()
    made = _folder() / f"runtime-{hashlib.sha256((text + _compiler()).encode()).hexdigest()[:24]}.o"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=_folder()) as scratch:
            _run(["g++", *COMMON, "-O2", "-c", HERE / "runtime.cpp", "-o", Path(scratch) / "runtime.o"])
            os.replace(Path(scratch) / "runtime.o", made)
    return made
