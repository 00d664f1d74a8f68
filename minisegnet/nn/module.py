"""``Module``: a part of a network that finds its own parameters. With PyTorch's names and state-dict keys."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arrays import device_of, get_default_device, to_device
from ..autograd import Tensor, unwrap
from ..functional.checks import as_tensor


class _Room(threading.local):
    """How many numbers this thread's new parameters may have in all, and how many are left; None means any number."""

    most: int | None = None
    left = 0


_room = _Room()


@contextmanager
def at_most_parameters(count: int) -> Iterator[None]:
    """``with at_most_parameters(n):`` a network that would have more is stopped by a ValueError, before it takes the memory."""
    before, (_room.most, _room.left) = (_room.most, _room.left), (count, count)
    try:
        yield
    finally:
        _room.most, _room.left = before


class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient, and ``parameters()`` finds it.

    An array goes to the default device; a Tensor stays where it is.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(as_tensor(data), requires_grad)
        if _room.most is not None:
            _room.left -= self.numel()
            if _room.left < 0:
                raise ValueError(f"the network would have more than {_room.most:,} parameters")


class Module:
    """A layer, a block or a whole network. Write ``__init__`` (parts as attributes) and ``forward``.

    Attributes that are parameters, buffers (``register_buffer``) or modules are found by themselves.
    """

    training: bool

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "training", True)

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep parameters and modules in tables of their own."""
        tables = self.__dict__
        if "_modules" not in tables:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
        for table in (tables["_parameters"], tables["_buffers"], tables["_modules"]):
            if table is tables["_buffers"] and name in table and (value is None or isinstance(value, Tensor)):
                table[name] = value
                return
            table.pop(name, None)
        if isinstance(value, Parameter):
            tables.pop(name, None)
            tables["_parameters"][name] = value
        elif isinstance(value, Module):
            tables.pop(name, None)
            tables["_modules"][name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        """Look a name up in the tables."""
        for table in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(table, {})
            if name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        """Remove a parameter, a buffer, a module or a plain attribute."""
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                return
        object.__delattr__(self, name)

    def register_buffer(self, name: str, value: Any) -> None:
        """Keep an array that is saved with the parameters but not learned, such as a running mean; None keeps the place."""
        self._buffers[name] = None if value is None else Tensor(as_tensor(value))

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Keep a parameter under a name; None says that this one is left out (a layer without bias)."""
        self.__dict__.pop(name, None)
        self._parameters[name] = value

    def add_module(self, name: str, module: Module) -> None:
        """Keep a module under a name, which may be a number."""
        if not isinstance(module, Module):
            raise TypeError(f"{name}: a part of a network must be a Module, got {type(module).__name__}")
        self._modules[name] = module

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output; every module writes its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run ``forward`` and the hooks."""
        for before in self.__dict__.get("_forward_pre_hooks", {}).values():
            before(self, inputs)
        output = self.forward(*inputs, **options)
        for hook in self.__dict__.get("_forward_hooks", {}).values():
            changed = hook(self, inputs, output)
            output = output if changed is None else changed
        return output

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> Callable[[], None]:
        """Call ``hook(module, inputs, output)`` after each forward; returns the function that removes it."""
        hooks = self.__dict__.setdefault("_forward_hooks", {})
        key = object()
        hooks[key] = hook
        return lambda: hooks.pop(key, None) and None

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple], Any]) -> Callable[[], None]:
        """Call ``hook(module, inputs)`` before each forward; returns the function that removes it."""
        hooks = self.__dict__.setdefault("_forward_pre_hooks", {})
        key = object()
        hooks[key] = hook
        return lambda: hooks.pop(key, None) and None

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield ("", self) and every module inside, with dotted names; a shared one once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            inner = [(f"{name}.{key}" if name else key, part) for key, part in module._modules.items()]
            stack.extend(reversed(inner))

    def modules(self) -> Iterator[Module]:
        """Yield this module and every module inside."""
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator[Module]:
        """Yield the modules directly inside."""
        return iter(self._modules.values())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules directly inside with their names."""
        return iter(self._modules.items())

    def _named(self, table: str) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in module.__dict__[table].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{prefix}.{name}" if prefix else name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter once with its dotted name."""
        return self._named("_parameters")

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter once."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every buffer once with its dotted name."""
        return self._named("_buffers")

    def train(self, mode: bool = True) -> Any:
        """Switch to training (batch statistics, dropout) or, with False, to evaluation; returns the module."""
        for module in self.modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self) -> Any:
        """Switch to evaluation; returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Freeze (False) or unfreeze all parameters; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def apply(self, function: Callable[[Module], Any]) -> Any:
        """Call ``function`` on every module inside and on this one, as for initial weights; returns the module."""
        for part in self.children():
            part.apply(function)
        function(self)
        return self

    def to(self, target: Any) -> Any:
        """Move parameters and buffers to a device ("cpu", "cuda") or change their type (np.float64); returns the module.

        Gradients are dropped. Integers (a counter of batches) keep their type.
        """
        for _, value in [*self.named_parameters(), *self.named_buffers()]:
            if isinstance(target, str) and target in ("cpu", "cuda", "gpu"):
                value.data = to_device(value.data, target)
            elif value.dtype.kind == "f":
                with np.errstate(invalid="ignore"):  # weights that are still to be loaded hold whatever memory held
                    value.data = value.data.astype(np.dtype(target))
            value.grad = None
        return self

    def float(self) -> Any:
        """Change parameters and buffers to float32; returns the module."""
        return self.to(np.float32)

    def double(self) -> Any:
        """Change parameters and buffers to float64; returns the module."""
        return self.to(np.float64)

    @property
    def device(self) -> str:
        """Where the parameters are, "cpu" or "cuda"; without any, the default device."""
        return next((device_of(p.data) for p in self.parameters()), get_default_device())

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return every parameter and buffer by its dotted name, as copies in NumPy: a snapshot that training leaves alone."""
        state: dict[str, np.ndarray] = {}
        for prefix, module in self.named_modules():
            for table in (module._parameters, module._buffers):
                for name, value in table.items():
                    if value is not None:
                        array = to_device(value.data, "cpu")
                        state[f"{prefix}.{name}" if prefix else name] = np.array(array, order="C")
        return state

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """Copy values from a state dict (NumPy arrays, Tensors or PyTorch tensors). All or nothing.

        Raises
        ------
        KeyError
            With ``strict``, if names are missing or left over.
        ValueError
            If a shape differs; no parameter is changed then.
        """
        own = dict([*self.named_parameters(), *self.named_buffers()])
        missing, extra = [n for n in own if n not in state], [n for n in state if n not in own]
        if strict and (missing or extra):
            raise KeyError(
                f"load_state_dict: the state does not fit this {type(self).__name__}: "
                f"missing {missing or 'nothing'}, unexpected {extra or 'nothing'}"
            )
        arrays = {}
        for name, value in own.items():
            if name in state:
                source = unwrap(state[name])
                array = np.asarray(
                    source.detach().cpu().numpy() if hasattr(source, "detach") else to_device(source, "cpu")
                )
                if array.shape != value.shape:
                    raise ValueError(
                        f"load_state_dict: {name} has shape {value.shape} in this {type(self).__name__}, {array.shape} in the state"
                    )
                arrays[name] = to_device(array.astype(value.dtype, copy=True), device_of(value.data))
        for name, array in arrays.items():
            own[name].data = array

    def extra_repr(self) -> str:
        """Return what the printed form says about this module beside its parts."""
        return ""

    def __repr__(self) -> str:
        """Print the parts as a tree, as PyTorch does."""
        if not self._modules:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [self.extra_repr()] if self.extra_repr() else []
        lines += [f"({name}): {part!r}".replace("\n", "\n  ") for name, part in self._modules.items()]
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"

    def summary(self, input_shape: tuple[int, ...]) -> Any:
        """Return a table of sizes, parameters, multiply-accumulates and activation memory for each layer.

        Parameters
        ----------
        input_shape : (N, C, H, W), or (C, H, W) for one image
        """
        from .summary import summarize

        return summarize(self, input_shape)
