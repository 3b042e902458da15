// Probe of the matmul of every operator table: encode, decode, pack and multiply over typed arrays.

#include <napi.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "devices.h"
#include "ops/memory.h"
#include "probe.h"

namespace millrace {

namespace {

DType dtype_of(const std::string& name) {
  for (const DTypeInfo& info : k_dtypes)
    if (name == info.name) return info.dtype;
  return DType::f32;
}

// matmulTables(): string[], the fast tables of this processor
Napi::Value matmul_tables(const Napi::CallbackInfo& info) {
  auto names = Napi::Array::New(info.Env());
  for (const std::string& name : cpu_tables())
    if (name != "reference") names.Set(names.Length(), name);
  return names;
}

// matmulTypes(): { name, block }[], the types that weights can have
Napi::Value matmul_types(const Napi::CallbackInfo& info) {
  auto types = Napi::Array::New(info.Env());
  for (const DTypeInfo& row : k_dtypes) {
    if (row.dtype == DType::i8 || row.dtype == DType::i32) continue;
    auto type = Napi::Object::New(info.Env());
    type.Set("name", row.name);
    type.Set("block", row.block_values);
    types.Set(types.Length(), type);
  }
  return types;
}

// encodeRow(type, values: Float32Array): Uint8Array
Napi::Value encode_values(const Napi::CallbackInfo& info) {
  const DType dtype = dtype_of(info[0].As<Napi::String>());
  const auto values = info[1].As<Napi::Float32Array>();
  const int64_t n = static_cast<int64_t>(values.ElementLength());
  auto bytes = Napi::Uint8Array::New(info.Env(), static_cast<size_t>(row_bytes(dtype, n)));
  encode_row(dtype, values.Data(), n, bytes.Data());
  return bytes;
}

// decodeRow(type, bytes: Uint8Array, n): Float32Array
Napi::Value decode_values(const Napi::CallbackInfo& info) {
  const DType dtype = dtype_of(info[0].As<Napi::String>());
  const auto bytes = info[1].As<Napi::Uint8Array>();
  const int64_t n = info[2].As<Napi::Number>().Int64Value();
  auto values = Napi::Float32Array::New(info.Env(), static_cast<size_t>(n));
  decode_row(dtype, bytes.Data(), n, values.Data());
  return values;
}

// packedBytes(table, type, rows, cols): number
Napi::Value packed_size(const Napi::CallbackInfo& info) {
  const auto device = open_table(info[0].As<Napi::String>(), 1);
  if (!device.ok()) return throw_status(info.Env(), device.status());
  const size_t size = device.value()->ops().packed_bytes(
      dtype_of(info[1].As<Napi::String>()), info[2].As<Napi::Number>(), info[3].As<Napi::Number>());
  return Napi::Number::New(info.Env(), static_cast<double>(size));
}

struct Loaded {
  Product product;
  std::shared_ptr<void> packed;
  std::vector<float> out;
};

// One of { type, rows, weight: Uint8Array, packed: boolean, bias?: Float32Array }.
Loaded load(const Ops& ops, Napi::Object object, int cols, int n) {
  Loaded loaded;
  const auto bytes = object.Get("weight").As<Napi::Uint8Array>();
  Weight weight;
  weight.dtype = dtype_of(object.Get("type").As<Napi::String>());
  weight.rows = object.Get("rows").As<Napi::Number>();
  weight.cols = cols;
  weight.row_bytes = row_bytes(weight.dtype, cols);
  weight.data = bytes.Data();
  const size_t size = ops.packed_bytes ? ops.packed_bytes(weight.dtype, weight.rows, cols) : 0;
  if (object.Get("packed").ToBoolean() && size) {
    loaded.packed = host_memory(size);
    std::memset(loaded.packed.get(), 0xff, size);  // pack writes every byte that is read
    const int half = weight.rows / 2 / ops.pack_rows * ops.pack_rows;
    ops.pack(weight, loaded.packed.get(), half, weight.rows - half);
    if (half) ops.pack(weight, loaded.packed.get(), 0, half);
    weight.layout = Weight::Layout::packed;
    weight.data = loaded.packed.get();
  }
  loaded.product.weight = weight;
  if (object.Get("bias").IsTypedArray())
    loaded.product.bias = object.Get("bias").As<Napi::Float32Array>().Data();
  loaded.out.assign(static_cast<size_t>(n) * static_cast<size_t>(weight.rows), -1.0f);
  return loaded;
}

// Writes x by a norm, { x, add?, weight }, or a gate, { gate, up }; with `apart` not in one step
// with what follows.
Status write_input(Device& device, Napi::Object before, const MatmulArgs& args, float* x) {
  const auto floats = [&](const char* key) -> float* {
    const Napi::Value value = before.Get(key);
    return value.IsTypedArray() ? value.As<Napi::Float32Array>().Data() : nullptr;
  };
  const int cols = static_cast<int>(args.x_stride);
  if (before.Has("weight"))
    device.ops().norm(device.queue(),
                      {floats("x"), floats("add"), floats("weight"), x, args.n, cols, 1e-5f});
  else
    device.ops().gate(device.queue(), {floats("gate"), floats("up"), x,
                                       static_cast<int64_t>(args.n) * cols, Act::silu});
  return before.Get("apart").ToBoolean() ? device.finish() : Status();
}

// matmul(table, threads, x: Float32Array, n, products: object[], before?): Float32Array[]
Napi::Value multiply(const Napi::CallbackInfo& info) {
  auto device = open_table(info[0].As<Napi::String>(), info[1].As<Napi::Number>());
  if (!device.ok()) return throw_status(info.Env(), device.status());
  const Ops& ops = (*device)->ops();
  auto x = info[2].As<Napi::Float32Array>();
  const auto list = info[4].As<Napi::Array>();
  MatmulArgs args{};
  args.x = x.Data();
  args.n = info[3].As<Napi::Number>();
  args.x_stride = static_cast<int64_t>(x.ElementLength()) / args.n;
  args.count = static_cast<int>(list.Length());
  std::vector<Loaded> loaded;
  for (uint32_t i = 0; i < list.Length(); i++) {
    loaded.push_back(load(ops, list.Get(i).As<Napi::Object>(), int(args.x_stride), args.n));
    args.products[i] = loaded.back().product;
    args.products[i].out = loaded.back().out.data();
  }
  if (info[5].IsObject()) {
    const Status written = write_input(**device, info[5].As<Napi::Object>(), args, x.Data());
    if (!written.ok()) return throw_status(info.Env(), written);
  }
  ops.matmul((*device)->queue(), args);
  const Status status = (*device)->finish();
  if (!status.ok()) return throw_status(info.Env(), status);
  auto outs = Napi::Array::New(info.Env());
  for (uint32_t i = 0; i < list.Length(); i++) {
    auto out = Napi::Float32Array::New(info.Env(), loaded[i].out.size());
    std::memcpy(out.Data(), loaded[i].out.data(), loaded[i].out.size() * sizeof(float));
    outs.Set(i, out);
  }
  return outs;
}

// feedForward(table, x: Float32Array, n, gate, up, down, isPassedOn): Float32Array, the product of
// what a gate makes of two products.
Napi::Value feed_forward(const Napi::CallbackInfo& info) {
  auto device = open_table(info[0].As<Napi::String>(), 1);
  if (!device.ok()) return throw_status(info.Env(), device.status());
  const Ops& ops = (*device)->ops();
  Queue& queue = (*device)->queue();
  auto x = info[1].As<Napi::Float32Array>();
  const int n = info[2].As<Napi::Number>();
  const int cols = static_cast<int>(x.ElementLength()) / n;
  Loaded gate = load(ops, info[3].As<Napi::Object>(), cols, n);
  Loaded up = load(ops, info[4].As<Napi::Object>(), cols, n);
  const int hidden = gate.product.weight.rows;
  Loaded down = load(ops, info[5].As<Napi::Object>(), hidden, n);
  for (Loaded* one : {&gate, &up, &down}) one->product.out = one->out.data();
  ops.matmul(queue, {x.Data(), cols, n, 2, {gate.product, up.product}});
  ops.gate(queue,
           {gate.out.data(), up.out.data(), gate.out.data(), static_cast<int64_t>(gate.out.size()),
            Act::silu, info[6].ToBoolean() ? down.product.weight.dtype : DType::f32});
  ops.matmul(queue, {gate.out.data(), hidden, n, 1, {down.product}});
  const Status status = (*device)->finish();
  if (!status.ok()) return throw_status(info.Env(), status);
  auto out = Napi::Float32Array::New(info.Env(), down.out.size());
  std::copy(down.out.begin(), down.out.end(), out.Data());
  return out;
}

}  // namespace

void register_ops_matmul(Napi::Env env, Napi::Object exports) {
  exports.Set("matmulTables", Napi::Function::New(env, matmul_tables));
  exports.Set("matmulTypes", Napi::Function::New(env, matmul_types));
  exports.Set("encodeRow", Napi::Function::New(env, encode_values));
  exports.Set("decodeRow", Napi::Function::New(env, decode_values));
  exports.Set("packedBytes", Napi::Function::New(env, packed_size));
  exports.Set("matmul", Napi::Function::New(env, multiply));
  exports.Set("feedForward", Napi::Function::New(env, feed_forward));
}

}  // namespace millrace
