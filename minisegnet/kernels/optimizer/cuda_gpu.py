"""Steps of optimizers on a GPU: one kernel a parameter, which reads and writes each number once; ``cuda_gpu.cu`` has them."""

from __future__ import annotations

from typing import Any

from ..cuda_gpu_launch import launch, ready


def step(name: str, arrays: tuple[Any, ...], constants: tuple[Any, ...]) -> None:
    """Do one step of "adam" or "sgd" on a parameter, its gradient and its memory; ``steps.py`` makes the constants."""
    data, grad, *memory = arrays
    launch(__file__, name, data, data.size, data, ready(grad, data.dtype), *memory, *constants)
