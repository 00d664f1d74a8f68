"""A network of ours as the equal ``torch.nn.Module``, and the way back: what changing a file's imports does, done to an object.

The names are the same on both sides (nn, F, cat, shape, ...), so nothing is rewritten. A layer is made anew from its settings.
A network's own class is made anew with its own methods, in which ``nn``, ``F`` and ``cat`` now mean the other side's. Weights,
buffers, modes and the keys of the state dict go along; nothing is shared with the original.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import functional, nn
from ..arrays import to_device
from ..autograd import Tensor, unwrap
from ..nn import Module, Parameter

CURE = "Install it: `pip install torch` (the CPU build is enough; pytorch.org says how)."
LAYERS = [name for name in nn.__all__ if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), Module)]
# Layers that PyTorch does not have are networks of their own parts, like any other; these two hold parts and nothing else.
CONTAINERS = ("Module", "ModuleList", "Sequential")


def to_torch(model: Module) -> Any:
    """Return the ``torch.nn.Module`` that computes the same, with the same names, weights, buffers and modes.

    Parameters
    ----------
    model : Module
        Any network of ours, also one that a student wrote, whose ``forward`` uses what PyTorch has under the same name.

    Raises
    ------
    RuntimeError
        If PyTorch is not installed.
    TypeError
        If it is no module, or uses something that PyTorch does not have; the message names it.
    """
    if not isinstance(model, Module):
        raise TypeError(f"to_torch: model must be a minisegnet.nn.Module, got {type(model).__name__}")
    return _ToTorch().module(model)


def from_torch(module: Any) -> Module:
    """Return our module that computes the same as a ``torch.nn.Module``, with the same names, weights, buffers and modes.

    Parameters
    ----------
    module : torch.nn.Module
        What ``to_torch`` returned (trained since, perhaps), or a network of your own made of layers that we have, too.

    Raises
    ------
    RuntimeError, TypeError
        As ``to_torch``; a TypeError also for settings of a layer that ours does not have, such as ``padding_mode``.
    """
    translation = _FromTorch()
    if not isinstance(module, translation.torch.nn.Module):
        raise TypeError(f"from_torch: module must be a torch.nn.Module, got {type(module).__name__}")
    return translation.module(module)


class _Translation:
    """One object's way to the other side; remembers what was translated, so that what was shared stays shared."""

    def __init__(self) -> None:
        self.torch = _import_torch()
        self.done: dict[int, Any] = {}
        self.alive: list[Any] = []  # an id means something only as long as its object lives
        # What a name means here -> what it means there. Modules of Python and functions, by themselves; classes of layers, too.
        self.meanings: dict[int, Any] = {}

    # The two sides differ in these four.
    base: Any
    layers: dict[type, type]
    array: Callable[[Any], Any]
    parameter: Callable[[Any], Any]
    belongs_here: Callable[[Any], bool]  # whether a function is one of this side's operations

    def module(self, old: Any) -> Any:
        """Return a module of the other side."""
        if id(old) in self.done:
            return self.done[id(old)]
        target = self.layers.get(type(old))
        if target is not None and type(old).__name__ not in CONTAINERS:
            new = target(**_settings(old, target))
        else:
            kind = self.class_of(type(old))
            new = object.__new__(kind)
            self.base.__init__(new)
        self._keep(old, new)
        for name, value in _own_attributes(old):
            if target is None:
                setattr(new, name, self.value(value))
        for name, part in old._modules.items():
            new.add_module(name, None if part is None else self.module(part))
        for name, parameter in old._parameters.items():
            new.register_parameter(name, None if parameter is None else self._tensor(parameter, self.parameter))
        for name, buffer in old._buffers.items():
            new.register_buffer(name, None if buffer is None else self._tensor(buffer, self.array))
        object.__setattr__(new, "training", old.training)
        return new

    def _tensor(self, old: Any, make: Callable[[Any], Any]) -> Any:
        if id(old) not in self.done:
            self._keep(old, make(old))
        return self.done[id(old)]

    def _keep(self, old: Any, new: Any) -> None:
        self.alive.append(old)
        self.done[id(old)] = new

    def class_of(self, old: type, needed: frozenset[str] = frozenset()) -> type:
        """Return a class of the other side with the methods that ``forward`` needs, and those that a subclass's needs."""
        if old in self.layers:
            return self.layers[old]
        needed |= _needed_by_forward(old)
        bases = tuple(self.class_of(b, needed) if self._is_module(b) else b for b in old.__bases__)
        if id(old) not in self.done:
            self._keep(old, type(old.__name__, bases, {"__doc__": old.__doc__, "__module__": old.__module__}))
        new = self.done[id(old)]
        for name in sorted(needed):
            if name in vars(old) and name not in vars(new):
                setattr(new, name, self.value(vars(old)[name], owner=new))
        return new

    def _is_module(self, kind: type) -> bool:
        return issubclass(kind, Module) or issubclass(kind, self.torch.nn.Module)

    def value(self, old: Any, owner: type | None = None) -> Any:
        """Return what something that a method uses means on the other side; most things mean the same."""
        if id(old) in self.meanings:
            meaning = self.meanings[id(old)]
            return _Namespace(old, self) if isinstance(old, types.ModuleType) else meaning
        if self.belongs_here(old):
            raise TypeError(
                f"{old.__module__ or 'torch'}.{old.__name__}, which this network uses, has no counterpart there"
            )
        if isinstance(old, type) and self._is_module(old):
            return self.class_of(old)
        if isinstance(old, Module | self.torch.nn.Module):
            return self.module(old)
        if isinstance(old, Tensor | self.torch.Tensor):
            return self._tensor(old, self.array)
        if isinstance(old, types.FunctionType) and _is_code_of_networks(old):
            return self.function(old, owner)
        if isinstance(old, property):
            return property(self.value(old.fget, owner))
        if isinstance(old, staticmethod | classmethod):
            return type(old)(self.value(old.__func__, owner))
        if type(old) in (list, tuple, dict):
            items = old.items() if isinstance(old, dict) else old
            return type(old)(self.value(item, owner) for item in items)
        return old

    def function(self, old: types.FunctionType, owner: type | None) -> types.FunctionType:
        """Return the same code with other meanings of its names."""
        if id(old) in self.done:
            return self.done[id(old)]
        names = {name: old.__globals__[name] for name in _names(old.__code__) if name in old.__globals__}
        cells = tuple(types.CellType() for _ in old.__closure__ or ())
        meanings: dict[str, Any] = {"__builtins__": __builtins__, "__name__": old.__module__}
        new = types.FunctionType(old.__code__, meanings, old.__name__, None, cells or None)
        self._keep(old, new)
        meanings |= {name: self.value(value) for name, value in names.items()}
        new.__defaults__, new.__kwdefaults__, new.__doc__ = (
            self.value(old.__defaults__),
            old.__kwdefaults__,
            old.__doc__,
        )
        for cell, name, before in zip(cells, old.__code__.co_freevars, old.__closure__ or (), strict=True):
            cell.cell_contents = owner if name == "__class__" else self.value(before.cell_contents)
        return new


class _Namespace:
    """``torch`` or ``nn`` or ``F`` as the code of the other side sees it: its names, with their meanings here."""

    def __init__(self, old: types.ModuleType, translation: _Translation):
        self._old, self._translation = old, translation

    def __getattr__(self, name: str) -> Any:
        return self._translation.value(getattr(self._old, name))


class _ToTorch(_Translation):
    """From minisegnet to PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        torch = self.torch
        self.base = torch.nn.Module
        self.layers = {getattr(nn, n): getattr(torch.nn, n) for n in LAYERS if hasattr(torch.nn, n)}
        self.layers.update({Module: torch.nn.Module})
        self.meanings = {id(mine): theirs for mine, theirs in _pairs(torch)}

    def array(self, tensor: Any) -> Any:
        """Return a tensor of PyTorch's with its own memory."""
        return self.torch.from_numpy(np.array(to_device(unwrap(tensor), "cpu"), order="C"))

    def belongs_here(self, old: Any) -> bool:
        """Return whether it is one of our operations."""
        return isinstance(old, types.FunctionType) and old.__module__.startswith(functional.__name__)

    def parameter(self, old: Any) -> Any:
        """Return a parameter of PyTorch's."""
        return self.torch.nn.Parameter(self.array(old), requires_grad=old.requires_grad)

    def class_of(self, old: type, needed: frozenset[str] = frozenset()) -> type:
        """Return a class of PyTorch's, which remembers whose it is."""
        new = super().class_of(old, needed)
        if old not in self.layers:
            new._minisegnet_class = old  # type: ignore[attr-defined]
        return new


class _FromTorch(_Translation):
    """From PyTorch to minisegnet."""

    def __init__(self) -> None:
        super().__init__()
        torch = self.torch
        self.base = Module
        self.layers = {getattr(torch.nn, n): getattr(nn, n) for n in LAYERS if hasattr(torch.nn, n)}
        self.layers.update({torch.nn.Module: Module})
        self.meanings = {id(theirs): mine for mine, theirs in _pairs(torch)}

    def array(self, tensor: Any) -> Any:
        """Return a Tensor with its own memory."""
        return Tensor(np.array(tensor.detach().cpu().numpy(), order="C"))

    def belongs_here(self, old: Any) -> bool:
        """Return whether it is one of PyTorch's operations."""
        name, torch = getattr(old, "__name__", ""), self.torch
        homes = (torch, torch.nn.functional)
        return callable(old) and not isinstance(old, type) and any(getattr(home, name, None) is old for home in homes)

    def parameter(self, old: Any) -> Any:
        """Return a Parameter."""
        return Parameter(self.array(old).data, requires_grad=old.requires_grad)

    def class_of(self, old: type, needed: frozenset[str] = frozenset()) -> type:
        """Return the class that it came from, if it is one of ours; else one that is made anew."""
        return vars(old).get("_minisegnet_class") or super().class_of(old, needed)

    def module(self, old: Any) -> Any:
        """Refuse what we do not have."""
        kind = type(old)
        if kind.__module__.startswith("torch.nn.modules") and kind not in self.layers:
            raise TypeError(f"from_torch: there is no {kind.__name__} in minisegnet.nn; there are {', '.join(LAYERS)}")
        return super().module(old)


def _pairs(torch: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what has a meaning of its own on each side: (ours, PyTorch's)."""
    import minisegnet

    yield minisegnet, torch
    yield nn, torch.nn
    yield functional, torch.nn.functional
    yield nn.init, torch.nn.init
    yield Tensor, torch.Tensor
    yield Parameter, torch.nn.Parameter
    for name in dir(functional):
        ours = getattr(functional, name)
        if isinstance(ours, types.FunctionType) and ours.__module__.startswith(functional.__name__):
            theirs = getattr(torch.nn.functional, name, None) or getattr(torch, name, None)
            if theirs is not None:
                yield ours, theirs
    for name in ("no_grad", "tensor", "zeros", "ones", "randn", "from_numpy", "manual_seed"):
        yield getattr(minisegnet, name), getattr(torch, name)


def _settings(old: Any, target: type) -> dict[str, Any]:
    """Return the arguments that make the same layer on the other side; a setting that it does not have must be at its default."""
    mine, theirs = inspect.signature(type(old)).parameters, inspect.signature(target).parameters
    given = {}
    for name, parameter in mine.items():
        if name in ("device", "dtype", "inplace", "algorithm") or not hasattr(old, name):
            continue
        value = getattr(old, name) is not None if name == "bias" else getattr(old, name)
        if name in theirs:
            given[name] = value
        elif name != "bias" and value != parameter.default:
            raise TypeError(f"{type(old).__name__} has {name}={value!r}, which the other side does not have")
    return given


def _own_attributes(old: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a network's ``__init__`` kept beside its parts; what begins with "_" in the tables belongs to the base class."""
    tables = {"training", "_parameters", "_buffers", "_modules", "call_super_init", "dump_patches"}
    for name, value in vars(old).items():
        if name not in tables and not name.startswith(
            ("_non_persistent", "_backward_", "_forward_", "_state_dict", "_load_state", "_is_full")
        ):
            yield name, value


def _needed_by_forward(kind: type) -> frozenset[str]:
    """Return the names of methods and properties that ``forward`` uses, directly or through others of the class and its bases."""
    found: set[str] = set()
    asked = ["forward"]
    while asked:
        name = asked.pop()
        if name in found:
            continue
        found.add(name)
        for base in kind.__mro__:
            member = vars(base).get(name)
            member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if isinstance(member, types.FunctionType) and _is_code_of_networks(member):
                asked += [n for n in _names(member.__code__) if hasattr(kind, n)]
    return frozenset(found)


def _names(code: types.CodeType) -> set[str]:
    """Return the names that a function looks up, and those that its inner functions and comprehensions look up."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*(_names(c) for c in inner))


def _is_code_of_networks(function: types.FunctionType) -> bool:
    """Return whether a function speaks of networks: not Python's own, NumPy's, PyTorch's, nor size arithmetic on integers."""
    top, _, rest = function.__module__.partition(".")
    if top == "minisegnet":
        return rest.partition(".")[0] in ("models", "nn", "course")
    return top not in ("torch", "numpy", "math", "itertools", "functools", "collections", "typing", "builtins")


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise RuntimeError(f"PyTorch is not installed. {CURE}") from error
    return torch
