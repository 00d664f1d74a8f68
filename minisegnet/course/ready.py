"""Is this machine ready for the lessons? A few checks, each with what to do where it fails."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable

import numpy as np

from .checking import Text


def _python() -> str:
    return "" if sys.version_info >= (3, 11) else f"this is Python {sys.version.split()[0]}; install 3.11 or newer"


def _widgets() -> str:
    missing = [name for name in ("ipywidgets", "anywidget", "matplotlib") if importlib.util.find_spec(name) is None]
    return f'{" and ".join(missing)} missing: pip install "minisegnet[notebooks]", then restart the kernel' * bool(
        missing
    )


def _kernels() -> str:
    """Compare the compiled convolution with the readable one."""
    import minisegnet as ms

    rng = np.random.default_rng(0)
    image = ms.Tensor(rng.standard_normal((1, 3, 12, 10)).astype(np.float32))
    weight = ms.Tensor(rng.standard_normal((4, 3, 3, 3)).astype(np.float32))
    with ms.use_backend("reference"):
        wanted = ms.functional.conv2d(image, weight).numpy()
    with ms.use_backend("numba"):
        got = ms.functional.conv2d(image, weight).numpy()
    off = float(np.abs(got - wanted).max())
    return "" if off < 1e-4 else f"they differ by {off:.2g}: run `minisegnet doctor` in a terminal"


def _weights() -> str:
    from ..models import pretrained_names

    return (
        ""
        if "nuclei" in pretrained_names()
        else "the weights are not installed: pip install --force-reinstall minisegnet"
    )


CHECKS: dict[str, Callable[[], str]] = {
    "Python is new enough": _python,
    "pictures and sliders are installed": _widgets,
    "the fast kernels agree with the readable ones": _kernels,
    "a trained network came along": _weights,
}


def ready() -> Text:
    """Run the checks and say, line by line, what is fine and what to do; ``passed`` is whether all are."""
    problems = {}
    checks = dict(CHECKS)
    if sys.platform == "emscripten":
        checks.pop("the fast kernels agree with the readable ones")  # a browser has the readable ones alone
    for name, run in checks.items():
        try:
            problems[name] = run()
        except Exception as error:  # a broken installation must not stop the first cell of the course
            problems[name] = f"{type(error).__name__}: {error}. Run `minisegnet doctor` in a terminal"
    lines = [f"- ✗ {name}: {problem}" if problem else f"- ✓ {name}" for name, problem in problems.items()]
    failed = any(problems.values())
    verdict = "**Not ready yet**: see the lines with ✗." if failed else "**Ready.**"
    return Text("\n".join([*lines, "", verdict]), not failed)
