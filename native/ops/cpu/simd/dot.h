// The sum of products, V::dot, and its frame where one instruction adds the four products of a lane
// to its sum of 32 bits: V::dot4(sum, codes, x), with x = V::four(p), the four bytes at p in every
// lane; of codes of 16 bits the two, V::dot2. Included inside the region only.

// f(0), f(1) ... as constants, so that what they index lies in registers however often a loop
// around it is unrolled.
template <int N, class F>
[[gnu::always_inline]] inline void times(F f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, I>()), ...);
  }
  (std::make_integer_sequence<int, N>());
}

template <class V>
struct DotByFours {
  // For H halves of a group (w(h, s): the codes of step s, four of Bits bits per lane; Bits 8: as
  // V::from_signed made them; 16: two) and T inputs (x + t * stride: four signed bytes, none -128,
  // or two of 16 bits per step for all lanes): done(h, t, init(t) + the sum of the products of each
  // lane over Steps).
  template <int Bits, int Steps, int H, int T, class W, class Init, class Done>
  [[gnu::always_inline]] static void dot(W w, const int8_t* x, int stride, Init init, Done done) {
    typename V::i32 sums[H][T];
    times<T>([&](auto t) __attribute__((always_inline)) {
      times<H>([&](auto h) __attribute__((always_inline)) { sums[h][t] = init(t); });
    });
#pragma GCC unroll 32
    for (int s = 0; s < Steps; s++)
      times<H>([&](auto h) __attribute__((always_inline)) {
        const typename V::bytes codes = w(h, s);
        times<T>([&](auto t) __attribute__((always_inline)) {
          const auto v = V::four(x + t * stride + 4 * s);
          if constexpr (Bits == 16)
            V::dot2(sums[h][t], codes, v);
          else
            V::dot4(sums[h][t], codes, v);
        });
      });
    times<T>([&](auto t) __attribute__((always_inline)) {
      times<H>([&](auto h) __attribute__((always_inline)) { done(h, t, sums[h][t]); });
    });
  }
};
