// Mistakes made on purpose: a sanitizer that does not report these reports nothing of ours.

#include <thread>

#include "probe.h"

namespace millrace {
namespace {

char* volatile g_forgotten = nullptr;
int volatile g_shared = 0;

void leak(const Napi::CallbackInfo&) {
  g_forgotten = new char[777];
  g_forgotten = nullptr;
}

void race(const Napi::CallbackInfo&) {
  const auto count = [] {
    for (int i = 0; i < 100'000; ++i) g_shared = g_shared + 1;
  };
  std::thread other(count);
  count();
  other.join();
}

}  // namespace

void register_sanitizer(Napi::Env env, Napi::Object exports) {
  exports.Set("leak", Napi::Function::New(env, leak));
  exports.Set("race", Napi::Function::New(env, race));
}

}  // namespace millrace
