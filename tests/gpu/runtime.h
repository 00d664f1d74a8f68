// What emulate.h, compiled with each kernel, asks of runtime.cpp, which is compiled without the reports of loads and stores.
#pragma once
struct Index3 {
  unsigned x, y, z;
};
extern "C" {
Index3 emulate_thread_index();
Index3 emulate_block_index();
Index3 emulate_block_size();
Index3 emulate_grid_size();
int emulate_thread_number();
void* emulate_dynamic_shared();
void emulate_block_barrier(int line);
void emulate_exchange(unsigned mask, int line, const void* value, void* of_all_lanes, int size);
void emulate_copy_async(void* to, const void* from, int size, bool inside);
void emulate_copy_commit();
void emulate_copy_wait(int groups);
[[noreturn]] void emulate_fail(const char* what);
}
static inline void emulate_warp_barrier(int line, unsigned mask = 0xffffffffu) {
  char nothing = 0, all[32];
  emulate_exchange(mask, line, &nothing, all, 1);
}
