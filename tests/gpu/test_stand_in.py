"""The stand-in for CuPy has nothing that CuPy has not, and refuses what CuPy refuses."""

import numpy as np
import pytest
from gpu import cupy_stand_in as stand_in


def test_every_name_is_one_of_cupys():
    cupy = pytest.importorskip(
        "cupy", reason="CuPy is not installed: the stand-in's names cannot be compared with its own"
    )
    names = [n for n in vars(stand_in.MODULE) if not n.startswith("__")]
    assert [n for n in names if not hasattr(cupy, n)] == []
    methods = [n for n in dir(stand_in.ndarray) if n not in ("_host", "__weakref__")]
    assert [n for n in methods if not hasattr(cupy.ndarray, n)] == []


def test_numpy_and_the_gpu_do_not_mix():
    there, here = stand_in.asarray(np.ones(3)), np.ones(3)
    for mix in (
        lambda: there + here,
        lambda: here + there,
        lambda: there < here,
        lambda: np.maximum(here, there),
        lambda: stand_in.MODULE.where(here > 0, there, there),
        lambda: np.concatenate([here, there]),
        lambda: there[here > 0],
        lambda: np.asarray(there),
        lambda: np.array([there, there]),
        lambda: there.__iadd__(here),
    ):
        with pytest.raises(TypeError, match=r"Unsupported type|Implicit conversion|no implementation found"):
            mix()
    with pytest.raises(ValueError, match="cannot be used for fill"):
        there[:] = here
    assert not isinstance(there, np.ndarray)


def test_sums_are_arrays_and_what_is_empty_is_no_number():
    there = stand_in.asarray(np.arange(6.0).reshape(2, 3))
    assert isinstance(there.sum(), stand_in.ndarray)
    assert there[0, 1].shape == ()
    there[0, 1][...] = 7  # a view, as CuPy's
    assert float(there[0, 1]) == 7
    assert np.isnan(stand_in.empty((2, 2), "float32").get()).all()
    assert isinstance(np.ones_like(there), stand_in.ndarray)
    assert isinstance(np.exp(there), stand_in.ndarray)
    assert isinstance(there * np.float32(2), stand_in.ndarray)
    assert (there.get() == there.copy().get()).all()
    assert stand_in.asarray(there) is there
