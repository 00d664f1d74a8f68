"""Optimizers, learning-rate schedules and gradient clipping with PyTorch's names, defaults and numbers."""

from . import lr_scheduler
from .adam import Adam, AdamW
from .clipping import clip_grad_norm_, grad_norm
from .lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, StepLR
from .optimizer import Optimizer
from .sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "OneCycleLR",
    "Optimizer",
    "ReduceLROnPlateau",
    "StepLR",
    "clip_grad_norm_",
    "grad_norm",
    "lr_scheduler",
]
