// Steps of optimizers on a GPU, one thread for each number; optim/ says in NumPy what they compute.
//
// CuPy's own arithmetic would start a dozen kernels, each of which reads and writes whole arrays; here each number is read
// and written once. These kernels change their arrays, which is the point of them.
//
// What changes from step to step, such as the learning rate, is read from an array: a captured step (training/graph.py)
// launches the same kernels again and again, with the very same arguments. `go` is 0 where a number is not finite: then
// nothing may change.
typedef NUMBER T;  // float or double: -DNUMBER=float

// Twin of _adam_line_py.
extern "C" __global__ void adam(T* __restrict__ data, const T* __restrict__ grad, T* __restrict__ mean,
                                T* __restrict__ square, const double* __restrict__ constants,
                                const int* __restrict__ go, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count || *go == 0) return;
  const T keep = (T)constants[0], pull = (T)constants[1];
  const T to_mean = (T)constants[2], keep_square = (T)constants[3], to_square = (T)constants[4];
  const T inverse_root = (T)constants[5], eps = (T)constants[6], rate = (T)constants[7];
  const T p = data[i] * keep, g = grad[i] + pull * p;
  const T m = mean[i] + to_mean * (g - mean[i]);
  const T v = square[i] * keep_square + to_square * g * g;
  mean[i] = m;
  square[i] = v;
  data[i] = p - rate * (m / (sqrt(v) * inverse_root + eps));
}

// Twin of _sgd_line_py. Without momentum, `velocity` is any array, and left alone.
extern "C" __global__ void sgd(T* data, const T* __restrict__ grad, T* velocity, const double* __restrict__ constants,
                               const int* __restrict__ go, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count || *go == 0) return;
  const T lr = (T)constants[0], momentum = (T)constants[1], share = (T)constants[2], weight_decay = (T)constants[3];
  const bool nesterov = constants[4] != 0;
  const T p = data[i];
  T g = grad[i] + weight_decay * p;
  if (momentum != 0) {
    const T v = velocity[i] * momentum + share * g;
    velocity[i] = v;
    g = nesterov ? g + momentum * v : v;
  }
  data[i] = p - lr * g;
}
