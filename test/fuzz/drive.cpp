// Runs a fuzz target without libFuzzer, over drawn inputs: for processors that an emulator stands
// in for.
//   drive-<name> [inputs]

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  const int inputs = argc > 1 ? std::atoi(argv[1]) : 1000;
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
