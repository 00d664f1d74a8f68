// What a .cu file finds in place of a GPU: CUDA's words, for g++. The blocks' threads are run by runtime.cpp.
//
// Every load and store of the kernel is reported to runtime.cpp: g++ puts the calls there (-fsanitize=thread, without its
// library). So this header need not know anything about pointers, and a kernel is compiled as it is written.
#pragma once
#define EMULATED 1

#include "runtime.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__ __attribute__((noinline))
#define __device__ static inline
#define __forceinline__
#define __noinline__
#define __host__
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("shared_memory"), aligned(16)))
#define __constant__ static const
#define __align__(n) __attribute__((aligned(n)))

// Functions, so that reading an index is no load that would be reported.
#define threadIdx emulate_thread_index()
#define blockIdx emulate_block_index()
#define blockDim emulate_block_size()
#define gridDim emulate_grid_size()
#define warpSize 32

#define __syncthreads() emulate_block_barrier(__LINE__)
#define __syncwarp(...) emulate_warp_barrier(__LINE__ __VA_OPT__(,) __VA_ARGS__)
#define __shfl_sync(mask, value, lane) emulate_shuffle(mask, value, (int)(lane), 0, __LINE__)
#define __shfl_xor_sync(mask, value, lanes) emulate_shuffle(mask, value, (int)(lanes), 1, __LINE__)
#define __shfl_down_sync(mask, value, lanes) emulate_shuffle(mask, value, (int)(lanes), 2, __LINE__)
#define __shfl_up_sync(mask, value, lanes) emulate_shuffle(mask, value, (int)(lanes), 3, __LINE__)
#define __ballot_sync(mask, predicate) emulate_ballot(mask, predicate, __LINE__)
#define __any_sync(mask, predicate) (emulate_ballot(mask, predicate, __LINE__) != 0)
#define __all_sync(mask, predicate) (emulate_ballot(mask, !(predicate), __LINE__) == 0)

// What the results depend on the order of: there is no place for it in kernels whose results are compared.
template <class... Any>
static int emulate_atomic(Any...) {
  emulate_fail("an atomic operation: the result would depend on the order of the threads");
  return 0;
}
#define atomicAdd emulate_atomic
#define atomicMax emulate_atomic
#define atomicMin emulate_atomic
#define atomicCAS emulate_atomic
#define atomicExch emulate_atomic

template <class T, int N>
struct alignas(sizeof(T) * N) Vector;
template <class T>
struct alignas(sizeof(T) * 2) Vector<T, 2> {
  T x, y;
};
template <class T>
struct alignas(sizeof(T) * 4) Vector<T, 4> {
  T x, y, z, w;
};
typedef Vector<float, 2> float2;
typedef Vector<float, 4> float4;
typedef Vector<int, 2> int2;
typedef Vector<int, 4> int4;
struct alignas(16) double2 {
  double x, y;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <class T>
static inline T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
static inline T max(T a, T b) {
  return a < b ? b : a;
}
template <class T>
static inline T __ldg(const T* p) {
  return *p;
}
using std::exp;
using std::fabs;
using std::fma;
using std::fmax;
using std::fmin;
using std::isfinite;
using std::isinf;
using std::isnan;
using std::log;
using std::sqrt;
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
template <class To, class From>
static inline To emulate_bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "the same number of bits");
  To bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
static inline unsigned __float_as_uint(float x) { return emulate_bits<unsigned>(x); }
static inline float __uint_as_float(unsigned x) { return emulate_bits<float>(x); }
static inline int __float_as_int(float x) { return emulate_bits<int>(x); }
static inline float __int_as_float(int x) { return emulate_bits<float>(x); }

static inline int emulate_lane() { return emulate_thread_number() & 31; }

template <class T>
static inline T emulate_shuffle(unsigned mask, T value, int lane, int how, int line) {
  T all[32];
  emulate_exchange(mask, line, &value, all, sizeof value);
  const int me = emulate_lane();
  const int from = how == 0 ? lane & 31 : how == 1 ? me ^ lane : how == 2 ? me + lane : me - lane;
  if (from < 0 || from > 31) return value;
  if (!(mask >> from & 1)) emulate_fail("a shuffle reads a lane that its mask leaves out");
  return all[from];
}

static inline unsigned emulate_ballot(unsigned mask, bool predicate, int line) {
  unsigned char mine = predicate, all[32];
  emulate_exchange(mask, line, &mine, all, 1);
  unsigned votes = 0;
  for (int lane = 0; lane < 32; lane++)
    if (mask >> lane & 1 && all[lane]) votes |= 1u << lane;
  return votes;
}

// The instructions of kernels/cuda_gpu_instructions.cu, as the PTX manual lays them out.

// cvt.rna.tf32.f32: to the nearest number with 10 bits behind the point, halves away from zero.
static inline unsigned to_tf32(float x) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits & 0x007fffffu ? 0x7fffffffu : bits;
  return (bits + 0x1000u) & 0xffffe000u;
}

// mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32: sums += a b for a 16x8 times an 8x8 matrix, spread over the lanes:
// with group = lane / 4 and member = lane % 4, a lane holds of a the rows group and group + 8 in the columns member and
// member + 4 (a0, a1 the first column, a2, a3 the second), of b the rows member and member + 4 in column group, and of the
// sums the columns 2 member and 2 member + 1 in row group (0, 1) and in row group + 8 (2, 3). What a register holds beyond
// TF32's 19 bits is not read.
#define mma_m16n8k8(sums, a, b) emulate_mma(sums, a, b, __LINE__)
static inline void emulate_mma(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line) {
  unsigned mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]}, all[32][6];
  emulate_exchange(0xffffffffu, line, mine, all, sizeof mine);
  const int group = emulate_lane() / 4, member = emulate_lane() % 4;
  for (int i = 0; i < 4; i++) {
    const int row = group + i / 2 * 8, column = 2 * member + i % 2;
    float sum = sums[i];
    for (int k = 0; k < 8; k++) {
      const unsigned left = all[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2], right = all[column * 4 + k % 4][4 + k / 4];
      sum += __uint_as_float(left & 0xffffe000u) * __uint_as_float(right & 0xffffe000u);
    }
    sums[i] = sum;
  }
}

// cp.async: SIZE bytes begin their way from global to shared memory, or zeros where `inside` is false; they land when the
// thread waits for them, and only then.
template <int SIZE>
static inline void copy_async(void* to_shared, const void* from_global, bool inside) {
  static_assert(SIZE == 4 || SIZE == 8 || SIZE == 16, "cp.async copies 4, 8 or 16 bytes");
  emulate_copy_async(to_shared, from_global, SIZE, inside);
}
static inline void copy_async_commit() { emulate_copy_commit(); }
template <int GROUPS>
static inline void copy_async_wait() {
  emulate_copy_wait(GROUPS);
}

// The linker says where __shared__ variables and this library lie.
extern "C" {
extern char __start_shared_memory[] __attribute__((weak, visibility("hidden")));
extern char __stop_shared_memory[] __attribute__((weak, visibility("hidden")));
extern char __ehdr_start[] __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));
__attribute__((visibility("default"))) void emulate_memory(char** four) {
  four[0] = __start_shared_memory, four[1] = __stop_shared_memory, four[2] = __ehdr_start, four[3] = _end;
}
}
