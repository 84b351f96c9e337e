// Every kernel by name: what the host may launch. KERNEL makes an entry point for the card, or one the emulation finds.
#include "attention.cuh"
#include "elementwise.cuh"
#include "loss.cuh"
#include "norm.cuh"
#include "optimizer.cuh"

#ifndef LAYOUTLM_EMULATION
#define KERNEL(name, parameters, call) \
  extern "C" __global__ void name parameters { call; }
#endif

#define BY_TYPE(N, T)                                                                                                  \
  KERNEL(embed_##N,                                                                                                    \
         (T * out, T * sum, const float* parameters, const u64* offsets, const u32* ids, const float* gamma,           \
          const float* beta, int tokens, int width, float epsilon, Dropout site),                                      \
         embed<T>(out, sum, parameters, offsets, ids, gamma, beta, tokens, width, epsilon, site))                      \
  KERNEL(add_norm_##N,                                                                                                 \
         (T * out, T * x, const float* bias, const T* residual, const float* gamma, const float* beta, int tokens,     \
          int width, float epsilon, Dropout site),                                                                     \
         add_norm<T>(out, x, bias, residual, gamma, beta, tokens, width, epsilon, site))                               \
  KERNEL(norm_gradient_##N,                                                                                            \
         (T * gradient, T * dropped, float* partial, const T* x, const float* gamma, int tokens, int width,            \
          int rows_per_block, float epsilon, Dropout first, Dropout inner),                                            \
         norm_gradient<T>(gradient, dropped, partial, x, gamma, tokens, width, rows_per_block, epsilon, first, inner)) \
  KERNEL(column_sums_##N, (float* partial, const T* x, int rows, int width, int rows_per_block),                       \
         column_sums<T>(partial, x, rows, width, rows_per_block))                                                      \
  KERNEL(embed_segments_##N,                                                                                           \
         (float* partial, const T* gradient, const u32* starts, const u32* tokens, int width),                         \
         embed_segments<T>(partial, gradient, starts, tokens, width))                                                  \
  KERNEL(bias_gelu_##N, (T * out, T * z, const float* bias, u64 count, int width),                                     \
         bias_gelu<T>(out, z, bias, count, width))                                                                     \
  KERNEL(multiply_##N, (T * x, const T* factor, u64 count), multiply<T>(x, factor, count))                             \
  KERNEL(add_bias_##N, (T * x, const float* bias, u64 count, int width), add_bias<T>(x, bias, count, width))           \
  KERNEL(dropout_##N, (T * x, u64 count, int width, Dropout site), dropout<T>(x, count, width, site))                  \
  KERNEL(cast_##N, (T * out, const float* x, u64 count), cast<T>(out, x, count))                                       \
  KERNEL(cross_entropy_##N,                                                                                            \
         (T * gradient, double* losses, const float* logits, const float* bias, const int* labels,                     \
          const float* weights, const float* loss_scale, int tokens, int classes, float smoothing, float scale),       \
         cross_entropy<T>(gradient, losses, logits, bias, labels, weights, loss_scale, tokens, classes, smoothing,     \
                          scale))                                                                                      \
  KERNEL(divergence_##N,                                                                                               \
         (T * gradient_a, T * gradient_b, double* losses, const float* a, const float* b, const float* bias,           \
          const int* labels, const float* loss_scale, int tokens, int classes, float scale),                           \
         divergence<T>(gradient_a, gradient_b, losses, a, b, bias, labels, loss_scale, tokens, classes, scale))        \
  KERNEL(attention_delta_##N,                                                                                          \
         (float* delta, const T* d_context, const T* context, int count, int heads, int hidden),                       \
         attention_delta<T>(delta, d_context, context, count, heads, hidden))                                          \
  KERNEL(adamw_##N,                                                                                                    \
         (float* parameters, T* copies, float* mean, float* square, float* gradients, const Stretch* stretches,        \
          const StepState* state, AdamW settings),                                                                     \
         adamw<T>(parameters, copies, mean, square, gradients, stretches, state, settings))                            \
  BY_HEAD(N, T, 16)                                                                                                    \
  BY_HEAD(N, T, 32)                                                                                                    \
  BY_HEAD(N, T, 64)

#define BY_HEAD(N, T, D)                                                                                               \
  KERNEL(attention_##N##_##D,                                                                                          \
         (T * context, float* lse, const T* qkv, const Tile* tiles, AttentionShape shape, Dropout site),               \
         (attention<T, D>(context, lse, qkv, tiles, shape, site)))                                                     \
  KERNEL(attention_gradient_q_##N##_##D,                                                                               \
         (T * d_qkv, const T* d_context, const T* qkv, const float* lse, const float* delta, const Tile* tiles,        \
          AttentionShape shape, Dropout site),                                                                         \
         (attention_gradient_q<T, D>(d_qkv, d_context, qkv, lse, delta, tiles, shape, site)))                          \
  KERNEL(attention_gradient_kv_##N##_##D,                                                                              \
         (T * d_qkv, const T* d_context, const T* qkv, const float* lse, const float* delta, const Tile* tiles,        \
          AttentionShape shape, Dropout site),                                                                         \
         (attention_gradient_kv<T, D>(d_qkv, d_context, qkv, lse, delta, tiles, shape, site)))

FOR_EACH_TYPE(BY_TYPE)

KERNEL(sum_partials, (float* target, const float* partial, int blocks, int planes, int plane, int width, int add),
       add_up_partials(target, partial, blocks, planes, plane, width, add))
KERNEL(embed_rows,
       (float* gradients, const float* partial, const u64* offsets, const u32* first_segments, int width),
       add_up_rows(gradients, partial, offsets, first_segments, width))
KERNEL(sum_losses, (double* sum, const double* losses, int tokens), add_up_losses(sum, losses, tokens))
KERNEL(square_sums, (double* partial, const float* gradients, const Stretch* stretches),
       add_up_squares(partial, gradients, stretches))
KERNEL(finish_norm, (StepState * state, const double* partial, int count, float most, int dynamic),
       settle_norm(state, partial, count, most, dynamic))
KERNEL(move_average, (float* mean, const float* parameters, const Stretch* stretches, float share),
       shift_average(mean, parameters, stretches, share))
KERNEL(swap_f32, (float* a, float* b, u64 count), swap(a, b, count))
