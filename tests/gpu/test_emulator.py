"""The emulation finds what it is there to find: each fault is planted in a small kernel, and named where it is."""

import numpy as np
import pytest
from gpu import emulator
from gpu.emulator import EmulationError, Module
from gpu.special import COPIES, PRODUCT

pytestmark = pytest.mark.skipif(emulator.missing() is not None, reason=str(emulator.missing()))

ROW_SUM = """
extern "C" __global__ void row_sum(const float* __restrict__ x, float* __restrict__ out, int n) {
  __shared__ float partial[64];
  const int t = threadIdx.x;
  float sum = 0;
  for (int i = t; i < n; i += blockDim.x) sum += x[blockIdx.x * n + i];
  partial[t] = sum;
  __syncthreads();  // first
  for (int half = blockDim.x / 2; half; half /= 2) {
    if (t < half) partial[t] += partial[t + half];
    __syncthreads();  // second
  }
  if (t == 0) out[blockIdx.x] = partial[0];
}
"""


def row_sum(source, seed=None):
    x = (np.arange(3000) % 7).astype(np.float32).reshape(3, 1000)
    out = np.empty(3, np.float32)
    Module(source).launch("row_sum", (3,), (64,), [x, out, np.int32(1000)], seed=seed)
    return out, x.sum(axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_kernel_runs_in_any_order(seed):
    found, expected = row_sum(ROW_SUM, seed)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("__syncthreads();  // first", "", "shared memory .* (not written|no barrier)"),
        ("__syncthreads();  // second", "", "no barrier is between them, at kernel.cu:10"),
        ("i < n", "i <= n", "reads 4 bytes, 4 bytes over the end of `x`, which has 12000, at kernel.cu:6"),
        ("blockIdx.x * n + i", "(int)blockIdx.x * n + i - 1", "4 bytes before the start of `x`"),
        ("if (t < half)", "", "an index is outside of its array, at kernel.cu:10"),
        ("if (t == 0) out[blockIdx.x]", "if (t == 0) out[blockIdx.x + 1]", "over the end of `out`"),
        ("if (t == 0) out", "out", r"writes `out` \(element .\), which thread .* no barrier is between them"),
        ("  partial[t] = sum;", "  if (t) partial[t] = sum;", "reads shared memory .* that was not written"),
        ("__syncthreads();  // first", "if (t < 32) __syncthreads();", "waits at __syncthreads, but thread"),
        (
            "__syncthreads();  // first",
            "if (t < 32) __syncthreads();\nelse\n__syncthreads();",
            "waits at __syncthreads, but thread .* at that of line",
        ),
        ("if (t == 0) out[blockIdx.x] =", "atomicAdd(&out[0], 1.0f); if (0) out[0] =", "an atomic operation"),
        ("int half = blockDim.x / 2", "int half = 1000000000 * (int)blockDim.x", "a product of integers overflows"),
    ],
)
def test_a_planted_fault_is_found(old, new, said):
    assert old in ROW_SUM
    with pytest.raises(EmulationError, match=said):
        row_sum(ROW_SUM.replace(old, new, 1))


def run(source, name, block, arguments, **options):
    Module(source).launch(name, (1,), block, arguments, **options)


WARP = """
extern "C" __global__ void lanes(float* out) {
  extern __shared__ float row[];
  const int t = threadIdx.x;
  float sum = (float)t;
  for (int half = 16; half; half /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, half);
  row[t] = sum + (float)__popc_of(__ballot_sync(0xffffffffu, t % 2));
  __syncwarp();
  out[t] = row[t ^ 1] + __shfl_down_sync(0xffffffffu, (float)t, 1);
}
""".replace("__popc_of", "__builtin_popcount")


def test_warps_exchange_and_wait():
    out = np.empty(64, np.float32)
    run(WARP, "lanes", (64,), [out], shared=256)
    t = np.arange(64)
    shifted = np.where(t % 32 == 31, t, t + 1)
    np.testing.assert_array_equal(out, np.where(t < 32, 496, 1520) + 16 + shifted)
    with pytest.raises(EmulationError, match=r"dynamic shared memory .* no barrier|not written"):
        run(WARP.replace("__syncwarp();", ""), "lanes", (64,), [out], shared=256)
    with pytest.raises(EmulationError, match="over the end of dynamic shared memory, which has 252"):
        run(WARP, "lanes", (64,), [out], shared=252)
    with pytest.raises(EmulationError, match="no barrier"):  # a warp's barrier does not hold the other warps
        run(WARP.replace("row[t ^ 1]", "row[t ^ 32]"), "lanes", (64,), [out], shared=256)


def test_a_tensor_core_multiplies_matrices(rng):
    a, b = rng.integers(-9, 9, (16, 8)).astype(np.float32), rng.integers(-9, 9, (8, 8)).astype(np.float32)
    c = np.empty((16, 8), np.float32)
    run(PRODUCT, "product", (32,), [a, b, c])
    np.testing.assert_array_equal(c, a @ b)
    wrong = PRODUCT.replace("b[member * 8 + group]", "b[group * 8 + member]")
    run(wrong, "product", (32,), [a, b, c])
    assert (c != a @ b).any()


def test_tf32_keeps_ten_bits_and_rounds_halves_away_from_zero():
    source = 'extern "C" __global__ void f(const float* x, unsigned* y) { y[threadIdx.x] = to_tf32(x[threadIdx.x]); }'
    half = 2.0**-11
    x = np.array([1 + half, 1 + half - 2.0**-23, -(1 + half), 3, np.inf, np.nan, 3.4028235e38, 1e-45], np.float32)
    y = np.empty(8, np.uint32)
    run(source, "f", (8,), [x, y])
    expected = np.array([1 + 2 * half, 1, -(1 + 2 * half), 3, np.inf, np.nan, np.inf, 0], np.float32)
    np.testing.assert_array_equal(y.view(np.float32), expected)


def test_an_asynchronous_copy_lands_at_its_wait():
    x, y = np.arange(32, dtype=np.float32), np.empty(32, np.float32)
    run(COPIES, "shift", (32,), [x, y, np.int32(30)])
    np.testing.assert_array_equal(y, np.where(x[::-1] < 30, x[::-1], 0) + 100 * x)
    for old, new, said in (
        ("copy_async_wait<1>();", "", "still on its way"),
        ("copy_async_wait<1>();", "copy_async_wait<2>();", "still on its way"),
        ("copy_async_wait<0>();", "", "still on its way"),
        ("  __syncthreads();\n", "", "no barrier|still on its way|not written"),
        ("x + t, true", "x + t + 1, true", "over the end of `x`"),
    ):
        with pytest.raises(EmulationError, match=said):
            run(COPIES.replace(old, new, 1), "shift", (32,), [x, y, np.int32(30)])


def test_arguments_are_what_the_kernel_says():
    x, out = np.zeros((2, 4), np.float32), np.zeros(2, np.float32)
    module = Module(ROW_SUM)
    for arguments, said in (
        ([x, out, 4], "argument n must be int, got int64"),
        ([x.astype(np.float64), out, np.int32(4)], r"argument x must be const float\*, got float64"),
        ([x.T, out, np.int32(4)], "argument x is not contiguous"),
        ([x, out], "takes 3 arguments, got 2"),
        ([x, np.float32(0), np.int32(4)], r"argument out must be float\*, got float32"),
    ):
        with pytest.raises(EmulationError, match=said):
            module.launch("row_sum", (2,), (64,), arguments)
    with pytest.raises(EmulationError, match="an empty grid"):
        module.launch("row_sum", (0,), (64,), [x, out, np.int32(4)])
    with pytest.raises(EmulationError, match="1024 threads at most"):
        module.launch("row_sum", (1,), (2048,), [x, out, np.int32(4)])


def test_a_source_that_does_not_compile_says_why():
    with pytest.raises(EmulationError, match=r"kernel.cu:1:.*nonsense"):
        Module('extern "C" __global__ void f(float* x) { nonsense; }')
