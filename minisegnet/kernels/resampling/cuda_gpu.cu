// Bilinear resizing and its adjoint on a GPU, one thread for each number of the result; reference.py holds the contract.
// Memory is contiguous (N, C, H, W); where each row and column is read, and by which weights, taps.py has worked out.
typedef NUMBER T;  // float or double: -DNUMBER=float

// Twin of _resize_bilinear_py: each thread mixes two rows at the left and at the right, then those two.
extern "C" __global__ void resize_bilinear(const T* __restrict__ input, const long long* __restrict__ top,
                                           const long long* __restrict__ bottom, const T* __restrict__ of_top,
                                           const T* __restrict__ of_bottom, const long long* __restrict__ left,
                                           const long long* __restrict__ right, const T* __restrict__ of_left,
                                           const T* __restrict__ of_right, T* __restrict__ output, int height, int width,
                                           int out_height, int out_width, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int x = i % out_width, y = i / out_width % out_height;
  const T* plane = input + i / ((long long)out_width * out_height) * height * width;
  const T *above = plane + top[y] * width, *below = plane + bottom[y] * width;
  const T before = of_top[y] * above[left[x]] + of_bottom[y] * below[left[x]];
  const T after = of_top[y] * above[right[x]] + of_bottom[y] * below[right[x]];
  output[i] = of_left[x] * before + of_right[x] * after;
}

// Twin of _resize_bilinear_grad_py: each thread adds up what the readers of its pixel have got, which are neighbours.
extern "C" __global__ void resize_bilinear_grad(const T* __restrict__ grad_output, const long long* __restrict__ top,
                                                const T* __restrict__ of_top, const T* __restrict__ of_bottom,
                                                const long long* __restrict__ first_row,
                                                const long long* __restrict__ stop_row,
                                                const long long* __restrict__ left, const T* __restrict__ of_left,
                                                const T* __restrict__ of_right,
                                                const long long* __restrict__ first_column,
                                                const long long* __restrict__ stop_column, T* __restrict__ grad_input,
                                                int height, int width, int out_height, int out_width, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int x = i % width, y = i / width % height;
  const T* plane = grad_output + i / ((long long)width * height) * out_height * out_width;
  T pixel = 0;
  for (int column = first_column[x]; column < stop_column[x]; column++) {
    T line = 0;
    for (int row = first_row[y]; row < stop_row[y]; row++)
      line += (top[row] == y ? of_top[row] : of_bottom[row]) * plane[(long long)row * out_width + column];
    pixel += (left[column] == x ? of_left[column] : of_right[column]) * line;
  }
  grad_input[i] = pixel;
}
