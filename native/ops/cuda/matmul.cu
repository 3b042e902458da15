// Matrix products on tensor cores: out = x * transpose(w). The weight's rows are the 16 rows of
// mma.m16n8k16, the tokens its 8 columns, so that few tokens waste nothing. A block makes
// bands x 16 rows for groups x 8 tokens; its warps take one slice of the columns each and are added
// in order.
//
// Weights of 16 bits meet activations rounded to their own type. Quantized weights are integers,
// exact in f16, times a scale that is applied in f32; they meet activations in f16. A row of f16
// activations is first scaled by a power of two that puts its largest value below 2^15.

#include "ops/cuda/matmul.cuh"
#include "ops/cuda/operators.h"

namespace millrace::cuda {
namespace {

constexpr int k_warps = k_slices;
constexpr int k_threads = k_warps * k_warp;
template <int groups>
constexpr int k_stages = groups >= 8 ? 2 : 3;  // tiles of x in flight or in use

template <int groups>
constexpr size_t k_x_tile_bytes = size_t{groups} * k_group* k_columns * sizeof(uint16_t);

template <int bands, int groups>
constexpr size_t shared_bytes() {
  const size_t stages = k_warps * k_stages<groups> * k_x_tile_bytes<groups>;
  const size_t parts = sizeof(float) * k_warps * bands * k_band * groups * k_group;
  return stages > parts ? stages : parts;
}

// Starts the copy of a tile of x by one warp. A tile from `end` on is an empty group, so that waits
// count alike to the last tile.
template <int groups>
__device__ __forceinline__ void copy_tile(const MatmulParams& params, int tile, int end,
                                          int first_token, char* to) {
  copy_x<groups * k_group, k_warp>(params, tile, tile < end, first_token, lane_of_thread(), to);
  commit_copies();
}

// What a warp adds up: rows lane / 4 and + 8 of each band, tokens 2 * (lane % 4) and the next of
// each group.
template <int bands, int groups>
struct Sums {
  float of[bands][groups][4] = {};
};

// The sums of x that an offset multiplies: this lane's two tokens of a group.
struct TokenSums {
  float of[2];
};
template <int sub>
__device__ __forceinline__ TokenSums sums_of_x(const MatmulParams& params, int tile, int first,
                                               int token) {
  TokenSums sums;
  for (int i = 0; i < 2; ++i) {
    const int one = token + i < params.n ? token + i : params.n - 1;  // the rest is not written
    const int64_t row = static_cast<int64_t>(one) * params.tiles * (k_columns / k_sum_columns);
    const float* from =
        params.in.x_sums + row + tile * (k_columns / k_sum_columns) + first / k_sum_columns;
    sums.of[i] = sub == 32 ? from[0] + from[1] : from[0];
  }
  return sums;
}

// Half a tile, 32 columns: two steps.
struct Half {
  int tile, half;
  int first_token;
  char* x;  // the tile in shared memory
};

// Takes offset times the sum of x off a group's sums, for the columns from `column` of the half on.
template <int sub>
__device__ __forceinline__ void take_offset(const MatmulParams& params, const Half& at, int column,
                                            int group, const Scale (&scale)[2], float (&sum)[4]) {
  const int token = at.first_token + group * k_group + lane_of_thread() % 4 * 2;
  const TokenSums of_x = sums_of_x<sub>(params, at.tile, at.half * (k_columns / 2) + column, token);
#pragma unroll
  for (int i = 0; i < 4; ++i) sum[i] = fmaf(-scale[i / 2].offset, of_x.of[i % 2], sum[i]);
}

template <class Form, bool bf16, int bands, int groups>
__device__ __forceinline__ void multiply_half(const MatmulParams& params, const Half& at,
                                              const Raw<Form> (&raw)[bands],
                                              const char* const (&scales)[bands],
                                              Sums<bands, groups>& sums) {
  constexpr Packing packing = Form::packing;
  constexpr int k_half = k_columns / 2;
  constexpr bool plain = packing.codes == Codes::halves;
  constexpr int subs = plain ? 1 : k_half / packing.sub;  // in half a tile
  const int lane = lane_of_thread();
  uint32_t a[bands][2][4];
  Scale scale[bands][subs][2];
#pragma unroll
  for (int m = 0; m < bands; ++m) {
#pragma unroll
    for (int step = 0; step < 2; ++step) unpack<Form>(raw[m], at.half * 2 + step, a[m][step]);
    if constexpr (!plain) {
      const int first_sub = (at.tile * k_columns + at.half * k_half) % packing.tile / packing.sub;
#pragma unroll
      for (int s = 0; s < subs; ++s)
#pragma unroll
        for (int side = 0; side < 2; ++side)
          scale[m][s][side] =
              scale_of<Form>(scales[m], first_sub + s, lane / 4 + side * 8, params.bf16_scales);
    }
  }
#pragma unroll
  for (int g = 0; g < groups; ++g) {
    uint32_t b[4];
    load_matrices(b, chunk_of(at.x, g * k_group + lane % 8, at.half * 4 + lane / 8));
#pragma unroll
    for (int m = 0; m < bands; ++m) {
      float(&sum)[4] = sums.of[m][g];
      if constexpr (plain) {
        multiply<bf16>(sum, a[m][0], b[0], b[1]);
        multiply<bf16>(sum, a[m][1], b[2], b[3]);
      } else {
#pragma unroll
        for (int s = 0; s < subs; ++s) {
          float part[4] = {};
          multiply<bf16>(part, a[m][s], b[2 * s], b[2 * s + 1]);
          if constexpr (subs == 1) multiply<bf16>(part, a[m][1], b[2], b[3]);
#pragma unroll
          for (int i = 0; i < 4; ++i) sum[i] = fmaf(scale[m][s][i / 2].scale, part[i], sum[i]);
          if constexpr (packing.offset)
            take_offset<packing.sub>(params, at, s * packing.sub, g, scale[m][s], sum);
        }
      }
    }
  }
}

// One block a multiprocessor at least: the compiler may take all registers before it spills one.
template <class Form, bool bf16, int bands, int groups>
__global__ void __launch_bounds__(k_threads, 1)
    matmul_kernel(const __grid_constant__ MatmulParams params) {
  constexpr Packing packing = Form::packing;
  constexpr int stages = k_stages<groups>;
  constexpr int sets = packing.tile / k_columns;  // of codes in a tile of the packed form
  const int warp = warp_of_thread(), lane = lane_of_thread();
  const Output& output = params.outputs[blockIdx.z];
  const int first_band = static_cast<int>(blockIdx.x) * bands;
  const int first_token = static_cast<int>(blockIdx.y) * groups * k_group;
  const int first = slice_begin(params.tiles, warp), last = slice_begin(params.tiles, warp + 1);
  const int n_bands = (output.rows + k_band - 1) / k_band;
  let_next_start();
  // Another product has more; its blocks wait, so that this kernel ends after the one before.
  if (first_band >= n_bands) return;
  const int64_t band_bytes = static_cast<int64_t>(params.tiles / sets) * packing.tile_bytes();
  char* buffers = shared_memory() + warp * stages * k_x_tile_bytes<groups>;

  // A band beyond the last repeats it; what it gives is not written.
  const auto band_of = [&](int m) {
    const int band = first_band + m < n_bands ? first_band + m : n_bands - 1;
    return output.weight + band * band_bytes;
  };
  const auto load = [&](int tile, Raw<Form>(&raw)[bands]) {
#pragma unroll
    for (int m = 0; m < bands; ++m)
      raw[m].load(band_of(m) + static_cast<int64_t>(tile / sets) * packing.tile_bytes() +
                  tile % sets * packing.code_bytes());
  };

  Sums<bands, groups> sums;
  Raw<Form> raw[bands], next[bands];
  if (first < last) load(first, next);  // no kernel writes weights
  wait_for_earlier();
  for (int i = 0; i < stages - 1; ++i)
    copy_tile<groups>(params, first + i, last, first_token, buffers + i * k_x_tile_bytes<groups>);
  for (int tile = first; tile < last; ++tile) {
#pragma unroll
    for (int m = 0; m < bands; ++m) raw[m] = next[m];
    if (tile + 1 < last) load(tile + 1, next);
    const char* scales[bands];
#pragma unroll
    for (int m = 0; m < bands; ++m)
      scales[m] = band_of(m) + static_cast<int64_t>(tile / sets) * packing.tile_bytes() +
                  sets * packing.code_bytes();
    wait_copies<stages - 2>();
    order_warp();  // the tile is whole, and nobody reads the buffer that is filled next
    const int ahead = tile + stages - 1;
    copy_tile<groups>(params, ahead, last, first_token,
                      buffers + (ahead - first) % stages * k_x_tile_bytes<groups>);
    char* x = buffers + (tile - first) % stages * k_x_tile_bytes<groups>;
#pragma unroll
    for (int half = 0; half < 2; ++half)
      multiply_half<Form, bf16>(params, Half{tile, half, first_token, x}, raw, scales, sums);
  }

  // The slices are added in order; their parts take the place of x.
  constexpr int rows_of_block = bands * k_band, tokens_of_block = groups * k_group;
  auto* parts = reinterpret_cast<float*>(shared_memory());
  __syncthreads();
#pragma unroll
  for (int m = 0; m < bands; ++m)
#pragma unroll
    for (int g = 0; g < groups; ++g)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = m * k_band + lane / 4 + i / 2 * 8;
        const int token = g * k_group + lane % 4 * 2 + i % 2;
        parts[(warp * tokens_of_block + token) * rows_of_block + row] = sums.of[m][g][i];
      }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < rows_of_block * tokens_of_block; i += k_threads) {
    const int row = first_band * k_band + i % rows_of_block;
    const int token = first_token + i / rows_of_block;
    float sum = 0;
    for (int w = 0; w < k_warps; ++w) sum += parts[w * tokens_of_block * rows_of_block + i];
    write_product(params, output, row, token, sum);
  }
}

template <class Form, bool bf16, int bands, int groups>
void launch_shape(Stream& stream, const MatmulParams& params) {
  launch(stream, matmul_kernel<Form, bf16, bands, groups>,
         {divide_up(params.most_rows(), bands * k_band), divide_up(params.n, groups * k_group),
          params.n_outputs},
         k_threads, shared_bytes<bands, groups>(), params);
}

template <class Form, bool bf16>
void launch_for_batch(Stream& stream, const MatmulParams& params) {
  constexpr Packing packing = Form::packing;
  // Two scales for each half tile, offsets and the words of bytes want registers: what is left
  // decides how much a block may make. npm run build:cuda finds what spills.
  constexpr bool fine = packing.codes != Codes::halves && packing.sub == 16;
  constexpr int bands = fine && packing.offset ? 1 : 2;
  constexpr bool wide = !fine && !packing.offset && packing.codes != Codes::bytes;
  if constexpr (packing.codes == Codes::halves) {
    if (params.n > k_few && stream.has_groups()) return launch_groups(stream, params, bf16);
    if (params.n > k_few && can_be_wide(stream)) return launch_wide(stream, params, bf16);
  }
  if (params.n <= 8) return launch_shape<Form, bf16, 1, 1>(stream, params);
  if (params.n <= 16) return launch_shape<Form, bf16, 1, 2>(stream, params);
  if constexpr (wide)
    if (params.n > 64 && stream.shared_bytes() >= shared_bytes<2, 8>())
      return launch_shape<Form, bf16, 2, 8>(stream, params);
  launch_shape<Form, bf16, bands, 4>(stream, params);
}

template <class Block>
void multiply_packed(Stream& stream, const MatmulParams& params) {
  if constexpr (is_packed<Block>)
    launch_for_batch<FormOf<Block>, std::is_same_v<Block, Bf16>>(stream, params);
  else
    stream.fail(error(ErrorCode::internal, "no packed form of this type"));
}

void multiply_of_type(Stream& stream, DType dtype, const MatmulParams& params) {
  switch (dtype) {
#define ROW(id, Block, name, gguf_id, values, bytes) \
  case DType::id:                                    \
    return multiply_packed<Block>(stream, params);
    MILLRACE_FOR_EACH_DTYPE(ROW)
#undef ROW
  }
}

// The products from `first` on that share a type, as one launch; how many they are. `in` is what x
// was prepared as before, if it was.
int multiply_alike(Stream& stream, const MatmulArgs& args, int first, Prepared& in) {
  const Weight& one = args.products[first].weight;
  const bool bf16 = one.dtype == DType::bf16;
  MatmulParams params{};
  params.n = args.n;
  params.tiles = divide_up(one.cols, k_columns);
  params.bf16_scales = one.dtype == DType::mxfp4;
  for (int i = first; i < args.count && args.products[i].weight.dtype == one.dtype &&
                      args.products[i].weight.layout == one.layout;
       ++i) {
    const Product& product = args.products[i];
    params.outputs[params.n_outputs++] = {
        static_cast<const char*>(product.weight.data), product.bias, product.out,
        product.out_stride ? product.out_stride : product.weight.rows, product.weight.rows};
  }
  if (!in.x || in.bf16 != bf16) in = prepare(stream, args, params.tiles * k_columns, bf16);
  params.in = in;
  if (in.x) multiply_of_type(stream, one.dtype, params);
  return params.n_outputs;
}

}  // namespace

void matmul(Stream& stream, const MatmulArgs& args) {
  Prepared in{};  // one form at a time lives in the workspace
  for (int i = 0; i < args.count;) {
    const Product& product = args.products[i];
    const DType dtype = product.weight.dtype;
    if (dtype == DType::f32) {
      multiply_f32(stream, args, product);
      ++i;
      continue;
    }
    if (product.weight.layout != Weight::Layout::packed)
      return stream.fail(error(ErrorCode::internal,
                               "Expected a packed %s weight for this device but found a plain one",
                               info_of(dtype).name));
    i += multiply_alike(stream, args, i, in);
  }
}

}  // namespace millrace::cuda
