"""Training: ``fit`` (a loop to be read on one page), ``evaluate``, the history, and checkpoints that survive anything."""

from .checkpoint import load_weights
from .history import History, TrainingState
from .loop import evaluate, fit

__all__ = ["History", "TrainingState", "evaluate", "fit", "load_weights"]
