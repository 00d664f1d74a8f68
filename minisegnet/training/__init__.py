"""Training: ``fit`` (a loop to be read on one page), ``evaluate``, the history, and checkpoints that survive anything."""

from .checkpoint import load_weights
from .graph import CapturedStep
from .history import History, TrainingState
from .loop import evaluate, fit

__all__ = ["CapturedStep", "History", "TrainingState", "evaluate", "fit", "load_weights"]
