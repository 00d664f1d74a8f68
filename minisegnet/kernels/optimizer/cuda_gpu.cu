// Steps of optimizers on a GPU, one thread for each number; optim/ says in NumPy what they compute.
//
// CuPy's own arithmetic would start a dozen kernels, each of which reads and writes whole arrays; here each number is read
// and written once. These kernels change their arrays, which is the point of them.
typedef NUMBER T;  // float or double: -DNUMBER=float

// Twin of _adam_line_py.
extern "C" __global__ void adam(T* __restrict__ data, const T* __restrict__ grad, T* __restrict__ mean,
                                T* __restrict__ square, T keep, T pull, T to_mean, T keep_square, T to_square,
                                T inverse_root, T eps, T rate, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const T p = data[i] * keep, g = grad[i] + pull * p;
  const T m = mean[i] + to_mean * (g - mean[i]);
  const T v = square[i] * keep_square + to_square * g * g;
  mean[i] = m;
  square[i] = v;
  data[i] = p - rate * (m / (sqrt(v) * inverse_root + eps));
}

// Twin of _sgd_line_py. Without momentum, `velocity` is any array, and left alone.
extern "C" __global__ void sgd(T* data, const T* __restrict__ grad, T* velocity, T lr, T momentum, T share,
                               T weight_decay, int nesterov, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const T p = data[i];
  T g = grad[i] + weight_decay * p;
  if (momentum != 0) {
    const T v = velocity[i] * momentum + share * g;
    velocity[i] = v;
    g = nesterov ? g + momentum * v : v;
  }
  data[i] = p - lr * g;
}
