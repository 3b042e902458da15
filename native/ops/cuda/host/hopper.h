#pragma once
// The host forms of hopper.cuh. Same names, same arguments.

#include <array>

#include "ops/cuda/host/ptx.h"

namespace millrace::cuda {

constexpr bool k_has_groups = true;

using Phase = simt::Phase;

inline void open_phase(Phase* phase, int arrivals, const Where& where = Where::here()) {
  simt::open_phase(phase, arrivals, where);
}
inline void publish_shared() {}
inline void arrive(Phase* phase, const Where& where = Where::here()) {
  simt::arrive(phase, 0, where);
}
inline void arrive_and_expect(Phase* phase, int bytes, const Where& where = Where::here()) {
  simt::arrive(phase, static_cast<uint32_t>(bytes), where);
}
inline void wait_phase(Phase* phase, int parity, const Where& where = Where::here()) {
  simt::wait_phase(phase, parity, where);
}
inline void copy_bulk(void* to, const void* from, int bytes, Phase* phase,
                      const Where& where = Where::here()) {
  simt::copy_bulk(to, from, static_cast<uint32_t>(bytes), phase, where);
}

inline void begin_products() {}

// Each of the four warps by itself: rows and sums are its own. What a lane holds of a is read when
// the product is made and not when it is asked for.
template <bool bf16, int groups>
void multiply_group(float (&c)[groups][4], const uint32_t (&a)[4], const char* x, int step,
                    bool adds, const Where& where = Where::here()) {
  struct Args {
    float (*c)[4];
    const uint32_t* a;
    const char* x;
    int step;
    bool adds;
  } args{c, a, x, step, adds};
  if (reinterpret_cast<uintptr_t>(x) % 1024) simt::fault(where, "an operand off 1024 bytes");
  const auto start = [](void* const lanes[]) {
    std::array<Args, simt::k_lanes> all;
    for (size_t i = 0; i < all.size(); ++i) {
      all[i] = *static_cast<const Args*>(lanes[i]);
      if (all[i].x != all[0].x || all[i].step != all[0].step || all[i].adds != all[0].adds)
        return simt::set_fault("the lanes of a warp multiply by different tiles");
    }
    simt::start_product([all] {
      constexpr auto as_f32 = bf16 ? bf16_to_f32 : f16_to_f32;
      float rows[16][16];
      for (int lane = 0; lane < simt::k_lanes; ++lane)
        take_rows<as_f32>(rows, lane, all[static_cast<size_t>(lane)].a);
      for (int token = 0; token < groups * 8; ++token) {
        float column[16];
        for (int k = 0; k < 16; ++k) {
          const int chunk = (all[0].step * 2 + k / 8) ^ token % 8;
          uint16_t bits;
          std::memcpy(&bits, all[0].x + token * 128 + chunk * 16 + k % 8 * 2, sizeof bits);
          column[k] = as_f32(bits);
        }
        for (int row = 0; row < 16; ++row) {
          const auto lane = static_cast<size_t>(row % 8 * 4 + token % 8 / 2);
          float& sum = all[lane].c[token / 8][row / 8 * 2 + token % 2];
          sum = (all[0].adds ? sum : 0.0f) + product_of(rows[row], column);
        }
      }
    });
  };
  simt::meet_warp(start, &args, where);
}

inline void commit_products(const Where& where = Where::here()) {
  simt::meet_warp([](void* const*) { simt::products().commit(); }, nullptr, where);
}
template <int n_left, int groups>
void wait_products(float (&)[groups][4], const Where& where = Where::here()) {
  simt::wait_products(n_left, where);
}

}  // namespace millrace::cuda
