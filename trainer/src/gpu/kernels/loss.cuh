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

// *sum += Σ losses, in one block and a fixed order.
__device__ inline void add_up_losses(double* sum, const double* losses, int tokens) {
  SHARED double scratch[WARP];
  double own = 0.0;
  for (int token = threadIdx.x; token < tokens; token += blockDim.x) own += losses[token];
  const double total = block_sum(own, scratch);
  if (threadIdx.x == 0) *sum += total;
}
