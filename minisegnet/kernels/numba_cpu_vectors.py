"""How wide the vectors of this processor are, for the kernels that write vectors themselves."""

from __future__ import annotations

import numba


def _has_512_bits() -> bool:
    """Return whether code is made for a processor with vectors of sixteen floats and 32 registers (AVX-512)."""
    from llvmlite import binding

    if numba.config.CPU_NAME not in (None, "", "host"):  # type: ignore[attr-defined]
        return False  # for another processor than this one (NUMBA_CPU_NAME)
    features = binding.get_host_cpu_features()
    return bool(features.get("avx512f") and features.get("avx512vl"))


WIDE = 16 if _has_512_bits() else 8  # floats of the widest vector: with sixteen come 32 registers
