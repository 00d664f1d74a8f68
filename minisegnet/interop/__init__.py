"""Models in and out of other formats: PyTorch (``to_torch``, ``from_torch``), whose state dicts load as they are; ONNX.

Each part imports what it needs when it is first used.
"""

from typing import Any

_PLACES = {"export_onnx": "onnx_export", "from_torch": "pytorch", "to_torch": "pytorch"}
__all__ = ["export_onnx", "from_torch", "to_torch"]


def __getattr__(name: str) -> Any:
    """Import the part that a name lives in."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
