// Cross-entropy with smoothing and class weights, and its gradient, in one pass. One warp per token.
#pragma once
#include "common.cuh"

// logits [tokens, classes] without bias, which is added here; labels are -1 where a token has none.
// gradient = ∂(scale·loss)/∂logits · loss_scale; losses [tokens] = scale·loss of each token.
template <class T>
__device__ void cross_entropy(T* gradient, double* losses, const float* logits, const float* bias, const int* labels,
                              const float* weights, const float* loss_scale, int tokens, int classes, float smoothing,
                              float scale) {
  const int token = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (token >= tokens) return;
  const u64 base = (u64)token * classes;
  const int label = labels[token];
  if (label < 0) {
    for (int c = lane; c < classes; c += WARP) gradient[base + c] = from_float<T>(0.0f);
    if (lane == 0) losses[token] = 0.0;
    return;
  }
  float high = -INFINITY;
  for (int c = lane; c < classes; c += WARP) high = fmaxf(high, logits[base + c] + bias[c]);
  high = warp_max(high);
  float total = 0.0f, mass = 0.0f;
  const float spread = smoothing / classes;
  for (int c = lane; c < classes; c += WARP) {
    total += expf(logits[base + c] + bias[c] - high);
    mass += (weights ? weights[c] : 1.0f) * (spread + (c == label ? 1.0f - smoothing : 0.0f));
  }
  total = warp_sum(total);
  mass = warp_sum(mass);
  const float log_total = high + logf(total);
  double loss = 0.0;
  for (int c = lane; c < classes; c += WARP) {
    const float log_probability = logits[base + c] + bias[c] - log_total;
    const float target = (weights ? weights[c] : 1.0f) * (spread + (c == label ? 1.0f - smoothing : 0.0f));
    loss -= (double)(target * log_probability);
    gradient[base + c] = from_float<T>((mass * expf(log_probability) - target) * scale * *loss_scale);
  }
  loss = warp_sum(loss);
  if (lane == 0) losses[token] = loss * scale;
}

// Adds scale·(KL(p‖q) + KL(q‖p)) of two passes' class probabilities p and q to each labelled token's loss, and its
// gradient · loss_scale to the gradients of both. Logits are without bias. Source: R-Drop (Liang et al. 2021), eq. 2.
template <class T>
__device__ void divergence(T* gradient_a, T* gradient_b, double* losses, const float* a, const float* b,
                           const float* bias, const int* labels, const float* loss_scale, int tokens, int classes,
                           float scale) {
  const int token = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (token >= tokens || labels[token] < 0) return;
  const u64 base = (u64)token * classes;
  float high_a = -INFINITY, high_b = -INFINITY;
  for (int c = lane; c < classes; c += WARP) {
    high_a = fmaxf(high_a, a[base + c] + bias[c]);
    high_b = fmaxf(high_b, b[base + c] + bias[c]);
  }
  high_a = warp_max(high_a);
  high_b = warp_max(high_b);
  float total_a = 0.0f, total_b = 0.0f;
  for (int c = lane; c < classes; c += WARP) {
    total_a += expf(a[base + c] + bias[c] - high_a);
    total_b += expf(b[base + c] + bias[c] - high_b);
  }
  const float log_a = high_a + logf(warp_sum(total_a)), log_b = high_b + logf(warp_sum(total_b));
  float forward = 0.0f, backward = 0.0f;
  for (int c = lane; c < classes; c += WARP) {
    const float p = a[base + c] + bias[c] - log_a, q = b[base + c] + bias[c] - log_b;
    forward += expf(p) * (p - q);
    backward += expf(q) * (q - p);
  }
  forward = warp_sum(forward);
  backward = warp_sum(backward);
  const float factor = scale * *loss_scale;
  for (int c = lane; c < classes; c += WARP) {
    const float p = a[base + c] + bias[c] - log_a, q = b[base + c] + bias[c] - log_b;
    const float gap = expf(p) - expf(q);
    const float on_a = expf(p) * (p - q - forward) + gap, on_b = expf(q) * (q - p - backward) - gap;
    gradient_a[base + c] = from_float<T>(to_float(gradient_a[base + c]) + factor * on_a);
    gradient_b[base + c] = from_float<T>(to_float(gradient_b[base + c]) + factor * on_b);
  }
  if (lane == 0) losses[token] += (double)scale * (forward + backward);
}

// *sum += Σ losses, in one block and a fixed order.
__device__ inline void add_up_losses(double* sum, const double* losses, int tokens) {
  SHARED double scratch[WARP];
  double own = 0.0;
  for (int token = threadIdx.x; token < tokens; token += blockDim.x) own += losses[token];
  const double total = block_sum(own, scratch);
  if (threadIdx.x == 0) *sum += total;
}
