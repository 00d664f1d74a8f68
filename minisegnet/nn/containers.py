"""Modules that hold modules: one after the other, or in a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..functional.normalization import batch_norm_relu, may_fuse_relu
from .layers import BatchNorm2d
from .module import Module
from .simple import ReLU


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

        A ``BatchNorm2d`` followed by a ``ReLU`` is computed by one kernel where nobody can see the difference but the
        clock: both layers stay where they are, with their names and states.
        """
        modules = list(self)
        while modules:
            module = modules.pop(0)
            if modules and _is_batch_norm_relu(module, modules[0], input):
                input = module.normalize(input, batch_norm_relu)
                modules.pop(0)
            else:
                input = module(input)
        return input


def _is_batch_norm_relu(module: Module, following: Module, input: Any) -> bool:
    """Return whether these two are what they seem (no subclass, no hook, no forward of their own), and no kernel is replaced."""
    if type(module) is not BatchNorm2d or type(following) is not ReLU:
        return False
    seen = {"forward", "_forward_hooks", "_forward_pre_hooks"}
    watched = any(part.__dict__.get(name) for part in (module, following) for name in seen)
    return not watched and may_fuse_relu(input)
