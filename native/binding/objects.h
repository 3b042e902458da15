#pragma once
// The native objects that JavaScript holds, and the functions that open them.
// Threads: JS thread only.

#include <napi.h>

#include <initializer_list>
#include <memory>
#include <utility>

#include "binding/environment.h"
#include "binding/events.h"
#include "binding/handle.h"
#include "engine/engine.h"
#include "model/model.h"

namespace millrace {

inline void set_numbers(Napi::Object object,
                        std::initializer_list<std::pair<const char*, double>> numbers) {
  for (const auto& [name, value] : numbers) object.Set(name, value);
}

// Tells the collector of memory that objects of JavaScript keep, or kept.
inline void report_bytes(Napi::Env env, int64_t change) {
  int64_t total = 0;
  napi_adjust_external_memory(env, change, &total);
}

// A model, and the bytes that the collector was told about.
struct OpenModel {
  static constexpr napi_type_tag k_tag = {0x6d696c6c72616365, 0x6d6f64656c000001};
  static constexpr const char* k_name = "model";
  static void abandon(Napi::Env env, const std::shared_ptr<OpenModel>& open);

  std::shared_ptr<const Model> model;
  int64_t external_bytes = 0;
};

// An engine with its way back into JavaScript.
// Invariant: `entry` and `channel` live until the engine's thread has ended.
struct OpenEngine {
  static constexpr napi_type_tag k_tag = {0x6d696c6c72616365, 0x656e67696e650001};
  static constexpr const char* k_name = "engine";
  // Closes without draining; nobody waits.
  static void abandon(Napi::Env env, const std::shared_ptr<OpenEngine>& open);

  std::shared_ptr<Engine> engine;
  std::weak_ptr<const Model> model;  // which the engine keeps
  std::shared_ptr<EventChannel> channel;
  Environment::Token entry;
  int64_t external_bytes = 0;
  int32_t last_id = 0;
  bool is_closing = false;
  std::vector<Napi::Promise::Deferred> closers;  // who wait for the end
};

// The raw bytes that the token info[0] stands for, as a Uint8Array.
Napi::Value bytes_of_token(const Napi::CallbackInfo& info, const Model& model);

// openModel(path: string, options: object, onProgress?: (fraction: number) => void):
//   { promise: Promise<NativeModel>, cancel(): void }
Napi::Value open_model(const Napi::CallbackInfo& info);

// openEngine(model: NativeModel, options: object, onEvents: function):
//   { promise: Promise<NativeEngine>, cancel(): void }
Napi::Value open_engine(const Napi::CallbackInfo& info);

}  // namespace millrace
