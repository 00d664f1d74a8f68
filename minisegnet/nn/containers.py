"""Modules that hold modules: one after the other, or in a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from . import fusion
from .module import Module


class ModuleList(Module):
    """A list of modules that finds their parameters; it has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Any:
        """Add a module at the end; returns the list."""
        self.add_module(str(len(self._modules)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add several modules at the end; returns the list."""
        for module in modules:
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Any:
        parts = list(self._modules.values())
        return ModuleList(parts[index]) if isinstance(index, slice) else parts[index]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(list(self._modules)[index], module)


class Sequential(ModuleList):
    """Modules one after the other: the output of each is the input of the next."""

    def __init__(self, *modules: Any):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(modules)

    def __getitem__(self, index: int | slice) -> Any:
        parts = list(self._modules.values())
        return Sequential(*parts[index]) if isinstance(index, slice) else parts[index]

    def forward(self, input: Any) -> Any:
        """Pass the input through all modules in order.

        Neighbours that one kernel computes are computed by it where nobody can see the difference but the clock (see
        ``fusion.py``): the layers stay where they are, with their names and states.
        """
        modules = list(self)
        while modules:
            taken, input = fusion.apply_first(modules, input)
            del modules[:taken]
        return input
