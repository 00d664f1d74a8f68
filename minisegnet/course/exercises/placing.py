"""The student's function in a network: ``use_kernels`` puts it in a kernel's seat, and this says what then happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

TOLERANCE = 1e-6  # float64, sums in another order
STEP = 1e-6  # of the numerical check


def place(
    kernel: str,
    function: Callable[..., Any],
    network: Callable[[], Any],
    gradients: Sequence[str],
    seat: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
) -> tuple[str, str]:
    """Run a small network forward and backward with and without a function in a kernel's seat, and check numerically.

    Parameters
    ----------
    kernel : str
        The seat, a name of ``minisegnet.kernels.contract.KERNELS``.
    function : callable
        The student's, already found right by its values.
    network : callable
        Makes ``(model, x)`` in float64, the same each time.
    gradients : names of kernels
        Those that compute the gradients of ``kernel``.
    seat : callable, optional
        Makes of ``function`` what sits in the seat, where the exercise's signature is not the kernel's.

    Returns
    -------
    (problem, report) : str
        One of them is empty. The report says how often the function was called and whose the gradients are.
    """
    from ... import use_backend, use_kernels
    from ...backend import kernels_for

    shown = getattr(function, "__name__", "your function")
    counted = _Counted(function)
    ours = [name for name in gradients if name not in kernels_for().replaced]
    model, x = network()
    with use_backend("reference"):  # nothing to compile
        wanted, wanted_gradients = _forward_and_backward(model, x)
        try:
            with use_kernels(**{kernel: seat(counted.function) if seat else counted.function}):
                got, got_gradients = _forward_and_backward(model, x)
                called = counted.count
                slope, measured = _slopes(model, x, got_gradients[0])
        except (TypeError, ValueError) as error:
            return f"The values are right, but in a network it stops: {error}.", ""
    if not called:
        return "The values are right, but no layer of the network called your function.", ""
    if _off(got, wanted) > TOLERANCE:
        return f"Alone it is right, in a network its scores differ from the library's by {_off(got, wanted):.2g}.", ""
    off = max(_off(g, w) for g, w in zip(got_gradients, wanted_gradients, strict=True))
    if off > TOLERANCE or abs(slope - measured) > 1e-4 * max(1.0, abs(slope)):
        return "In a network the scores are right, but the gradient is not that of your function.", ""
    times = f"{called} times" if called > 1 else "once"
    names = " and ".join(f"`{name}`" for name in ours)
    whose = (
        f"the gradients are still ours ({names}). They fit your function, a numerical check says so: {slope:.4f} by the "
        f"tape, {measured:.4f} measured"
        if len(ours) == len(gradients)
        else f"of the gradients {names or 'none'} is still ours"
    )
    return "", f"**In a network** `use_kernels({kernel}={shown})` called it {times}: the same scores, and {whose}."


class _Counted:
    """Counts the calls of a function and looks like it: ``use_kernels`` reads its signature."""

    def __init__(self, function: Callable[..., Any]):
        import functools

        self.count = 0

        @functools.wraps(function)
        def counted(*args: Any, **options: Any) -> Any:
            self.count += 1
            return function(*args, **options)

        self.function = counted


def _loss(model: Any, data: Any) -> tuple[Any, Any]:
    """Return scores, and a loss that treats every score differently."""
    from ... import Tensor

    scores = model(data)
    weights = np.linspace(-1, 1, scores.data.size, dtype=data.dtype).reshape(scores.shape)
    return scores, (scores * Tensor(weights)).sum()


def _forward_and_backward(model: Any, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return scores and all gradients, that of the input first."""
    from ... import Tensor

    data = Tensor(x, requires_grad=True)
    for parameter in model.parameters():
        parameter.grad = None
    scores, loss = _loss(model, data)
    loss.backward()
    return scores.detach().numpy(), [t.grad.numpy() for t in (data, *model.parameters())]


def _slopes(model: Any, x: np.ndarray, gradient: np.ndarray) -> tuple[float, float]:
    """Return how fast the loss grows along one direction: by the gradient, and by going a small step there and back."""
    from ... import Tensor, no_grad

    direction = np.random.default_rng(0).standard_normal(x.shape)
    direction /= np.linalg.norm(direction)
    with no_grad():
        ahead, behind = (float(_loss(model, Tensor(x + sign * STEP * direction))[1]) for sign in (1, -1))
    return float((gradient * direction).sum()), (ahead - behind) / (2 * STEP)


def _off(got: np.ndarray, want: np.ndarray) -> float:
    """Return the largest difference, relative to the largest value."""
    return float(np.abs(got - want).max() / max(1e-12, float(np.abs(want).max())))
