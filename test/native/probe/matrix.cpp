// Probe of matrices that are packed later.

#include "model/matrix.h"

#include <chrono>
#include <cstring>
#include <thread>

#include "devices.h"
#include "model/packer.h"
#include "ops/memory.h"
#include "probe.h"

namespace millrace {
namespace {

struct Sample {
  std::shared_ptr<Device> device;
  Weight plain;
  std::shared_ptr<void> room;
  size_t room_bytes = 0;

  std::vector<float> multiply(const Weight& weight) const {
    std::vector<float> x(static_cast<size_t>(weight.cols));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8;
    std::vector<float> out(static_cast<size_t>(weight.rows));
    MatmulArgs args{x.data(), weight.cols, 1, 1, {{weight, nullptr, out.data(), 0}}};
    device->ops().matmul(device->queue(), args);
    return out;
  }
};

// From (table, Q8_0 rows: Uint8Array, rows, cols).
Result<Sample> read_sample(const Napi::CallbackInfo& info) {
  Sample sample;
  auto device = open_table(info[0].As<Napi::String>(), 2);
  TRY(device);
  sample.device = *device;
  const int rows = info[2].ToNumber(), cols = info[3].ToNumber();
  sample.plain = {DType::q8_0, Weight::Layout::plain,        rows,
                  cols,        row_bytes(DType::q8_0, cols), info[1].As<Napi::Uint8Array>().Data()};
  sample.room_bytes = sample.device->ops().packed_bytes(DType::q8_0, rows, cols);
  sample.room = host_memory(sample.room_bytes);
  return sample;
}

// packLater(table, weight, rows, cols, by: "thread" | "pool" | "both"): how many products there
// were with the plain form before the packed one came, or -1 when two differ.
Napi::Value pack_later(const Napi::CallbackInfo& info) {
  const auto sample = read_sample(info);
  if (!sample.ok()) return throw_status(info.Env(), sample.status());
  const std::string by = info[4].ToString();
  const Ops& ops = sample->device->ops();
  Matrix matrix;
  matrix.set(sample->plain, ops, sample->room.get(), sample->room_bytes);
  const std::vector<float> expected = sample->multiply(matrix.now());
  std::unique_ptr<Packer> packer;
  if (by != "pool")
    packer = std::make_unique<Packer>(ops, std::vector<const Matrix*>{&matrix}, nullptr);
  if (by != "thread") matrix.pack_rest(ops, sample->device->queue().pool());
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  int count = 0;
  for (;;) {
    const Weight now = matrix.now();
    const std::vector<float> out = sample->multiply(now);
    if (std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) != 0)
      return Napi::Number::New(info.Env(), -1);
    if (now.layout == Weight::Layout::packed) return Napi::Number::New(info.Env(), count);
    if (std::chrono::steady_clock::now() > end)
      return throw_status(info.Env(), error(ErrorCode::internal, "nobody packed it"));
    ++count;
  }
}

// isLeftUnpacked(table, weight, rows, cols): whether the end of a Packer that has only begun
// leaves the matrix as it is.
Napi::Value is_left_unpacked(const Napi::CallbackInfo& info) {
  const auto sample = read_sample(info);
  if (!sample.ok()) return throw_status(info.Env(), sample.status());
  const Ops& ops = sample->device->ops();
  Matrix matrix;
  matrix.set(sample->plain, ops, sample->room.get(), sample->room_bytes);
  auto packer = std::make_unique<Packer>(ops, std::vector<const Matrix*>{&matrix}, nullptr);
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  packer.reset();
  return Napi::Boolean::New(info.Env(), matrix.now().layout == Weight::Layout::plain);
}

// rests(table, weight, rows, cols): whether a Packer leaves the matrix as it is while somebody
// wants it to rest, and packs it then.
Napi::Value rests(const Napi::CallbackInfo& info) {
  const auto sample = read_sample(info);
  if (!sample.ok()) return throw_status(info.Env(), sample.status());
  const Ops& ops = sample->device->ops();
  Matrix matrix;
  matrix.set(sample->plain, ops, sample->room.get(), sample->room_bytes);
  const auto is_plain = [&] { return matrix.now().layout == Weight::Layout::plain; };
  Packer packer(ops, {&matrix}, nullptr);
  Packer::Rest rest = packer.rest();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const bool rested = is_plain();
  rest.reset();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (is_plain() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return Napi::Boolean::New(info.Env(), rested && !is_plain());
}

}  // namespace

void register_matrix(Napi::Env env, Napi::Object exports) {
  exports.Set("packLater", Napi::Function::New(env, pack_later));
  exports.Set("rests", Napi::Function::New(env, rests));
  exports.Set("isLeftUnpacked", Napi::Function::New(env, is_left_unpacked));
}

}  // namespace millrace
