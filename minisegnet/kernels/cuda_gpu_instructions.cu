// The instructions of NVIDIA's GPUs (compute capability 8.0 and up) that C++ has no words for, a function each; put before
// a kernel's source. The emulation of the tests brings functions of the same names (tests/gpu/emulate.h), which do what the
// PTX manual says, lane by lane.
#ifndef EMULATED

// Round to the nearest number with 10 bits behind the point, halves away from zero (cvt.rna, "Data Movement" in the manual).
__device__ __forceinline__ unsigned to_tf32(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

// sums += a b for a 16x8 times an 8x8 matrix, spread over the lanes of a warp ("Matrix Fragments for mma.m16n8k8"): with
// group = lane / 4 and member = lane % 4, a lane holds of a the rows group and group + 8 in column member (0, 1) and in
// column member + 4 (2, 3), of b the rows member and member + 4 in column group, and of the sums the columns 2 member and
// 2 member + 1 in row group (0, 1) and in row group + 8 (2, 3).
__device__ __forceinline__ void mma_m16n8k8(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Begin to copy SIZE bytes (4, 8 or 16, both addresses multiples of it) to shared memory, or as many zeros where `inside`
// is false; `from_global` must be a valid address all the same. They are there after copy_async_wait and a barrier.
template <int SIZE>
__device__ __forceinline__ void copy_async(void* to_shared, const void* from_global, bool inside) {
  const unsigned to = (unsigned)__cvta_generic_to_shared(to_shared);
  const int bytes = inside ? SIZE : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from_global), "n"(SIZE), "r"(bytes) : "memory");
}

// Close the group of the copies begun since the last one.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait until at most the last GROUPS groups of this thread are on their way.
template <int GROUPS>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
}

#endif
