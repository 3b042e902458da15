// A GGUF model as one ModelFile, whether it lies in one file or in several.

#include <cinttypes>

#include "model/gguf.h"

namespace millrace {
namespace {

class GgufFile : public ModelFile {
 public:
  const Metadata& metadata() const override { return metadata_; }
  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  const TensorEntry* find(std::string_view name) const override {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &tensors_[found->second];
  }
  size_t size_bytes() const override { return size_bytes_; }
  void release_pages() const override {
    for (const auto& file : files_) file->release_pages();
  }
  Status check() const override {
    for (const auto& file : files_) TRY(file->check());
    return {};
  }

  // The first part brings the metadata.
  void add(std::shared_ptr<const FileMap> file, GgufPart part) {
    size_bytes_ += file->bytes().size();
    if (files_.empty()) metadata_ = std::move(part.metadata);
    files_.push_back(std::move(file));
    for (TensorEntry& entry : part.tensors) tensors_.push_back(std::move(entry));
  }

  // What a part says about the whole model.
  void expect_tensors(int64_t n) { n_expected_ = n; }

  // Once all parts are there: names point into tensors_ from now on.
  Status finish() {
    if (n_expected_ >= 0 && static_cast<int64_t>(tensors_.size()) != n_expected_)
      return error(ErrorCode::bad_file,
                   "Expected the parts to hold %" PRId64
                   " tensors (split.tensors.count) but found "
                   "%zu",
                   n_expected_, tensors_.size());
    for (size_t i = 0; i < tensors_.size(); ++i)
      if (!index_.emplace(tensors_[i].name, i).second)
        return error(ErrorCode::bad_file, "tensor \"%s\" occurs in two parts of the model",
                     tensors_[i].name.c_str());
    return {};
  }

 private:
  std::vector<std::shared_ptr<const FileMap>> files_;
  Metadata metadata_;
  std::vector<TensorEntry> tensors_;
  std::unordered_map<std::string_view, size_t> index_;
  size_t size_bytes_ = 0;
  int64_t n_expected_ = -1;
};

Status about(const std::string& path, const Status& status) {
  return Status(status.code(), "\"" + path + "\": " + status.message());
}

// "<stem>-00002-of-00005.gguf"
struct PartName {
  std::string stem;
  int number = 0;  // from 1
  int count = 0;

  std::string path(int part) const {
    char tail[64];
    std::snprintf(tail, sizeof tail, "-%05d-of-%05d.gguf", part, count);
    return stem + tail;
  }
};

bool read_part_name(const std::string& path, PartName& name) {
  constexpr size_t k_tail = sizeof("-00001-of-00001.gguf") - 1;
  if (path.size() < k_tail) return false;
  name.stem = path.substr(0, path.size() - k_tail);
  const std::string tail = path.substr(path.size() - k_tail);
  if (std::sscanf(tail.c_str(), "-%5d-of-%5d.gguf", &name.number, &name.count) != 2) return false;
  return name.number >= 1 && name.number <= name.count && name.path(name.number) == path;
}

struct SplitInfo {
  int64_t number = 0;  // from 0
  int64_t count = 1;
  int64_t n_tensors = -1;
};

Result<SplitInfo> read_split_info(const Metadata& metadata) {
  SplitInfo info;
  if (!metadata.find("split.count")) return info;
  auto count = metadata.integer("split.count");
  TRY(count);
  info.count = *count;
  if (info.count < 1 || info.count > 99999)
    return error(ErrorCode::bad_file,
                 "Expected split.count to be from 1 to 99999 but found %" PRId64, info.count);
  if (info.count == 1) return info;
  auto number = metadata.integer("split.no");
  TRY(number);
  info.number = *number;
  if (metadata.find("split.tensors.count")) {
    auto n_tensors = metadata.integer("split.tensors.count");
    TRY(n_tensors);
    info.n_tensors = *n_tensors;
  }
  return info;
}

Status check_part(const SplitInfo& info, const PartName& name, int part) {
  if (info.count == name.count && info.number == part - 1) return {};
  return error(ErrorCode::bad_file,
               "Expected part %d of %d by its name but the file says part %" PRId64 " of %" PRId64,
               part, name.count, info.number + 1, info.count);
}

Result<std::shared_ptr<const FileMap>> read_part(const PartName& name, int part, bool use_mmap,
                                                 const OpenHooks& hooks) {
  const double n_files = 1 + name.count;
  return FileMap::open(name.path(part), use_mmap, hooks.part(part / n_files, (part + 1) / n_files));
}

Status add_part(GgufFile& model, const PartName& name, int part, bool use_mmap,
                const OpenHooks& hooks) {
  auto file = read_part(name, part, use_mmap, hooks);
  TRY(file);
  auto parsed = parse_gguf((*file)->bytes(), false);
  TRY(parsed);
  auto info = read_split_info(parsed->metadata);
  TRY(info);
  TRY(check_part(*info, name, part));
  if (info->n_tensors >= 0) model.expect_tensors(info->n_tensors);
  model.add(std::move(*file), std::move(*parsed));
  return {};
}

Result<std::shared_ptr<const ModelFile>> open_parts(const PartName& name, bool use_mmap,
                                                    const OpenHooks& hooks) {
  auto model = std::make_shared<GgufFile>();
  for (int part = 1; part <= name.count; ++part)
    if (const Status status = add_part(*model, name, part, use_mmap, hooks); !status.ok())
      return Status(status.code(), "part " + std::to_string(part) + " of " +
                                       std::to_string(name.count) + ": " + status.message());
  TRY(model->finish());
  return std::shared_ptr<const ModelFile>(std::move(model));
}

Result<std::shared_ptr<const ModelFile>> open_single(std::shared_ptr<const FileMap> file,
                                                     GgufPart part) {
  auto model = std::make_shared<GgufFile>();
  model->add(std::move(file), std::move(part));
  TRY(model->finish());
  return std::shared_ptr<const ModelFile>(std::move(model));
}

// Any part leads to the whole model; its metadata is in the first.
Result<std::shared_ptr<const ModelFile>> open_split(const std::string& path, const SplitInfo& info,
                                                    const std::shared_ptr<const FileMap>& file,
                                                    bool vocabulary_only, const OpenHooks& hooks) {
  PartName name;
  if (!read_part_name(path, name))
    return error(ErrorCode::bad_file,
                 "Expected the name of part %" PRId64 " of a split model to end in -%05" PRId64
                 "-of-%05" PRId64 ".gguf",
                 info.number + 1, info.number + 1, info.count);
  TRY(check_part(info, name, name.number));
  if (!vocabulary_only) return open_parts(name, file->mapped(), hooks);
  auto first = read_part(name, 1, file->mapped(), hooks);
  TRY(first);
  auto parsed = parse_gguf((*first)->bytes(), true);
  TRY(parsed);
  return open_single(std::move(*first), std::move(*parsed));
}

}  // namespace

int files_to_read(const std::string& path) {
  PartName name;
  return read_part_name(path, name) && name.count > 1 ? 1 + name.count : 1;
}

Result<std::shared_ptr<const ModelFile>> open_gguf(const std::string& path,
                                                   std::shared_ptr<const FileMap> file,
                                                   bool vocabulary_only, const OpenHooks& hooks) {
  auto parsed = parse_gguf(file->bytes(), vocabulary_only);
  if (!parsed.ok()) return about(path, parsed.status());
  auto info = read_split_info(parsed->metadata);
  if (!info.ok()) return about(path, info.status());
  auto model = info->count > 1 ? open_split(path, *info, file, vocabulary_only, hooks)
                               : open_single(std::move(file), std::move(*parsed));
  return model.ok() ? model : about(path, model.status());
}

}  // namespace millrace
