// Batch normalization on a GPU; reference.py holds the contract. Memory is contiguous (N, C, H, W).
//
// Sums over a channel are those of one block of threads, in double: each thread adds up every THREADS-th pixel, then the
// threads' sums are added in pairs. Everything else is one thread for each number.
typedef NUMBER T;  // float or double: -DNUMBER=float

// The sum of what the threads of a block bring; all of them get it.
__device__ double sum_of_block(double mine, double* partial) {
  const int t = threadIdx.x;
  partial[t] = mine;
  __syncthreads();
  for (int half = THREADS / 2; half; half /= 2) {
    if (t < half) partial[t] += partial[t + half];
    __syncthreads();
  }
  const double sum = partial[0];
  __syncthreads();  // before the next sum is begun, all must have read this one
  return sum;
}

// Twin of _block_moments_py: mean and variance of a channel, a block each. Shifting by a pixel keeps a constant one exact.
extern "C" __global__ void block_moments(const T* __restrict__ input, double* __restrict__ means,
                                         double* __restrict__ variances, int channels, int area, long long count) {
  __shared__ double partial[THREADS];
  const int channel = blockIdx.x;
  const double center = input[(long long)channel * area];
  double total = 0;
  for (long long i = threadIdx.x; i < count; i += THREADS)
    total += input[(i / area * channels + channel) * area + i % area] - center;
  const double mean = center + sum_of_block(total, partial) / count;
  total = 0;
  for (long long i = threadIdx.x; i < count; i += THREADS) {
    const double distance = input[(i / area * channels + channel) * area + i % area] - mean;
    total += distance * distance;
  }
  const double squares = sum_of_block(total, partial);
  if (threadIdx.x) return;
  means[channel] = mean;
  variances[channel] = squares / count;
}

// Twin of _center_scale_shift_py: what is below `floor` becomes it.
extern "C" __global__ void center_scale_shift(const T* __restrict__ input, const double* __restrict__ center,
                                              const double* __restrict__ scale, const double* __restrict__ shift,
                                              double floor, T* __restrict__ output, int channels, int area,
                                              long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int c = i / area % channels;
  const double value = (input[i] - center[c]) * scale[c] + shift[c];
  output[i] = (T)(value <= floor ? floor : value);  // so written, a NaN stays
}

// Twin of _block_products_py: the sum of a channel's gradients that pass the floor, and of gradient times (input - mean).
extern "C" __global__ void block_products(const T* __restrict__ grads, const T* __restrict__ input,
                                          const double* __restrict__ center, const double* __restrict__ scale,
                                          const double* __restrict__ shift, double floor, double* __restrict__ sums,
                                          int channels, int area, long long count) {
  __shared__ double partial[THREADS];
  const int channel = blockIdx.x;
  double of_grad = 0, of_product = 0;
  for (long long i = threadIdx.x; i < count; i += THREADS) {
    const long long here = (i / area * channels + channel) * area + i % area;
    const double distance = input[here] - center[channel];
    const double passed = distance * scale[channel] + shift[channel] <= floor ? 0 : grads[here];
    of_grad += passed;
    of_product += passed * distance;
  }
  const double all_grads = sum_of_block(of_grad, partial), all_products = sum_of_block(of_product, partial);
  if (threadIdx.x) return;
  sums[channel] = all_grads;
  sums[channels + channel] = all_products;
}

// Twin of _mix_py: the gradient of one pixel.
extern "C" __global__ void mix(const T* __restrict__ grads, const T* __restrict__ input,
                               const double* __restrict__ center, const double* __restrict__ scale,
                               const double* __restrict__ shift, double floor, const double* __restrict__ times_grad,
                               const double* __restrict__ times_distance, const double* __restrict__ plus,
                               T* __restrict__ output, int channels, int area, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int c = i / area % channels;
  const double distance = input[i] - center[c];
  const double passed = distance * scale[c] + shift[c] <= floor ? 0 : grads[i];
  output[i] = (T)(passed * times_grad[c] + distance * times_distance[c] + plus[c]);
}
