#include "model/gguf.h"

#include <algorithm>
#include <cinttypes>
#include <unordered_set>

#include "base/utf8.h"

namespace millrace {
namespace {

constexpr uint64_t k_min_entry_bytes = 8 + 1 + 4 + 1;           // key length, key, type, value
constexpr uint64_t k_min_tensor_bytes = 8 + 1 + 4 + 8 + 4 + 8;  // name, rank, extent, type, offset
constexpr uint64_t k_max_name_bytes = 65535;
constexpr uint32_t k_max_rank = 4;
constexpr uint32_t k_default_alignment = 32;
constexpr uint64_t k_max_alignment = 1u << 20;

// Types that files may have and that no row of dtype.h stands for, so that the error can name them.
struct OtherType {
  uint32_t id;
  const char* name;
};
constexpr OtherType k_other_types[] = {
    {4, "Q4_2"},     {5, "Q4_3"},   {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {21, "IQ3_S"}, {22, "IQ2_S"}, {25, "I16"},     {27, "I64"},
    {28, "F64"},     {29, "IQ1_M"}, {34, "TQ1_0"}, {35, "TQ2_0"},
};

const char* other_type_name(uint32_t id) {
  for (const OtherType& type : k_other_types)
    if (type.id == id) return type.name;
  return "unknown";
}

// Enough of a name for a message.
std::string shown(std::string_view name) {
  constexpr size_t k_shown = 80;
  return name.size() <= k_shown ? std::string(name) : std::string(name.substr(0, k_shown)) + "...";
}

std::string quoted(const char* what, std::string_view name) {
  return std::string(what) + " \"" + shown(name) + "\"";
}

Status truncated(const std::string& where) {
  return error(ErrorCode::bad_file, "the file is truncated: it ends within %s", where.c_str());
}

// One pass over the header; tensors are placed when the end of the header is known.
class Parser {
 public:
  Parser(Bytes bytes, bool vocabulary_only)
      : bytes_(bytes), reader_(bytes), vocabulary_only_(vocabulary_only) {}

  Result<GgufPart> run() {
    TRY(read_counts());
    for (uint64_t i = 0; i < n_entries_; ++i) TRY(read_entry(i));
    TRY(read_alignment());
    for (uint64_t i = 0; i < n_tensors_; ++i) TRY(read_tensor(i));
    if (!vocabulary_only_) TRY(place_tensors());
    return std::move(part_);
  }

 private:
  Status read_counts() {
    (void)reader_.take<uint32_t>();
    const auto version = reader_.take<uint32_t>();
    if (!version) return truncated("the version");
    if (*version == 1)
      return error(
          ErrorCode::bad_file,
          "Expected GGUF version 2 or 3 but found version 1, which is obsolete: convert the "
          "model again");
    if ((*version & 0xffff) == 0 && *version != 0)
      return error(ErrorCode::bad_file,
                   "Expected a little-endian GGUF file but found a big-endian one");
    if (*version != 2 && *version != 3)
      return error(ErrorCode::bad_file, "Expected GGUF version 2 or 3 but found %u", *version);
    const auto n_tensors = reader_.take<uint64_t>();
    const auto n_entries = reader_.take<uint64_t>();
    if (!n_tensors || !n_entries) return truncated("the header");
    if (*n_entries > reader_.remaining() / k_min_entry_bytes)
      return error(ErrorCode::bad_file,
                   "the header promises %" PRIu64 " metadata keys, more than fit in the %" PRIu64
                   " bytes that follow",
                   *n_entries, reader_.remaining());
    if (*n_tensors > reader_.remaining() / k_min_tensor_bytes)
      return error(ErrorCode::bad_file,
                   "the header promises %" PRIu64 " tensors, more than fit in the %" PRIu64
                   " bytes that follow",
                   *n_tensors, reader_.remaining());
    n_tensors_ = *n_tensors;
    n_entries_ = *n_entries;
    return {};
  }

  // A length and its bytes.
  Result<std::string_view> read_text(const std::string& where) {
    const auto length = reader_.take<uint64_t>();
    if (!length) return truncated(where);
    if (*length > reader_.remaining())
      return error(ErrorCode::bad_file,
                   "%s has a length of %" PRIu64 " bytes but only %" PRIu64
                   " follow: the file is "
                   "truncated or damaged",
                   where.c_str(), *length, reader_.remaining());
    return as_text(*reader_.take_bytes(*length));
  }

  Result<std::string_view> read_name(const std::string& where) {
    auto name = read_text(where);
    TRY(name);
    if (name->empty() || name->size() > k_max_name_bytes)
      return error(ErrorCode::bad_file, "Expected %s to have 1 to %" PRIu64 " bytes but it has %zu",
                   where.c_str(), k_max_name_bytes, name->size());
    if (!is_valid_utf8(*name) || name->find('\0') != std::string_view::npos)
      return error(ErrorCode::bad_file, "Expected %s to be UTF-8 text without NUL", where.c_str());
    return name;
  }

  Status read_entry(uint64_t index) {
    auto key = read_name("the name of metadata key " + std::to_string(index));
    TRY(key);
    where_ = quoted("metadata key", *key);
    const auto type = reader_.take<uint32_t>();
    if (!type) return truncated(where_);
    auto value = read_value(*type);
    TRY(value);
    if (!part_.metadata.add(*key, std::move(*value)))
      return error(ErrorCode::bad_file, "%s occurs twice", where_.c_str());
    return {};
  }

  Result<Value> read_value(uint32_t type) {
    switch (static_cast<ValueType>(type)) {
      case ValueType::u8:
        return read_number<uint8_t, uint64_t>(ValueType::u8);
      case ValueType::i8:
        return read_number<int8_t, int64_t>(ValueType::i8);
      case ValueType::u16:
        return read_number<uint16_t, uint64_t>(ValueType::u16);
      case ValueType::i16:
        return read_number<int16_t, int64_t>(ValueType::i16);
      case ValueType::u32:
        return read_number<uint32_t, uint64_t>(ValueType::u32);
      case ValueType::i32:
        return read_number<int32_t, int64_t>(ValueType::i32);
      case ValueType::u64:
        return read_number<uint64_t, uint64_t>(ValueType::u64);
      case ValueType::i64:
        return read_number<int64_t, int64_t>(ValueType::i64);
      case ValueType::f32:
        return read_number<float, double>(ValueType::f32);
      case ValueType::f64:
        return read_number<double, double>(ValueType::f64);
      case ValueType::boolean:
        return read_boolean();
      case ValueType::string: {
        auto text = read_text(where_);
        TRY(text);
        return Value{ValueType::string, *text};
      }
      case ValueType::array:
        return read_array();
    }
    return error(ErrorCode::bad_file, "Expected %s to have a value type from 0 to 12 but found %u",
                 where_.c_str(), type);
  }

  template <class Stored, class Wide>
  Result<Value> read_number(ValueType type) {
    const auto value = reader_.take<Stored>();
    if (!value) return truncated(where_);
    return Value{type, static_cast<Wide>(*value)};
  }

  Result<Value> read_boolean() {
    const auto value = reader_.take<uint8_t>();
    if (!value) return truncated(where_);
    if (*value > 1) return bad_boolean(*value);
    return Value{ValueType::boolean, *value == 1};
  }

  Status bad_boolean(unsigned value) {
    return error(ErrorCode::bad_file, "Expected %s to hold a boolean, 0 or 1, but found %u",
                 where_.c_str(), value);
  }

  Result<Value> read_array() {
    const auto type = reader_.take<uint32_t>();
    const auto count = reader_.take<uint64_t>();
    if (!type || !count) return truncated(where_);
    if (*type == static_cast<uint32_t>(ValueType::array))
      return error(ErrorCode::unsupported, "%s is an array of arrays, which is not supported",
                   where_.c_str());
    if (*type > static_cast<uint32_t>(ValueType::f64))
      return error(ErrorCode::bad_file,
                   "Expected %s to have elements of a type from 0 to 12 but found %u",
                   where_.c_str(), *type);
    const auto element = static_cast<ValueType>(*type);
    const uint64_t least = element == ValueType::string ? 8 : size_of(element);
    if (*count > reader_.remaining() / least)
      return error(ErrorCode::bad_file,
                   "%s promises %" PRIu64 " elements, more than fit in the %" PRIu64
                   " bytes that follow",
                   where_.c_str(), *count, reader_.remaining());
    return element == ValueType::string ? read_strings(*count) : read_numbers(element, *count);
  }

  Result<Value> read_strings(uint64_t count) {
    StringArray texts;
    texts.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      const auto length = reader_.take<uint64_t>();
      if (!length || *length > reader_.remaining())
        return truncated("element " + std::to_string(i) + " of " + where_);
      texts.push_back(as_text(*reader_.take_bytes(*length)));
    }
    return Value{ValueType::array, std::move(texts)};
  }

  Result<Value> read_numbers(ValueType element, uint64_t count) {
    const Bytes data = *reader_.take_bytes(count * size_of(element));
    if (element == ValueType::boolean)
      for (const std::byte value : data)
        if (std::to_integer<unsigned>(value) > 1)
          return bad_boolean(std::to_integer<unsigned>(value));
    return Value{ValueType::array, NumberArray{element, count, data.data()}};
  }

  Status read_alignment() {
    if (!part_.metadata.find("general.alignment")) return {};
    auto alignment = part_.metadata.integer("general.alignment");
    TRY(alignment);
    if (*alignment < 8 || *alignment > static_cast<int64_t>(k_max_alignment) ||
        !is_power_of_two(static_cast<uint64_t>(*alignment)))
      return error(ErrorCode::bad_file,
                   "Expected general.alignment to be a power of two from 8 to %" PRIu64
                   " but found %" PRId64,
                   k_max_alignment, *alignment);
    alignment_ = static_cast<uint64_t>(*alignment);
    return {};
  }

  Status read_tensor(uint64_t index) {
    auto name = read_name("the name of tensor " + std::to_string(index));
    TRY(name);
    where_ = quoted("tensor", *name);
    if (!names_.insert(*name).second)
      return error(ErrorCode::bad_file, "%s occurs twice", where_.c_str());
    TensorEntry entry;
    entry.name = *name;
    TRY(read_shape(entry));
    const auto type = reader_.take<uint32_t>();
    const auto offset = reader_.take<uint64_t>();
    if (!type || !offset) return truncated(where_);
    auto dtype = dtype_from_gguf(*type);
    if (!dtype.ok()) {
      if (vocabulary_only_) return {};
      return error(ErrorCode::unsupported, "%s has element type %u (%s), which is not supported",
                   where_.c_str(), *type, other_type_name(*type));
    }
    entry.dtype = *dtype;
    TRY(measure(entry));
    if (*offset % alignment_ != 0)
      return error(ErrorCode::bad_file,
                   "Expected the offset of %s to be a multiple of %" PRIu64 " but found %" PRIu64,
                   where_.c_str(), alignment_, *offset);
    part_.tensors.push_back(std::move(entry));
    offsets_.push_back(*offset);
    return {};
  }

  Status read_shape(TensorEntry& entry) {
    const auto rank = reader_.take<uint32_t>();
    if (!rank) return truncated(where_);
    if (*rank < 1 || *rank > k_max_rank)
      return error(ErrorCode::bad_file, "Expected %s to have 1 to %u dimensions but found %u",
                   where_.c_str(), k_max_rank, *rank);
    uint64_t product = 1;
    for (uint32_t i = 0; i < *rank; ++i) {
      const auto extent = reader_.take<uint64_t>();
      if (!extent) return truncated(where_);
      const auto next = checked_mul(product, *extent);
      if (*extent == 0 || !next || *next > (uint64_t{1} << 56))
        return error(ErrorCode::bad_file,
                     "%s has %" PRIu64
                     " as dimension %u: the number of values must be from 1 to "
                     "2^56",
                     where_.c_str(), *extent, i);
      product = *next;
      entry.shape.push_back(static_cast<int64_t>(*extent));
    }
    return {};
  }

  Status measure(TensorEntry& entry) {
    const DTypeInfo& info = info_of(entry.dtype);
    if (entry.shape[0] % info.block_values != 0)
      return error(
          ErrorCode::bad_file,
          "Expected the rows of %s (%s) to have a multiple of %d values but found %" PRId64,
          where_.c_str(), info.name, info.block_values, entry.shape[0]);
    entry.size_bytes = static_cast<size_t>(row_bytes(entry.dtype, entry.values()));
    return {};
  }

  Status place_tensors() {
    if (part_.tensors.empty()) return {};
    const auto start = align_up(reader_.position(), alignment_);
    const uint64_t room = start && *start < bytes_.size() ? bytes_.size() - *start : 0;
    for (size_t i = 0; i < part_.tensors.size(); ++i) {
      TensorEntry& entry = part_.tensors[i];
      if (offsets_[i] > room || entry.size_bytes > room - offsets_[i])
        return error(ErrorCode::bad_file,
                     "%s needs %zu bytes at offset %" PRIu64
                     " of the data but the file has only "
                     "%" PRIu64 " there: it is truncated or damaged",
                     quoted("tensor", entry.name).c_str(), entry.size_bytes, offsets_[i], room);
      entry.data = bytes_.data() + *start + offsets_[i];
    }
    return check_overlaps();
  }

  Status check_overlaps() const {
    std::vector<const TensorEntry*> order;
    order.reserve(part_.tensors.size());
    for (const TensorEntry& entry : part_.tensors) order.push_back(&entry);
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->data < b->data; });
    for (size_t i = 1; i < order.size(); ++i)
      if (order[i - 1]->data + order[i - 1]->size_bytes > order[i]->data)
        return error(ErrorCode::bad_file, "%s and %s overlap in the file",
                     quoted("tensor", order[i - 1]->name).c_str(),
                     quoted("tensor", order[i]->name).c_str());
    return {};
  }

  Bytes bytes_;
  ByteReader reader_;
  bool vocabulary_only_;
  uint64_t n_entries_ = 0;
  uint64_t n_tensors_ = 0;
  uint64_t alignment_ = k_default_alignment;
  std::string where_;
  GgufPart part_;
  std::vector<uint64_t> offsets_;
  std::unordered_set<std::string_view> names_;
};

}  // namespace

Result<GgufPart> parse_gguf(Bytes bytes, bool vocabulary_only) {
  if (!as_text(bytes).starts_with("GGUF"))
    return error(ErrorCode::bad_file, "Expected a file that starts with GGUF");
  return Parser(bytes, vocabulary_only).run();
}

}  // namespace millrace
