"""Models in and out of other formats: PyTorch (``to_torch``, ``from_torch``); its state dicts load as they are.

Each part imports what it needs when it is first used.
"""

from typing import Any

_PLACES = {"to_torch": "pytorch", "from_torch": "pytorch"}
__all__ = ["from_torch", "to_torch"]


def __getattr__(name: str) -> Any:
    """Import the part that a name lives in."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
