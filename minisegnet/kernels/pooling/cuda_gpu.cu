// Max-pooling and its two companions on a GPU; reference.py holds the contract. Memory is contiguous (N, C, H, W).
typedef NUMBER T;  // float or double: -DNUMBER=float

// Twin of _window_py: each thread looks through one window, tap by tap.
extern "C" __global__ void max_pool2d(const T* __restrict__ input, T* __restrict__ values, long long* __restrict__ indices,
                                      int height, int width, int out_height, int out_width, int kernel_height,
                                      int kernel_width, int stride_h, int stride_w, int padding_h, int padding_w,
                                      int dilation_h, int dilation_w, T nothing, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int ox = i % out_width, oy = i / out_width % out_height;
  const T* plane = input + i / ((long long)out_width * out_height) * height * width;
  T best = nothing;
  long long place = -1;
  for (int kh = 0; kh < kernel_height; kh++) {
    const int y = oy * stride_h - padding_h + kh * dilation_h;
    if (y < 0 || y >= height) continue;
    for (int kw = 0; kw < kernel_width; kw++) {
      const int x = ox * stride_w - padding_w + kw * dilation_w;
      if (x < 0 || x >= width) continue;
      const long long here = (long long)y * width + x;
      const T v = plane[here];
      if (place < 0 || v > best || v != v) best = v, place = here;  // a NaN wins
    }
  }
  values[i] = best;
  indices[i] = place;
}

// Twin of _scatter_in_windows_py: each thread writes the 2x2 windows that a row of values comes from, and counts those that
// do not come from their own: if there are such, scatter_to_plane does all of the plane again.
extern "C" __global__ void scatter_in_windows(const T* __restrict__ values, const long long* __restrict__ indices,
                                              T* __restrict__ planes, int* __restrict__ strays, int out_height,
                                              int out_width, long long count) {
  const long long row = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= count) return;
  const int y = row % out_height, width = 2 * out_width;
  T* plane = planes + row / out_height * 4 * out_height * out_width;
  int found = 0;
  for (int x = 0; x < out_width; x++) {
    const T value = values[row * out_width + x];
    const long long index = indices[row * out_width + x], first = 2LL * y * width + 2 * x;
    found += index != first && index != first + 1 && index != first + width && index != first + width + 1;
    for (int below = 0; below < 2; below++)
      for (int beside = 0; beside < 2; beside++) {
        const long long here = first + below * width + beside;
        plane[here] = index == here ? value : 0;
      }
  }
  strays[row] = found;
}

// Twin of _scatter_to_plane_py: each thread writes one plane, value after value, so that sums have one order. With
// `windows` rows it has been written by scatter_in_windows, and stands if no row had a stray.
extern "C" __global__ void scatter_to_plane(const T* __restrict__ values, const long long* __restrict__ indices,
                                            const int* __restrict__ strays, T* __restrict__ planes, int windows, int places,
                                            int size, int accumulate, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  if (windows) {
    int found = 0;
    for (int row = 0; row < windows; row++) found += strays[i * windows + row];
    if (!found) return;
  }
  T* plane = planes + i * size;
  for (int j = 0; j < size; j++) plane[j] = 0;
  for (int j = 0; j < places; j++) {
    const long long place = indices[i * places + j];
    if (place < 0 || place >= size) continue;
    plane[place] = (accumulate ? plane[place] : 0) + values[i * places + j];
  }
}

// Twin of _gather_from_plane_py: each thread reads one place.
extern "C" __global__ void gather_from_plane(const T* __restrict__ planes, const long long* __restrict__ indices,
                                             T* __restrict__ values, int size, int places, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const long long place = indices[i];
  values[i] = place < 0 || place >= size ? 0 : planes[i / places * size + place];
}
