"""What every network of ``models`` has: the arguments that make it again, and a file of its own."""

from __future__ import annotations

from typing import Any

from .. import nn


class Model(nn.Module):
    """A network that knows how it was made, so that a file can hold it: ``config`` are the arguments of its class."""

    config: dict[str, Any]
    in_channels: int
    num_classes: int

    def save(self, path: Any, about: dict[str, Any] | None = None) -> None:
        """Write weights, buffers and architecture to a ``.safetensors`` file, whole or not at all; ``models.load`` reads it.

        Parameters
        ----------
        path : where to; missing folders are made
        about : anything JSON can hold: where the weights come from, what they reached. By default what a loaded network was
            told to be

        Raises
        ------
        TypeError
            If the network is of a class that ``models.load`` could not build again, or ``about`` is nothing for JSON.
        OSError
            If the file cannot be written; an older one of that name is then as it was.
        """
        from .files import save

        save(self, path, about)
