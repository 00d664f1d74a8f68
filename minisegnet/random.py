"""The one generator behind dropout and initial weights: ``manual_seed(0)`` makes a run repeatable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Start the package's random numbers from ``seed`` (initial weights, dropout; data samplers have their own)."""
    set_state(np.random.default_rng(seed).bit_generator.state)


def generator() -> np.random.Generator:
    """Return the package's generator."""
    return _generator


def get_state() -> dict[str, Any]:
    """Return the generator's state: a dictionary of numbers and names that JSON can hold."""
    return dict(_generator.bit_generator.state)


def set_state(state: Mapping[str, Any]) -> None:
    """Continue from a state that ``get_state`` returned."""
    _generator.bit_generator.state = state
