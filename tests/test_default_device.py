"""The default device where there is no GPU: names, errors, the environment; tests/gpu has the same with one."""

import os
import subprocess
import sys

import pytest

import minisegnet as ms

WITHOUT = "a GPU is here: nothing is missing"


def run(device, code):
    environment = {**os.environ, "MINISEGNET_DEVICE": device}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_it_is_the_cpu_and_can_be_set_for_a_block():
    assert ms.get_default_device() == os.environ.get("MINISEGNET_DEVICE", "cpu")
    with ms.set_default_device("cpu") as device:
        assert device == ms.get_default_device() == "cpu"
        assert ms.zeros(2).device == ms.tensor([1.0]).device == "cpu"
        assert ms.nn.Sequential().device == "cpu"


@pytest.mark.parametrize("name", ["tpu", "cuda:0", None, 0])
def test_a_wrong_name_is_told(name):
    with pytest.raises(
        ValueError, match=r'set_default_device: device must be "cpu" or "cuda" \("gpu" is understood\), got'
    ):
        ms.set_default_device(name)
    assert ms.get_default_device() == "cpu"


@pytest.mark.parametrize("name", ["cuda", "gpu"])
def test_what_is_missing_is_told(name):
    if ms.cuda_is_available():
        pytest.skip(WITHOUT)
    with pytest.raises(RuntimeError, match=r"pip install minisegnet\[gpu12\]"):
        ms.set_default_device(name)
    assert ms.get_default_device() == "cpu"


def test_the_environment_names_it():
    done = run("gpu", "import minisegnet as ms; print(ms.get_default_device())")
    assert (done.stdout, done.stderr) == ("cuda\n", "")
    done = run("tpu", "import minisegnet")
    assert 'ValueError: the environment variable MINISEGNET_DEVICE must be "cpu" or "cuda"' in done.stderr


def test_the_environment_asks_for_a_gpu_that_is_not_there():
    if ms.cuda_is_available():
        pytest.skip(WITHOUT)
    done = run("cuda", "import minisegnet as ms; ms.nn.Conv2d(1, 1, 1)")
    assert "RuntimeError: device cuda needs CuPy" in done.stderr
    assert "pip install minisegnet[gpu12]" in done.stderr
