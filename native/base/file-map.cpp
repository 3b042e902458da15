#include "base/file-map.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <utility>

#if defined(_WIN32)
#include <windows.h>

#include <filesystem>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace millrace {
namespace {

constexpr size_t k_read_bytes = size_t{16} << 20;  // between two looks at the hooks

std::atomic<FileFault> g_fault{FileFault::none};

bool faulty(FileFault fault) { return g_fault.load(std::memory_order_relaxed) == fault; }

Status empty_file(const std::string& path) {
  return error(ErrorCode::bad_file, "Expected \"%s\" to be a model file but it is empty",
               path.c_str());
}

Status no_memory(const std::string& path, size_t n_bytes) {
  return error(ErrorCode::out_of_memory, "could not get %zu bytes to read \"%s\"", n_bytes,
               path.c_str());
}

std::shared_ptr<void> buffer_of(size_t n_bytes) {
  if (faulty(FileFault::memory)) return nullptr;
  void* memory = std::malloc(n_bytes);
  return memory ? std::shared_ptr<void>(memory, std::free) : nullptr;
}

#if defined(_WIN32)

class OpenFile {
 public:
  OpenFile() = default;
  explicit OpenFile(HANDLE handle) : handle_(handle) {}
  OpenFile(OpenFile&& other) noexcept : handle_(other.handle_) {
    other.handle_ = INVALID_HANDLE_VALUE;
  }
  ~OpenFile() {
    if (handle_ != INVALID_HANDLE_VALUE) CloseHandle(handle_);
  }
  HANDLE handle() const { return handle_; }

 private:
  HANDLE handle_ = INVALID_HANDLE_VALUE;
};

Status system_error(const std::string& path, const char* what) {
  const DWORD code = GetLastError();
  const bool absent = code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND;
  if (absent) return error(ErrorCode::not_found, "no file \"%s\"", path.c_str());
  return error(ErrorCode::io, "could not %s \"%s\": Windows error %lu", what, path.c_str(), code);
}

Result<OpenFile> open_file(const std::string& path) {
  const std::filesystem::path wide(std::u8string(path.begin(), path.end()));
  const DWORD attributes = GetFileAttributesW(wide.c_str());
  if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY))
    return error(ErrorCode::bad_file, "Expected \"%s\" to be a file but it is a directory",
                 path.c_str());
  OpenFile file(CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE,
                            nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr));
  if (file.handle() == INVALID_HANDLE_VALUE || faulty(FileFault::open))
    return system_error(path, "open");
  return file;
}

Result<size_t> size_of(const OpenFile& file, const std::string& path) {
  LARGE_INTEGER size;
  if (!GetFileSizeEx(file.handle(), &size)) return system_error(path, "read");
  return static_cast<size_t>(size.QuadPart);
}

Result<std::shared_ptr<void>> map_file(const OpenFile& file, const std::string& path, size_t) {
  const HANDLE mapping = CreateFileMappingW(file.handle(), nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (!mapping || faulty(FileFault::map)) return system_error(path, "map");
  void* view = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
  CloseHandle(mapping);
  if (!view) return system_error(path, "map");
  return std::shared_ptr<void>(view, [](void* memory) { UnmapViewOfFile(memory); });
}

// Bytes read, 0 at the end of the file, negative on failure.
int64_t read_some(const OpenFile& file, void* out, size_t n_bytes) {
  DWORD got = 0;
  const DWORD wanted = static_cast<DWORD>(std::min(n_bytes, k_read_bytes));
  return ReadFile(file.handle(), out, wanted, &got, nullptr) ? static_cast<int64_t>(got) : -1;
}

#else

class OpenFile {
 public:
  explicit OpenFile(int descriptor) : descriptor_(descriptor) {}
  OpenFile(OpenFile&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  ~OpenFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

Status system_error(const std::string& path, const char* what) {
  const int code = errno;
  if (code == ENOENT || code == ENOTDIR)
    return error(ErrorCode::not_found, "no file \"%s\"", path.c_str());
  return error(ErrorCode::io, "could not %s \"%s\": %s", what, path.c_str(), std::strerror(code));
}

Status injected(const std::string& path, const char* what) {
  errno = EIO;
  return system_error(path, what);
}

// Without O_NONBLOCK a named pipe would wait for its writer.
Result<OpenFile> open_file(const std::string& path) {
  if (faulty(FileFault::open)) return injected(path, "open");
  OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.descriptor() < 0) return system_error(path, "open");
  return file;
}

Result<size_t> size_of(const OpenFile& file, const std::string& path) {
  struct stat status;
  if (::fstat(file.descriptor(), &status) != 0) return system_error(path, "read");
  if (!S_ISREG(status.st_mode))
    return error(ErrorCode::bad_file, "Expected \"%s\" to be a file but it is a %s", path.c_str(),
                 S_ISDIR(status.st_mode) ? "directory" : "device");
  return static_cast<size_t>(status.st_size);
}

Result<std::shared_ptr<void>> map_file(const OpenFile& file, const std::string& path,
                                       size_t n_bytes) {
  if (faulty(FileFault::map)) return injected(path, "map");
  void* view = ::mmap(nullptr, n_bytes, PROT_READ, MAP_SHARED, file.descriptor(), 0);
  if (view == MAP_FAILED) return system_error(path, "map");
  return std::shared_ptr<void>(view, [n_bytes](void* memory) { ::munmap(memory, n_bytes); });
}

// Bytes read, 0 at the end of the file, negative on failure.
int64_t read_some(const OpenFile& file, void* out, size_t n_bytes) {
  const size_t wanted = std::min(n_bytes, k_read_bytes);
  for (;;) {
    const ssize_t got = ::read(file.descriptor(), out, wanted);
    if (got >= 0 || errno != EINTR) return got;
  }
}

#endif

Result<std::shared_ptr<void>> read_file(const OpenFile& file, const std::string& path,
                                        size_t n_bytes, const OpenHooks& hooks) {
  auto memory = buffer_of(n_bytes);
  if (!memory) return no_memory(path, n_bytes);
  if (faulty(FileFault::read))
    return error(ErrorCode::io, "could not read \"%s\": injected fault", path.c_str());
  size_t done = 0;
  while (done < n_bytes) {
    if (hooks.cancelled && hooks.cancelled())
      return error(ErrorCode::aborted, "reading \"%s\" was aborted after %zu of %zu bytes",
                   path.c_str(), done, n_bytes);
    const int64_t got =
        faulty(FileFault::short_read)
            ? 0
            : read_some(file, static_cast<char*>(memory.get()) + done, n_bytes - done);
    if (got < 0) return system_error(path, "read");
    if (got == 0)
      return error(ErrorCode::io, "Expected %zu bytes in \"%s\" but the file ended after %zu",
                   n_bytes, path.c_str(), done);
    done += static_cast<size_t>(got);
    if (hooks.progress && done < n_bytes)
      hooks.progress(static_cast<double>(done) / static_cast<double>(n_bytes));
  }
  return memory;
}

}  // namespace

OpenHooks OpenHooks::part(double begin, double end) const {
  OpenHooks hooks{nullptr, cancelled};
  if (progress)
    hooks.progress = [whole = progress, begin, end](double fraction) {
      whole(begin + (end - begin) * fraction);
    };
  return hooks;
}

Result<std::shared_ptr<const FileMap>> FileMap::open(const std::string& path, bool use_mmap,
                                                     const OpenHooks& hooks) {
  if (path.find('\0') != std::string::npos)
    return error(ErrorCode::not_found, "no file \"%s\": the path contains a NUL", path.c_str());
  auto file = open_file(path);
  TRY(file);
  auto size = size_of(*file, path);
  TRY(size);
  if (*size == 0) return empty_file(path);
  auto memory = use_mmap ? map_file(*file, path, *size) : read_file(*file, path, *size, hooks);
  TRY(memory);
  if (hooks.progress) hooks.progress(1.0);
  return std::shared_ptr<const FileMap>(new FileMap(path, std::move(*memory), *size, use_mmap));
}

FileMap::FileMap(std::string path, std::shared_ptr<void> memory, size_t n_bytes, bool is_mapped)
    : path_(std::move(path)),
      mapped_(is_mapped),
      memory_(std::move(memory)),
      bytes_(static_cast<const std::byte*>(memory_.get()), n_bytes),
      guard_(memory_.get(), is_mapped ? n_bytes : 0) {}

FileMap::~FileMap() = default;

Status FileMap::check() const {
  if (guard_.is_whole()) return {};
  return error(
      ErrorCode::bad_file,
      "Expected \"%s\" to keep its %zu bytes while it is open but some cannot be read any more",
      path_.c_str(), bytes_.size());
}

void FileMap::release_pages() const {
#if !defined(_WIN32)
  if (mapped_) ::madvise(memory_.get(), bytes_.size(), MADV_DONTNEED);
#endif
}

void fail_files_with(FileFault fault) { g_fault.store(fault, std::memory_order_relaxed); }

}  // namespace millrace
