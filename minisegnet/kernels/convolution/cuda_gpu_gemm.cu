// Convolution as a matrix product that never builds its matrix (implicit GEMM; Chetlur et al., 2014, section 3), on a GPU.
//
// All three directions are one product, left (rows x depth) times right (depth x columns), of which a block of threads makes
// a tile of 64 x 64 numbers. Sixteen steps of the depth at a time come into shared memory, where each number is read 64
// times; while they are multiplied, the next sixteen are on their way (asynchronous copies). Where a number lies is worked out
// by sixteen threads, one for each step of the depth, and by each thread for its column: the sum of both is a place in the image.
//
//                          rows             columns               depth
//   conv2d                 output channels  pixels of the output  input channels and places under the kernel
//   its grad_input         input channels   pixels of the input   output channels and places under the kernel
//   its grad_weight        output channels  weights of a channel  pixels of the output, in slices
//
// TENSOR_CORES=1: a warp multiplies 16 x 8 by 8 x 8 numbers at once, rounded to TF32 (10 bits behind the point).
// TENSOR_CORES=0: each thread multiplies and adds 4 x 4 sums in float32. Each sum has one order: the same bits at every run.
// What lies beyond the border is a zero that is multiplied too: a weight that is not finite shows there.
typedef float T;
#ifndef TENSOR_CORES
#define TENSOR_CORES 1
#endif

constexpr int TILE = 64, DEPTH = 16;
// A line of shared memory has 72 numbers: the four lanes of a fragment's column read lines 8 banks apart, the eight of its row
// neighbours, so 32 lanes meet 32 banks.
constexpr int LINE = TILE + 8;

struct Place {  // of one step of the depth
  long long left, right;  // where its numbers begin
  int y, x;               // what it adds to a column's place in the image
};

struct Tiles {
  T left[2][DEPTH][LINE], right[2][DEPTH][LINE];
  Place places[2][DEPTH];
};

struct Column {
  long long start;  // of its image's first plane
  int y, x;
};

// Bring one step's sixteen rows and columns on their way to shared memory, with zeros for what does not exist.
template <bool DIVIDES>
__device__ __forceinline__ void fill(Tiles& tiles, int half, const T* left, long long left_row, int row, int rows, const T* right,
                                     const Column& mine, bool exists, int depth, int last, int height, int width, int stride_h,
                                     int stride_w) {
  const int thread = threadIdx.x, k = thread % DEPTH;
  for (int i = 0; i < TILE * DEPTH / THREADS; i++) {
    const int r = thread / DEPTH + i * (THREADS / DEPTH);
    bool inside = depth + k < last;
    if (row + r >= rows) inside = false;
    const T* from = left + (inside ? (row + r) * left_row + tiles.places[half][k].left : 0);
    copy_async<4>(&tiles.left[half][k][r], from, inside);
  }
  const int c = thread % TILE;
  for (int i = 0; i < TILE * DEPTH / THREADS; i++) {
    const int step = thread / TILE + i * (THREADS / TILE);
    const Place& place = tiles.places[half][step];
    int y = mine.y + place.y, x = mine.x + place.x;
    bool inside = exists && depth + step < last;
    if (y < 0 || x < 0) inside = false;
    if (DIVIDES) {  // a stride that was walked by: only some places were met
      if (y % stride_h || x % stride_w) inside = false;
      y /= stride_h;
      x /= stride_w;
    }
    if (y >= height || x >= width) inside = false;
    const T* from = right + (inside ? mine.start + place.right + (long long)y * width + x : 0);
    copy_async<4>(&tiles.right[half][step][c], from, inside);
  }
}

// Make one tile: `at(k, place)` says where a step of the depth lies, `put(row, column, sum)` takes the results.
template <bool DIVIDES, class At, class Put>
__device__ __forceinline__ void multiply(Tiles& tiles, const T* left, long long left_row, int row, int rows, const T* right,
                                         const Column& mine, long long column, long long columns, int first, int last, int height,
                                         int width, int stride_h, int stride_w, At at, Put put) {
  const int thread = threadIdx.x, steps = (last - first + DEPTH - 1) / DEPTH;
  const bool exists = column + thread % TILE < columns;
  if (thread < DEPTH) {
    at(min(first + thread, last - 1), tiles.places[0][thread]);
    at(min(first + DEPTH + thread, last - 1), tiles.places[1][thread]);
  }
  __syncthreads();
  fill<DIVIDES>(tiles, 0, left, left_row, row, rows, right, mine, exists, first, last, height, width, stride_h, stride_w);
  copy_async_commit();
#if TENSOR_CORES
  const int lane = thread % 32, group = lane / 4, member = lane % 4, warp = thread / 32;
  const int r0 = warp % 2 * 32 + group, c0 = warp / 2 * 16;  // a warp makes 32 x 16 numbers: 2 x 2 fragments
  T sums[2][2][4] = {};
#else
  const int r0 = thread / 16 * 4, c0 = thread % 16 * 4;
  T sums[4][4] = {};
#endif
  for (int step = 0; step < steps; step++) {
    const int half = step % 2, next = first + (step + 1) * DEPTH;
    __syncthreads();  // nobody reads the other half any more, and its places are known
    if (next < last) {
      fill<DIVIDES>(tiles, 1 - half, left, left_row, row, rows, right, mine, exists, next, last, height, width, stride_h, stride_w);
    }
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();  // this half is there, of all threads
    if (thread < DEPTH) at(min(next + DEPTH + thread, last - 1), tiles.places[half][thread]);
#if TENSOR_CORES
    for (int k = member; k < DEPTH; k += 8) {
      unsigned a[2][4], b[2][2];
      for (int i = 0; i < 2; i++) {
        a[i][0] = to_tf32(tiles.left[half][k][r0 + 16 * i]), a[i][1] = to_tf32(tiles.left[half][k][r0 + 16 * i + 8]);
        a[i][2] = to_tf32(tiles.left[half][k + 4][r0 + 16 * i]), a[i][3] = to_tf32(tiles.left[half][k + 4][r0 + 16 * i + 8]);
        b[i][0] = to_tf32(tiles.right[half][k][c0 + 8 * i + group]);
        b[i][1] = to_tf32(tiles.right[half][k + 4][c0 + 8 * i + group]);
      }
      for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) mma_m16n8k8(sums[i][j], a[i], b[j]);
    }
#else
    for (int k = 0; k < DEPTH; k++)
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) sums[i][j] += tiles.left[half][k][r0 + i] * tiles.right[half][k][c0 + j];
#endif
  }
#if TENSOR_CORES
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++)
      for (int q = 0; q < 4; q++) {
        const int r = row + r0 + 16 * i + q / 2 * 8;
        const long long c = column + c0 + 8 * j + 2 * member + q % 2;
        if (r < rows && c < columns) put(r, c, sums[i][j][q]);
      }
#else
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++)
      if (row + r0 + i < rows && column + c0 + j < columns) put(row + r0 + i, column + c0 + j, sums[i][j]);
#endif
}

// Twin of conv2d (cuda_gpu.cu). `count`: pixels of all outputs.
extern "C" __global__ void __launch_bounds__(THREADS) conv2d_gemm(
    const T* __restrict__ input, const T* __restrict__ weight, const T* __restrict__ start, T* __restrict__ output, int channels,
    int height, int width, int outputs, int out_height, int out_width, int kernel_height, int kernel_width, int stride_h,
    int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int groups, T floor, long long count) {
  __shared__ Tiles tiles;
  const int group_channels = channels / groups, group_outputs = outputs / groups, taps = kernel_height * kernel_width;
  const int tiles_down = (group_outputs + TILE - 1) / TILE, area = height * width, out_area = out_height * out_width;
  const int row = blockIdx.x % tiles_down * TILE, group = blockIdx.x / tiles_down % groups;
  const long long column = (long long)(blockIdx.x / tiles_down / groups) * TILE, pixel = min(column + threadIdx.x % TILE, count - 1);
  const int oy = pixel % out_area / out_width, ox = pixel % out_width, depth = group_channels * taps;
  const Column mine = {(pixel / out_area * channels + group * group_channels) * area, oy * stride_h - padding_h,
                       ox * stride_w - padding_w};
  multiply<false>(
      tiles, weight + (long long)group * group_outputs * depth, depth, row, group_outputs, input, mine, column, count, 0, depth,
      height, width, 1, 1,
      [&](int k, Place& place) {
        const int tap = k % taps;
        place.left = k;
        place.right = (long long)(k / taps) * area;
        place.y = tap / kernel_width * dilation_h;
        place.x = tap % kernel_width * dilation_w;
      },
      [&](int r, long long c, T sum) {
        const int o = group * group_outputs + r;
        const T value = sum + start[o];
        output[(c / out_area * outputs + o) * out_area + c % out_area] = value <= floor ? floor : value;
      });
}

// Twin of conv2d_grad_input (cuda_gpu.cu). `count`: pixels of all inputs.
extern "C" __global__ void __launch_bounds__(THREADS) conv2d_grad_input_gemm(
    const T* __restrict__ grad_output, const T* __restrict__ weight, T* __restrict__ grad_input, int channels, int height, int width,
    int outputs, int out_height, int out_width, int kernel_height, int kernel_width, int stride_h, int stride_w, int padding_h,
    int padding_w, int dilation_h, int dilation_w, int groups, long long count) {
  __shared__ Tiles tiles;
  const int group_channels = channels / groups, group_outputs = outputs / groups, taps = kernel_height * kernel_width;
  const int tiles_down = (group_channels + TILE - 1) / TILE, area = height * width, out_area = out_height * out_width;
  const int row = blockIdx.x % tiles_down * TILE, group = blockIdx.x / tiles_down % groups;
  const long long column = (long long)(blockIdx.x / tiles_down / groups) * TILE, pixel = min(column + threadIdx.x % TILE, count - 1);
  const int y = pixel % area / width, x = pixel % width, depth = group_outputs * taps;
  const Column mine = {(pixel / area * outputs + group * group_outputs) * out_area, y + padding_h, x + padding_w};
  multiply<true>(
      tiles, weight + (long long)group * group_outputs * group_channels * taps, taps, row, group_channels, grad_output, mine, column,
      count, 0, depth, out_height, out_width, stride_h, stride_w,
      [&](int k, Place& place) {
        const int o = k / taps, tap = k % taps;
        place.left = (long long)o * group_channels * taps + tap;
        place.right = (long long)o * out_area;
        place.y = -(tap / kernel_width * dilation_h);
        place.x = -(tap % kernel_width * dilation_w);
      },
      [&](int r, long long c, T sum) {
        grad_input[(c / area * channels + group * group_channels + r) * area + c % area] = sum;
      });
}

// Twin of conv2d_grad_weight (cuda_gpu.cu): each slice of the output's pixels makes sums of its own. `count`: those pixels.
extern "C" __global__ void __launch_bounds__(THREADS) conv2d_grad_weight_gemm(
    const T* __restrict__ grad_output, const T* __restrict__ input, T* __restrict__ sums, int channels, int height, int width,
    int outputs, int out_height, int out_width, int kernel_height, int kernel_width, int stride_h, int stride_w, int padding_h,
    int padding_w, int dilation_h, int dilation_w, int groups, int slice, long long count) {
  __shared__ Tiles tiles;
  const int group_channels = channels / groups, group_outputs = outputs / groups, taps = kernel_height * kernel_width;
  const int area = height * width, out_area = out_height * out_width, weights = group_channels * taps;
  const int tiles_down = (group_outputs + TILE - 1) / TILE, tiles_across = (weights + TILE - 1) / TILE;
  const int row = blockIdx.x % tiles_down * TILE, column = blockIdx.x / tiles_down % tiles_across * TILE;
  const int group = blockIdx.x / tiles_down / tiles_across % groups, part = blockIdx.x / tiles_down / tiles_across / groups;
  const int own = min(column + (int)threadIdx.x % TILE, weights - 1), tap = own % taps;
  const Column mine = {(long long)(group * group_channels + own / taps) * area, tap / kernel_width * dilation_h,
                       tap % kernel_width * dilation_w};
  const int first = part * slice, last = min(first + (long long)slice, count);
  multiply<false>(
      tiles, grad_output + (long long)group * group_outputs * out_area, out_area, row, group_outputs, input, mine, column, weights,
      first, last, height, width, 1, 1,
      [&](int k, Place& place) {
        const int n = k / out_area, pixel = k % out_area;
        place.left = (long long)n * outputs * out_area + pixel;
        place.right = (long long)n * channels * area;
        place.y = pixel / out_width * stride_h - padding_h;
        place.x = pixel % out_width * stride_w - padding_w;
      },
      [&](int r, long long c, T sum) {
        sums[((long long)part * outputs + group * group_outputs + r) * weights + c] = sum;
      });
}

// The slices' sums, added up in order. `count`: numbers of the weight.
extern "C" __global__ void add_slices(const T* __restrict__ sums, T* __restrict__ grad_weight, int slices, long long count) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  double total = 0;
  for (int slice = 0; slice < slices; slice++) total += sums[slice * count + i];
  grad_weight[i] = (T)total;
}
