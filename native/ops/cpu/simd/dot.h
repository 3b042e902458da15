// The sum of products, V::dot, and its frame where one instruction adds the four products of a lane
// to its sum of 32 bits: V::dot4(sum, codes, x), with x = V::four(p), the four bytes at p in every
// lane; of codes of 16 bits the two, V::dot2. Included inside the region only.

template <class V>
struct DotByFours {
  // For H halves of a group (w(h, s): the codes of step s, four of Bits bits per lane; Bits 8: as
  // V::from_signed made them; 16: two) and T inputs (x + t * stride: four signed bytes, none -128,
  // or two of 16 bits per step for all lanes): done(h, t, init(t) + the sum of the products of each
  // lane over Steps).
  template <int Bits, int Steps, int H, int T, class W, class Init, class Done>
  [[gnu::always_inline]] static void dot(W w, const int8_t* x, int stride, Init init, Done done) {
    typename V::i32 sums[H][T];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 2
      for (int h = 0; h < H; h++) sums[h][t] = init(t);
#pragma GCC unroll 16
    for (int s = 0; s < Steps; s++)
#pragma GCC unroll 2
      for (int h = 0; h < H; h++) {
        const typename V::bytes codes = w(h, s);
#pragma GCC unroll 8
        for (int t = 0; t < T; t++) {
          const auto v = V::four(x + t * stride + 4 * s);
          if constexpr (Bits == 16)
            V::dot2(sums[h][t], codes, v);
          else
            V::dot4(sums[h][t], codes, v);
        }
      }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 2
      for (int h = 0; h < H; h++) done(h, t, sums[h][t]);
  }
};
