"""Show how one kernel is written for each backend, side by side: the lesson that a folder of kernels is."""

from __future__ import annotations

import html
import importlib
import importlib.util
import inspect
import itertools
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .contract import KERNELS

BACKENDS = {"reference": "reference", "numba": "numba_cpu"}  # their modules; the one for CUDA is read, not imported


class Sources:
    """The sources of one kernel: ``sources[backend]`` is text; a notebook shows them in columns, a terminal in turn."""

    def __init__(self, name: str, sources: dict[str, str]):
        self.name, self.sources = name, sources

    def __getitem__(self, backend: str) -> str:
        return self.sources[backend]

    def __repr__(self) -> str:
        """Return the sources one after another, for a terminal."""
        return "\n\n".join(f"# {self.name}: {backend}\n\n{text}" for backend, text in self.sources.items())

    def _repr_html_(self) -> str:
        """Return the sources in columns, for a notebook; long lines scroll inside their column."""
        columns = (
            '<div style="flex:1 1 30em; min-width:0">'
            f"<p><strong>{html.escape(self.name)}: {html.escape(backend)}</strong></p>"
            '<pre style="overflow-x:auto; text-align:left; font-size:85%; line-height:1.3">'
            f"{html.escape(text)}</pre></div>"
            for backend, text in self.sources.items()
        )
        return f'<div style="display:flex; flex-wrap:wrap; gap:1em">{"".join(columns)}</div>'


def compare_sources(name: str) -> Sources:
    """Return the source of a kernel in every backend that has it, with the functions of its folder that it calls.

    Parameters
    ----------
    name : str
        A kernel of the contract, such as "conv2d".

    Raises
    ------
    ValueError
        If there is no such kernel; the message lists them.
    """
    if name not in KERNELS:
        raise ValueError(f"compare_sources: there is no kernel {name!r}; there are {', '.join(KERNELS)}")
    family = f"{__package__}.{KERNELS[name].family}"
    sources = {}
    for backend, module_name in BACKENDS.items():
        if importlib.util.find_spec(f"{family}.{module_name}") and (
            backend != "numba" or importlib.util.find_spec("numba")
        ):
            module = importlib.import_module(f"{family}.{module_name}")
            sources[backend] = _text(_called(getattr(module, name), name, family))
    spec = importlib.util.find_spec(family)
    cuda = Path(str(spec.origin)).with_name("cuda_gpu.cu") if spec else None
    if cuda and cuda.exists():
        sources["cuda"] = _twins(cuda.read_text(encoding="utf-8"), sources.get("numba", ""))
    return Sources(name, sources)


def _called(kernel: Any, name: str, family: str, found: list[Any] | None = None) -> list[Any]:
    """Return the plain functions of a kernel: each is followed by those of its family that it calls."""
    found = [] if found is None else found
    function = inspect.unwrap(getattr(kernel, "py_func", kernel))
    if function.__module__.startswith(family) and function not in found:
        found.append(function)
        for value in (function.__globals__.get(n) for n in _names(function.__code__)):
            for called in _functions(value, name):
                _called(called, name, family, found)
    return found


def _text(functions: list[Any]) -> str:
    """Return the sources of functions; a comment says where each file begins."""
    files = ["", *(Path(inspect.getfile(function)).name for function in functions)]
    marks = ["" if file == before else f"# {file}\n\n" for before, file in itertools.pairwise(files)]
    return "\n\n".join(mark + inspect.getsource(f).rstrip() for mark, f in zip(marks, functions, strict=True))


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names a function looks up, and those its inner functions and comprehensions look up."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names(inner)


def _functions(value: Any, name: str) -> list[Any]:
    """Return the functions in a global value: one, or a table of algorithms by kernel and name."""
    if isinstance(value, dict):
        return [function for inner in value.get(name, {}).values() for function in _functions(inner, name)]
    plain = inspect.unwrap(getattr(value, "py_func", value))
    return [plain] if isinstance(plain, types.FunctionType) else []


def _twins(cuda: str, numba: str) -> str:
    """Return the CUDA kernels that name a Numba function shown beside them; all, where none does."""
    shown = set(re.findall(r"^def (\w+)", numba, flags=re.MULTILINE))
    kernels = re.finditer(r"^(?://[^\n]*\n)*[^\n]*__global__", cuda, flags=re.MULTILINE)
    starts = [*(match.start() for match in kernels), len(cuda)]
    blocks = [cuda[start:stop].rstrip() for start, stop in itertools.pairwise(starts)]
    twins = [block for block in blocks if shown & set(re.findall(r"\w+", block))]
    used = set(re.findall(r"\w+", "\n".join(twins)))
    helpers = re.finditer(r"^(?://[^\n]*\n)*__device__ \w+ (\w+)\(.*?^}", cuda, flags=re.MULTILINE | re.DOTALL)
    twins = [match[0] for match in helpers if match[1] in used] + twins
    return "\n\n".join(twins) or cuda
