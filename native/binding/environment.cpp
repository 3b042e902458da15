#include "binding/environment.h"

#include <memory>

namespace millrace {

namespace {

void finalize(napi_env, void* data, void*) {
  const std::unique_ptr<Environment> owner(static_cast<Environment*>(data));
}

}  // namespace

void Environment::create(Napi::Env env) {
  auto environment = std::make_unique<Environment>(env);
  if (napi_set_instance_data(env, environment.get(), finalize, nullptr) == napi_ok)
    static_cast<void>(environment.release());
}

Environment& Environment::of(Napi::Env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Environment*>(data);
}

Environment::Token Environment::add(std::function<void()> close) {
  const Token token = entries_.insert(entries_.end(), {this, std::move(close)});
  napi_add_env_cleanup_hook(env_, on_end, &*token);
  return token;
}

void Environment::remove(Token token) {
  napi_remove_env_cleanup_hook(env_, on_end, &*token);
  entries_.erase(token);
}

// The entry stays in the list: its owner may still remove it.
void Environment::on_end(void* entry) { static_cast<Entry*>(entry)->close(); }

void Environment::shut_down() {
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) entry->close();
}

}  // namespace millrace
