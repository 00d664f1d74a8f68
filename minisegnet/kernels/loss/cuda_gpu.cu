// Softmax cross-entropy on a GPU; reference.py holds the contract. Memory is contiguous (N, K, P). Computed in double.
typedef NUMBER T;  // float or double: -DNUMBER=float

// Twin of _softmax_cross_entropy_py: each thread walks over the classes of one pixel, twice.
extern "C" __global__ void softmax_cross_entropy(const T* __restrict__ logits, const long long* __restrict__ target,
                                                 const T* __restrict__ pixel_weight, T* __restrict__ losses,
                                                 double* __restrict__ log_sum_exp, int classes, int pixels,
                                                 long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const T* of_pixel = logits + i / pixels * classes * pixels + i % pixels;
  T largest = of_pixel[0];
  for (int k = 1; k < classes; k++) {
    const T logit = of_pixel[(long long)k * pixels];
    if (logit > largest) largest = logit;
  }
  double total = 0, true_logit = nan("");
  for (int k = 0; k < classes; k++) {
    const double shifted = (double)of_pixel[(long long)k * pixels] - (double)largest;
    total += exp(shifted);
    if (k == target[i]) true_logit = shifted;
  }
  const double log_sum = log(total);
  log_sum_exp[i] = largest + log_sum;
  const T weight = pixel_weight[i];
  losses[i] = weight != 0 ? (T)(weight * (log_sum - true_logit)) : 0;
}

// Twin of _softmax_cross_entropy_grad_py: each thread writes the gradient of one logit.
extern "C" __global__ void softmax_cross_entropy_grad(const T* __restrict__ grad_losses, const T* __restrict__ logits,
                                                      const long long* __restrict__ target,
                                                      const T* __restrict__ pixel_weight,
                                                      const double* __restrict__ log_sum_exp,
                                                      T* __restrict__ grad_logits, int classes, int pixels,
                                                      long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int k = i / pixels % classes;
  const long long pixel = i / ((long long)classes * pixels) * pixels + i % pixels;
  const T weight = pixel_weight[pixel];
  const double softmax = exp(logits[i] - log_sum_exp[pixel]), onehot = k == target[pixel] ? 1 : 0;
  grad_logits[i] = weight != 0 ? (T)(weight * grad_losses[pixel] * (softmax - onehot)) : 0;
}
