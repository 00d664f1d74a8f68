"""How exactly a GPU multiplies float32 numbers: PyTorch's setting of the same name."""

from __future__ import annotations

PRECISIONS = ("highest", "high")
_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how convolutions on a GPU multiply float32 numbers; on a CPU it changes nothing.

    "highest", the default, is float32. "high" rounds both factors to TF32 (10 bits behind the point; sums stay float32) and
    uses the tensor cores of cards with compute capability 8.0 and up, which are several times as fast. PyTorch's setting
    has the same name for its matrix products; its *convolutions* use TF32 by default (``torch.backends.cudnn.allow_tf32``).
    What counts is the setting when a kernel runs: also a backward's, whenever its forward was.

    Raises
    ------
    ValueError
        For another name.
    """
    global _precision
    if precision not in PRECISIONS:
        raise ValueError(f'precision must be "highest" (float32) or "high" (TF32), got {precision!r}')
    _precision = precision


def get_float32_matmul_precision() -> str:
    """Return "highest" or "high"; see ``set_float32_matmul_precision``."""
    return _precision
