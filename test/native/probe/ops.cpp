// Probe of the ops floor: any operator of any table by name. Arguments are one object per call;
// arrays are read and written in place, so a test allocates its outputs.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "devices.h"
#include "ops/memory.h"
#include "probe.h"

namespace millrace {
namespace {

// Typed access to the fields of one argument object.
class Fields {
 public:
  explicit Fields(const Napi::Value& value) : object_(value.As<Napi::Object>()) {}

  bool has(const char* key) const { return !object_.Get(key).IsUndefined(); }
  int number(const char* key) const { return object_.Get(key).ToNumber().Int32Value(); }
  int number_or(const char* key, int fallback) const { return has(key) ? number(key) : fallback; }
  float real(const char* key) const { return object_.Get(key).ToNumber().FloatValue(); }
  std::string text(const char* key) const { return object_.Get(key).ToString(); }
  float* floats(const char* key) const {
    return has(key) ? object_.Get(key).As<Napi::Float32Array>().Data() : nullptr;
  }
  int64_t length(const char* key) const {
    return static_cast<int64_t>(object_.Get(key).As<Napi::TypedArray>().ElementLength());
  }
  int32_t* ints(const char* key) const { return object_.Get(key).As<Napi::Int32Array>().Data(); }
  uint8_t* bytes(const char* key) const { return object_.Get(key).As<Napi::Uint8Array>().Data(); }
  Napi::Array array(const char* key) const { return object_.Get(key).As<Napi::Array>(); }

 private:
  Napi::Object object_;
};

DType dtype_named(const std::string& name) {
  for (const DTypeInfo& info : k_dtypes)
    if (name == info.name) return info.dtype;
  return DType::i32;  // no operator takes it
}

Act act_named(const std::string& name) {
  if (name == "silu") return Act::silu;
  return name == "gelu_tanh" ? Act::gelu_tanh : Act::none;
}

Weight read_weight(const Fields& fields) {
  const DType dtype = dtype_named(fields.text("dtype"));
  const int cols = fields.number("cols");
  return {dtype, Weight::Layout::plain,  fields.number("rows"),
          cols,  row_bytes(dtype, cols), fields.bytes("data")};
}

// Until then nobody may read what an operator wrote, or take away what it reads.
void wait_for(Device& device) { device.queue().fail(device.finish()); }

// Opens the table that the object names and hands it to body; throws what fails.
template <class Body>
Napi::Value on_device(const Napi::CallbackInfo& info, Body&& body) {
  const Fields fields(info[0]);
  auto device = open_table(fields.text("table"), fields.number_or("threads", 1));
  if (!device.ok()) return throw_status(info.Env(), device.status());
  body(**device, fields);
  const Status status = (*device)->finish();
  return status.ok() ? info.Env().Undefined() : throw_status(info.Env(), status);
}

Napi::Value names_of(Napi::Env env, const std::vector<std::string>& list) {
  auto names = Napi::Array::New(env);
  for (const std::string& name : list) names.Set(names.Length(), name);
  return names;
}

// opsTables(): string[], the tables of this processor
Napi::Value ops_tables(const Napi::CallbackInfo& info) {
  return names_of(info.Env(), cpu_tables());
}

// deviceTables(): string[], those and "cuda" where its host form was built
Napi::Value device_table_names(const Napi::CallbackInfo& info) {
  return names_of(info.Env(), device_tables());
}

// opsDevice({ table, threads }): what open_cpu opened.
Napi::Value ops_device(const Napi::CallbackInfo& info) {
  const Fields fields(info[0]);
  const std::string table = fields.text("table");
  auto device = open_cpu({fields.number("threads"), table.c_str()});
  if (!device.ok()) return throw_status(info.Env(), device.status());
  const DeviceInfo found = (*device)->info();
  auto object = Napi::Object::New(info.Env());
  object.Set("name", found.name);
  object.Set("ops", found.ops);
  object.Set("threads", found.threads);
  object.Set("memoryBytes", static_cast<double>(found.memory_bytes));
  object.Set("freeBytes", static_cast<double>(found.free_bytes));
  return object;
}

// opsRows(table, n): how many rows a device wants for 0..n of them.
Napi::Value ops_rows(const Napi::CallbackInfo& info) {
  const auto device = open_table(info[0].As<Napi::String>(), 1);
  if (!device.ok()) return throw_status(info.Env(), device.status());
  auto rows = Napi::Array::New(info.Env());
  for (int n = 0; n <= info[1].ToNumber().Int32Value(); ++n)
    rows.Set(rows.Length(), (*device)->rows_for(n));
  return rows;
}

// opsAlloc(failAfter, sizes): the messages of Device::alloc and Queue::scratch for each size, ""
// where memory came, zeroed and aligned.
Napi::Value ops_alloc(const Napi::CallbackInfo& info) {
  auto device = open_cpu({1, "reference"});
  if (!device.ok()) return throw_status(info.Env(), device.status());
  const auto sizes = info[1].As<Napi::Float64Array>();
  auto messages = Napi::Array::New(info.Env());
  fail_alloc_after(info[0].ToNumber().Int32Value());
  for (size_t i = 0; i < sizes.ElementLength(); ++i) {
    const auto size_bytes = static_cast<size_t>(sizes[i]);
    const auto buffer = (*device)->alloc(size_bytes, "a test");
    std::string message = buffer.status().message();
    if (buffer.ok()) {
      const auto* bytes = static_cast<const char*>(buffer.value().data());
      const bool aligned = reinterpret_cast<uintptr_t>(bytes) % 64 == 0;
      const bool zeroed = std::all_of(bytes, bytes + size_bytes, [](char b) { return b == 0; });
      if (!aligned || !zeroed) message = "not aligned or not zeroed";
    }
    messages.Set(messages.Length(), message);
    (*device)->queue().scratch(size_bytes);
    messages.Set(messages.Length(), (*device)->finish().message());
  }
  fail_alloc_after(-1);
  return messages;
}

// openLibrary(path): how many devices a device library sees, or why none
Napi::Value open_library(const Napi::CallbackInfo& info) {
  const auto text = [&](const std::string& message) {
    return Napi::String::New(info.Env(), message);
  };
  auto plugin = load_plugin(info[0].ToString());
  if (!plugin.ok()) return text(plugin.status().message());
  char message[512] = "";
  int count = 0;
  if ((*plugin)->count(message, sizeof message, &count) != 0) return text(message);
  return text(std::to_string(count) + (count == 1 ? " device" : " devices"));
}

// opsSteps(table): what steps, each of which adds 1, bring to the host when they are asked for and
// collected as the calls below say; of each collect() a number or the message of its error.
Napi::Value ops_steps(const Napi::CallbackInfo& info) {
  const auto opened = open_table(info[0].As<Napi::String>(), 1);
  if (!opened.ok()) return throw_status(info.Env(), opened.status());
  Device& device = **opened;
  const auto buffer = device.alloc(2 * sizeof(float), "a test");
  if (!buffer.ok()) return throw_status(info.Env(), buffer.status());
  auto* sum = static_cast<float*>(buffer.value().data());
  const float values[] = {0, 1};
  Status copied = device.copy(sum, values, sizeof values);
  if (!copied.ok()) return throw_status(info.Env(), copied);
  auto list = Napi::Array::New(info.Env());
  const auto ask = [&] {
    device.ops().add(device.queue(), {sum, sum + 1, 1});
    device.end_step(sum, sizeof(float));
  };
  const auto collect = [&] {
    float came = -1;
    const Status status = device.collect(&came);
    if (status.ok())
      list.Set(list.Length(), came);
    else
      list.Set(list.Length(), status.message());
  };
  collect();
  ask();
  collect();
  for (int i = 0; i < k_steps_on_way; ++i) ask();
  collect();
  ask();
  for (int i = 0; i < k_steps_on_way; ++i) collect();
  ask();
  if (const Status finished = device.finish(); !finished.ok())
    return throw_status(info.Env(), finished);
  collect();
  for (int i = 0; i < k_steps_on_way + 1; ++i) ask();
  collect();
  return list;
}

Napi::Value ops_embed(const Napi::CallbackInfo& info) {
  return on_device(info, [](Device& device, const Fields& f) {
    std::vector<SampleResult> drawn;
    for (int64_t i = 0; f.has("drawn") && i < f.length("drawn"); ++i)
      drawn.push_back({0, f.ints("drawn")[i], 0, 0});
    device.ops().embed(
        device.queue(),
        {read_weight(f), f.ints("tokens"), static_cast<int>(f.length("tokens")), f.real("scale"),
         f.floats("out"), drawn.data(), static_cast<int>(drawn.size())});
    wait_for(device);
  });
}

Napi::Value ops_norm(const Napi::CallbackInfo& info) {
  return on_device(info, [](Device& device, const Fields& f) {
    device.ops().norm(device.queue(),
                      {f.floats("x"), f.floats("add"), f.floats("weight"), f.floats("out"),
                       f.number("n"), f.number("dim"), f.real("eps")});
  });
}

Napi::Value ops_rope(const Napi::CallbackInfo& info) {
  return on_device(info, [](Device& device, const Fields& f) {
    const int heads = f.number("heads"), head_dim = f.number("headDim");
    device.ops().rope(device.queue(),
                      {f.floats("x"), f.number_or("stride", heads * head_dim), f.number("n"), heads,
                       head_dim, f.number("rotary"), f.number("adjacent") != 0, f.ints("positions"),
                       f.floats("invFreq"), f.real("magnitude")});
  });
}

Napi::Value ops_gate(const Napi::CallbackInfo& info) {
  return on_device(info, [](Device& device, const Fields& f) {
    device.ops().gate(device.queue(), {f.floats("gate"), f.floats("up"), f.floats("out"),
                                       f.length("gate"), act_named(f.text("act"))});
  });
}

Napi::Value ops_add(const Napi::CallbackInfo& info) {
  return on_device(info, [](Device& device, const Fields& f) {
    device.ops().add(device.queue(), {f.floats("x"), f.floats("y"), f.length("x")});
  });
}

Napi::Value ops_gather(const Napi::CallbackInfo& info) {
  return on_device(info, [](Device& device, const Fields& f) {
    device.ops().gather(device.queue(),
                        {f.floats("x"), f.ints("rows"), static_cast<int>(f.length("rows")),
                         f.number("dim"), f.floats("out")});
  });
}

Napi::Value ops_top_k(const Napi::CallbackInfo& info) {
  return on_device(info, [](Device& device, const Fields& f) {
    auto* indices = f.ints("indices");
    auto* values = f.floats("values");
    const int k = f.number("k"), n = static_cast<int>(f.length("indices")) / k;
    std::vector<TopValue> out(f.length("indices"));
    device.ops().top_k(device.queue(),
                       {f.floats("x"), n, static_cast<int>(f.length("x")) / n, k, out.data()});
    wait_for(device);
    for (size_t i = 0; i < out.size(); ++i) indices[i] = out[i].index, values[i] = out[i].value;
  });
}

SampleQuery read_sample_query(const Napi::Object& object, std::vector<LogitChange>& changes) {
  const auto number = [](const Napi::Object& from, const char* key, double fallback) {
    const Napi::Value value = from.Get(key);
    return value.IsUndefined() ? fallback : value.ToNumber().DoubleValue();
  };
  const auto real = [&](const char* key, double fallback) {
    return static_cast<float>(number(object, key, fallback));
  };
  SampleQuery row;
  row.uniform = number(object, "uniform", 0);
  row.inverse_temperature = real("inverseTemperature", 1);
  row.top_p = real("topP", 1);
  row.least = real("least", -3.4e38);
  row.repetition_penalty = real("repetitionPenalty", 1);
  row.presence_penalty = real("presencePenalty", 0);
  row.frequency_penalty = real("frequencyPenalty", 0);
  row.top_k = static_cast<int32_t>(number(object, "topK", 0));
  row.target = static_cast<int32_t>(number(object, "target", -1));
  row.wants_sum = number(object, "wantsSum", 0) != 0;
  row.first_change = static_cast<int32_t>(changes.size());
  if (!object.Get("changes").IsArray()) return row;
  const auto list = object.Get("changes").As<Napi::Array>();
  row.n_changes = static_cast<int32_t>(list.Length());
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const auto change = list.Get(i).As<Napi::Object>();
    changes.push_back({static_cast<int32_t>(number(change, "token", 0)),
                       static_cast<int32_t>(number(change, "inOutput", -1)),
                       static_cast<float>(number(change, "bias", 0))});
  }
  return row;
}

// x is changed where a row has changes. told: [n, 4] of token, value, highest, weight sum.
Napi::Value ops_sample(const Napi::CallbackInfo& info) {
  return on_device(info, [&](Device& device, const Fields& f) {
    std::vector<LogitChange> changes;
    std::vector<SampleQuery> rows;
    const Napi::Array list = f.array("rows");
    for (uint32_t i = 0; i < list.Length(); ++i)
      rows.push_back(read_sample_query(list.Get(i).As<Napi::Object>(), changes));
    const int n = static_cast<int>(rows.size());
    std::vector<SampleResult> out(rows.size());
    device.ops().sample(device.queue(), {f.floats("x"), rows.data(), changes.data(),
                                         static_cast<int>(changes.size()), n,
                                         n ? static_cast<int>(f.length("x")) / n : 0, out.data()});
    wait_for(device);
    auto* told = info[0].ToObject().Get("told").As<Napi::Float64Array>().Data();
    for (const SampleResult& row : out) {
      *told++ = row.token;
      *told++ = static_cast<double>(row.value);
      *told++ = static_cast<double>(row.highest);
      *told++ = static_cast<double>(row.weight_sum);
    }
  });
}

// --- the cache: sequences are fed step by step
// ----------------------------------------------------

struct Cached {
  int length;
  const float* q;  // [length, heads, head_dim]
  float* k;        // [length, kv_heads, head_dim], as normed and turned afterwards
  const float* v;
  float* out;
  std::vector<int32_t> pages;
};

std::vector<Cached> read_sequences(const Fields& f, int q_dim, int page_tokens) {
  std::vector<Cached> sequences;
  const Napi::Array array = f.array("sequences");
  int32_t next_page = 0;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Fields fields(array.Get(i));
    const int length = static_cast<int>(fields.length("q")) / q_dim;
    sequences.push_back({length,
                         fields.floats("q"),
                         fields.floats("k"),
                         fields.floats("v"),
                         fields.floats("out"),
                         {}});
    auto& pages = sequences.back().pages;
    pages.resize(static_cast<size_t>((length + page_tokens - 1) / page_tokens));
    std::iota(pages.rbegin(), pages.rend(), next_page);  // not in order
    next_page += static_cast<int32_t>(pages.size());
  }
  return sequences;
}

// A fault to seed: attention is told pages that lie so many after the right ones, of all.
struct PageFault {
  int page_shift, n_pages;
};

void shift_pages(std::vector<Cached>& sequences, int by, int n_pages) {
  for (Cached& s : sequences)
    for (int32_t& page : s.pages) page = (page + by) % n_pages;
}

// Multiplies what attention gave by a square weight of BF16, on CUDA: what comes of it.
std::vector<float> mix(Device& device, const void* weight, const std::vector<float>& x, int n) {
  const int cols = static_cast<int>(x.size()) / n;
  const Ops& ops = device.ops();
  const Weight plain{DType::bf16, Weight::Layout::plain, cols, cols, cols * 2, weight};
  const auto packed = host_memory(ops.packed_bytes(plain.dtype, cols, cols));
  ops.pack(plain, packed.get(), 0, cols);
  std::vector<float> out(x.size());
  const Weight matrix{plain.dtype, Weight::Layout::packed, cols, cols, 0, packed.get()};
  ops.matmul(device.queue(), {x.data(), cols, n, 1, {{matrix, nullptr, out.data(), 0}}});
  wait_for(device);
  return out;
}

// What is done with the heads before they are stored, the fault to seed after that, and what is
// done with what attention gives.
struct Before {
  const float *q_norm, *k_norm;  // [head_dim] or null
  const float* inv_freq;         // [rotary / 2], or null: not turned
  int rotary;
  bool adjacent;
  bool apart;  // wait between one operator and the next
  PageFault fault;
  const void* mixer;  // null: nothing
  DType passed_to;    // see AttentionArgs
};

// The heads of a batch, one row after another.
struct Heads {
  float* x;
  int n, heads, head_dim;
};

void norm_heads(Device& device, const Before& before, const Heads& h, const float* weight) {
  if (!weight) return;
  device.ops().norm(device.queue(), {h.x, nullptr, weight, h.x, h.n * h.heads, h.head_dim, 1e-6f});
  if (before.apart) wait_for(device);
}

void turn_heads(Device& device, const Before& before, const Heads& h, const int32_t* positions) {
  if (!before.inv_freq) return;
  device.ops().rope(device.queue(),
                    {h.x, int64_t{h.heads} * h.head_dim, h.n, h.heads, h.head_dim, before.rotary,
                     before.adjacent, positions, before.inv_freq, 1.0f});
  if (before.apart) wait_for(device);
}

// One step: gathers the spans' rows into a batch, stores, attends, and scatters the outputs.
void run_step(Device& device, AttentionArgs attention, const Before& before,
              std::vector<Cached>& sequences, const int32_t* spans, int n_spans) {
  const KvShape& shape = attention.cache.shape;
  const auto q_dim = static_cast<size_t>(attention.heads * shape.head_dim);
  const auto kv_dim = static_cast<size_t>(shape.kv_heads * shape.head_dim);
  std::vector<Span> batch;
  std::vector<float> q, k, v;
  std::vector<int32_t> positions;
  for (int i = 0; i < n_spans; ++i, spans += 3) {
    const Cached& s = sequences[static_cast<size_t>(spans[0])];
    const auto first = static_cast<size_t>(spans[1]), last = first + static_cast<size_t>(spans[2]);
    const int first_row = static_cast<int>(q.size() / q_dim);
    batch.push_back({first_row, spans[2], spans[1], s.pages.data()});
    q.insert(q.end(), s.q + first * q_dim, s.q + last * q_dim);
    k.insert(k.end(), s.k + first * kv_dim, s.k + last * kv_dim);
    v.insert(v.end(), s.v + first * kv_dim, s.v + last * kv_dim);
    for (size_t at = first; at < last; ++at) positions.push_back(static_cast<int32_t>(at));
  }
  std::vector<float> out(q.size());
  const auto n = static_cast<int>(positions.size());
  const Heads queries{q.data(), n, attention.heads, shape.head_dim};
  const Heads keys{k.data(), n, shape.kv_heads, shape.head_dim};
  norm_heads(device, before, queries, before.q_norm);
  norm_heads(device, before, keys, before.k_norm);
  turn_heads(device, before, queries, positions.data());
  turn_heads(device, before, keys, positions.data());
  const auto stride = static_cast<int64_t>(kv_dim);
  device.ops().store(device.queue(), {attention.cache, attention.layer, k.data(), v.data(), stride,
                                      stride, batch.data(), n_spans});
  attention.q = q.data();
  attention.out = out.data();
  attention.q_stride = attention.out_stride = static_cast<int64_t>(q_dim);
  attention.spans = batch.data();
  attention.n_spans = n_spans;
  shift_pages(sequences, before.fault.page_shift, before.fault.n_pages);
  attention.passed_to = before.passed_to;
  attention.n = n;
  device.ops().attention(device.queue(), attention);
  if (before.mixer) out = mix(device, before.mixer, out, n);
  wait_for(device);
  shift_pages(sequences, before.fault.n_pages - before.fault.page_shift, before.fault.n_pages);
  spans -= 3 * n_spans;
  for (int i = 0; i < n_spans; ++i, spans += 3) {
    const Cached& s = sequences[static_cast<size_t>(spans[0])];
    const auto row = static_cast<size_t>(batch[static_cast<size_t>(i)].first_row);
    const auto first = static_cast<size_t>(spans[1]), rows = static_cast<size_t>(spans[2]);
    std::copy_n(out.data() + row * q_dim, rows * q_dim, s.out + first * q_dim);
    std::copy_n(k.data() + row * kv_dim, rows * kv_dim, s.k + first * kv_dim);
  }
}

// steps: [[sequence, first position, rows, ...], ...]. `fill` is every byte of the cache before.
Napi::Value ops_attention(const Napi::CallbackInfo& info) {
  return on_device(info, [](Device& device, const Fields& f) {
    const KvShape shape{f.number_or("layers", 1), f.number("kvHeads"), f.number("headDim"),
                        f.number_or("pageTokens", 16), dtype_named(f.text("cacheType"))};
    const int heads = f.number("heads");
    auto sequences = read_sequences(f, heads * shape.head_dim, shape.page_tokens);
    size_t n_pages = 0;
    for (const Cached& s : sequences) n_pages += s.pages.size();
    const size_t page_bytes = device.ops().kv_page_bytes(shape);
    auto cache = device.alloc(n_pages * page_bytes, "the probe's cache");
    if (!cache.ok()) return device.queue().fail(cache.status());
    std::memset(cache->data(), f.number_or("fill", 0), n_pages * page_bytes);
    AttentionArgs args{};
    args.cache = {shape, cache->data(), page_bytes};
    args.layer = f.number_or("layer", 0);
    args.heads = heads;
    args.scale = f.real("scale");
    args.window = f.number_or("window", 0);
    args.soft_cap = f.has("softCap") ? f.real("softCap") : 0.0f;
    const Before before{f.floats("qNorm"),
                        f.floats("kNorm"),
                        f.floats("invFreq"),
                        f.has("invFreq") ? 2 * static_cast<int>(f.length("invFreq")) : 0,
                        f.number_or("adjacent", 0) != 0,
                        f.number_or("apart", 0) != 0,
                        {f.number_or("pageShift", 0), static_cast<int>(n_pages)},
                        f.has("mixer") ? f.bytes("mixer") : nullptr,
                        f.has("passedTo") ? dtype_named(f.text("passedTo")) : DType::f32};
    const Napi::Array steps = f.array("steps");
    for (uint32_t i = 0; i < steps.Length(); ++i) {
      const auto spans = steps.Get(i).As<Napi::Int32Array>();
      run_step(device, args, before, sequences, spans.Data(),
               static_cast<int>(spans.ElementLength() / 3));
    }
  });
}

}  // namespace

void register_ops(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("opsTables", ops_tables);
  add("deviceTables", device_table_names);
  add("openLibrary", open_library);
  add("opsDevice", ops_device);
  add("opsRows", ops_rows);
  add("opsAlloc", ops_alloc);
  add("opsSteps", ops_steps);
  add("opsEmbed", ops_embed);
  add("opsNorm", ops_norm);
  add("opsRope", ops_rope);
  add("opsGate", ops_gate);
  add("opsAdd", ops_add);
  add("opsGather", ops_gather);
  add("opsTopK", ops_top_k);
  add("opsSample", ops_sample);
  add("opsAttention", ops_attention);
}

}  // namespace millrace
