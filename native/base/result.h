#pragma once
// Status and Result<T>: the one error currency of the native core.
// A function that can fail returns one of them; nothing is thrown across files.
// Threads: plain values, any thread.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>

namespace millrace {

// The codes an application sees as MillraceError.code (lib/errors.ts holds the same list,
// test/lib/errors.test.ts compares the two).
enum class ErrorCode : int {
  ok = 0,
  invalid_argument,  // a value outside what the call documents
  not_found,         // no such file, model, adapter
  io,                // the operating system refused a read or write
  bad_file,          // a file's content is not what it claims to be
  unsupported,       // well-formed, but not something this build can do
  too_long,          // prompt or request exceeds the context or the cache
  overloaded,        // the waiting queue is full
  deadline,          // deadlineMs passed
  aborted,           // the caller gave up
  closed,            // used after close()
  failed,            // the engine failed earlier and says so
  out_of_memory,     // a buffer could not be had
  device,            // a compute device was lost or misbehaved
  network,           // a download failed
  internal,          // our own bug
};

inline constexpr const char* k_error_code_names[] = {
    "ok",          "invalid-argument", "not-found",     "io",       "bad-file",
    "unsupported", "too-long",         "overloaded",    "deadline", "aborted",
    "closed",      "failed",           "out-of-memory", "device",   "network",
    "internal"};

inline const char* name_of(ErrorCode code) { return k_error_code_names[static_cast<int>(code)]; }

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == ErrorCode::ok; }
  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  ErrorCode code_ = ErrorCode::ok;
  std::string message_;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {}

  bool ok() const { return state_.index() == 0; }
  const Status& status() const {
    static const Status k_ok;
    return ok() ? k_ok : *std::get_if<1>(&state_);
  }
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }

 private:
  std::variant<T, Status> state_;
};

// printf-style message; gcc and clang check the arguments.
[[gnu::format(printf, 2, 3)]] Status error(ErrorCode code, const char* format, ...);

inline const Status& status_of(const Status& status) { return status; }
template <class T>
const Status& status_of(const Result<T>& result) {
  return result.status();
}

}  // namespace millrace

// Returns the error of expr to the caller; yields nothing. For a Result, name it first:
//   auto file = FileMap::open(path); TRY(file); use(*file);
#define TRY(expr)                                                            \
  do {                                                                       \
    if (auto&& try_result = (expr); !::millrace::status_of(try_result).ok()) \
      return ::millrace::status_of(try_result);                              \
  } while (false)

// For our own bugs only, never for input. Debug builds abort; release builds return `internal`
// from a function whose result is a Status or Result.
#ifdef NDEBUG
#define CHECK(condition)                                                                      \
  do {                                                                                        \
    if (!(condition))                                                                         \
      return ::millrace::error(::millrace::ErrorCode::internal, "internal error: %s (%s:%d)", \
                               #condition, __FILE__, __LINE__);                               \
  } while (false)
#else
#define CHECK(condition)                                                                  \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "CHECK failed: %s (%s:%d)\n", #condition, __FILE__, __LINE__); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)
#endif
