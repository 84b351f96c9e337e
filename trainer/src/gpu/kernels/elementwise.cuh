// Activation, bias, dropout and casts: one thread per element, in rows of `width`.
#pragma once
#include "common.cuh"

__device__ inline u64 element() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

// z += bias; out = gelu(z); z = gelu'(z), so that the backward pass is one multiplication.
// Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016), exact form.
template <class T> __device__ void bias_gelu(T* out, T* z, const float* bias, u64 count, int width) {
  const u64 at = element();
  if (at >= count) return;
  const float x = to_float(z[at]) + bias[at % width];
  const float cdf = 0.5f * (1.0f + erff(x * 0.70710678118654752f));
  const float density = 0.39894228040143268f * expf(-0.5f * x * x);
  out[at] = from_float<T>(x * cdf);
  z[at] = from_float<T>(cdf + x * density);
}

template <class T> __device__ void multiply(T* x, const T* factor, u64 count) {
  const u64 at = element();
  if (at < count) x[at] = from_float<T>(to_float(x[at]) * to_float(factor[at]));
}

template <class T> __device__ void add_bias(T* x, const float* bias, u64 count, int width) {
  const u64 at = element();
  if (at < count) x[at] = from_float<T>(to_float(x[at]) + bias[at % width]);
}

template <class T> __device__ void dropout(T* x, u64 count, int width, Dropout site) {
  const u64 at = element();
  if (at < count) x[at] = from_float<T>(to_float(x[at]) * mask_factor(mask_row(site, at / width), (u32)(at % width)));
}

template <class T> __device__ void cast(T* out, const float* x, u64 count) {
  const u64 at = element();
  if (at < count) out[at] = from_float<T>(x[at]);
}

__device__ inline void swap(float* a, float* b, u64 count) {
  const u64 at = element();
  if (at >= count) return;
  const float kept = a[at];
  a[at] = b[at];
  b[at] = kept;
}
