// Runs a fuzz target without libFuzzer, over drawn inputs: for processors that an emulator stands
// in for.
//   drive-<name> [inputs] [operator table that has to be there]

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "ops/device.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  const int inputs = argc > 1 ? std::atoi(argv[1]) : 1000;
  const std::vector<std::string> tables = millrace::cpu_tables();
  if (argc > 2 && std::find(tables.begin(), tables.end(), argv[2]) == tables.end()) {
    std::fprintf(stderr, "Expected the operator table %s on this processor\n", argv[2]);
    return 1;
  }
  for (int i = 0; i < inputs; i++) {
    std::mt19937 random(static_cast<uint32_t>(i));
    std::vector<uint8_t> data(1 + random() % 40);
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
    if (i % 50 == 0) std::printf("from input %d on\n", i);
    std::fflush(stdout);
    LLVMFuzzerTestOneInput(data.data(), data.size());
  }
  std::printf("%d inputs passed\n", inputs);
}
