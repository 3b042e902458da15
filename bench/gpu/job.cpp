// gpu-job <library> [--small] [--out <file>] [checks] [operators] [models]: what is named, or all.

#include "job.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "ops/plugin.h"

namespace millrace {

void must(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "gpu-job: %s\n", status.message().c_str());
  std::exit(1);
}

void Report::add(const std::string& name, const std::vector<Value>& values) {
  std::string json = "{\"name\": \"" + name + "\"";
  std::printf("%-52s", name.c_str());
  for (const auto& [unit, value] : values) {
    char number[32];
    std::snprintf(number, sizeof number, "%.5g", value);
    std::printf("  %10s %s", number, unit);
    json += std::string(", \"") + unit + "\": " + (std::isfinite(value) ? number : "null");
  }
  std::printf("\n");
  std::fflush(stdout);
  line(json + "}");
}

void Report::fail(const std::string& name, const std::string& why) {
  ++failures_;
  std::printf("%-52s  FAILED: %s\n", name.c_str(), why.c_str());
  line("{\"name\": \"" + name + "\", \"failed\": \"" + why + "\"}");
}

bool Report::open(const std::string& path, const DeviceInfo& device) {
  file_.reset(std::fopen(path.c_str(), "w"), [](std::FILE* file) {
    if (file) std::fclose(file);
  });
  if (file_) line("{\"device\": \"" + device.hardware + "\"}");
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

Weight random_weight(DType dtype, int rows, int cols, std::vector<uint8_t>& memory) {
  const int64_t size = row_bytes(dtype, cols);
  memory.resize(static_cast<size_t>(size) * static_cast<size_t>(rows));
  constexpr int k_different = 64;  // rows; the rest repeats them
  const auto width = static_cast<size_t>(size);
  for (int row = 0; row < rows; ++row) {
    uint8_t* to = memory.data() + static_cast<size_t>(row) * width;
    if (row < k_different) {
      const uint64_t seed = 100 + static_cast<uint64_t>(row);
      encode_row(dtype, normals(seed, static_cast<size_t>(cols), 0.05f).data(), cols, to);
    } else {
      std::memcpy(to, to - k_different * width, width);
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

double seconds_of(Device& device, const std::function<void()>& body) {
  using Clock = std::chrono::steady_clock;
  const auto run = [&](int repeats) {
    const auto start = Clock::now();
    for (int i = 0; i < repeats; ++i) body();
    must(device.finish());
    return std::chrono::duration<double>(Clock::now() - start).count() / repeats;
  };
  run(1);
  const double once = run(1);
  const int repeats = std::clamp(static_cast<int>(0.02 / once), 1, 500);
  std::vector<double> rounds(5);
  for (double& round : rounds) round = run(repeats);
  std::nth_element(rounds.begin(), rounds.begin() + 2, rounds.end());
  return rounds[2];
}

}  // namespace millrace

int main(int argc, char** argv) {
  using namespace millrace;
  std::string library, out, parts;
  bool small = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--small")
      small = true;
    else if (word == "--out" && i + 1 < argc)
      out = argv[++i];
    else if (library.empty())
      library = word;
    else
      parts += " " + word;
  }
  if (library.empty()) {
    std::fprintf(stderr,
                 "gpu-job <library> [--small] [--out <file>] [checks] [operators] [models]\n");
    return 1;
  }
  auto plugin = load_plugin(library);
  must(plugin.status());
  auto device = open_plugin(*plugin, 0, 0);
  must(device.status());
  const DeviceInfo info = (*device)->info();
  std::printf("%s, %.1f GB, %.1f GB free\n", info.hardware.c_str(),
              static_cast<double>(info.memory_bytes) / 1e9,
              static_cast<double>(info.free_bytes) / 1e9);
  const auto open_without_graphs = [&] {
    const char* before = std::getenv("MILLRACE_CUDA_GRAPHS");
    const std::string kept = before ? before : "1";
    setenv("MILLRACE_CUDA_GRAPHS", "0", 1);
    auto opened = open_plugin(*plugin, 0, 0);
    setenv("MILLRACE_CUDA_GRAPHS", kept.c_str(), 1);
    must(opened.status());
    return *opened;
  };
  Job job{**device, open_without_graphs, small, {}};
  if (!out.empty() && !job.report.open(out, info)) {
    std::fprintf(stderr, "gpu-job: cannot write %s\n", out.c_str());
    return 1;
  }
  const auto wanted = [&](const char* part) {
    return parts.empty() || parts.find(part) != std::string::npos;
  };
  if (wanted("checks")) {
    check_operators(job);
    check_steps(job);
  }
  if (wanted("operators")) time_operators(job);
  if (wanted("models")) time_models(job);
  std::printf("%d failed\n", job.report.failures());
  return job.report.failures() > 0 ? 1 : 0;
}
