// Projections of a few tokens, which take as long as reading the weights does. A warp has ROWS rows of a matrix, or a share
// of the columns of ROWS rows: SPLIT warps add up. Several matrices are one launch.
//
// Defines: ELEMENT, TOKENS, SPLIT (1 to 8).
#include "gojet.cuh"

typedef ELEMENT T;
constexpr int N = TOKENS, ROWS = 4, WARPS = 8, MOST = 8;
constexpr int W = 16 / (int)sizeof(T), STRIDE = SPLIT * 32 * W;
constexpr int AHEAD = 2;  // steps that a warp has under way
constexpr int EACH = WARPS / SPLIT * ROWS;  // rows of a block

// few: x [N, in], and for each part w [out, in], bias [out] or null, y [N, out]; in is a multiple of W. A bit of silu is set
// for the parts that have one.
extern "C" __global__ void __launch_bounds__(32 * WARPS)
few(const T* __restrict__ x, int in, int silus, const T* w0, const T* w1, const T* w2, const T* w3, const T* w4, const T* w5, const T* w6, const T* w7,
    const float* b0, const float* b1, const float* b2, const float* b3, const float* b4, const float* b5, const float* b6, const float* b7,
    T* y0, T* y1, T* y2, T* y3, T* y4, T* y5, T* y6, T* y7, int o0, int o1, int o2, int o3, int o4, int o5, int o6, int o7) {
  __shared__ float parts[WARPS][ROWS * N];
  const T* ws[MOST] = {w0, w1, w2, w3, w4, w5, w6, w7};
  const float* biases[MOST] = {b0, b1, b2, b3, b4, b5, b6, b7};
  T* ys[MOST] = {y0, y1, y2, y3, y4, y5, y6, y7};
  const int outs[MOST] = {o0, o1, o2, o3, o4, o5, o6, o7};

  int at = blockIdx.x, out = 0;
  const T* w = nullptr;
  const float* bias = nullptr;
  T* y = nullptr;
  bool active = false;
#pragma unroll
  for (int p = 0; p < MOST; p++) {
    const int blocks = (outs[p] + EACH - 1) / EACH;
    if (out == 0 && at < blocks)
      w = ws[p], bias = biases[p], y = ys[p], out = outs[p], active = silus >> p & 1;
    else if (out == 0)
      at -= blocks;
  }

  const int first = at * EACH + warp_id() / SPLIT * ROWS;
  const T* row[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) row[r] = w + (size_t)min(first + r, out - 1) * in;
  float sum[ROWS][N];
#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int n = 0; n < N; n++) sum[r][n] = 0.f;
  for (int i = (warp_id() % SPLIT * 32 + lane_id()) * W; i < in; i += AHEAD * STRIDE) {
    Vec<T, W> a[AHEAD][ROWS], v[AHEAD][N];
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
      if (i + u * STRIDE >= in) break;
#pragma unroll
      for (int r = 0; r < ROWS; r++) a[u][r] = loadv_once<W>(row[r] + i + u * STRIDE);
#pragma unroll
      for (int n = 0; n < N; n++) v[u][n] = loadv<W>(x + (size_t)n * in + i + u * STRIDE);
    }
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
      if (i + u * STRIDE >= in) break;
#pragma unroll
      for (int k = 0; k < W; k++)
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
          for (int n = 0; n < N; n++) sum[r][n] = fmaf(float(a[u][r][k]), float(v[u][n][k]), sum[r][n]);
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int n = 0; n < N; n++) {
      const float s = warp_sum(sum[r][n]);
      if (lane_id() == 0) parts[warp_id()][r * N + n] = s;
    }
  sync_block();
  if (threadIdx.x >= EACH * N) return;
  const int group = threadIdx.x / (ROWS * N), cell = threadIdx.x % (ROWS * N), o = at * EACH + group * ROWS + cell / N;
  if (o >= out) return;
  float s = bias ? bias[o] : 0.f;
#pragma unroll
  for (int g = 0; g < SPLIT; g++) s += parts[group * SPLIT + g][cell];
  store(y + (size_t)(cell % N) * out + o, active ? silu(s) : s);
}
