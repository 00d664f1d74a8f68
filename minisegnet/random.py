"""The one generator behind dropout and initial weights: ``manual_seed(0)`` makes a run repeatable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_generator: np.random.Generator | None = None  # made on first use: NumPy's random module takes a while to import


def manual_seed(seed: int) -> None:
    """Start the package's random numbers from ``seed`` (initial weights, dropout; data samplers have their own)."""
    set_state(np.random.default_rng(seed).bit_generator.state)


def generator() -> np.random.Generator:
    """Return the package's generator."""
    global _generator
    if _generator is None:
        _generator = np.random.default_rng()
    return _generator


def get_state() -> dict[str, Any]:
    """Return the generator's state: a dictionary of numbers and names that JSON can hold."""
    return dict(generator().bit_generator.state)


def set_state(state: Mapping[str, Any]) -> None:
    """Continue from a state that ``get_state`` returned."""
    generator().bit_generator.state = state
