// Embedding sum, layer normalisation with what comes before it, and their gradients. One warp per row.
//
// Sources: LayoutLM (Xu et al. 2020), §3.1, for the nine tables; Ba, Kiros and Hinton (2016) for the normalisation.
#pragma once
#include "common.cuh"

struct Statistics {
  float mean, scale;
};

__device__ inline Statistics statistics(const float* values, int per_lane, int width, float epsilon) {
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < MAX_PER_LANE; ++i)
    if (i < per_lane) sum += values[i];
  const float mean = warp_sum(sum) / width;
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < MAX_PER_LANE; ++i)
    if (i < per_lane) squares += (values[i] - mean) * (values[i] - mean);
  Statistics s = {mean, rsqrtf(warp_sum(squares) / width + epsilon)};
  return s;
}

// Row, width and this lane's share of a row-wise kernel.
struct Row {
  int index, lane, per_lane;
};

__device__ inline Row this_row(int width) {
  Row row = {(int)(blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP), (int)(threadIdx.x % WARP), width / WARP};
  return row;
}

// sum = Σ tables[ids]; out = dropout(norm(sum)). ids is [9, tokens]; tables are addressed by offsets into `parameters`.
template <class T>
__device__ void embed(T* out, T* sum, const float* parameters, const u64* offsets, const u32* ids, const float* gamma,
                      const float* beta, int tokens, int width, float epsilon, Dropout dropout) {
  const Row row = this_row(width);
  if (row.index >= tokens) return;
  float values[MAX_PER_LANE];
#pragma unroll
  for (int i = 0; i < MAX_PER_LANE; ++i) values[i] = 0.0f;
  for (int table = 0; table < 9; ++table) {
    const float* source = parameters + offsets[table] + (u64)ids[table * tokens + row.index] * width;
#pragma unroll
    for (int i = 0; i < MAX_PER_LANE; ++i)
      if (i < row.per_lane) values[i] += source[row.lane + i * WARP];
  }
  const u64 base = (u64)row.index * width;
#pragma unroll
  for (int i = 0; i < MAX_PER_LANE; ++i)
    if (i < row.per_lane) {
      const T rounded = from_float<T>(values[i]);
      sum[base + row.lane + i * WARP] = rounded;
      values[i] = to_float(rounded);
    }
  const Statistics s = statistics(values, row.per_lane, width, epsilon);
  const MaskRow mask = mask_row(dropout, row.index);
#pragma unroll
  for (int i = 0; i < MAX_PER_LANE; ++i)
    if (i < row.per_lane) {
      const int column = row.lane + i * WARP;
      const float y = (values[i] - s.mean) * s.scale * gamma[column] + beta[column];
      out[base + column] = from_float<T>(y * mask_factor(mask, column));
    }
}

// x = dropout(x + bias) + residual; out = norm(x).
template <class T>
__device__ void add_norm(T* out, T* x, const float* bias, const T* residual, const float* gamma, const float* beta,
                         int tokens, int width, float epsilon, Dropout dropout) {
  const Row row = this_row(width);
  if (row.index >= tokens) return;
  const u64 base = (u64)row.index * width;
  const MaskRow mask = mask_row(dropout, row.index);
  float values[MAX_PER_LANE];
#pragma unroll
  for (int i = 0; i < MAX_PER_LANE; ++i)
    if (i < row.per_lane) {
      const int column = row.lane + i * WARP;
      const float branch = (to_float(x[base + column]) + bias[column]) * mask_factor(mask, column);
      const T rounded = from_float<T>(branch + to_float(residual[base + column]));
      x[base + column] = rounded;
      values[i] = to_float(rounded);
    }
  const Statistics s = statistics(values, row.per_lane, width, epsilon);
#pragma unroll
  for (int i = 0; i < MAX_PER_LANE; ++i)
    if (i < row.per_lane) {
      const int column = row.lane + i * WARP;
      out[base + column] = from_float<T>((values[i] - s.mean) * s.scale * gamma[column] + beta[column]);
    }
}

// Adds up the warps' sums of each column and writes them to `target` [width]. `shared` is [warps, width].
__device__ inline void store_column_sums(float* target, const float* own, float* shared, int width) {
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < MAX_PER_LANE; ++i)
    if (i < width / WARP) shared[warp * width + lane + i * WARP] = own[i];
  __syncthreads();
  for (int column = threadIdx.x; column < width; column += blockDim.x) {
    float sum = 0.0f;
    for (int w = 0; w < warps; ++w) sum += shared[w * width + column];
    target[column] = sum;
  }
}

// Turns the gradient of norm's output into that of its input x, in place, and writes the masked gradient of what went
// into the dropout to `dropped`. `partial` [blocks, 3, width] receives this block's sums for gamma, beta and the bias.
// `first` is the dropout after the normalisation (embeddings), `inner` the one before it (encoder layers).
template <class T>
__device__ void norm_gradient(T* gradient, T* dropped, float* partial, const T* x, const float* gamma, int tokens,
                              int width, int rows_per_block, float epsilon, Dropout first, Dropout inner) {
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  const int per_lane = width / WARP;
  float d_gamma[MAX_PER_LANE], d_beta[MAX_PER_LANE], d_bias[MAX_PER_LANE];
#pragma unroll
  for (int i = 0; i < MAX_PER_LANE; ++i) d_gamma[i] = d_beta[i] = d_bias[i] = 0.0f;
  const int begin = blockIdx.x * rows_per_block;
  const int end = min(begin + rows_per_block, tokens);
  for (int index = begin + warp; index < end; index += warps) {
    const u64 base = (u64)index * width;
    const MaskRow outer = mask_row(first, index), mask = mask_row(inner, index);
    float values[MAX_PER_LANE], g[MAX_PER_LANE];
#pragma unroll
    for (int i = 0; i < MAX_PER_LANE; ++i)
      if (i < per_lane) values[i] = to_float(x[base + lane + i * WARP]);
    const Statistics s = statistics(values, per_lane, width, epsilon);
    float sum_g = 0.0f, sum_gn = 0.0f;
#pragma unroll
    for (int i = 0; i < MAX_PER_LANE; ++i)
      if (i < per_lane) {
        const int column = lane + i * WARP;
        const float dy = to_float(gradient[base + column]) * mask_factor(outer, column);
        const float n = (values[i] - s.mean) * s.scale;
        values[i] = n;
        d_gamma[i] += dy * n;
        d_beta[i] += dy;
        g[i] = dy * gamma[column];
        sum_g += g[i];
        sum_gn += g[i] * n;
      }
    const float mean_g = warp_sum(sum_g) / width, mean_gn = warp_sum(sum_gn) / width;
#pragma unroll
    for (int i = 0; i < MAX_PER_LANE; ++i)
      if (i < per_lane) {
        const int column = lane + i * WARP;
        const float dx = s.scale * (g[i] - mean_g - values[i] * mean_gn);
        gradient[base + column] = from_float<T>(dx);
        const T masked = from_float<T>(dx * mask_factor(mask, column));
        if (dropped) dropped[base + column] = masked;
        d_bias[i] += to_float(masked);
      }
  }
  DYNAMIC_SHARED(shared);  // [warps, width]
  float* sums = partial + (u64)blockIdx.x * 3 * width;
  store_column_sums(sums, d_gamma, shared, width);
  store_column_sums(sums + width, d_beta, shared, width);
  store_column_sums(sums + 2 * width, d_bias, shared, width);
}

// target[column] (+)= Σ over blocks of partial[block, plane, column].
__device__ inline void add_up_partials(float* target, const float* partial, int blocks, int planes, int plane, int width,
                                    int add) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= width) return;
  float sum = add ? target[column] : 0.0f;
  for (int block = 0; block < blocks; ++block) sum += partial[((u64)block * planes + plane) * width + column];
  target[column] = sum;
}

// partial[block, column] = Σ of the block's rows of x.
template <class T>
__device__ void column_sums(float* partial, const T* x, int rows, int width, int rows_per_block) {
  const int column = blockIdx.y * blockDim.x + threadIdx.x;
  if (column >= width) return;
  const int begin = blockIdx.x * rows_per_block, end = min(begin + rows_per_block, rows);
  float sum = 0.0f;
  for (int row = begin; row < end; ++row) sum += to_float(x[(u64)row * width + column]);
  partial[(u64)blockIdx.x * width + column] = sum;
}

// Gradients of embedding rows without atomics: a segment is a stretch of one row's reads, tokens[starts[s]..starts[s+1]].
template <class T>
__device__ void embed_segments(float* partial, const T* gradient, const u32* starts, const u32* tokens, int width) {
  const u32 begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
  for (int column = threadIdx.x; column < width; column += blockDim.x) {
    float sum = 0.0f;
    for (u32 i = begin; i < end; ++i) sum += to_float(gradient[(u64)tokens[i] * width + column]);
    partial[(u64)blockIdx.x * width + column] = sum;
  }
}

// Adds the segments first_segments[r]..first_segments[r+1] to the row at offsets[r] of the flat gradient.
__device__ inline void add_up_rows(float* gradients, const float* partial, const u64* offsets, const u32* first_segments,
                                  int width) {
  const u32 begin = first_segments[blockIdx.x], end = first_segments[blockIdx.x + 1];
  float* row = gradients + offsets[blockIdx.x];
  for (int column = threadIdx.x; column < width; column += blockDim.x) {
    float sum = row[column];
    for (u32 s = begin; s < end; ++s) sum += partial[(u64)s * width + column];
    row[column] = sum;
  }
}
