"""Ctrl-C and the notebook's stop button: first a wish, which waits for the step's end; the second time an order."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Interrupted(Exception):
    """The user asked to stop while something was going on that can be done again."""


class Interrupt:
    """While the block runs, the first interrupt sets ``requested``; the second raises KeyboardInterrupt as usual.

    A step half taken would leave some weights new and some old, and no checkpoint could go on from there. Outside the
    main thread, where Python delivers no signals, and where the program ignores interrupts, nothing is changed.
    """

    def __enter__(self) -> Interrupt:
        self.requested = False
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if before not in (None, signal.SIG_IGN):
                self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, signum: int, frame: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nstopping after this step; interrupt once more to stop at once", file=sys.stderr)

    def until(self, items: Iterable[Any], agreed: Callable[[bool], bool] = bool) -> Iterator[Any]:
        """Yield the items until an interrupt is requested and all who take part ``agreed``; then raise ``Interrupted``."""
        for item in items:
            if agreed(self.requested):
                self.requested = True
                raise Interrupted
            yield item
