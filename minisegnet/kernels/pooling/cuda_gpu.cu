// Max-pooling and its two companions on a GPU; reference.py holds the contract. Memory is contiguous (N, C, H, W).
typedef NUMBER T;  // float or double: -DNUMBER=float

// Return whether scatter_in_windows has written a plane, and no row of values had a stray.
__device__ bool written_in_windows(const int* strays, int windows, long long plane) {
  int found = windows == 0;
  for (int row = 0; row < windows; row++) found += strays[plane * windows + row];
  return found == 0;
}

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

// What _scatter_to_plane_py can do without: each thread looks for the first and the last place that a row of values goes to,
// so that few rows need be read again.
extern "C" __global__ void row_bounds(const long long* __restrict__ indices, const int* __restrict__ strays,
                                      long long* __restrict__ bounds, int windows, int out_height, int out_width, int size,
                                      long long count) {
  const long long row = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= count) return;
  if (written_in_windows(strays, windows, row / out_height)) return;
  long long lowest = size, highest = -1;
  for (int x = 0; x < out_width; x++) {
    const long long place = indices[row * out_width + x];
    if (place < 0 || place >= size) continue;
    if (place < lowest) lowest = place;
    if (place > highest) highest = place;
  }
  bounds[2 * row] = lowest;
  bounds[2 * row + 1] = highest;
}

// Twin of _scatter_to_plane_py: each thread writes one row of a plane, value after value, so that sums have one order; it
// reads the rows of values that have something for it. Planes that scatter_in_windows has written well are left alone.
extern "C" __global__ void scatter_to_plane(const T* __restrict__ values, const long long* __restrict__ indices,
                                            const int* __restrict__ strays, const long long* __restrict__ bounds,
                                            T* __restrict__ planes, int windows, int height, int width, int out_height,
                                            int out_width, int accumulate, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  if (written_in_windows(strays, windows, i / height)) return;
  const long long first = i % height * width, stop = first + width;
  T* plane = planes + i / height * height * width;
  for (long long j = first; j < stop; j++) plane[j] = 0;
  for (int oy = 0; oy < out_height; oy++) {
    const long long row = i / height * out_height + oy;
    if (bounds[2 * row + 1] < first || bounds[2 * row] >= stop) continue;
    for (int ox = 0; ox < out_width; ox++) {
      const long long place = indices[row * out_width + ox];
      if (place < first || place >= stop) continue;
      plane[place] = (accumulate ? plane[place] : 0) + values[row * out_width + ox];
    }
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
