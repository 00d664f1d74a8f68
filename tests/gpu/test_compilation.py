"""Every .cu file compiles to machine code for two generations of GPUs, without a warning; none of them is needed for it."""

from pathlib import Path

import pytest
from gpu import compilers
from gpu.special import COPIES, PRODUCT

FILES = sorted((Path(__file__).resolve().parents[2] / "minisegnet" / "kernels").rglob("*.cu"))


def code_of(file):
    """Return what is compiled: sources that use special instructions have these before them."""
    code = file.read_text(encoding="utf-8")
    if "copy_async" in code and file.name != "cuda_gpu_instructions.cu":
        code = next(f for f in FILES if f.name == "cuda_gpu_instructions.cu").read_text(encoding="utf-8") + code
    return code


@pytest.fixture
def compiler(tmp_path):
    name, function = compilers.compiler(tmp_path)
    if function is None:
        pytest.skip("neither NVRTC (pip install nvidia-cuda-nvrtc) nor nvcc is installed")
    return function


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("kind", ["float", "double"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_it_compiles_without_a_warning(compiler, file, kind, architecture):
    options = [f"-arch={architecture}", "-std=c++17", f"-DNUMBER={kind}", "-DTHREADS=256"]
    for tensor_cores in (0, 1) if "TENSOR_CORES" in file.read_text(encoding="utf-8") else (0,):
        assert compiler(code_of(file), file.name, [*options, f"-DTENSOR_CORES={tensor_cores}"]) == ""


@pytest.mark.parametrize("fault", ["int i = nonsense;", "int unused;", "unsigned u = 1; if (u < 0) *x = 0;"])
def test_a_mistake_is_told(compiler, fault):
    source = f'extern "C" __global__ void f(float* x) {{\n  {fault}\n}}\n'
    assert "kernel.cu(2)" in compiler(source, "kernel.cu", ["-arch=sm_80"])


def test_every_family_has_kernels_for_the_gpu():
    families = {f.parent for f in FILES[0].parents[1].glob("*/numba_cpu.py")}
    assert {f.parent for f in FILES if f.name == "cuda_gpu.cu"} == families
    for family in families:
        assert (family / "cuda_gpu.py").exists()


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_kernels_of_special_instructions_compile_as_they_are_emulated(compiler, architecture):
    instructions = next(f for f in FILES if f.name == "cuda_gpu_instructions.cu").read_text(encoding="utf-8")
    for source in (PRODUCT, COPIES):
        assert compiler(instructions + source, "kernel.cu", [f"-arch={architecture}", "-std=c++17"]) == ""
