// What every kernel shares: element types, the dropout hash, warp and block reductions, small matrix products.
//
// The same sources are compiled for the card by nvcc and, with LAYOUTLM_EMULATION, as C++ for the processor, where
// tests run them without a card. So nothing here uses inline assembly or layouts of matrix fragments.
#pragma once

#ifdef LAYOUTLM_EMULATION
#include "emulation.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
#define SHARED __shared__
#define DYNAMIC_SHARED(name) extern __shared__ __align__(32) float name[]
#endif

typedef unsigned int u32;
typedef unsigned long long u64;
typedef __nv_bfloat16 bf16;
typedef __half f16;

#define WARP 32
#define ALL_LANES 0xffffffffu
// Widest hidden state: one warp keeps a row in registers, this many values a lane.
#define MAX_PER_LANE 32

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __bfloat162float(x); }
__device__ inline float to_float(f16 x) { return __half2float(x); }

template <class T> __device__ inline T from_float(float x);
template <> __device__ inline float from_float<float>(float x) { return x; }
template <> __device__ inline bf16 from_float<bf16>(float x) { return __float2bfloat16(x); }
template <> __device__ inline f16 from_float<f16>(float x) { return __float2half(x); }

// --- Dropout: the mask is a hash of (stream, row, column), the same as on the CPU, so no mask is ever stored.

struct Dropout {
  u64 stream;
  u32 threshold;  // 0: no dropout at this place
  float scale;
};

struct MaskRow {
  u32 key0, key1, threshold;
  float scale;
};

__device__ inline u64 mix(u64 z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

__device__ inline MaskRow mask_row(Dropout d, u64 row) {
  u64 bits = mix(d.stream ^ (row * 0x9E3779B97F4A7C15ull));
  MaskRow m = {(u32)bits, (u32)(bits >> 32), d.threshold, d.scale};
  return m;
}

__device__ inline float mask_factor(MaskRow m, u32 column) {
  if (m.threshold == 0) return 1.0f;
  u32 h = column * 0x9E3779B9u + m.key0;
  h = (h ^ (h >> 16)) * 0x21F0AAADu;
  h ^= m.key1;
  h = (h ^ (h >> 15)) * 0x735A2D97u;
  h ^= h >> 15;
  return h < m.threshold ? 0.0f : m.scale;
}

// --- Reductions, in a fixed order, so that results do not vary from run to run.

__device__ inline float warp_sum(float x) {
  for (int offset = WARP / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(ALL_LANES, x, offset);
  return x;
}

__device__ inline double warp_sum(double x) {
  for (int offset = WARP / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(ALL_LANES, x, offset);
  return x;
}

__device__ inline float warp_max(float x) {
  for (int offset = WARP / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, offset));
  return x;
}

// Sum over the block; every thread gets it. `scratch` holds one value per warp.
__device__ inline double block_sum(double x, double* scratch) {
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  x = warp_sum(x);
  __syncthreads();
  if (lane == 0) scratch[warp] = x;
  __syncthreads();
  double total = 0.0;
  for (int i = 0; i < warps; ++i) total += scratch[i];
  return total;
}

// --- Matrix products of tiles in shared memory: C[M,N] += op(A)·op(B), C in f32, spread over the block's warps.
// A is [M,K] (or [K,M] with TA), B is [K,N] (or [N,K] with TB), all row-major with their own row lengths.

template <class T, int M, int N, int K, bool TA, bool TB> struct TileProduct {
  __device__ static void run(float* c, int ldc, const T* a, int lda, const T* b, int ldb) {
    using namespace nvcuda;
    typedef typename wmma_layout<TA>::type LayoutA;
    typedef typename wmma_layout<TB>::type LayoutB;
    const int warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    for (int tile = warp; tile < (M / 16) * (N / 16); tile += warps) {
      const int row = tile / (N / 16) * 16, column = tile % (N / 16) * 16;
      wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
      wmma::load_matrix_sync(sum, c + row * ldc + column, ldc, wmma::mem_row_major);
#pragma unroll
      for (int k = 0; k < K; k += 16) {
        wmma::fragment<wmma::matrix_a, 16, 16, 16, T, LayoutA> left;
        wmma::fragment<wmma::matrix_b, 16, 16, 16, T, LayoutB> right;
        wmma::load_matrix_sync(left, TA ? a + k * lda + row : a + row * lda + k, lda);
        wmma::load_matrix_sync(right, TB ? b + column * ldb + k : b + k * ldb + column, ldb);
        wmma::mma_sync(sum, left, right, sum);
      }
      wmma::store_matrix_sync(c + row * ldc + column, sum, ldc, wmma::mem_row_major);
    }
  }
  template <bool Transposed, class Unused = void> struct wmma_layout { typedef nvcuda::wmma::row_major type; };
  template <class Unused> struct wmma_layout<true, Unused> { typedef nvcuda::wmma::col_major type; };
};

// Full precision: the matrix units would round f32 to 10 bits.
template <int M, int N, int K, bool TA, bool TB> struct TileProduct<float, M, N, K, TA, TB> {
  __device__ static void run(float* c, int ldc, const float* a, int lda, const float* b, int ldb) {
    for (int at = threadIdx.x; at < M * N; at += blockDim.x) {
      const int row = at / N, column = at % N;
      float sum = 0.0f;
#pragma unroll 8
      for (int k = 0; k < K; ++k)
        sum += (TA ? a[k * lda + row] : a[row * lda + k]) * (TB ? b[column * ldb + k] : b[k * ldb + column]);
      c[row * ldc + column] += sum;
    }
  }
};

// Instantiates a kernel for every element type of activations.
#define FOR_EACH_TYPE(MAKE) MAKE(f32, float) MAKE(bf16, bf16) MAKE(f16, f16)
