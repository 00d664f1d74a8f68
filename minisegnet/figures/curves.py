"""Training curves: the loss on a logarithmic axis, the score and the learning rate over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .colors import OKABE_ITO

if TYPE_CHECKING:
    from .picture import Picture


def _series(history: Any, name: str) -> np.ndarray:
    values = history.get(name, ()) if isinstance(history, Mapping) else getattr(history, name, ())
    return np.asarray(values if values is not None else (), dtype=np.float64).ravel()


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean over the last ``window`` values at each step (over fewer at the beginning)."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    stop = np.arange(1, len(values) + 1)
    start = np.maximum(0, stop - window)
    return (total[stop] - total[start]) / (stop - start)


def curves(history: Any, *, score: str = "", width: float = 12.0) -> Picture:
    """Show how a training went: loss (logarithmic, raw and averaged), validation score, learning rate.

    Parameters
    ----------
    history : History or mapping
        ``loss`` and ``lr`` per step; ``val_step`` and ``val_score`` per validation (may be empty); NaN is left out.
    score : str
        What the validation score is called; by default what the history monitors, or "Dice".
    """
    from .picture import new_picture

    loss, rate = _series(history, "loss"), _series(history, "lr")
    val, val_step = _series(history, "val_score"), _series(history, "val_step")
    if not len(loss):
        raise ValueError("history holds no loss yet: train for at least one step before drawing its curves")
    if len(val) != len(val_step):
        raise ValueError(f"history has {len(val)} scores at {len(val_step)} steps, expected as many of each")
    score = score or getattr(history, "monitor", "Dice").replace("dice", "Dice")
    lower_is_better = getattr(history, "mode", "max") == "min"
    panels = [True, bool(len(val)), bool(len(rate))]
    figure = new_picture(width, 3.6)
    axes = iter(np.atleast_1d(figure.subplots(1, sum(panels))))
    steps = np.arange(1, len(loss) + 1)
    ax = next(axes)
    average = smooth(loss, max(1, len(loss) // 20))
    ax.plot(steps, loss, color=OKABE_ITO["sky blue"], linewidth=0.8, label="each step")
    ax.plot(steps, average, color=OKABE_ITO["blue"], linewidth=2.5, linestyle="-", label="average")
    if loss[np.isfinite(loss)].min(initial=np.inf) > 0:
        ax.set_yscale("log")
    ax.set_title("loss", fontsize=16)
    ax.legend(frameon=False, fontsize=12)
    sentence = f"{len(loss)} steps: loss from {average[0]:.3f} to {average[-1]:.3f}"
    if len(val):
        ax = next(axes)
        best = int(np.nanargmin(val) if lower_is_better else np.nanargmax(val))
        ax.plot(val_step, val, color=OKABE_ITO["vermilion"], linewidth=2, marker="o", markersize=5)
        ax.annotate(
            f"best {val[best]:.3f}",
            (val_step[best], val[best]),
            xytext=(0, -30),
            textcoords="offset points",
            ha="right" if val_step[best] > len(loss) / 2 else "left",
            fontsize=13,
        )
        ax.set_title(f"validation {score}", fontsize=16)
        sentence += f", best validation {score} {val[best]:.3f} at step {int(val_step[best])}"
    if len(rate):
        ax = next(axes)
        ax.plot(np.arange(1, len(rate) + 1), rate, color=OKABE_ITO["bluish green"], linewidth=2, linestyle="--")
        ax.set_title("learning rate", fontsize=16)
        ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
        sentence += f", learning rate up to {rate.max():.2g}"
    for ax in figure.axes:
        ax.set_xlabel("step", fontsize=13)
        ax.tick_params(labelsize=12)
        ax.grid(color="#DDDDDD", linewidth=0.8)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    figure.twin = sentence + "."
    return figure
