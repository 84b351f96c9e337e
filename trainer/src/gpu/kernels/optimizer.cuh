// The global norm and AdamW over all parameters at once. Parameters, gradients and moments are flat f32 buffers; a
// block owns one stretch of one parameter. Source: Loshchilov and Hutter (2019); arithmetic as torch.optim.AdamW.
#pragma once
#include "common.cuh"

// A stretch of one parameter.
struct Stretch {
  u64 start;  // in the flat buffers
  u64 copy;   // in the matrices' copy in compute type; NONE for tables, biases and norms
  u32 length;
  u32 decays;
  float rate_scale;  // factor on the learning rate; 0: frozen
  u32 unused;
};
#define NO_COPY 0xffffffffffffffffull

// Numbers that live on the card from step to step, so that the host never waits for them.
struct StepState {
  double loss;       // of the steps since it was last read
  double pending;    // of the passes since the last step
  float norm;        // of the last step's gradient
  float clip;        // factor on the gradient, loss scale taken out; 0: the step is skipped
  float loss_scale;  // multiplies the loss, for f16
  u32 good_steps;    // since loss_scale changed
  u32 skipped;       // steps left out since the start, because a gradient was not finite
  u32 applied;       // optimiser steps taken
};

__device__ inline void add_up_squares(double* partial, const float* gradients, const Stretch* stretches) {
  SHARED double scratch[WARP];
  const Stretch s = stretches[blockIdx.x];
  double own = 0.0;
  if (s.rate_scale != 0.0f)
    for (u32 i = threadIdx.x; i < s.length; i += blockDim.x) {
      const double g = gradients[s.start + i];
      own += g * g;
    }
  const double total = block_sum(own, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// Clip factor as torch.nn.utils.clip_grad_norm_; grows or halves the loss scale where it is dynamic.
__device__ inline void settle_norm(StepState* state, const double* partial, int count, float most, int dynamic) {
  SHARED double scratch[WARP];
  double own = 0.0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) own += partial[i];
  const double total = block_sum(own, scratch);
  if (threadIdx.x != 0) return;
  const float norm = (float)(sqrt(total) / state->loss_scale);
  state->norm = norm;
  state->loss += state->pending;
  state->pending = 0.0;
  if (isfinite(norm)) {
    const float clip = most > 0.0f ? fminf(1.0f, most / (norm + 1e-6f)) : 1.0f;
    state->clip = clip / state->loss_scale;
    state->applied += 1;
    state->good_steps += 1;
    if (dynamic && state->good_steps >= 2000) {
      state->loss_scale = fminf(state->loss_scale * 2.0f, 16777216.0f);
      state->good_steps = 0;
    }
  } else {
    state->clip = 0.0f;
    state->skipped += 1;
    state->good_steps = 0;
    if (dynamic) state->loss_scale = fmaxf(state->loss_scale * 0.5f, 1.0f);
  }
}

struct AdamW {
  float rate, beta1, beta2, epsilon, decay;
};

template <class T>
__device__ void adamw(float* parameters, T* copies, float* mean, float* square, float* gradients,
                      const Stretch* stretches, const StepState* state, AdamW a) {
  const Stretch s = stretches[blockIdx.x];
  const float clip = state->clip;
  const bool update = clip != 0.0f && s.rate_scale != 0.0f;
  const float rate = a.rate * s.rate_scale, step = (float)state->applied;
  const float correct1 = 1.0f - powf(a.beta1, step), correct2 = sqrtf(1.0f - powf(a.beta2, step));
  for (u32 i = threadIdx.x; i < s.length; i += blockDim.x) {
    const u64 at = s.start + i;
    if (update) {
      const float g = gradients[at] * clip;
      const float m = a.beta1 * mean[at] + (1.0f - a.beta1) * g;
      const float v = a.beta2 * square[at] + (1.0f - a.beta2) * g * g;
      float p = parameters[at];
      if (s.decays) p -= rate * a.decay * p;
      p -= rate / correct1 * m / (sqrtf(v) / correct2 + a.epsilon);
      mean[at] = m;
      square[at] = v;
      parameters[at] = p;
      if (s.copy != NO_COPY) copies[s.copy + i] = from_float<T>(p);
    }
    gradients[at] = 0.0f;
  }
}

// mean += share·(parameter − mean) wherever the parameter learns.
__device__ inline void shift_average(float* mean, const float* parameters, const Stretch* stretches, float share) {
  const Stretch s = stretches[blockIdx.x];
  if (s.rate_scale == 0.0f) return;
  for (u32 i = threadIdx.x; i < s.length; i += blockDim.x)
    mean[s.start + i] += share * (parameters[s.start + i] - mean[s.start + i]);
}
