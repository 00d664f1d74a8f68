// Convolution on a GPU, one thread for each number of the result; reference.py holds the contract.
//
// The loops of the reference's formula, as they are: all threads do the same with other numbers. Memory is contiguous
// (N, C, H, W).
typedef NUMBER T;  // float or double: -DNUMBER=float

// Twin of conv2d (numba_cpu_shifts.py): each thread sums what the kernel meets at one place; below `floor` becomes floor.
extern "C" __global__ void conv2d(const T* __restrict__ input, const T* __restrict__ weight, const T* __restrict__ start,
                                  T* __restrict__ output, int channels, int height, int width, int outputs, int out_height,
                                  int out_width, int kernel_height, int kernel_width, int stride_h, int stride_w,
                                  int padding_h, int padding_w, int dilation_h, int dilation_w, int groups, T floor,
                                  long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int ox = i % out_width, oy = i / out_width % out_height;
  const int o = i / ((long long)out_width * out_height) % outputs;
  const long long n = i / ((long long)out_width * out_height * outputs);
  const int group_channels = channels / groups, first = o / (outputs / groups) * group_channels;
  T value = start[o];
  for (int c = 0; c < group_channels; c++) {
    const T* plane = input + (n * channels + first + c) * height * width;
    const T* taps = weight + ((long long)o * group_channels + c) * kernel_height * kernel_width;
    for (int ky = 0; ky < kernel_height; ky++) {
      const int y = oy * stride_h - padding_h + ky * dilation_h;
      if (y < 0 || y >= height) continue;
      for (int kx = 0; kx < kernel_width; kx++) {
        const int x = ox * stride_w - padding_w + kx * dilation_w;
        if (x < 0 || x >= width) continue;
        value += taps[ky * kernel_width + kx] * plane[(long long)y * width + x];
      }
    }
  }
  output[i] = value <= floor ? floor : value;  // so written, a NaN stays
}

// Twin of conv2d_grad_input (numba_cpu_shifts.py): each thread asks which outputs have read its pixel, and by which weight.
extern "C" __global__ void conv2d_grad_input(const T* __restrict__ grad_output, const T* __restrict__ weight,
                                             T* __restrict__ grad_input, int channels, int height, int width, int outputs,
                                             int out_height, int out_width, int kernel_height, int kernel_width,
                                             int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h,
                                             int dilation_w, int groups, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int x = i % width, y = i / width % height;
  const int c = i / ((long long)width * height) % channels;
  const long long n = i / ((long long)width * height * channels);
  const int group_channels = channels / groups, group_outputs = outputs / groups, group = c / group_channels;
  T value = 0;
  for (int o = group * group_outputs; o < (group + 1) * group_outputs; o++) {
    const T* plane = grad_output + (n * outputs + o) * out_height * out_width;
    const T* taps = weight + ((long long)o * group_channels + c % group_channels) * kernel_height * kernel_width;
    for (int ky = 0; ky < kernel_height; ky++) {
      const int top = y + padding_h - ky * dilation_h, oy = top / stride_h;
      if (top < 0 || top % stride_h || oy >= out_height) continue;
      for (int kx = 0; kx < kernel_width; kx++) {
        const int left = x + padding_w - kx * dilation_w, ox = left / stride_w;
        if (left < 0 || left % stride_w || ox >= out_width) continue;
        value += taps[ky * kernel_width + kx] * plane[(long long)oy * out_width + ox];
      }
    }
  }
  grad_input[i] = value;
}

// Twin of conv2d_grad_weight (numba_cpu_shifts.py): each thread walks over all the places at which its weight was used.
// A row is summed up in T, the rows in double, as there may be a million places.
extern "C" __global__ void conv2d_grad_weight(const T* __restrict__ grad_output, const T* __restrict__ input,
                                              T* __restrict__ grad_weight, int batch, int channels, int height, int width,
                                              int outputs, int out_height, int out_width, int kernel_height,
                                              int kernel_width, int stride_h, int stride_w, int padding_h, int padding_w,
                                              int dilation_h, int dilation_w, int groups, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int group_channels = channels / groups;
  const int kx = i % kernel_width, ky = i / kernel_width % kernel_height;
  const int c = i / (kernel_width * kernel_height) % group_channels;
  const int o = i / ((long long)kernel_width * kernel_height * group_channels);
  const int channel = o / (outputs / groups) * group_channels + c;
  double total = 0;
  for (int n = 0; n < batch; n++) {
    const T* plane = input + ((long long)n * channels + channel) * height * width;
    const T* grads = grad_output + ((long long)n * outputs + o) * out_height * out_width;
    for (int oy = 0; oy < out_height; oy++) {
      const int y = oy * stride_h - padding_h + ky * dilation_h;
      if (y < 0 || y >= height) continue;
      T row = 0;
      for (int ox = 0; ox < out_width; ox++) {
        const int x = ox * stride_w - padding_w + kx * dilation_w;
        if (x < 0 || x >= width) continue;
        row += grads[(long long)oy * out_width + ox] * plane[(long long)y * width + x];
      }
      total += row;
    }
  }
  grad_weight[i] = (T)total;
}
