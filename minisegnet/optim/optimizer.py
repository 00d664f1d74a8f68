"""What optimizers share: parameter groups, memory for each parameter, saving and loading."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..arrays import array_module, is_cupy, to_device
from ..autograd import Tensor
from ..backend import current_backend


class Optimizer:
    """Holds the parameters in groups and remembers a few arrays for each; subclasses write ``update``.

    Parameters
    ----------
    params : Tensors, or dictionaries
        The parameters; or groups of them with settings of their own, ``[{"params": [...], "lr": 0.1}, ...]``.
    defaults : dict
        The settings of a group that says nothing else.

    Attributes
    ----------
    param_groups : list of dict
        Each has "params" and the settings, which may be changed between steps (``group["lr"] = ...``).
    state : list of dict
        The memory of each parameter, in order; empty before its first step.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        self.param_groups: list[dict[str, Any]] = []
        self.state: list[dict[str, Any]] = []
        self.defaults = defaults
        for group in _groups(params):
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add ``{"params": [...], ...}``; settings that it leaves out are the optimizer's own.

        Raises
        ------
        TypeError, ValueError
            If a parameter is no Tensor, requires no gradient or is in a group already, or a setting makes no sense.
        """
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        unknown = group.keys() - self.defaults.keys() - {"params", "initial_lr"}
        if unknown:
            raise TypeError(f"unknown setting {', '.join(sorted(unknown))}; there are {', '.join(self.defaults)}")
        known = {id(p) for p in self.parameters()}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"params must be Tensors, such as model.parameters(); number {i} is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"parameter {i} is the result of an operation; optimize the tensors that it came from")
            if id(p) in known:
                raise ValueError(f"parameter {i} of shape {p.shape} appears twice: each may be in one group only, once")
            known.add(id(p))
        settings = {**self.defaults, **group, "params": params}
        _check_settings(settings)
        self.param_groups.append(settings)
        self.state += [{} for _ in params]

    def parameters(self) -> list[Tensor]:
        """Return all parameters, group by group."""
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with ``set_to_none=False`` fill them with zeros."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad = Tensor(array_module(p.grad.data).zeros_like(p.grad.data))

    def step(self) -> None:
        """Change every parameter that has a gradient by one step, in place."""
        state = iter(self.state)
        for group in self.param_groups:
            for p, memory in zip(group["params"], state, strict=False):
                if p.grad is not None:
                    _follow(memory, p.data)
                    self.update(p.data, p.grad.data, memory, group)

    def update(self, data: Any, grad: Any, memory: dict[str, Any], group: dict[str, Any]) -> None:
        """Change ``data`` in place by one step along ``grad``; ``memory`` is kept until the next."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return a snapshot: {"state": {number: {name: array or number}}, "param_groups": [settings]}, as PyTorch."""
        groups, start = [], 0
        for group in self.param_groups:
            numbers = list(range(start, start + len(group["params"])))
            groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": numbers})
            start += len(numbers)
        state = {
            i: {k: v if isinstance(v, int) else np.array(to_device(v, "cpu"), order="C") for k, v in memory.items()}
            for i, memory in enumerate(self.state)
            if memory
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a ``state_dict`` of an optimizer with the same parameters: memory and settings. All or nothing.

        Raises
        ------
        ValueError
            If it is not one, or groups or shapes differ.
        """
        try:
            groups = [dict(group) for group in state_dict["param_groups"]]
            state = {int(i): dict(memory) for i, memory in state_dict["state"].items()}
            sizes = [len(group.pop("params")) for group in groups]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"this is no state of an optimizer: {error!r}") from error
        own = [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise ValueError(f"the saved groups have {sizes} parameters, this optimizer's have {own}")
        for group, settings in zip(self.param_groups, groups, strict=True):
            if group.keys() - {"params", "initial_lr"} != settings.keys() - {"initial_lr"}:
                raise ValueError(f"the saved settings {sorted(settings)} are those of another kind of optimizer")
        params, memories = self.parameters(), []
        for i, p in enumerate(params):
            memory = {k: v if isinstance(v, int) else np.array(v) for k, v in state.get(i, {}).items()}
            for name, array in memory.items():
                if not isinstance(array, int) and array.shape != p.shape:
                    raise ValueError(f"saved {name} of parameter {i} has shape {array.shape}, the parameter {p.shape}")
            memories.append(memory)
        self.state = memories
        for group, settings in zip(self.param_groups, groups, strict=True):
            group.update({k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})

    def __repr__(self) -> str:
        """Name the settings of each group."""
        lines = [", ".join(f"{k}={v}" for k, v in g.items() if k != "params") for g in self.param_groups]
        return f"{type(self).__name__}({'; '.join(lines)})"


def compiled(data: Any, grad: Any, *memory: Any) -> Any:
    """Return the module of compiled steps if they serve these arrays, else None: then NumPy does it, as ``update`` shows.

    They serve contiguous arrays of one type: NumPy's, unless the backend is "reference", and CuPy's.
    """
    dtype = data.dtype
    if grad.dtype != dtype or dtype.kind != "f" or dtype.itemsize < 4:
        return None
    on_gpu = type(data) is not np.ndarray
    if on_gpu and not is_cupy(data):
        return None
    if not on_gpu and current_backend() != "numba":
        return None
    for array in (data, *memory):
        flags = array.flags
        if array.dtype != dtype or not (flags.c_contiguous and (on_gpu or flags.writeable)):
            return None
    name = "minisegnet.kernels.optimizer.cuda_gpu" if on_gpu else "minisegnet.kernels.optimizer.numba_cpu"
    return sys.modules.get(name) or importlib.import_module(name)  # to ask importlib takes as long as all the rest


def _groups(params: Iterable[Any]) -> list[Mapping[str, Any]]:
    """Return parameter groups of what a user may give."""
    if isinstance(params, Tensor | Mapping):
        raise TypeError("params must be a list of Tensors or of groups, such as model.parameters(), got a single one")
    items = list(params)
    if not items:
        raise ValueError("params is empty: there is nothing to optimize. Was model.parameters() used up before?")
    groups = items if isinstance(items[0], Mapping) else [{"params": items}]
    for group in groups:
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError('a parameter group must be a dictionary with the key "params"; do not mix it with Tensors')
    return groups


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Raise a ValueError for settings that no optimizer can mean."""
    for name in ("lr", "momentum", "weight_decay", "eps"):
        if name in settings and not 0 <= settings[name] < float("inf"):
            raise ValueError(f"{name} must be a number of at least 0, got {settings[name]}")
    if not all(0 <= beta < 1 for beta in settings.get("betas", ())):
        raise ValueError(f"betas must be in [0, 1), got {settings['betas']}")


def _follow(memory: dict[str, Any], data: Any) -> None:
    """Take the memory to where the parameter now lives: its device and type may have been changed by ``.to``."""
    kind, dtype, shape = type(data), data.dtype, data.shape
    for name, array in memory.items():
        if type(array) is int or (type(array) is kind and array.dtype == dtype and array.shape == shape):
            continue
        if array.shape != data.shape:
            raise ValueError(
                f"a parameter's shape changed from {array.shape} to {data.shape} between steps: make a new optimizer"
            )
        xp = array_module(data)
        if not isinstance(array, xp.ndarray) or array.dtype != data.dtype:
            device = "cpu" if xp is np else "cuda"
            memory[name] = to_device(array, device).astype(data.dtype)
