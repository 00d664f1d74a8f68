"""Explorers: one idea each, moved by sliders. A teacher calls one alone: ``explorers.overlay()``.

Each is a pure function from state to HTML (testable without a notebook) and a few widgets that set the state; each
declares one discovery: a question, the path of controls that answers it, and the fact found there.
"""

from .convolution import convolution
from .depthwise import depthwise
from .dice import dice
from .dilation import dilation
from .hourglass import hourglass
from .monitor import monitor
from .overlay import overlay
from .pooling import pooling
from .transposed_1d import transposed_1d
from .transposed_2d import transposed_2d

__all__ = [
    "convolution",
    "depthwise",
    "dice",
    "dilation",
    "hourglass",
    "monitor",
    "overlay",
    "pooling",
    "transposed_1d",
    "transposed_2d",
]
