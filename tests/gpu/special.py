"""Two kernels of special instructions: a tensor core's product, and asynchronous copies."""

PRODUCT = """
extern "C" __global__ void product(const float* a, const float* b, float* c) {
  const int lane = threadIdx.x, group = lane / 4, member = lane % 4;
  const unsigned left[4] = {to_tf32(a[group * 8 + member]), to_tf32(a[(group + 8) * 8 + member]),
                            to_tf32(a[group * 8 + member + 4]), to_tf32(a[(group + 8) * 8 + member + 4])};
  const unsigned right[2] = {to_tf32(b[member * 8 + group]), to_tf32(b[(member + 4) * 8 + group])};
  float sums[4] = {0, 0, 0, 0};
  mma_m16n8k8(sums, left, right);
  for (int i = 0; i < 4; i++) c[(group + i / 2 * 8) * 8 + 2 * member + i % 2] = sums[i];
}
"""

COPIES = """
extern "C" __global__ void shift(const float* x, float* y, int n) {
  __shared__ float tile[2][32];
  const int t = threadIdx.x;
  copy_async<4>(&tile[0][t], x + (t < n ? t : 0), t < n);
  copy_async_commit();
  copy_async<4>(&tile[1][t], x + t, true);
  copy_async_commit();
  copy_async_wait<1>();
  __syncthreads();
  y[t] = tile[0][31 - t];
  copy_async_wait<0>();
  y[t] += 100 * tile[1][t];
}
"""
