"""The progress bar: tqdm's, for terminals and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .history import TrainingState


class Bar:
    """The progress bar, or none."""

    def __init__(self, wanted: bool, total: int | None, state: TrainingState):
        self.state = state
        self.bar: Any = None
        if wanted:
            from tqdm.auto import tqdm

            # tqdm's own thread, which wakes bars that have become slow, is not to be had in a browser: miniters=1 does that.
            quiet = type("tqdm", (tqdm,), {"monitor_interval": 0})
            self.bar = quiet(total=total, initial=state.step, desc="training", unit="step", miniters=1)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self) -> None:
        """Go on by one step and show the newest numbers."""
        if self.bar is not None:
            history = self.state.history
            newest = {"loss": f"{history.loss[-1]:.3f}"}
            if history.validation:
                newest[history.monitor] = f"{history.val_score[-1]:.3f}"
            self.bar.set_postfix(newest, refresh=False)
            self.bar.update()
