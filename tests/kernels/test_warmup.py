"""Compiling ahead: everything a U-Net needs, named on a progress bar."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import models, optim
from minisegnet.kernels.contract import KERNELS
from minisegnet.kernels.warmup import EXAMPLES, PATHS, STEPS, _compiled_before, _run_path, _start_helper, warmup


def test_a_unet_trains_and_predicts_after_it_without_compiling_anything():
    from numba.core import event

    seconds = warmup(progress=False)
    assert list(seconds) == [*KERNELS, *STEPS]
    assert all(s >= 0 for s in seconds.values())
    rng = np.random.default_rng(0)
    with event.install_recorder("numba:compile") as recorder:
        for norm in ("batch", None):
            net = models.UNet(3, 2, base_channels=24, depth=2, norm=norm)  # some layers large, some small
            images = ms.Tensor(rng.normal(size=(2, 3, 32, 32)).astype(np.float32))
            loss = F.cross_entropy(net(images), rng.integers(0, 2, (2, 32, 32)))
            loss.backward()
            optim.Adam(net.parameters()).step()
            net.eval()
            with ms.no_grad():
                net(images)
    assert [e.data["dispatcher"].py_func.__name__ for _, e in recorder.buffer if e.is_start] == []


def test_every_algorithm_is_among_the_paths(monkeypatch):
    """Each function that runs in parallel in the fast convolutions is called by the warm-up."""
    from numba.core.dispatcher import Dispatcher

    from minisegnet.kernels.convolution import numba_cpu_direct, numba_cpu_direct_weight, numba_cpu_winograd

    called = set()
    loops = set()
    for module in (numba_cpu_direct, numba_cpu_direct_weight, numba_cpu_winograd):
        for name, function in vars(module).items():
            if (
                isinstance(function, Dispatcher)
                and function.targetoptions.get("parallel")
                and function.py_func.__module__ == module.__name__
            ):
                loops.add(name)
                monkeypatch.setattr(module, name, lambda *a, name=name, f=function: called.add(name) or f(*a))
    for label in PATHS:
        _run_path(label)
    assert called == loops


def test_the_second_process_compiles_its_share():
    """Whatever the cache holds, it ends well; that the first process finds its results is Numba's cache."""
    helper = _start_helper()
    assert helper is not None
    assert helper.wait(timeout=500) == 0
    assert _compiled_before()


def test_there_is_an_example_for_every_kernel_that_the_contract_accepts():
    assert list(EXAMPLES) == list(KERNELS)
    earlier = {}
    for name, kernel in KERNELS.items():
        arguments = EXAMPLES[name](np.float32, earlier)
        results = earlier[name] = ms.backend.find_kernel(name, "reference")(*arguments)
        results = results if isinstance(results, tuple) else (results,)
        assert tuple(r.shape for r in results) == kernel.shapes(*arguments)


@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_names_the_kernel(progress, capsys):
    warmup(progress=progress)
    err = capsys.readouterr().err
    assert ("compiling conv2d for float32" in err) == progress
    assert ("kernels compiled" in err) == progress
