// Runs one launch: every block of the grid in turn, a block's threads as fibers.
#include "emulation.h"

#include <ucontext.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace emulation {
namespace {
const size_t STACK = 64 * 1024, DYNAMIC = 128 * 1024, LANES = 32;

// Threads that wait for each other.
struct Group {
  unsigned size = 0, arrived = 0, generation = 0;
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[STACK]};
  Index index{};
  bool done = false;
};

std::vector<Fiber> fibers;
std::vector<Group> warps;
std::vector<uint64_t> slots;
Group whole;
ucontext_t scheduler;
size_t running = 0;
const std::function<void(void**)>* kernel;
void** arguments;
alignas(64) char dynamic[DYNAMIC];

std::map<std::string, std::function<void(void**)>>& kernels() {
  static std::map<std::string, std::function<void(void**)>> all;
  return all;
}

void yield() {
  Fiber& self = fibers[running];
  swapcontext(&self.context, &scheduler);
}

void wait(Group& group) {
  const unsigned generation = group.generation;
  if (++group.arrived == group.size) {
    group.arrived = 0;
    ++group.generation;
    return;
  }
  while (group.generation == generation) yield();
}

void enter() {
  (*kernel)(arguments);
  fibers[running].done = true;
  yield();
}

void run_block(unsigned threads) {
  whole = Group{threads, 0, 0};
  warps.assign((threads + LANES - 1) / LANES, Group{LANES, 0, 0});
  slots.assign(threads, 0);
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = fibers[i];
    fiber.index = Index{i, 0, 0};
    fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, enter, 0);
  }
  for (unsigned left = threads; left > 0;)
    for (running = 0; running < threads; ++running) {
      Fiber& fiber = fibers[running];
      if (fiber.done) continue;
      swapcontext(&scheduler, &fiber.context);
      if (fiber.done) --left;
    }
}
}  // namespace

Index block, block_size;

float* dynamic_shared() { return reinterpret_cast<float*>(dynamic); }
Index& thread() { return fibers[running].index; }
void sync_block() { wait(whole); }
void add(const char* name, std::function<void(void**)> body) { kernels()[name] = std::move(body); }

uint64_t exchange(uint64_t bits, unsigned mask) {
  const size_t self = running;
  Group& warp = warps[self / LANES];
  slots[self] = bits;
  wait(warp);
  const uint64_t other = slots[self ^ mask];
  wait(warp);
  return other;
}
}  // namespace emulation

// 0: done; 1: there is no such kernel; 2: more shared memory than there is.
extern "C" int emulation_launch(const char* name, const unsigned* grid, unsigned threads, unsigned shared,
                                void** arguments) {
  using namespace emulation;
  const auto found = kernels().find(name);
  if (found == kernels().end()) return 1;
  if (shared > DYNAMIC) return 2;
  kernel = &found->second;
  emulation::arguments = arguments;
  block_size = Index{threads, 1, 1};
  if (fibers.size() < threads) fibers.resize(threads);
  for (block.z = 0; block.z < grid[2]; ++block.z)
    for (block.y = 0; block.y < grid[1]; ++block.y)
      for (block.x = 0; block.x < grid[0]; ++block.x) run_block(threads);
  return 0;
}

#include "kernels.cu"
