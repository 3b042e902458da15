#include "ops/cuda/host/runner.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "ops/cuda/host/fiber.h"

namespace millrace::simt {
namespace {

// A warp that could go on gives way to another once in so many meetings.
constexpr unsigned k_give_way = 64;
// Warps are left out of a round half of the time.
constexpr unsigned k_left_out = 2;
// Blocks that are under way at a time, on one OS thread.
constexpr size_t k_resident = 6;

enum class State { ready, at_block_barrier, at_warp_meeting, at_earlier, at_phase, done };

struct Thread {
  Fiber fiber;
  Index index;
  int lane = 0;
  State state = State::ready;
  Place where{};
  Together together = nullptr;
  void* args = nullptr;
  Queue copies;
  Queue products;                // the warp's, of its first lane
  const Phase* phase = nullptr;  // that it waits for, while it has this parity
  unsigned parity = 0;
};

bool same_place(const Place& a, const Place& b) {
  return a.line == b.line && std::strcmp(a.file, b.file) == 0;
}

std::string name_of_place(const Place& where) {
  const std::string path = where.file;
  return path.substr(path.rfind('/') + 1) + ":" + std::to_string(where.line);
}

// The threads of one block, used again for the next one.
class Block {
 public:
  Block(Index grid, Index size, size_t shared_bytes, const std::function<void()>& body,
        const Schedule& schedule, const std::function<void()>& end_earlier)
      : grid_(grid),
        size_(size),
        body_(body),
        schedule_(schedule),
        end_earlier_(end_earlier),
        shared_bytes_(shared_bytes),
        shared_(shared_bytes + k_guard + k_alignment),
        threads_(size.x * size.y * size.z) {
    auto address = reinterpret_cast<uintptr_t>(shared_.data());
    shared_start_ = shared_.data() + (k_alignment - address % k_alignment) % k_alignment;
    for (size_t i = 0; i < threads_.size(); ++i) {
      const auto n = static_cast<unsigned>(i);
      threads_[i].lane = static_cast<int>(n % k_lanes);
      threads_[i].index = {n % size.x, n / size.x % size.y, n / size.x / size.y};
    }
    for (size_t warp = 0; warp * k_lanes < threads_.size(); ++warp) order_.push_back(warp);
  }

  void start(Index index, uint64_t seed) {
    index_ = index;
    random_.seed(seed);
    fault_.clear();
    live_ = threads_.size();
    bulk_.clear();
    std::memset(shared_start_, 0xff, shared_.size() - k_alignment);
    for (Thread& thread : threads_) {
      thread.state = State::ready;
      thread.copies.clear();
      thread.products.clear();
      thread.fiber.restart(&Block::enter, this);
    }
  }

  // Some of the warps, as far as they go, in a drawn order; false when the block has ended.
  bool step() {
    current_block = this;
    std::shuffle(order_.begin(), order_.end(), random_);
    for (size_t i = bulk_.size(); i-- > 0;)
      if (toss()) land(i);
    const bool moved = run_warps([this] { return random_() % k_left_out == 0; }) ||
                       run_warps([] { return false; }) || land_one() || pass_earlier();
    if (!moved && fault_.empty() && live_ > 0) fault_ = "deadlock: " + describe_waiting();
    const char* guard = shared_start_ + shared_bytes_;
    if (std::any_of(guard, guard + k_guard, [](char byte) { return byte != k_untouched; }))
      set_fault("shared memory was written beyond its end");
    if (live_ == 0 && !bulk_.empty()) set_fault("a block ends before its copies have come");
    current_block = nullptr;
    return fault_.empty() && live_ > 0;
  }

  // What went wrong, "" if nothing did.
  const std::string& found() const { return fault_; }

  // --- by the running fiber ---

  Thread& current() { return *current_; }
  const Index& index() const { return index_; }
  const Index& size() const { return size_; }
  const Index& grid() const { return grid_; }
  char* shared() { return shared_start_; }

  void stop_at(State state, const Place& where) {
    Thread& thread = *current_;
    thread.state = state;
    thread.where = where;
    if (state == State::at_block_barrier && toss()) thread.copies.end_all();
    thread.fiber.suspend();
  }

  // The queue of the running thread's warp.
  Queue& products() {
    const auto index = static_cast<size_t>(current_ - threads_.data());
    return threads_[index / k_lanes * k_lanes].products;
  }

  bool is_shared(const void* memory, size_t size_bytes) const {
    const auto start = reinterpret_cast<uintptr_t>(shared_start_);
    const auto at = reinterpret_cast<uintptr_t>(memory);
    return at >= start && at + size_bytes <= start + shared_bytes_;
  }

  void start_bulk(const BulkCopy& copy) {
    bulk_.push_back(copy);
    if (toss()) land(bulk_.size() - 1);
  }

  // Whether a seeded fault takes this site away; sites that are passed are collected.
  bool skips(Site::Kind kind, const Place& where) {
    if (schedule_.sites) schedule_.sites->insert({kind, where.file, where.line});
    const Site* skipped = schedule_.skipped;
    return skipped && skipped->kind == kind && skipped->line == where.line &&
           skipped->file == where.file;
  }

  bool toss() { return random_() & 1; }
  void set_fault(std::string message) {
    if (fault_.empty()) fault_ = std::move(message);
  }

  static thread_local Block* current_block;

 private:
  static constexpr size_t k_alignment = 1024;  // what TMA's 128-byte swizzle asks for
  static constexpr size_t k_guard = 64;        // bytes behind what was asked for
  static constexpr char k_untouched = -1;

  static void enter(void* self) {
    auto* block = static_cast<Block*>(self);
    block->body_();
    --block->live_;
    block->stop_at(State::done, Place::here());
  }

  // Runs the warps that are not left out; true if any moved or the barrier opened.
  template <class LeftOut>
  bool run_warps(const LeftOut& left_out) {
    bool moved = false;
    for (const size_t warp : order_) {
      if (!fault_.empty()) return true;
      if (!left_out()) moved |= run_warp(warp);
    }
    return !fault_.empty() || live_ == 0 || open_barrier() || moved;
  }

  // Runs the lanes of a warp until all of them wait; true if any ran or a meeting was held.
  bool run_warp(size_t warp) {
    const size_t first = warp * k_lanes;
    const size_t count = std::min<size_t>(k_lanes, threads_.size() - first);
    bool moved = false;
    for (;;) {
      const size_t start = random_() % count;
      for (size_t i = 0; i < count; ++i) {
        Thread& thread = threads_[first + (start + i) % count];
        if (thread.state == State::at_phase && thread.phase->parity != thread.parity)
          thread.state = State::ready;
        if (thread.state != State::ready) continue;
        current_ = &thread;
        thread.fiber.resume();
        moved = true;
        if (!fault_.empty()) return true;
      }
      if (!hold_meeting(&threads_[first], count)) return moved;
      moved = true;
      if (!fault_.empty() || random_() % k_give_way == 0) return true;
    }
  }

  // Holds the warp's meeting if all lanes are at it. A lane that left or waits elsewhere for good
  // is found as a deadlock, one that meets elsewhere here.
  bool hold_meeting(Thread* lanes, size_t count) {
    for (size_t i = 0; i < count; ++i)
      if (lanes[i].state != State::at_warp_meeting) return false;
    void* args[k_lanes] = {};
    for (size_t i = 0; i < count; ++i) {
      if (!same_place(lanes[i].where, lanes[0].where) || lanes[i].together != lanes[0].together) {
        fault_ = "the lanes of a warp meet at " + name_of_place(lanes[0].where) + " and at " +
                 name_of_place(lanes[i].where);
        return true;
      }
      args[i] = lanes[i].args;
    }
    if (lanes[0].together) {
      if (count != k_lanes) {
        fault_ =
            "a warp of " + std::to_string(count) + " lanes at " + name_of_place(lanes[0].where);
        return true;
      }
      current_ = &lanes[0];
      lanes[0].together(args);
    }
    for (size_t i = 0; i < count; ++i) lanes[i].state = State::ready;
    return true;
  }

  // Opens the block's barrier if every thread that has not ended is at it.
  bool open_barrier() {
    const Thread* first = nullptr;
    for (const Thread& thread : threads_) {
      if (thread.state == State::done) continue;
      if (thread.state != State::at_block_barrier) return false;
      if (first && !same_place(first->where, thread.where)) {
        fault_ = "the threads of a block meet at " + name_of_place(first->where) + " and at " +
                 name_of_place(thread.where);
        return true;
      }
      first = &thread;
    }
    for (Thread& thread : threads_)
      if (thread.state == State::at_block_barrier) thread.state = State::ready;
    return first != nullptr;
  }

  void land(size_t i) {
    const BulkCopy copy = bulk_[i];
    bulk_.erase(bulk_.begin() + static_cast<std::ptrdiff_t>(i));
    std::memcpy(copy.to, copy.from, copy.size_bytes);
    copy.phase->bytes -= copy.size_bytes;
    copy.phase->end_if_complete();
  }
  bool land_one() {
    if (bulk_.empty()) return false;
    land(random_() % bulk_.size());
    return true;
  }

  // Lets those go on that wait for the kernel before; true if any did.
  bool pass_earlier() {
    bool any = false;
    for (Thread& thread : threads_) {
      if (thread.state != State::at_earlier) continue;
      if (!any) end_earlier_();
      any = true;
      thread.state = State::ready;
    }
    return any;
  }

  std::string describe_waiting() const {
    std::set<std::string> places;
    for (const Thread& thread : threads_)
      if (thread.state != State::done) places.insert(name_of_place(thread.where));
    std::string list;
    for (const std::string& place : places) list += (list.empty() ? "" : ", ") + place;
    return std::to_string(live_) + " threads wait at " + list;
  }

  Index grid_, size_, index_;
  const std::function<void()>& body_;
  const Schedule& schedule_;
  const std::function<void()>& end_earlier_;
  size_t shared_bytes_;
  std::vector<char> shared_;
  char* shared_start_;
  std::vector<Thread> threads_;
  std::vector<size_t> order_;
  std::mt19937_64 random_;
  Thread* current_ = nullptr;
  size_t live_ = 0;
  std::vector<BulkCopy> bulk_;  // under way
  std::string fault_;
};

thread_local Block* Block::current_block = nullptr;

Block& here() { return *Block::current_block; }

}  // namespace

Status run(Index grid, Index block, size_t shared_bytes, const std::function<void()>& body,
           const Schedule& schedule) {
  const size_t n_threads = size_t{block.x} * block.y * block.z;
  if (n_threads == 0 || n_threads > k_max_block_threads)
    return error(ErrorCode::internal, "Expected a block of 1..%u threads but found %zu",
                 k_max_block_threads, n_threads);
  if (shared_bytes > k_max_shared_bytes)
    return error(ErrorCode::internal, "Expected at most %zu bytes of shared memory but found %zu",
                 k_max_shared_bytes, shared_bytes);
  const size_t n_blocks = size_t{grid.x} * grid.y * grid.z;
  std::vector<size_t> order(n_blocks);
  for (size_t i = 0; i < n_blocks; ++i) order[i] = i;
  std::mt19937_64 random(schedule.seed);
  std::shuffle(order.begin(), order.end(), random);

  std::once_flag ran_earlier;
  std::atomic<bool> has_waited{false};
  const std::function<void()> end_earlier = [&] {
    if (schedule.earlier) std::call_once(ran_earlier, *schedule.earlier);
    has_waited = true;
  };
  std::atomic<size_t> next{0};
  std::mutex fault_mutex;
  std::string fault;
  const auto work = [&](uint64_t worker) {
    // Blocks are taken from the list as others end, and stepped in a drawn order.
    std::vector<std::unique_ptr<Block>> idle, resident;
    for (size_t i = 0; i < std::min(k_resident, n_blocks); ++i)
      idle.push_back(
          std::make_unique<Block>(grid, block, shared_bytes, body, schedule, end_earlier));
    std::mt19937_64 draw(schedule.seed + worker);
    for (;;) {
      while (!idle.empty()) {
        const size_t i = next++;
        if (i >= n_blocks) break;
        const auto n = static_cast<unsigned>(order[i]);
        idle.back()->start({n % grid.x, n / grid.x % grid.y, n / grid.x / grid.y},
                           schedule.seed * 0x9e3779b97f4a7c15u + n);
        resident.push_back(std::move(idle.back()));
        idle.pop_back();
      }
      if (resident.empty()) return;
      std::swap(resident[draw() % resident.size()], resident.back());
      if (resident.back()->step()) continue;
      if (!resident.back()->found().empty()) {
        const std::lock_guard lock(fault_mutex);
        if (fault.empty()) fault = resident.back()->found();
        next = n_blocks;
        return;
      }
      idle.push_back(std::move(resident.back()));
      resident.pop_back();
    }
  };
  // Sites are collected without a lock.
  const size_t workers = schedule.sites ? 1 : static_cast<size_t>(schedule.os_threads);
  std::vector<std::thread> others;
  for (size_t i = 1; i < std::min(workers, n_blocks); ++i) others.emplace_back(work, i);
  work(0);
  for (std::thread& other : others) other.join();
  if (schedule.earlier && !has_waited && fault.empty())
    fault = "a kernel does not wait for the one before it";
  return fault.empty() ? Status() : Status(ErrorCode::internal, fault);
}

const Index& thread_index() { return here().current().index; }
const Index& block_index() { return here().index(); }
const Index& block_size() { return here().size(); }
const Index& grid_size() { return here().grid(); }
int lane() { return here().current().lane; }
char* shared_memory() { return here().shared(); }

void meet_block(const Place& where) {
  Block& block = here();
  if (!block.skips(Site::Kind::barrier, where)) block.stop_at(State::at_block_barrier, where);
}

void meet_warp(Together together, void* args, const Place& where) {
  Block& block = here();
  // Only a barrier without an operation can be left out: the others carry values.
  if (!together && block.skips(Site::Kind::barrier, where)) return;
  block.current().together = together;
  block.current().args = args;
  block.stop_at(State::at_warp_meeting, where);
}

void wait_for_earlier(const Place& where) {
  Block& block = here();
  if (!block.skips(Site::Kind::wait, where)) block.stop_at(State::at_earlier, where);
}

void copy_later(void* to, const void* from, size_t size_bytes, bool zero) {
  const Work work = [=] {
    if (zero)
      std::memset(to, 0, size_bytes);
    else
      std::memcpy(to, from, size_bytes);
  };
  if (here().toss())
    work();
  else
    here().current().copies.add(work);
}

void commit_copies() { here().current().copies.commit(); }

void wait_copies(int groups_left, const Place& where) {
  if (here().skips(Site::Kind::wait, where)) return;
  here().current().copies.wait(static_cast<size_t>(groups_left));
}

Queue& products() { return here().products(); }

// They end in the order in which they were started: each adds to what the one before gave.
void start_product(Work work) {
  products().add(std::move(work));
  if (here().toss()) products().end_all();
}

void wait_products(int groups_left, const Place& where) {
  if (here().skips(Site::Kind::wait, where)) return;
  const auto wait = [](void* const left[]) {
    products().wait(static_cast<size_t>(*static_cast<const int*>(left[0])));
  };
  meet_warp(wait, &groups_left, where);
}

void open_phase(void* phase, int arrivals, const Place& where) {
  if (!here().is_shared(phase, sizeof(Phase))) fault(where, "a barrier beyond shared memory");
  const auto count = static_cast<uint16_t>(arrivals);
  *static_cast<Phase*>(phase) = {count, count, 0, 0};
}

namespace {

Phase& opened(void* phase, const Place& where) {
  if (!here().is_shared(phase, sizeof(Phase))) fault(where, "a barrier beyond shared memory");
  auto& one = *static_cast<Phase*>(phase);
  if (one.arrivals == Phase::k_unknown) fault(where, "a barrier that was not opened");
  return one;
}

}  // namespace

void arrive(void* phase, uint32_t bytes_expected, const Place& where) {
  Phase& one = opened(phase, where);
  if (one.missing == 0) fault(where, "an arrival more than the barrier was opened for");
  one.bytes += bytes_expected;
  --one.missing;
  one.end_if_complete();
}

void wait_phase(void* phase, int parity, const Place& where) {
  Block& block = here();
  if (block.skips(Site::Kind::wait, where)) return;
  Thread& thread = block.current();
  thread.phase = &opened(phase, where);
  thread.parity = static_cast<unsigned>(parity);
  block.stop_at(State::at_phase, where);
}

void copy_bulk(void* to, const void* from, uint32_t size_bytes, void* phase, const Place& where) {
  const auto address = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from);
  if ((address | size_bytes) % 16 != 0) fault(where, "a bulk copy off 16 bytes");
  if (!here().is_shared(to, size_bytes)) fault(where, "a bulk copy beyond shared memory");
  here().start_bulk(
      {static_cast<char*>(to), static_cast<const char*>(from), size_bytes, &opened(phase, where)});
}

void set_fault(const char* what) { here().set_fault(what); }

void fault(const Place& where, const char* what) {
  Block& block = here();
  block.set_fault(std::string(what) + " at " + name_of_place(where));
  block.stop_at(State::done, where);
  std::abort();  // a faulted block is not resumed
}

}  // namespace millrace::simt
