// Self-attention over packed windows of different lengths, without padding; scores are never written to memory.
//
// A block owns one tile of one head. The backward pass is two kernels, one owning queries and one owning keys, so that
// no sum needs atomics. Source: Dao et al., "FlashAttention" (2022), algorithms 1 and 4; dropout as on the CPU.
#pragma once
#include "common.cuh"

// Rows of padding at the end of shared rows, against bank conflicts; 16 bytes keep matrix loads aligned.
template <class T> struct Skew { static const int value = 16 / sizeof(T); };

struct AttentionShape {
  int heads, hidden;
  float scale;  // 1/√(head size)
};

// A tile of a window: rows `start..start+TILE` of the window `first..first+length` (token indices).
struct Tile {
  u32 first, length, start, unused;
};

template <class T, int ROWS, int D, int TARGET_ROWS = ROWS>
__device__ inline void load_rows(T* target, const T* source, u64 stride, int rows) {
  for (int at = threadIdx.x; at < ROWS * D; at += blockDim.x) {
    const int row = at / D, column = at % D;
    target[row * (D + Skew<T>::value) + column] = row < rows ? source[row * stride + column] : from_float<T>(0.0f);
  }
}

__device__ inline void fill_zero(float* target, int count) {
  for (int at = threadIdx.x; at < count; at += blockDim.x) target[at] = 0.0f;
}

#define ATTENTION_TILE 32

// context = softmax(q·kᵀ·scale)·v, with dropout on the probabilities; lse [tokens, heads] for the backward pass.
template <class T, int D>
__device__ void attention(T* context, float* lse, const T* qkv, const Tile* tiles, AttentionShape shape,
                          Dropout dropout) {
  const int B = ATTENTION_TILE, LD = D + Skew<T>::value, LS = B + 4, LP = B + Skew<T>::value, LO = D + 4;
  const Tile tile = tiles[blockIdx.x];
  const int head = blockIdx.y, rows = min(B, (int)(tile.length - tile.start));
  const u64 stride = 3ull * shape.hidden;
  DYNAMIC_SHARED(shared);
  float* scores = shared;                // [B, LS]
  float* out = scores + B * LS;          // [B, LO]
  float* largest = out + B * LO;         // [B]
  float* total = largest + B;            // [B]
  float* factor = total + B;             // [B]
  T* q = (T*)(factor + B);               // [B, LD]
  T* k = q + B * LD;                     // [B, LD]
  T* v = k + B * LD;                     // [B, LD]
  T* p = v + B * LD;                     // [B, LP]

  const T* base = qkv + (u64)tile.first * stride + (u64)head * D;
  load_rows<T, ATTENTION_TILE, D>(q, base + (u64)tile.start * stride, stride, rows);
  fill_zero(out, B * LO);
  for (int row = threadIdx.x; row < B; row += blockDim.x) {
    largest[row] = -INFINITY;
    total[row] = 0.0f;
  }
  for (u32 key = 0; key < tile.length; key += B) {
    const int keys = min(B, (int)(tile.length - key));
    __syncthreads();
    load_rows<T, ATTENTION_TILE, D>(k, base + shape.hidden + (u64)key * stride, stride, keys);
    load_rows<T, ATTENTION_TILE, D>(v, base + 2 * shape.hidden + (u64)key * stride, stride, keys);
    fill_zero(scores, B * LS);
    __syncthreads();
    TileProduct<T, ATTENTION_TILE, ATTENTION_TILE, D, false, true>::run(scores, LS, q, LD, k, LD);
    __syncthreads();
    // Four threads a row: each warp covers eight rows.
    const int row = threadIdx.x / 4, part = threadIdx.x % 4;
    float high = -INFINITY;
    for (int column = part; column < keys; column += 4) high = fmaxf(high, scores[row * LS + column]);
    high = fmaxf(high, __shfl_xor_sync(ALL_LANES, high, 1));
    high = fmaxf(high, __shfl_xor_sync(ALL_LANES, high, 2));
    const float before = largest[row], now = fmaxf(before, high);
    const MaskRow mask = mask_row(dropout, (u64)(tile.first + tile.start + row) * shape.heads + head);
    float sum = 0.0f;
    for (int column = part; column < B; column += 4) {
      const float e = column < keys ? expf((scores[row * LS + column] - now) * shape.scale) : 0.0f;
      sum += e;
      p[row * LP + column] = from_float<T>(e * mask_factor(mask, key + column));
    }
    sum += __shfl_xor_sync(ALL_LANES, sum, 1);
    sum += __shfl_xor_sync(ALL_LANES, sum, 2);
    const float shrink = expf((before - now) * shape.scale);
    if (part == 0) {
      factor[row] = shrink;
      total[row] = total[row] * shrink + sum;
      largest[row] = now;
    }
    __syncthreads();
    for (int at = threadIdx.x; at < B * D; at += blockDim.x) out[at / D * LO + at % D] *= factor[at / D];
    __syncthreads();
    TileProduct<T, ATTENTION_TILE, D, ATTENTION_TILE, false, false>::run(out, LO, p, LP, v, LD);
  }
  __syncthreads();
  const u64 first = tile.first + tile.start;
  for (int at = threadIdx.x; at < rows * D; at += blockDim.x) {
    const int row = at / D, column = at % D;
    context[(first + row) * shape.hidden + head * D + column] = from_float<T>(out[row * LO + column] / total[row]);
  }
  for (int row = threadIdx.x; row < rows; row += blockDim.x)
    lse[(first + row) * shape.heads + head] = largest[row] * shape.scale + logf(total[row]);
}

// delta [tokens, heads] = Σ over a head's columns of d_context ∘ context. One warp per (token, head).
template <class T>
__device__ void attention_delta(float* delta, const T* d_context, const T* context, int count, int heads, int hidden) {
  const int index = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (index >= count) return;
  const int size = hidden / heads;
  const u64 base = (u64)(index / heads) * hidden + (u64)(index % heads) * size;
  float sum = 0.0f;
  for (int column = lane; column < size; column += WARP)
    sum += to_float(d_context[base + column]) * to_float(context[base + column]);
  sum = warp_sum(sum);
  if (lane == 0) delta[index] = sum;
}

// Probabilities and the scores' gradient of one tile, from shared scores and d_probabilities:
// p̃ (dropped) replaces nothing, ds = p∘(mask∘dp − delta)·scale. Rows are queries, columns keys.
template <class T>
__device__ inline void score_gradient(T* dropped, T* ds, const float* scores, const float* dp, const float* lse,
                                      const float* delta, const AttentionShape& shape, Dropout dropout, u64 query,
                                      u32 key, int rows, int keys, int head, int ls, int lp) {
  const int B = ATTENTION_TILE;
  for (int at = threadIdx.x; at < B * B; at += blockDim.x) {
    const int row = at / B, column = at % B;
    float probability = 0.0f, factor = 0.0f, gradient = 0.0f;
    if (row < rows && column < keys) {
      const u64 line = (query + row) * shape.heads + head;
      probability = expf(scores[row * ls + column] * shape.scale - lse[line]);
      factor = mask_factor(mask_row(dropout, line), key + column);
      gradient = probability * (factor * dp[row * ls + column] - delta[line]) * shape.scale;
    }
    if (dropped) dropped[row * lp + column] = from_float<T>(probability * factor);
    ds[row * lp + column] = from_float<T>(gradient);
  }
}

// Gradient of the queries: a block owns a tile of queries and walks over the keys.
template <class T, int D>
__device__ void attention_gradient_q(T* d_qkv, const T* d_context, const T* qkv, const float* lse, const float* delta,
                                     const Tile* tiles, AttentionShape shape, Dropout dropout) {
  const int B = ATTENTION_TILE, LD = D + Skew<T>::value, LS = B + 4, LP = B + Skew<T>::value, LO = D + 4;
  const Tile tile = tiles[blockIdx.x];
  const int head = blockIdx.y, rows = min(B, (int)(tile.length - tile.start));
  const u64 stride = 3ull * shape.hidden, first = tile.first + tile.start;
  DYNAMIC_SHARED(shared);
  float* scores = shared;
  float* dp = scores + B * LS;
  float* out = dp + B * LS;
  T* q = (T*)(out + B * LO);
  T* d_out = q + B * LD;
  T* k = d_out + B * LD;
  T* v = k + B * LD;
  T* ds = v + B * LD;

  const T* base = qkv + (u64)tile.first * stride + (u64)head * D;
  load_rows<T, ATTENTION_TILE, D>(q, base + (u64)tile.start * stride, stride, rows);
  load_rows<T, ATTENTION_TILE, D>(d_out, d_context + first * shape.hidden + (u64)head * D, shape.hidden, rows);
  fill_zero(out, B * LO);
  for (u32 key = 0; key < tile.length; key += B) {
    const int keys = min(B, (int)(tile.length - key));
    __syncthreads();
    load_rows<T, ATTENTION_TILE, D>(k, base + shape.hidden + (u64)key * stride, stride, keys);
    load_rows<T, ATTENTION_TILE, D>(v, base + 2 * shape.hidden + (u64)key * stride, stride, keys);
    fill_zero(scores, 2 * B * LS);
    __syncthreads();
    TileProduct<T, ATTENTION_TILE, ATTENTION_TILE, D, false, true>::run(scores, LS, q, LD, k, LD);
    TileProduct<T, ATTENTION_TILE, ATTENTION_TILE, D, false, true>::run(dp, LS, d_out, LD, v, LD);
    __syncthreads();
    score_gradient<T>((T*)0, ds, scores, dp, lse, delta, shape, dropout, first, key, rows, keys, head, LS, LP);
    __syncthreads();
    TileProduct<T, ATTENTION_TILE, D, ATTENTION_TILE, false, false>::run(out, LO, ds, LP, k, LD);
  }
  __syncthreads();
  for (int at = threadIdx.x; at < rows * D; at += blockDim.x) {
    const int row = at / D, column = at % D;
    d_qkv[(first + row) * stride + head * D + column] = from_float<T>(out[row * LO + column]);
  }
}

// Gradients of keys and values: a block owns a tile of keys and walks over the queries.
template <class T, int D>
__device__ void attention_gradient_kv(T* d_qkv, const T* d_context, const T* qkv, const float* lse, const float* delta,
                                      const Tile* tiles, AttentionShape shape, Dropout dropout) {
  const int B = ATTENTION_TILE, LD = D + Skew<T>::value, LS = B + 4, LP = B + Skew<T>::value, LO = D + 4;
  const Tile tile = tiles[blockIdx.x];
  const int head = blockIdx.y, keys = min(B, (int)(tile.length - tile.start));
  const u64 stride = 3ull * shape.hidden;
  DYNAMIC_SHARED(shared);
  float* scores = shared;
  float* dp = scores + B * LS;
  float* d_key = dp + B * LS;
  float* d_value = d_key + B * LO;
  T* q = (T*)(d_value + B * LO);
  T* d_out = q + B * LD;
  T* k = d_out + B * LD;
  T* v = k + B * LD;
  T* ds = v + B * LD;
  T* dropped = ds + B * LP;

  const T* base = qkv + (u64)tile.first * stride + (u64)head * D;
  load_rows<T, ATTENTION_TILE, D>(k, base + shape.hidden + (u64)tile.start * stride, stride, keys);
  load_rows<T, ATTENTION_TILE, D>(v, base + 2 * shape.hidden + (u64)tile.start * stride, stride, keys);
  fill_zero(d_key, 2 * B * LO);
  for (u32 start = 0; start < tile.length; start += B) {
    const int rows = min(B, (int)(tile.length - start));
    const u64 query = tile.first + start;
    __syncthreads();
    load_rows<T, ATTENTION_TILE, D>(q, base + (u64)start * stride, stride, rows);
    load_rows<T, ATTENTION_TILE, D>(d_out, d_context + query * shape.hidden + (u64)head * D, shape.hidden, rows);
    fill_zero(scores, 2 * B * LS);
    __syncthreads();
    TileProduct<T, ATTENTION_TILE, ATTENTION_TILE, D, false, true>::run(scores, LS, q, LD, k, LD);
    TileProduct<T, ATTENTION_TILE, ATTENTION_TILE, D, false, true>::run(dp, LS, d_out, LD, v, LD);
    __syncthreads();
    score_gradient<T>(dropped, ds, scores, dp, lse, delta, shape, dropout, query, tile.start, rows, keys, head, LS,
                      LP);
    __syncthreads();
    TileProduct<T, ATTENTION_TILE, D, ATTENTION_TILE, true, false>::run(d_key, LO, ds, LP, q, LD);
    TileProduct<T, ATTENTION_TILE, D, ATTENTION_TILE, true, false>::run(d_value, LO, dropped, LP, d_out, LD);
  }
  __syncthreads();
  const u64 first = tile.first + tile.start;
  for (int at = threadIdx.x; at < keys * D; at += blockDim.x) {
    const int row = at / D, column = at % D;
    T* line = d_qkv + (first + row) * stride + head * D + column;
    line[shape.hidden] = from_float<T>(d_key[row * LO + column]);
    line[2 * shape.hidden] = from_float<T>(d_value[row * LO + column]);
  }
}
