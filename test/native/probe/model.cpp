// Probe of the model floor: logits of a token sequence through forward(), in chunks.

#include <numeric>
#include <vector>

#include "devices.h"
#include "model/forward.h"
#include "model/model.h"
#include "probe.h"

namespace millrace {
namespace {

constexpr int k_page_tokens = 16;

DType cache_type_of(const std::string& name) {
  if (name == "f16") return DType::f16;
  return name == "q8_0" ? DType::q8_0 : DType::f32;
}

struct LogitsRequest {
  std::string path, table;
  int threads = 1;
  int chunk = 512;
  DType cache_type = DType::f32;
  std::vector<int32_t> tokens;
};

LogitsRequest read_request(const Napi::Object& object) {
  LogitsRequest request;
  request.path = object.Get("path").ToString();
  request.table = object.Get("ops").ToString();
  request.threads = object.Get("threads").ToNumber().Int32Value();
  request.chunk = object.Get("chunk").ToNumber().Int32Value();
  request.cache_type = cache_type_of(object.Get("cacheType").ToString());
  const auto tokens = object.Get("tokens").As<Napi::Int32Array>();
  request.tokens.assign(tokens.Data(), tokens.Data() + tokens.ElementLength());
  return request;
}

// Runs the tokens chunk by chunk through one cache; every position's logits, [n, vocab_size].
Status run(const LogitsRequest& request, std::vector<float>& logits) {
  auto model = Model::open(request.path, {});
  TRY(model);
  const Config& config = (*model)->config();
  auto device = open_table(request.table, request.threads);
  TRY(device);
  auto weights = (*model)->weights(**device);
  TRY(weights);
  auto workspace = Workspace::create(config, **device, request.chunk, request.chunk);
  TRY(workspace);
  const int n = static_cast<int>(request.tokens.size());
  const int n_pages = (n + k_page_tokens - 1) / k_page_tokens;
  const KvShape shape{config.n_layers, config.n_kv_heads, config.head_dim, k_page_tokens,
                      request.cache_type};
  const size_t page_bytes = (*device)->ops().kv_page_bytes(shape);
  auto cache = (*device)->alloc(page_bytes * static_cast<size_t>(n_pages), "the probe's cache");
  TRY(cache);
  std::vector<int32_t> positions(request.tokens.size()), pages(static_cast<size_t>(n_pages));
  std::iota(positions.begin(), positions.end(), 0);
  std::iota(pages.rbegin(), pages.rend(), 0);  // not in order, so that the table is read
  for (int first = 0; first < n; first += request.chunk) {
    const int rows = std::min(request.chunk, n - first);
    std::vector<int32_t> outputs(static_cast<size_t>(rows));
    std::iota(outputs.begin(), outputs.end(), 0);
    const Span span{0, rows, first, pages.data()};
    TRY(forward(config, **weights, **device, {shape, cache->data(), page_bytes},
                {request.tokens.data() + first, positions.data() + first, rows, &span, 1,
                 outputs.data(), rows},
                **workspace));
    TRY((*device)->finish());
    const float* out = (*workspace)->logits;
    logits.insert(logits.end(), out, out + static_cast<size_t>(rows) * config.vocab_size);
  }
  return {};
}

Napi::Value model_logits(const Napi::CallbackInfo& info) {
  const LogitsRequest request = read_request(info[0].As<Napi::Object>());
  std::vector<float> logits;
  const Status status = run(request, logits);
  if (!status.ok()) return throw_status(info.Env(), status);
  return to_array(info.Env(), logits);
}

}  // namespace

void register_model(Napi::Env env, Napi::Object exports) {
  exports.Set("modelLogits", Napi::Function::New(env, model_logits));
}

}  // namespace millrace
