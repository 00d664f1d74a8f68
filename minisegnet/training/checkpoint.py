"""A training in one safetensors file, from which it goes on bit for bit as if nothing had happened.

Arrays: ``model.*`` (weights and buffers), ``best.*`` (those of the best validation), ``optimizer.<number>.<name>``.
Metadata "run", as JSON: where the training stands, the random numbers' states, settings of optimizer and schedule, the
history. There is no pickle, so a checkpoint from a stranger can be looked at without fear.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import random, storage
from .history import History, TrainingState

if TYPE_CHECKING:
    from ..nn import Module
    from ..ranks import Alone

FORMAT = "minisegnet-checkpoint-1"


def save_checkpoint(
    path: Path, state: TrainingState, train: Any, validation: Any, pass_start: dict[str, Any], ranks: Alone
) -> None:
    """Write everything that the next step depends on, whole or not at all; of several ranks the first writes."""
    optimizer = state.optimizer.state_dict()
    arrays = {f"model.{name}": array for name, array in state.model.state_dict().items()}
    arrays |= {f"best.{name}": array for name, array in (state.best or {}).items()}
    numbers: dict[str, dict[str, Any]] = {}
    for i, memory in optimizer["state"].items():
        for name, value in memory.items():
            if isinstance(value, int):
                numbers.setdefault(str(i), {})[name] = value
            else:
                arrays[f"optimizer.{i}.{name}"] = value
    run = {
        "epoch": state.epoch,
        "batch": state.batch,
        "random": random.get_state(),
        "random_at_pass_start": pass_start,
        "train": train.state() if hasattr(train, "state") else None,
        "validation": validation.state() if hasattr(validation, "state") else None,
        "optimizer": {"numbers": numbers, "param_groups": optimizer["param_groups"]},
        "scheduler": state.scheduler.state_dict() if state.scheduler is not None else None,
        "history": state.history.to_dict(),
    }
    metadata = {"format": FORMAT, "run": json.dumps(run, default=_plain)}
    ranks.same("the network", (array for name, array in arrays.items() if name.startswith("model.")))
    ranks.once(lambda: storage.save_safetensors(path, arrays, metadata))


def load_checkpoint(path: Path, state: TrainingState, train: Any, validation: Any) -> dict[str, Any]:
    """Put a training where the checkpoint was written, all or nothing; return the random state at the pass's start.

    Raises
    ------
    ValueError
        If the file is truncated, corrupt or foreign, or belongs to another network, optimizer or schedule.
    """
    arrays, metadata = storage.load_safetensors(path)
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "no format at all")
        raise ValueError(f"{path} is no checkpoint of a training: its metadata says {found!r}, expected {FORMAT!r}")
    before = state.model.state_dict(), state.optimizer.state_dict()
    try:
        run = json.loads(metadata["run"])
        history = History.from_dict(run["history"])
        memory: dict[str, dict[str, Any]] = {i: dict(values) for i, values in run["optimizer"]["numbers"].items()}
        for name, array in arrays.items():
            if name.startswith("optimizer."):
                _, i, key = name.split(".", 2)
                memory.setdefault(i, {})[key] = array
        if (run["scheduler"] is None) != (state.scheduler is None):
            raise ValueError("it was written with a schedule and there is none now, or the other way round")
        state.model.load_state_dict(part(arrays, "model."))
        state.optimizer.load_state_dict({"state": memory, "param_groups": run["optimizer"]["param_groups"]})
        if state.scheduler is not None:
            state.scheduler.load_state_dict(run["scheduler"])
        for source, saved in ((train, run["train"]), (validation, run["validation"])):
            if saved is not None:
                source.load_state(saved)
        random.set_state(run["random"])
        state.epoch, state.batch, state.history = int(run["epoch"]), int(run["batch"]), history
        state.best = part(arrays, "best.") or None
        return dict(run["random_at_pass_start"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        state.model.load_state_dict(before[0])
        state.optimizer.load_state_dict(before[1])
        raise ValueError(f"{path}: this training cannot go on from this checkpoint: {error}") from error


def load_weights(model: Module, path: str | os.PathLike[str], best: bool = False) -> None:
    """Load a checkpoint's weights into a model: the last ones, or those of the best validation.

    Raises
    ------
    ValueError
        If the file is no sound checkpoint, belongs to another network, or holds no validation yet.
    """
    arrays, metadata = storage.load_safetensors(path)
    weights = part(arrays, "best." if best else "model.")
    if metadata.get("format") != FORMAT or not weights:
        what = "no validation's weights" if metadata.get("format") == FORMAT else "no checkpoint of a training"
        raise ValueError(f"{os.fspath(path)} holds {what}")
    try:
        model.load_state_dict(weights)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} is of another network: {error}") from error


def keep_previous(path: Path) -> None:
    """Move a checkpoint that a new training would overwrite aside, to ``name.previous.safetensors``."""
    if path.is_file():
        os.replace(path, path.with_name(f"{path.stem}.previous{path.suffix}"))


def part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with a prefix, under the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as JSON knows them."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}: state() must return numbers, text and lists")
