"""NVIDIA's own compilers, which need no GPU: NVRTC (the package ``nvidia-cuda-nvrtc``), which CuPy uses, and nvcc."""

import ctypes
import functools
import importlib.util
import shutil
import subprocess
from pathlib import Path


@functools.cache
def _nvrtc():
    """Return NVRTC's library, or None where it is not installed."""
    spec = importlib.util.find_spec("nvidia")
    for place in spec.submodule_search_locations or () if spec else ():
        for found in sorted((*Path(place).rglob("libnvrtc.so.*"), *Path(place).rglob("nvrtc64_*_0.dll"))):
            if "builtins" not in found.name and ".alt." not in found.name:
                return ctypes.CDLL(str(found))
    return None


def by_nvrtc(source, name, options):
    """Return what NVRTC has to say about a source: nothing, where it compiles without a warning."""
    library, program = _nvrtc(), ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    given = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    failed = library.nvrtcCompileProgram(program, len(options), given)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcGetCUBINSize(program, ctypes.byref(size))
    library.nvrtcDestroyProgram(ctypes.byref(program))
    said = log.value.decode().strip()
    if failed and not said:
        return f"NVRTC failed with error {failed}"
    return said if failed or said else "" if size.value else "NVRTC made no machine code"


def by_nvcc(source, name, options, folder):
    """Return what nvcc has to say about a source."""
    file = folder / name
    file.write_text(source)
    command = ["nvcc", "-cubin", "-o", folder / "kernel.cubin", *options, "-Werror", "all-warnings", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip() or ("" if done.returncode == 0 else f"nvcc ended with {done.returncode}")


def compiler(folder):
    """Return (its name, a function of source, name and options) of a compiler that is here; (None, None) without one."""
    if _nvrtc() is not None:
        return "NVRTC", by_nvrtc
    if shutil.which("nvcc"):
        return "nvcc", functools.partial(by_nvcc, folder=folder)
    return None, None
