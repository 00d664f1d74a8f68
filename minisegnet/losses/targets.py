"""What losses do with a target before they begin, and with a result that is not a number."""

from __future__ import annotations

from numbers import Real
from typing import Any

from ..arrays import array_module, channels_first, channels_last, constant
from ..autograd import Tensor, unwrap
from ..deferred import current
from ..functional.checks import same_device
from ..functional.loss import class_labels


def target_and_weight(x: Tensor, target: Any, ignore_index: int, pixel_weight: Any) -> tuple[Any, Any]:
    """Return the target for each class (N, K, H, W) and the weight of each pixel (N, 1, H, W), None for all ones."""
    xp, y = array_module(x.data), unwrap(target)
    y = y if hasattr(y, "dtype") else xp.asarray(y)
    same_device("loss", input=x, target=y)
    if y.dtype.kind == "f":
        if y.shape != x.shape:
            raise ValueError(f"a target of floats must have the shape of input {x.shape}, got {y.shape}")
        t, counts = y.astype(x.dtype, copy=False), None
    else:
        y = class_labels(y, x.shape, ignore_index, "loss")
        counts = y != ignore_index
        classes = xp.arange(x.shape[1]).reshape(-1, *(1,) * (x.ndim - 2))
        t = y[:, None] == classes  # (N, 1, H, W) == (K, 1, 1) -> (N, K, H, W)
        counts = None if current() is None and counts.all() else counts
    if pixel_weight is None:
        return t, None if counts is None else counts[:, None].astype(x.dtype)
    w = constant(unwrap(pixel_weight), xp, x.dtype)
    expected = (x.shape[0], *x.shape[2:])
    if w.shape != expected:
        raise ValueError(f"pixel_weight must have one number for each pixel, shape {expected}, got {w.shape}")
    return t, (w if counts is None else w * counts)[:, None]


def non_negative(value: Any, name: str) -> float:
    """Return an option as a float that is at least 0."""
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    if not number >= 0:
        raise ValueError(f"{name} must be at least 0, got {value}")
    return number


def laid_out(gradient: Any, last: bool) -> Any:
    """Return the gradient with channels last in memory, if the scores lay so: the layer that gets it works like that."""
    return channels_first(channels_last(gradient)) if last else gradient


def without_nan(loss: Tensor, x: Tensor, name: str) -> Tensor:
    """Return the loss, or say where the scores were no numbers; looked at only where the loss is none."""
    xp = array_module(loss.data)
    if current() is not None:
        return loss  # who puts off looking looks at the loss itself
    if xp.isnan(loss.data).any() and xp.isnan(x.data).any():
        first = tuple(int(i[0]) for i in xp.nonzero(xp.isnan(x.data)))
        count = int(xp.isnan(x.data).sum())
        raise FloatingPointError(
            f"{name} holds {count} NaN of {x.data.size} numbers, the first at {first}: the network's output is broken. "
            "fit() says where it begins; so does `with ms.detect_anomaly():` around the forward"
        )
    return loss
