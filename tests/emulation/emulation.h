// Stands in for CUDA so that the trainer's kernels run on the processor, thread for thread.
//
// A block's threads are fibers that take turns at barriers; blocks run one after the other. Slow, but it computes what
// the card would: tests hold every kernel and whole training steps against the CPU engine with it.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <functional>

#define __device__
#define SHARED static
#define DYNAMIC_SHARED(name) float* name = emulation::dynamic_shared()

namespace emulation {
struct Index {
  unsigned x, y, z;
};
float* dynamic_shared();
Index& thread();
void sync_block();
// Hands a 64-bit pattern to the lane `lane ^ mask` of the warp and gives back that lane's.
uint64_t exchange(uint64_t bits, unsigned mask);
extern Index block, block_size;

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_reference_t<A>*>(arguments[I])...);
}

void add(const char* name, std::function<void(void**)> kernel);

struct Kernel {
  template <class... A> Kernel(const char* name, void (*kernel)(A...)) {
    add(name, [kernel](void** arguments) { call(kernel, arguments, std::index_sequence_for<A...>{}); });
  }
};
}  // namespace emulation

#define threadIdx (emulation::thread())
#define blockIdx emulation::block
#define blockDim emulation::block_size

#define KERNEL(name, parameters, body)         \
  static void name##_kernel parameters { body; } \
  static emulation::Kernel name##_entry(#name, name##_kernel);

inline void __syncthreads() { emulation::sync_block(); }

inline float __shfl_xor_sync(unsigned, float x, unsigned mask) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  bits = (uint32_t)emulation::exchange(bits, mask);
  memcpy(&x, &bits, 4);
  return x;
}

inline double __shfl_xor_sync(unsigned, double x, unsigned mask) {
  uint64_t bits;
  memcpy(&bits, &x, 8);
  bits = emulation::exchange(bits, mask);
  memcpy(&x, &bits, 8);
  return x;
}

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline int min(int a, int b) { return a < b ? a : b; }

// --- 16-bit floats, rounded to nearest even as on the card.

struct __nv_bfloat16 {
  uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 x) {
  uint32_t bits = (uint32_t)x.bits << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

inline __nv_bfloat16 __float2bfloat16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  if ((bits & 0x7fffffff) > 0x7f800000) return {0x7fff};
  return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

struct __half {
  uint16_t bits;
};

inline float __half2float(__half x) {
  const uint32_t sign = (uint32_t)(x.bits & 0x8000) << 16, exponent = x.bits >> 10 & 31, fraction = x.bits & 1023;
  float f;
  if (exponent == 31) {
    const uint32_t bits = sign | 0x7f800000 | fraction << 13;
    memcpy(&f, &bits, 4);
    return f;
  }
  f = exponent == 0 ? ldexpf((float)fraction, -24) : ldexpf((float)(fraction | 1024), (int)exponent - 25);
  return sign ? -f : f;
}

inline __half __float2half(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  const uint16_t sign = bits >> 16 & 0x8000;
  const float size = fabsf(f);
  if (isnan(f)) return {0x7fff};
  if (size == 0.0f) return {sign};
  if (size >= 65520.0f) return {(uint16_t)(sign | 0x7c00)};
  int exponent;
  frexpf(size, &exponent);
  const int step = exponent - 11 < -24 ? -24 : exponent - 11;  // 2^step is the last place
  const uint32_t units = (uint32_t)nearbyintf(ldexpf(size, -step));
  if (step == -24) return {(uint16_t)(sign | units)};
  return {(uint16_t)(sign | (uint32_t)((step + 24) << 10) + units)};
}

// --- Matrix fragments. One lane does the work of its warp.

namespace nvcuda {
namespace wmma {
struct row_major {};
struct col_major {};
struct matrix_a {};
struct matrix_b {};
struct accumulator {};
enum layout_t { mem_row_major };

template <class Use, int M, int N, int K, class T, class Layout = row_major> struct fragment {
  float x[16][16];
};

inline bool works() { return threadIdx.x % 32 == 0; }
inline float widen(float x) { return x; }
inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
inline float widen(__half x) { return __half2float(x); }

template <class Use, int M, int N, int K, class T, class Layout>
void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& f, const T* source, unsigned ld) {
  if (!works()) return;
  const bool columns = std::is_same<Layout, col_major>::value;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) f.x[i][j] = widen(columns ? source[j * ld + i] : source[i * ld + j]);
}

template <int M, int N, int K>
void load_matrix_sync(fragment<accumulator, M, N, K, float>& f, const float* source, unsigned ld, layout_t) {
  load_matrix_sync(f, source, ld);
}

template <class A, class B, class C> void mma_sync(C& d, const A& a, const B& b, const C& c) {
  if (!works()) return;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) {
      float sum = c.x[i][j];
      for (int k = 0; k < 16; ++k) sum += a.x[i][k] * b.x[k][j];
      d.x[i][j] = sum;
    }
}

template <class F> void store_matrix_sync(float* target, const F& f, unsigned ld, layout_t) {
  if (!works()) return;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) target[i * ld + j] = f.x[i][j];
}
}  // namespace wmma
}  // namespace nvcuda
