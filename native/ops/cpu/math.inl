// Elementary functions on vectors, good to about 1e-7 relative; NaN stays NaN.
// Coefficients: minimax polynomials of Cephes (S. L. Moshier).

static V::f32 clamp_vec(V::f32 x, float low, float high) {  // keeps NaN: see V::min
  return V::max(V::splat(low), V::min(V::splat(high), x));
}

// e^x; exactly 0 below -87.3, about 2.4e38 above 88.37.
static V::f32 exp_vec(V::f32 x) {
  const V::f32 y = clamp_vec(x, -87.33654f, 88.37626f);
  const V::f32 k = V::round(V::mul(y, V::splat(1.44269504f)));
  V::f32 r = V::fma(k, V::splat(-0.693359375f), y);
  r = V::fma(k, V::splat(2.12194440e-4f), r);
  V::f32 p = V::splat(1.9875691500e-4f);
  p = V::fma(p, r, V::splat(1.3981999507e-3f));
  p = V::fma(p, r, V::splat(8.3334519073e-3f));
  p = V::fma(p, r, V::splat(4.1665795894e-2f));
  p = V::fma(p, r, V::splat(1.6666665459e-1f));
  p = V::fma(p, r, V::splat(5.0000001201e-1f));
  p = V::fma(p, V::mul(r, r), V::add(r, V::splat(1.0f)));
  const V::i32 power = V::shl_i32<23>(V::add_i32(V::to_i32(k), V::splat_i32(127)));
  const V::f32 result = V::mul(p, V::as_f32(power));
  return V::select_less(x, V::splat(-87.33654f), V::zero(), result);
}

// x / (1 + e^-x)
static V::f32 silu_vec(V::f32 x) {
  const V::f32 e = exp_vec(V::sub(V::zero(), x));
  return V::div(x, V::add(e, V::splat(1.0f)));
}

// x / 2 * (1 + tanh(y)) = x / (1 + e^-2y), y = sqrt(2 / pi) * (x + 0.044715 x^3)
static V::f32 gelu_tanh_vec(V::f32 x) {
  const V::f32 cubic = V::fma(V::mul(x, V::splat(0.044715f)), V::mul(x, x), x);
  const V::f32 e = exp_vec(V::mul(cubic, V::splat(-2.0f * 0.7978845608028654f)));
  return V::div(x, V::add(e, V::splat(1.0f)));
}

// Good to about 1e-7 absolute.
static V::f32 tanh_vec(V::f32 x) {
  const V::f32 e = exp_vec(V::mul(V::abs(x), V::splat(-2.0f)));
  const V::f32 t = V::div(V::sub(V::splat(1.0f), e), V::add(V::splat(1.0f), e));
  return V::select_less(x, V::zero(), V::sub(V::zero(), t), t);
}

// sin and cos of position * frequency; the product is taken exactly, so that late positions keep
// their last bits.
static void sincos_vec(V::f32 position, V::f32 frequency, V::f32& sine, V::f32& cosine) {
  const V::f32 high = V::mul(position, frequency);
  const V::f32 low = V::fma(position, frequency, V::sub(V::zero(), high));
  const V::f32 k = V::round(V::mul(high, V::splat(0.636619772f)));  // 2 / pi
  V::f32 r = V::fma(k, V::splat(-1.57079637050628662f), high);
  r = V::fma(k, V::splat(4.37113900018624283e-8f), r);
  r = V::add(r, low);
  const V::f32 r2 = V::mul(r, r);
  V::f32 s = V::fma(r2, V::splat(-1.9515295891e-4f), V::splat(8.3321608736e-3f));
  s = V::fma(s, r2, V::splat(-1.6666654611e-1f));
  s = V::fma(V::mul(s, r2), r, r);
  V::f32 c = V::fma(r2, V::splat(2.443315711809948e-5f), V::splat(-1.388731625493765e-3f));
  c = V::fma(c, r2, V::splat(4.166664568298827e-2f));
  c = V::fma(V::mul(c, r2), r2, V::fma(r2, V::splat(-0.5f), V::splat(1.0f)));
  // The quadrant, -2..2: odd ones exchange sine and cosine.
  const V::f32 quarter = V::round(V::mul(k, V::splat(0.25f)));
  const V::f32 quadrant = V::fma(quarter, V::splat(-4.0f), k);
  const V::f32 size = V::abs(quadrant);
  const V::f32 odd = V::abs(V::sub(size, V::splat(1.0f)));  // 0 when odd
  const V::f32 one = V::splat(1.0f), minus = V::splat(-1.0f), half = V::splat(0.5f);
  const V::f32 sine_sign = V::select_less(
      size, V::splat(1.5f), V::select_less(quadrant, V::splat(-0.5f), minus, one), minus);
  const V::f32 cosine_sign =
      V::select_less(size, V::splat(1.5f), V::select_less(half, quadrant, minus, one), minus);
  sine = V::mul(V::select_less(odd, half, c, s), sine_sign);
  cosine = V::mul(V::select_less(odd, half, s, c), cosine_sign);
}

// Rows per range of parallel_for, so that a range is worth a fork and one decoded token is none.
static int grain_of(int64_t row_floats) {
  constexpr int64_t k_range_floats = 16384;
  return static_cast<int>(std::max<int64_t>(1, k_range_floats / std::max<int64_t>(1, row_floats)));
}
