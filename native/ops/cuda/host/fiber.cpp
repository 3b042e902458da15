#include "ops/cuda/host/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace millrace::simt {
namespace {

constexpr size_t k_stack_bytes = 256 * 1024;  // touched pages only cost memory

// Stacks of this OS thread that no fiber has: a launch needs hundreds, and mapping them anew would
// take longer than most kernels.
struct Stacks {
  std::vector<char*> free;

  ~Stacks() {
    for (char* stack : free) munmap(stack, k_stack_bytes);
  }
  char* take() {
    if (free.empty()) {
      void* stack =
          mmap(nullptr, k_stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (stack == MAP_FAILED) std::abort();  // tests only; nothing else could be said
      return static_cast<char*>(stack);
    }
    char* stack = free.back();
    free.pop_back();
    return stack;
  }
};
thread_local Stacks stacks;

}  // namespace

// Saves the registers that a callee must keep, then goes on where `to` was saved.
extern "C" void millrace_switch(void** from, void* to);
extern "C" void millrace_start();

#if defined(__x86_64__)
// System V: rbx, rbp, r12 to r15. A fresh stack holds entry in r12 and its argument in r13.
asm(R"(
.text
.globl millrace_switch
.hidden millrace_switch
millrace_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.globl millrace_start
.hidden millrace_start
millrace_start:
  movq %r13, %rdi
  callq *%r12
  ud2
)");
constexpr int k_saved_words = 7;  // six registers and the return address
constexpr int k_return = 6, k_entry = 3, k_argument = 2;
#else
// AAPCS64: x19 to x30 and the low halves of v8 to v15. A fresh stack holds entry in x19 and its
// argument in x20.
asm(R"(
.text
.globl millrace_switch
.hidden millrace_switch
millrace_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.globl millrace_start
.hidden millrace_start
millrace_start:
  mov x0, x20
  blr x19
  brk #1
)");
constexpr int k_saved_words = 20;
constexpr int k_return = 11, k_entry = 0, k_argument = 1;
#endif

struct Fiber::State {
  char* stack = nullptr;
  void* fiber_sp = nullptr;
  void* scheduler_sp = nullptr;
  void (*entry)(void*) = nullptr;
  void* argument = nullptr;

  // The first frame of every fiber.
  static void begin(void* self) {
    auto* state = static_cast<State*>(self);
    state->entry(state->argument);
    std::abort();  // entry must not return
  }
};

Fiber::Fiber() : state_(std::make_unique<State>()) { state_->stack = stacks.take(); }

Fiber::~Fiber() {
  if (!state_) return;
  stacks.free.push_back(state_->stack);
}

void Fiber::restart(void (*entry)(void*), void* argument) {
  state_->entry = entry;
  state_->argument = argument;
  // The stack pointer after millrace_switch's return must be a multiple of 16 where a call is made.
  auto** top = reinterpret_cast<void**>(state_->stack + k_stack_bytes - 64);
  void** frame = top - k_saved_words;
  for (int i = 0; i < k_saved_words; ++i) frame[i] = nullptr;
  frame[k_return] = reinterpret_cast<void*>(&millrace_start);
  frame[k_entry] = reinterpret_cast<void*>(&State::begin);
  frame[k_argument] = state_.get();
  state_->fiber_sp = frame;
}

void Fiber::resume() {
  State& state = *state_;
  millrace_switch(&state.scheduler_sp, state.fiber_sp);
}

void Fiber::suspend() {
  State& state = *state_;
  millrace_switch(&state.fiber_sp, state.scheduler_sp);
}

}  // namespace millrace::simt
