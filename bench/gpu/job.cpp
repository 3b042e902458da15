// gpu-job <library> [--small] [--out <file>] [--only <text>] [--steps <n>] [--models <folder>]
//   [part …]: what is named, or all. `kernels.py` loads it as a library.

#include "job.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <random>

#include "ops/plugin.h"

namespace millrace {

void must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "gpu-job: %s\n", status.message().c_str());
  std::exit(1);
}

namespace {

std::string quoted(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') json += '\\';
    json += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return json + "\"";
}

}  // namespace

void Report::begin(const std::string& name) {
  begun_ = name;
  std::printf("%-52s", name.c_str());
  std::fflush(stdout);
}

void Report::print(const std::string& name) {
  if (begun_ != name) std::printf("%-52s", name.c_str());
  begun_.clear();
}

void Report::add(const std::string& name, const std::vector<Value>& values) {
  std::string json = "{\"name\": " + quoted(name);
  print(name);
  for (const auto& [unit, value] : values) {
    char number[32];
    std::snprintf(number, sizeof number, "%.7g", value);
    std::printf("  %10s %s", number, unit);
    json += std::string(", \"") + unit + "\": " + (std::isfinite(value) ? number : "null");
  }
  std::printf("\n");
  std::fflush(stdout);
  line(json + "}");
}

void Report::fail(const std::string& name, const std::string& why) {
  ++failures_;
  print(name);
  std::printf("  FAILED: %s\n", why.c_str());
  std::fflush(stdout);
  line("{\"name\": " + quoted(name) + ", \"failed\": " + quoted(why) + "}");
}

bool Report::open(const std::string& path, const DeviceInfo& device) {
  file_.reset(std::fopen(path.c_str(), "a"), [](std::FILE* file) {
    if (file) std::fclose(file);
  });
  if (file_) line("{\"device\": " + quoted(device.hardware) + "}");
  return file_ != nullptr;
}

void Report::line(const std::string& json) {
  if (!file_) return;
  std::fprintf(file_.get(), "%s\n", json.c_str());
  std::fflush(file_.get());
}

void* Arena::bytes(size_t size_bytes, const void* from) {
  auto buffer = device_.alloc(size_bytes, "a buffer of the job");
  must(buffer.status());
  if (from) must(device_.copy(buffer->data(), from, size_bytes));
  buffers_.push_back(*buffer);
  return buffer->data();
}

float* Arena::floats(const std::vector<float>& values) {
  return static_cast<float*>(bytes(values.size() * sizeof(float), values.data()));
}

Weight Arena::weight(const Weight& plain) {
  const std::vector<uint8_t> form = packed(device_.ops(), plain);
  Weight weight = plain;
  if (form.empty()) {
    weight.data =
        bytes(static_cast<size_t>(plain.row_bytes) * static_cast<size_t>(plain.rows), plain.data);
    return weight;
  }
  weight.layout = Weight::Layout::packed;
  weight.data = bytes(form.size(), form.data());
  return weight;
}

std::vector<uint8_t> packed(const Ops& ops, const Weight& plain) {
  std::vector<uint8_t> form(ops.packed_bytes(plain.dtype, plain.rows, plain.cols));
  if (!form.empty()) ops.pack(plain, form.data(), 0, plain.rows);
  return form;
}

std::vector<float> normals(uint64_t seed, size_t n, float scale) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> draw(0, scale);
  std::vector<float> values(n);
  for (float& value : values) value = draw(engine);
  return values;
}

Weight random_weight(DType dtype, int rows, int cols, std::vector<uint8_t>& memory, uint64_t seed,
                     int different) {
  const int64_t size = row_bytes(dtype, cols);
  memory.resize(static_cast<size_t>(size) * static_cast<size_t>(rows));
  const auto width = static_cast<size_t>(size), period = static_cast<size_t>(different) * width;
  for (int row = 0; row < rows; ++row) {
    uint8_t* to = memory.data() + static_cast<size_t>(row) * width;
    if (row < different) {
      const uint64_t own = 100 + static_cast<uint64_t>(row) + (seed << 32);
      encode_row(dtype, normals(own, static_cast<size_t>(cols), 0.05f).data(), cols, to);
    } else {
      std::memcpy(to, to - period, width);
    }
  }
  return {dtype, Weight::Layout::plain, rows, cols, size, memory.data()};
}

Cache make_cache(Arena& arena, const KvShape& shape, int batch, int context) {
  Cache cache;
  const size_t page_bytes = arena.device().ops().kv_page_bytes(shape);
  cache.pages_each = (context + shape.page_tokens - 1) / shape.page_tokens;
  const auto n_pages = static_cast<size_t>(batch) * static_cast<size_t>(cache.pages_each);
  cache.view = {shape, arena.bytes(page_bytes * n_pages), page_bytes};
  for (size_t i = 0; i < n_pages; ++i) cache.pages.push_back(static_cast<int32_t>(i));
  return cache;
}

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The median of some runs of as many calls as take a moment; the first ones warm up, and make the
// graph that the next ones start.
double median_seconds(int period, const std::function<double(int)>& run) {
  constexpr double k_moment = 0.02;
  constexpr int k_most = 500, k_warm_ups = 3, k_rounds = 5;
  run(1);
  const double once = run(1);
  const int repeats = std::clamp(static_cast<int>(k_moment / once), 1, std::max(k_most, period));
  const int whole = (repeats + period - 1) / period * period;
  std::vector<double> rounds;
  for (int i = -k_warm_ups; i < k_rounds; ++i) {
    const double seconds = run(whole);
    if (i >= 0) rounds.push_back(seconds);
  }
  std::nth_element(rounds.begin(), rounds.begin() + k_rounds / 2, rounds.end());
  return rounds[k_rounds / 2];
}

}  // namespace

double seconds_of(Device& device, const std::function<void()>& body,
                  const std::function<void()>& settle) {
  return median_seconds(1, [&](int repeats) {
    const auto start = Clock::now();
    for (int i = 0; i < repeats; ++i) body();
    if (settle) settle();
    must(device.finish());
    return seconds_since(start) / repeats;
  });
}

double device_seconds_of(Device& device, int period, const std::function<void()>& body) {
  return median_seconds(period, [&](int repeats) {
    for (int i = 0; i < repeats; ++i) body();
    const auto start = Clock::now();  // kernels start when they are waited for, see stream.h
    must(device.finish());
    return seconds_since(start) / repeats;
  });
}

}  // namespace millrace

namespace millrace {
namespace {

struct Arguments {
  std::string library, out, only, folder;
  int steps = 0;
  bool small = false;
  std::vector<std::string> parts;
};

Arguments read_arguments(int argc, char** argv) {
  Arguments read;
  const std::map<std::string, std::string*> texts = {
      {"--out", &read.out}, {"--only", &read.only}, {"--models", &read.folder}};
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto text = texts.find(word);
    const bool has_value = i + 1 < argc;
    if (word == "--small")
      read.small = true;
    else if (text != texts.end() && has_value)
      *text->second = argv[++i];
    else if (word == "--steps" && has_value)
      read.steps = std::atoi(argv[++i]);
    else if (read.library.empty())
      read.library = word;
    else
      read.parts.push_back(word);
  }
  return read;
}

struct Part {
  const char* name;
  void (*run)(Job&);
};
constexpr Part k_parts[] = {{"rows", check_rows},           {"products", check_products},
                            {"attention", check_attention}, {"bits", check_bits},
                            {"steps", check_steps},         {"operators", time_operators},
                            {"models", time_models}};

// Whether all that is asked for is known.
bool knows(const Arguments& arguments) {
  const auto is_known = [](const std::string& name) {
    return std::any_of(std::begin(k_parts), std::end(k_parts),
                       [&](const Part& part) { return name == part.name; });
  };
  return !arguments.library.empty() &&
         std::all_of(arguments.parts.begin(), arguments.parts.end(), is_known);
}

// A variable of the environment, while this lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    const char* before = std::getenv(name);
    was_set_ = before != nullptr;
    if (before) before_ = before;
    setenv(name, value, 1);
  }
  ~Variable() {
    if (was_set_)
      setenv(name_, before_.c_str(), 1);
    else
      unsetenv(name_);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  bool was_set_ = false;
  std::string before_;
};

int run_job(const Arguments& arguments) {
  auto plugin = load_plugin(arguments.library);
  must(plugin.status());
  auto device = open_plugin(*plugin, 0, 0);
  must(device.status());
  const DeviceInfo info = (*device)->info();
  std::printf("%s, %.1f GB, %.1f GB free\n", info.hardware.c_str(),
              static_cast<double>(info.memory_bytes) / 1e9,
              static_cast<double>(info.free_bytes) / 1e9);
  // As plain as it gets: kernels one by one, each after the end of the one before.
  const auto open_plain = [&] {
    const Variable graphs("MILLRACE_CUDA_GRAPHS", "0");
    const Variable early_starts("MILLRACE_CUDA_EARLY_STARTS", "0");
    auto opened = open_plugin(*plugin, 0, 0);
    must(opened.status());
    return *opened;
  };
  Job job{**device, open_plain, arguments.small, arguments.only, arguments.steps, {}};
  if (!arguments.out.empty() && !job.report.open(arguments.out, info)) {
    std::fprintf(stderr, "gpu-job: cannot write %s\n", arguments.out.c_str());
    return 1;
  }
  const bool wants_all = arguments.parts.empty() && arguments.folder.empty();
  for (const Part& part : k_parts)
    if (wants_all || std::count(arguments.parts.begin(), arguments.parts.end(), part.name) > 0)
      part.run(job);
  if (!arguments.folder.empty()) write_models(job, arguments.folder);
  std::printf("%d failed\n", job.report.failures());
  return job.report.failures() > 0 ? 1 : 0;
}

}  // namespace
}  // namespace millrace

// For programs that load this as a library, too.
extern "C" __attribute__((visibility("default"))) int gpu_job(int argc, char** argv) {
  const millrace::Arguments arguments = millrace::read_arguments(argc, argv);
  if (millrace::knows(arguments)) return millrace::run_job(arguments);
  std::fprintf(stderr,
               "gpu-job <library> [--small] [--out <file>] [--only <text in the name of a row>] "
               "[--steps <n>] [--models <folder to write some to>] [rows] [products] [attention] "
               "[bits] [steps] [operators] [models]\n");
  return 1;
}
