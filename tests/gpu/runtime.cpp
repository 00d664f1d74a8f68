// Runs the threads of a kernel's blocks on one processor, in shuffled orders, and looks at every load and store.
//
// A thread is a fiber: it runs until it waits (for its block, or its warp) or ends. Each load and store is looked up among
// the kernel's arrays and shared memory; what is found wrong ends the kernel with a sentence that names the place:
// - a place in no array of the kernel, or a write to one that is const;
// - a read of shared memory that no thread of this block has written;
// - two threads at one place, one of them writing, with no barrier between them, in whatever order they ran;
// - a place that an asynchronous copy is still on its way to;
// - a barrier that not all threads reach, or not the same one.
#include "runtime.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr size_t STACK = 1 << 17;

// One access, and when it was: between two accesses lies a barrier if the number of barriers passed differs.
struct Moment {
  uint32_t block;  // number of the block plus 1; 0 for never
  int32_t thread;  // number in the block; below 0 for several: of one warp, of a block, of several blocks
  uint32_t passed, passed_in_warp;
  int32_t warp;
};
enum { OF_A_WARP = -1, OF_A_BLOCK = -2, OF_BLOCKS = -3 };

struct Cell {
  Moment write, read;
  bool copying;
};

struct Region {
  const char* name;
  char* start;
  size_t size;
  size_t granule;  // bytes that are looked at together
  bool writable, shared;
  std::vector<Cell> cells;
};

struct Copy {
  char* to;
  const char* from;
  int size, group;
  bool inside;
};

enum Waiting { READY, FOR_BLOCK, FOR_WARP, DONE };

struct Thread {
  Waiting waiting;
  int fiber, line;
  unsigned mask;
  const void* value;
  void* of_all;
  int size;
  uint32_t passed, passed_in_warp;
  int group;
  std::vector<Copy> copies;
};

struct Fiber {
  ucontext_t context;
  char* stack;
  int thread;
};

std::vector<Fiber*> fibers;
std::vector<int> idle;
std::vector<Thread> threads;
std::vector<int> order;
std::vector<Region> regions;
size_t next_thread, last_region;
ucontext_t scheduler;
int current = -1, block_number;
bool ended_early, in_fiber;
Index3 block_index, block_size, grid_size;
std::vector<char> dynamic_shared;
size_t dynamic_size;
char *image_start, *image_stop;
void (*kernel)(void**);
void** arguments;
char message[1000];
struct Failure {};

Index3 index_of(int thread) {
  const unsigned t = thread, x = block_size.x, y = block_size.y;
  return {t % x, t / x % y, t / (x * y)};
}

std::string place(int thread) {
  char text[200];
  const Index3 t = index_of(thread), b = block_index;
  snprintf(text, sizeof text, "block (%u, %u, %u), thread (%u, %u, %u)", b.x, b.y, b.z, t.x, t.y, t.z);
  return text;
}

[[noreturn]] void fail(const void* code, const char* format, ...) {
  char what[600];
  va_list values;
  va_start(values, format);
  vsnprintf(what, sizeof what, format, values);
  va_end(values);
  Dl_info found;
  const bool known = code && dladdr(code, &found);
  snprintf(message, sizeof message, "%s: %s [%lx]", place(current).c_str(), what,
           known ? (unsigned long)((const char*)code - (const char*)found.dli_fbase) - 1 : 0ul);
  ended_early = true;
  if (!in_fiber) throw Failure();
  setcontext(&scheduler);  // the fiber is not come back to
  abort();
}

void run_fibers_threads() {
  const int me = idle.back();
  idle.pop_back();
  for (;;) {
    while (next_thread < order.size()) {
      current = order[next_thread++];
      fibers[me]->thread = current;
      threads[current].fiber = me;
      kernel(arguments);
      threads[current].waiting = DONE;
    }
    idle.push_back(me);
    swapcontext(&fibers[me]->context, &scheduler);
    idle.pop_back();
  }
}

void new_fiber() {
  Fiber* f = new Fiber;
  f->stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(f->stack, 4096, PROT_NONE);
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack, f->context.uc_stack.ss_size = STACK, f->context.uc_link = nullptr;
  makecontext(&f->context, run_fibers_threads, 0);
  fibers.push_back(f);
  idle.push_back(fibers.size() - 1);
}

void forget_fibers() {
  for (Fiber* f : fibers) munmap(f->stack, STACK), delete f;
  fibers.clear(), idle.clear();
}

void resume(int fiber) {
  in_fiber = true;
  swapcontext(&scheduler, &fibers[fiber]->context);
  in_fiber = false;
  if (ended_early) throw Failure();
}

void suspend() {
  const int me = current;
  swapcontext(&fibers[threads[me].fiber]->context, &scheduler);
  current = me;
}

bool parted(const Moment& before, const Thread& now, int warp) {
  return before.passed < now.passed || (before.warp == warp && before.passed_in_warp < now.passed_in_warp);
}

bool conflict(const Moment& before, bool shared, int warp) {
  if (!before.block) return false;
  if (before.block != (uint32_t)block_number + 1) return !shared;  // shared memory of an earlier block is gone
  if (before.thread == OF_BLOCKS) return true;
  return before.thread != current && !parted(before, threads[current], warp);
}

void check(const char* at, size_t size, bool writes, const void* code) {
  if (current < 0) return;
  const char* stack = fibers[threads[current].fiber]->stack;
  if (at >= stack && at + size <= stack + STACK) return;
  Region* r = nullptr;
  for (size_t i = 0; i < regions.size() && !r; i++) {
    Region& candidate = regions[(last_region + i) % regions.size()];
    if (at >= candidate.start && at + size <= candidate.start + candidate.size) r = &candidate, last_region = r - &regions[0];
  }
  const char* verb = writes ? "writes" : "reads";
  if (!r) {
    if (!writes && at >= image_start && at + size <= image_stop) return;  // constants
    long best = 0;
    const Region* nearest = nullptr;
    for (const Region& c : regions) {
      const long distance = at < c.start ? at - c.start : at + size - (c.start + c.size);
      if (!nearest || labs(distance) < labs(best)) nearest = &c, best = distance;
    }
    if (nearest && labs(best) < 1 << 20)
      fail(code, "%s %zu bytes, %ld bytes %s %s, which has %zu", verb, size, labs(best),
           best < 0 ? "before the start of" : "over the end of", nearest->name, nearest->size);
    fail(code, "%s %zu bytes at %p, far from every array", verb, size, (const void*)at);
  }
  if ((uintptr_t)at % (size & -size)) fail(code, "%s %zu bytes of %s at an odd address", verb, size, r->name);
  if (writes && !r->writable) fail(code, "writes to %s, which is const", r->name);
  if (!r->writable) return;
  Thread& me = threads[current];
  const int warp = current / 32;
  const uint32_t block = block_number + 1;
  for (size_t i = (at - r->start) / r->granule; i <= (at - r->start + size - 1) / r->granule; i++) {
    Cell& c = r->cells[i];
    const long element = i;
    if (r->shared && (c.write.block && c.write.block != block)) c = Cell{};
    if (c.copying) fail(code, "%s shared memory (byte %ld) that an asynchronous copy is still on its way to", verb, element);
    if (!writes && r->shared && !c.write.block) fail(code, "reads shared memory (byte %ld) that was not written", element);
    if (conflict(c.write, r->shared, warp))
      fail(code, "%s %s (%s %ld), which thread number %d of block number %u has written, and no barrier is between them",
           verb, r->name, r->shared ? "byte" : "element", element, c.write.thread, c.write.block - 1);
    if (writes && conflict(c.read, r->shared, warp))
      fail(code, "writes %s (%s %ld), which %s has read, and no barrier is between them", r->name,
           r->shared ? "byte" : "element", element, c.read.thread < 0 ? "more than one thread" : "another thread");
    const Moment now = {block, current, me.passed, me.passed_in_warp, warp};
    if (writes) {
      c.write = now;
    } else if (!c.read.block || (c.read.block == block && c.read.thread != OF_BLOCKS && parted(c.read, me, warp))) {
      c.read = now;
    } else if (c.read.block != block || c.read.thread == OF_BLOCKS) {
      if (r->shared) c.read = now;
      else c.read.thread = OF_BLOCKS;
    } else if (c.read.thread != current) {
      const bool same_warp = c.read.warp == warp && c.read.thread != OF_A_BLOCK;
      c.read = now;
      c.read.thread = same_warp ? OF_A_WARP : OF_A_BLOCK;
      if (!same_warp) c.read.warp = -1;
    }
  }
}

Region* shared_region(const char* at, int size) {
  for (Region& r : regions)
    if (r.shared && at >= r.start && at + size <= r.start + r.size) return &r;
  return nullptr;
}

// Let go on whom nothing holds any more; say whether there was anyone.
bool release_warps() {
  bool any = false;
  const int count = threads.size();
  for (int first = 0; first < count; first += 32) {
    const int stop = std::min(first + 32, count);
    for (int leader = first; leader < stop; leader++) {
      if (threads[leader].waiting != FOR_WARP) continue;
      const Thread& t = threads[leader];
      current = leader;
      if (!(t.mask >> (leader - first) & 1)) fail(nullptr, "line %d: the mask of a warp leaves out a thread that calls", t.line);
      bool all = true;
      for (int lane = 0; lane < 32 && all; lane++) {
        if (!(t.mask >> lane & 1)) continue;
        if (first + lane >= count) continue;  // a warp that the block does not fill
        const Thread& other = threads[first + lane];
        if (other.waiting == DONE) fail(nullptr, "line %d: waits for lane %d of its warp, which has ended", t.line, lane);
        all = other.waiting == FOR_WARP && other.line == t.line && other.mask == t.mask && other.size == t.size;
      }
      if (!all) continue;
      for (int lane = 0; lane < 32; lane++) {
        if (!(t.mask >> lane & 1) || first + lane >= count) continue;
        for (int from = 0; from < 32; from++)
          if (t.mask >> from & 1 && first + from < count)
            memcpy((char*)threads[first + lane].of_all + from * t.size, threads[first + from].value, t.size);
      }
      const unsigned mask = t.mask;
      for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1 && first + lane < count) {
          threads[first + lane].waiting = READY;
          if (mask == 0xffffffffu) threads[first + lane].passed_in_warp++;
        }
      any = true;
    }
  }
  return any;
}

bool release_block() {
  int one = -1;
  for (size_t i = 0; i < threads.size(); i++)
    if (threads[i].waiting != DONE) one = i;
  if (one < 0) return false;
  for (size_t i = 0; i < threads.size(); i++) {
    current = one;
    const Thread &a = threads[one], &b = threads[i];
    const Index3 other = index_of(i);
    const char* what = a.waiting == FOR_BLOCK ? "__syncthreads" : "a warp's barrier or shuffle";
    if (b.waiting == DONE)
      fail(nullptr, "line %d: waits at %s, but thread (%u, %u, %u) has ended", a.line, what, other.x, other.y, other.z);
    if (b.waiting != FOR_BLOCK || a.waiting != FOR_BLOCK || a.line != b.line)
      fail(nullptr, "line %d: waits at %s, but thread (%u, %u, %u) at that of line %d", a.line, what, other.x, other.y,
           other.z, b.line);
  }
  for (Thread& t : threads) t.waiting = READY, t.passed++;
  return true;
}

void run_block(std::mt19937& random) {
  const size_t count = (size_t)block_size.x * block_size.y * block_size.z;
  threads.assign(count, Thread{});
  order.resize(count);
  for (size_t i = 0; i < count; i++) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  next_thread = 0;
  for (Region& r : regions)
    if (r.shared) memset(r.start, 0xff, r.size);  // not a number
  while (next_thread < count) {
    if (idle.empty()) new_fiber();
    resume(idle.back());
  }
  for (;;) {
    const bool released = release_warps() || release_block();
    if (!released) return;
    std::vector<int> ready;
    for (size_t i = 0; i < count; i++)
      if (threads[i].waiting == READY) ready.push_back(i);
    std::shuffle(ready.begin(), ready.end(), random);
    for (int i : ready) resume(threads[i].fiber);
  }
}

void run_grid(unsigned seed) {
  std::mt19937 random(seed);
  const unsigned blocks = grid_size.x * grid_size.y * grid_size.z;
  std::vector<unsigned> sequence(blocks);
  for (unsigned i = 0; i < blocks; i++) sequence[i] = i;
  std::shuffle(sequence.begin(), sequence.end(), random);
  for (unsigned b : sequence) {
    block_number = b;
    block_index = {b % grid_size.x, b / grid_size.x % grid_size.y, b / (grid_size.x * grid_size.y)};
    run_block(random);
  }
}

}  // namespace

extern "C" {

void emulate_memory(char** four);

struct Given {
  const char* name;
  char* start;
  size_t size, granule;
  int writable;
};

#define EXPORTED __attribute__((visibility("default")))

// Run a kernel; return what went wrong, or nothing.
EXPORTED const char* emulate_launch(void (*call)(void**), void** args, const unsigned* grid, const unsigned* block,
                                    size_t shared, const Given* given, int count, unsigned seed) {
  char* four[4];
  emulate_memory(four);
  image_start = four[2], image_stop = four[3];
  kernel = call, arguments = args, ended_early = false, message[0] = 0, last_region = 0;
  grid_size = {grid[0], grid[1], grid[2]}, block_size = {block[0], block[1], block[2]};
  regions.clear();
  for (int i = 0; i < count; i++)
    regions.push_back({given[i].name, given[i].start, given[i].size, given[i].granule, given[i].writable != 0, false,
                       std::vector<Cell>(given[i].writable ? given[i].size / given[i].granule + 1 : 0)});
  if (four[1] > four[0])
    regions.push_back({"shared memory", four[0], (size_t)(four[1] - four[0]), 1, true, true, std::vector<Cell>(four[1] - four[0])});
  dynamic_shared.resize(shared + 16), dynamic_size = shared;
  if (shared)
    regions.push_back({"dynamic shared memory", (char*)emulate_dynamic_shared(), shared, 1, true, true, std::vector<Cell>(shared)});
  try {
    run_grid(seed);
  } catch (Failure&) {
  }
  current = -1;
  if (ended_early) forget_fibers();
  return message;
}

Index3 emulate_thread_index() { return index_of(current); }
Index3 emulate_block_index() { return block_index; }
Index3 emulate_block_size() { return block_size; }
Index3 emulate_grid_size() { return grid_size; }
int emulate_thread_number() { return current; }
void* emulate_dynamic_shared() { return (void*)(((uintptr_t)dynamic_shared.data() + 15) / 16 * 16); }
void emulate_fail(const char* what) { fail(__builtin_return_address(0), "%s", what); }

void emulate_block_barrier(int line) {
  Thread& me = threads[current];
  me.waiting = FOR_BLOCK, me.line = line;
  suspend();
}

void emulate_exchange(unsigned mask, int line, const void* value, void* of_all, int size) {
  Thread& me = threads[current];
  me.waiting = FOR_WARP, me.line = line, me.mask = mask, me.value = value, me.of_all = of_all, me.size = size;
  suspend();
}

void emulate_copy_async(void* to, const void* from, int size, bool inside) {
  const void* code = __builtin_return_address(0);
  check((char*)to, size, true, code);  // as a write: the threads that read what was there must have passed a barrier
  Region* r = shared_region((char*)to, size);
  if (!r) fail(code, "an asynchronous copy goes to shared memory, this one does not");
  if (inside && (uintptr_t)from % size) fail(code, "an asynchronous copy of %d bytes comes from an odd address", size);
  for (int i = 0; i < size; i++) r->cells[(char*)to - r->start + i].copying = true;
  threads[current].copies.push_back({(char*)to, (const char*)from, size, threads[current].group, inside});
}

void emulate_copy_commit() { threads[current].group++; }

void emulate_copy_wait(int groups) {
  const void* code = __builtin_return_address(0);
  Thread& me = threads[current];
  std::vector<Copy> later;
  for (const Copy& c : me.copies) {
    if (c.group >= me.group - groups) {
      later.push_back(c);
      continue;
    }
    Region* r = shared_region(c.to, c.size);
    for (int i = 0; i < c.size; i++) r->cells[c.to - r->start + i].copying = false;
    if (c.inside) {
      check(c.from, c.size, false, code);
      memcpy(c.to, c.from, c.size);
    } else {
      memset(c.to, 0, c.size);
    }
    check(c.to, c.size, true, code);
  }
  me.copies.swap(later);
}

// What g++ calls before each load and store (-fsanitize=thread), and where arithmetic goes wrong (-fsanitize=bounds, ...).
#define HERE __builtin_return_address(0)
#define ACCESS(n)                                                                   \
  void __tsan_read##n(char* at) { check(at, n, false, HERE); }                      \
  void __tsan_write##n(char* at) { check(at, n, true, HERE); }                      \
  void __tsan_unaligned_read##n(char* at) { check(at, n, false, HERE); }            \
  void __tsan_unaligned_write##n(char* at) { check(at, n, true, HERE); }            \
  void __tsan_volatile_read##n(char* at) { check(at, n, false, HERE); }             \
  void __tsan_volatile_write##n(char* at) { check(at, n, true, HERE); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_read_range(char* at, size_t size) { check(at, size, false, HERE); }
void __tsan_write_range(char* at, size_t size) { check(at, size, true, HERE); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}

#define ARITHMETIC(name, what) \
  void __ubsan_handle_##name(void*, void*, void*) { fail(HERE, what); }
ARITHMETIC(out_of_bounds, "an index is outside of its array")
ARITHMETIC(add_overflow, "a sum of integers overflows")
ARITHMETIC(sub_overflow, "a difference of integers overflows")
ARITHMETIC(mul_overflow, "a product of integers overflows")
ARITHMETIC(negate_overflow, "the negative of an integer overflows")
ARITHMETIC(divrem_overflow, "an integer is divided by zero")
ARITHMETIC(shift_out_of_bounds, "an integer is shifted too far")
}
