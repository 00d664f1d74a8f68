// What a card gives at most: loops that do nothing else. cuda_gpu_instructions.cu stands before them.
typedef NUMBER T;  // float or double: -DNUMBER=float

// a = b + 3 c: each thread one number, as the plain kernels do it.
extern "C" __global__ void triad(T* __restrict__ a, const T* __restrict__ b, const T* __restrict__ c, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  a[i] = b[i] + 3 * c[i];
}

// Eight sums that do not wait for one another, `steps` multiply-adds each, all in registers.
extern "C" __global__ void multiply_adds(T* __restrict__ sums, int steps, T factor, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  T sum[8];
  for (int chain = 0; chain < 8; chain++) sum[chain] = chain + (T)threadIdx.x;
  for (int step = 0; step < steps; step++)
    for (int chain = 0; chain < 8; chain++) sum[chain] = sum[chain] * factor + 1;
  T total = 0;
  for (int chain = 0; chain < 8; chain++) total += sum[chain];
  sums[i] = total;
}

// Four products of tensor cores (16x8 by 8x8, TF32) that do not wait for one another, `steps` times.
extern "C" __global__ void tensor_products(float* __restrict__ sums, int steps, float factor, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;  // count is a multiple of a block's threads: a warp stays whole
  unsigned a[4], b[2];
  float sum[4][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}};
  for (int k = 0; k < 4; k++) a[k] = to_tf32(factor);
  for (int k = 0; k < 2; k++) b[k] = to_tf32(factor);
  for (int step = 0; step < steps; step++)
    for (int chain = 0; chain < 4; chain++) mma_m16n8k8(sum[chain], a, b);
  float total = 0;
  for (int chain = 0; chain < 4; chain++)
    for (int k = 0; k < 4; k++) total += sum[chain][k];
  sums[i] = total;
}
