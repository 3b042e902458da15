#pragma once
// What one Node environment (the main thread, or a worker) keeps of this addon: the list of what is
// open, so that it can be closed, youngest first, when the environment ends or the program exits.
// Invariant: hangs on the environment (instance data); there is no global, so workers and several
// copies of the addon live in one program.
// Threads: JS thread only.

#include <napi.h>

#include <cstdint>
#include <functional>
#include <list>

namespace millrace {

class Environment {
 public:
  struct Entry {
    Environment* environment;
    std::function<void()> close;  // blocks until nothing of it runs; may be called twice
  };
  using Token = std::list<Entry>::iterator;

  explicit Environment(napi_env env) : env_(env) {}
  static void create(Napi::Env env);
  static Environment& of(Napi::Env env);

  // Node calls `close` when the environment ends, in reverse order of add, before it takes away
  // thread-safe functions that were made earlier.
  Token add(std::function<void()> close);
  void remove(Token token);
  // Closes everything now, youngest first: for the program's exit, where Node asks nobody.
  void shut_down();

 private:
  static void on_end(void* entry);

  napi_env env_;
  std::list<Entry> entries_;
};

}  // namespace millrace
