// Backward of causal attention with grouped queries in float32, without tensor cores: see attention_backward_prepare.cu
// for the equations, the constants and the statistics. A block of 16 × 16 threads owns kRows keys of one key head, or queries of
// one head, and walks over the other side in steps of as many.
#include "gojet.cuh"

constexpr int kTile = 64; // tokens of a tile of the statistics
constexpr int kGroup = H / KV;
constexpr float kLog2e = 1.4426950408889634f;
constexpr int kRows = D > 128 ? 16 : 32;  // of what is owned, and of a step of the walk
constexpr int kEach = kRows / 16;         // rows of one thread
constexpr int kDim = (D + 15) / 16 * 16;  // features, padded with zeros
constexpr int kPitch = kDim + 4;          // between rows: 16 rows' same 16 bytes lie in different banks

// Memory is what a block has in shared memory: the owned rows of two tensors, the walked ones, and the two products.
struct Memory {
  float *ownA, *ownB, *walkA, *walkB, *p, *ds, *stat;
};

__device__ __forceinline__ Memory divide(char* shared) {
  Memory t;
  t.ownA = reinterpret_cast<float*>(shared);
  t.ownB = t.ownA + kRows * kPitch;
  t.walkA = t.ownB + kRows * kPitch;
  t.walkB = t.walkA + kRows * kPitch;
  t.p = t.walkB + kRows * kPitch;
  t.ds = t.p + kRows * (kRows + 1);
  t.stat = t.ds + kRows * (kRows + 1); // [2, kRows]
  return t;
}

__device__ __forceinline__ void fetch(float* tile, const float* src, size_t stride, int valid) {
  for (int i = threadIdx.x; i < kRows * kDim; i += 256) {
    const int row = i / kDim, d = i % kDim;
    tile[row * kPitch + d] = row < valid && d < D ? src[row * stride + d] : 0;
  }
}

__device__ __forceinline__ void fetch_stats(float* stat, const float* stats, int tile, int head, int position) {
  if (threadIdx.x < 2 * kRows)
    stat[threadIdx.x] = stats[((size_t)tile * H + head) * 2 * kTile + position % kTile + threadIdx.x / kRows * kTile + threadIdx.x % kRows];
}

// products leaves p and ds of the owned rows, which begin at position row of the sequence, and the walked ones, at column.
template <bool Keys>
__device__ __forceinline__ void products(const Memory& t, int row, int column) {
  const int x = threadIdx.x % 16, y = threadIdx.x / 16;
#pragma unroll
  for (int i = 0; i < kEach; i++) {
#pragma unroll
    for (int j = 0; j < kEach; j++) {
      const int r = y + 16 * i, c = x + 16 * j;
      float score = 0, grad = 0;
      for (int d = 0; d < kDim; d += 4) {
        const auto a = loadv<4>(t.ownA + r * kPitch + d), b = loadv<4>(t.walkA + c * kPitch + d);
        const auto e = loadv<4>(t.ownB + r * kPitch + d), f = loadv<4>(t.walkB + c * kPitch + d);
#pragma unroll
        for (int k = 0; k < 4; k++) {
          score = fmaf(a.v[k], b.v[k], score);
          grad = fmaf(e.v[k], f.v[k], grad);
        }
      }
      const int stat = Keys ? c : r;
      const int behind = Keys ? column + c - row - r : row + r - column - c;
      float p = exp2_(fmaf(score, SCALE * kLog2e, -t.stat[stat]));
      if (!(behind >= 0 && (WINDOW == 0 || behind < WINDOW))) p = 0;
      t.p[r * (kRows + 1) + c] = p;
      t.ds[r * (kRows + 1) + c] = p * (grad - t.stat[kRows + stat]);
    }
  }
}

// accumulate adds x·walk to the sums of the thread's rows and of every 16th feature.
__device__ __forceinline__ void accumulate(float (&sum)[kEach][kDim / 16], const float* x, const float* walk) {
  const int column = threadIdx.x % 16, y = threadIdx.x / 16;
  for (int c = 0; c < kRows; c++) {
    float a[kEach];
#pragma unroll
    for (int i = 0; i < kEach; i++) a[i] = x[(y + 16 * i) * (kRows + 1) + c];
#pragma unroll
    for (int n = 0; n < kDim / 16; n++) {
      const float b = walk[c * kPitch + column + 16 * n];
#pragma unroll
      for (int i = 0; i < kEach; i++) sum[i][n] = fmaf(a[i], b, sum[i][n]);
    }
  }
}

__device__ __forceinline__ void put(float* to, size_t stride, const float (&sum)[kEach][kDim / 16], float scale, int valid) {
  const int column = threadIdx.x % 16, y = threadIdx.x / 16;
#pragma unroll
  for (int i = 0; i < kEach; i++) {
#pragma unroll
    for (int n = 0; n < kDim / 16; n++) {
      if (y + 16 * i < valid && column + 16 * n < D) to[(y + 16 * i) * stride + column + 16 * n] = sum[i][n] * scale;
    }
  }
}

// Own is what a block owns: count tokens from token first on, at position own of their sequence, which has length tokens
// and begins at token begin; tile numbers the tile of the statistics.
struct Own {
  int tile, begin, length, own, first, count;
};

__device__ __forceinline__ bool locate(Own& o, int block, const int* cu, int S) {
  int seq, first, count;
  o.tile = block / (kTile / kRows);
  find_chunk(cu, S, kTile, o.tile, seq, first, count);
  const int part = block % (kTile / kRows) * kRows;
  if (seq < 0 || part >= count) return false;
  o.begin = cu[seq];
  o.length = cu[seq + 1] - o.begin;
  o.first = first + part;
  o.own = o.first - o.begin;
  o.count = min(kRows, count - part);
  return true;
}

// keys: block (tile, key head) computes dk and dv of kRows keys.
extern "C" __global__ void __launch_bounds__(256) attention_backward_keys(float* dk, float* dv, const float* q, const float* k, const float* v,
                                                                           const float* dO, const float* stats, const int* cu, int S) {
  SHARED(shared);
  const Memory t = divide(shared);
  const int head = blockIdx.y;
  Own o;
  if (!locate(o, blockIdx.x, cu, S)) return;
  const int end = WINDOW > 0 ? min(o.length, o.own + kRows - 1 + WINDOW) : o.length;
  fetch(t.ownA, k + ((size_t)o.first * KV + head) * D, (size_t)KV * D, o.count);
  fetch(t.ownB, v + ((size_t)o.first * KV + head) * D, (size_t)KV * D, o.count);
  float gk[kEach][kDim / 16] = {}, gv[kEach][kDim / 16] = {};
  for (int column = o.own; column < end; column += kRows) {
    for (int h = head * kGroup; h < (head + 1) * kGroup; h++) {
      const size_t at = ((size_t)(o.begin + column) * H + h) * D;
      sync_block();
      fetch(t.walkA, q + at, (size_t)H * D, o.length - column);
      fetch(t.walkB, dO + at, (size_t)H * D, o.length - column);
      fetch_stats(t.stat, stats, o.tile + column / kTile - o.own / kTile, h, column);
      sync_block();
      products<true>(t, o.own, column);
      sync_block();
      accumulate(gv, t.p, t.walkB);
      accumulate(gk, t.ds, t.walkA);
    }
  }
  if (dk) put(dk + ((size_t)o.first * KV + head) * D, (size_t)KV * D, gk, SCALE, o.count);
  if (dv) put(dv + ((size_t)o.first * KV + head) * D, (size_t)KV * D, gv, 1, o.count);
}

// queries: block (tile from the last, head) computes dq of kRows queries.
extern "C" __global__ void __launch_bounds__(256) attention_backward_queries(float* dq, const float* q, const float* k, const float* v,
                                                                              const float* dO, const float* stats, const int* cu, int S) {
  SHARED(shared);
  const Memory t = divide(shared);
  const int head = blockIdx.y;
  Own o;
  if (!locate(o, gridDim.x - 1 - blockIdx.x, cu, S)) return;
  fetch(t.ownA, q + ((size_t)o.first * H + head) * D, (size_t)H * D, o.count);
  fetch(t.ownB, dO + ((size_t)o.first * H + head) * D, (size_t)H * D, o.count);
  fetch_stats(t.stat, stats, o.tile, head, o.own);
  float g[kEach][kDim / 16] = {};
  const int oldest = WINDOW > 0 ? max(0, o.own - WINDOW + 1) / kRows * kRows : 0;
  for (int column = oldest; column < o.own + o.count; column += kRows) {
    const size_t at = ((size_t)(o.begin + column) * KV + head / kGroup) * D;
    sync_block();
    fetch(t.walkA, k + at, (size_t)KV * D, o.own + o.count - column);
    fetch(t.walkB, v + at, (size_t)KV * D, o.own + o.count - column);
    sync_block();
    products<false>(t, o.own, column);
    sync_block();
    accumulate(g, t.ds, t.walkA);
  }
  put(dq + ((size_t)o.first * H + head) * D, (size_t)H * D, g, SCALE, o.count);
}
