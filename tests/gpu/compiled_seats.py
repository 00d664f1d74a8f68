"""The CPU's compiled kernels in the seats of the CUDA kernels, on the stand-in's memory: fast enough for whole trainings.

What the package does around the kernels is what is tested with them: where arrays are, and that none of NumPy's is mixed in.
The CUDA kernels themselves are emulated elsewhere, which takes minutes for a step.
"""

import importlib
import importlib.machinery
import sys
import types
from collections import Counter
from contextlib import contextmanager

import numpy as np
from gpu import cupy_stand_in
from gpu.capture_stand_in import run

CALLED = Counter()  # kernels that got arrays of the stand-in, optimizers' steps among them


@contextmanager
def installed():
    """``with installed():`` importing CuPy gives the stand-in, and the "cupy" backend the kernels of "numba"."""
    from minisegnet.kernels import contract

    with cupy_stand_in.installed() as stand_in:
        for name, kernel in contract.KERNELS.items():
            path = f"minisegnet.kernels.{kernel.family}.cuda_gpu"
            module = sys.modules.setdefault(path, types.ModuleType(path))
            module.__spec__ = importlib.machinery.ModuleSpec(path, None)
            setattr(module, name, _seat(name))
        importlib.import_module("minisegnet.kernels.optimizer.cuda_gpu").launch = _step
        CALLED.clear()
        yield stand_in


def _seat(name):
    from minisegnet import backend
    from minisegnet.kernels import contract

    signature = contract.KERNELS[name].signature

    def compute(*args):
        found = backend.find_kernel(name, "numba")(*args)
        copies = [np.array(f, order="C") for f in (found if isinstance(found, tuple) else (found,))]
        return tuple(copies) if isinstance(found, tuple) else copies[0]

    def seat(*args, **options):
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        algorithm = bound.arguments.get("algorithm", "auto")
        if algorithm not in ("auto", "direct", "shifts"):
            raise ValueError(f"algorithm {algorithm!r} is the CPU's")
        CALLED[name] += 1
        return cupy_stand_in._out(run(compute, cupy_stand_in._in(tuple(bound.arguments.values()))))

    return seat


def _step(file, name, like, count, *arguments):
    """Do what the kernel of an optimizer does, in place, if it is told to go."""
    from minisegnet.kernels.optimizer import numba_cpu

    def compute(*given):
        *arrays, row, go = given
        if go:
            constants = [arrays[0].dtype.type(c) for c in row]
            numba_cpu.step(
                name, tuple(arrays), (*constants[:4], bool(row[4])) if name == "sgd" else tuple(constants[:8])
            )

    CALLED[name] += 1
    run(compute, cupy_stand_in._in(arguments), changes=arguments)
