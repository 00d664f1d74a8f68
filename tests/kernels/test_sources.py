"""The sources of a kernel, side by side."""

import html
import re

import pytest

import minisegnet as ms
from minisegnet.kernels import sources
from minisegnet.kernels.contract import KERNELS


@pytest.mark.parametrize("name", KERNELS)
def test_every_backend_shows_the_kernel_and_the_loops_it_is_compiled_from(name):
    shown = ms.compare_sources(name)
    assert list(shown.sources)[:2] == ["reference", "numba"]
    for backend in ("reference", "numba"):
        assert re.search(rf"^def {name}\(", shown[backend], flags=re.MULTILINE)
    assert "prange(" in shown["numba"]
    assert "prange(" not in shown["reference"]


def test_functions_follow_what_calls_them_and_each_is_shown_once():
    text = ms.compare_sources("conv2d")["numba"]
    defined = re.findall(r"^(?:def (\w+)|# (\w+\.py))", text, flags=re.MULTILINE)
    assert defined[:6] == [
        ("", "numba_cpu.py"),
        ("conv2d", ""),
        ("_serving", ""),
        ("choose", ""),
        ("fits", ""),
        ("", "numba_cpu_shifts.py"),
    ]
    files = [file for _, file in defined if file]
    assert {"numba_cpu_direct.py", "numba_cpu_winograd.py", "numba_cpu_depthwise.py", "numba_cpu_tile.py"} <= set(files)
    names = [function for function, _ in defined if function]
    for shown_once in ("_sum_loops_py", "_multiply", "_convolve_tiles", "_convolve_deep"):
        assert names.count(shown_once) == 1
    assert names.count("conv2d") == 5  # the kernel itself, and one of that name for each algorithm
    assert names.index("_sum_loops_py") > names.index("_pack") > names.index("plan_forward")
    assert not {"conv2d_grad_weight", "_grad_weight_loops_py", "_sum_tiles"} & set(names)


def test_a_notebook_gets_columns_and_a_terminal_gets_text():
    shown = ms.compare_sources("max_pool2d")
    page = shown._repr_html_()
    assert page.count("<pre") == len(shown.sources)
    assert html.escape(shown["reference"]) in page
    assert "# max_pool2d: reference" in repr(shown)
    assert shown["numba"] in repr(shown)


def test_html_escapes_the_source():
    assert "a &lt; b" in sources.Sources("x", {"reference": "a < b"})._repr_html_()


def test_cuda_kernels_that_name_their_numba_twin_are_shown():
    cuda = "#include <x>\n// twin of _sum_loops_py\n__global__ void sum() {}\n// twin of _other\n__global__ void other() {}\n"
    assert (
        sources._twins(cuda, "def _sum_loops_py(x):\n    pass") == "// twin of _sum_loops_py\n__global__ void sum() {}"
    )
    assert sources._twins(cuda, "def nothing(x):\n    pass") == cuda


def test_an_unknown_kernel_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"no kernel 'conv3d'.*conv2d, "):
        ms.compare_sources("conv3d")
