#include "model/archs/family.h"

namespace millrace {
namespace {

// name, adjacent rope, qk norm
constexpr Family k_families[] = {
    {"llama", true, false},
    {"qwen2", false, false},
    {"qwen3", false, true},
};

}  // namespace

Result<Config> configure(const ModelFile& file) {
  auto name = file.metadata().string("general.architecture");
  TRY(name);
  std::string known;
  for (const Family& family : k_families) {
    if (*name == family.name) return configure_decoder(family, file);
    known += (known.empty() ? "" : ", ") + std::string(family.name);
  }
  return error(ErrorCode::unsupported,
               "Expected general.architecture to be one of %s but found "
               "\"%s\"",
               known.c_str(), std::string(*name).c_str());
}

}  // namespace millrace
