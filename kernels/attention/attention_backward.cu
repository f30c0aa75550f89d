// Backward of causal attention with grouped queries for tensor cores of any device since 8.0. For the equations and the
// statistics of the query rows see attention_backward_prepare.cu.
//
// Every result has one owner that adds in one order: a block owns 64 keys of one key head and walks over the queries of
// the group that see them, or owns 64 queries of one head and walks over their keys. Scores are computed twice for that,
// 7 products in place of 5. Both are one text: a block owns rows and walks over columns, keys or queries.
#include "gojet.cuh"

constexpr int kTile = 64; // tokens that a block owns, and of a tile of the statistics
constexpr int kGroup = H / KV;
constexpr float kLog2e = 1.4426950408889634f;

constexpr int kDim = (D + 63) / 64 * 64;       // features, padded with zeros
constexpr int kParts = kDim > 128 ? 2 : 1;     // warps that share rows and divide the features of the results
constexpr int kPart = kDim / kParts;           // features of one warp's results
constexpr int kWarps = 4 * kParts;             // 4 times 16 rows
constexpr int kColumns = kDim > 128 ? 32 : 64; // of a step of the walk
constexpr int kAligned = D % 8 == 0;

// Rows of shared memory hold kDim values in pieces of 16 bytes, exchanged so that 8 rows' same piece lie in 8 banks.
__device__ __forceinline__ bf16* place(bf16* tile, int row, int piece) { return tile + row * kDim + ((piece ^ (row & 7)) << 3); }

// fetch starts reading rows of one head into shared memory; rows past valid and features past D become zeros.
template <int Rows>
__device__ __forceinline__ void fetch(bf16* tile, const bf16* src, size_t stride, int valid) {
  for (int i = threadIdx.x; i < Rows * (kDim / 8); i += kWarps * 32) {
    const int row = i / (kDim / 8), piece = i % (kDim / 8);
    if constexpr (kAligned) {
      const bool there = row < valid && piece * 8 < D;
      cp_async16(place(tile, row, piece), there ? src + row * stride + piece * 8 : src, there);
    } else {
      bf16* to = place(tile, row, piece);
#pragma unroll
      for (int k = 0; k < 8; k++) to[k] = row < valid && piece * 8 + k < D ? src[row * stride + piece * 8 + k] : bf16(0.f);
    }
  }
}

// multiply computes x[16, kColumns] = rows·columnsᵀ; rows points to the warp's 16.
__device__ __forceinline__ void multiply(float (&x)[kColumns / 8][4], bf16* rows, bf16* columns) {
  const int lane = lane_id();
#pragma unroll
  for (int n = 0; n < kColumns / 8; n++) x[n][0] = x[n][1] = x[n][2] = x[n][3] = 0;
#pragma unroll 4
  for (int k = 0; k < kDim / 16; k++) {
    unsigned a[4];
    ldmatrix_x4(a, place(rows, lane % 16, 2 * k + lane / 16));
#pragma unroll
    for (int n = 0; n < kColumns / 16; n++) {
      unsigned b[4];
      ldmatrix_x4(b, place(columns, 16 * n + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2));
      mma_bf16(x[2 * n], a, b);
      mma_bf16(x[2 * n + 1], a, b + 2);
    }
  }
}

// accumulate adds x·columns to sum[16, kPart], the part from feature `piece`·8 on.
__device__ __forceinline__ void accumulate(float (&sum)[kPart / 8][4], const float (&x)[kColumns / 8][4], bf16* columns, int piece) {
  const int lane = lane_id();
#pragma unroll
  for (int k = 0; k < kColumns / 16; k++) {
    const unsigned a[4] = {pack2(x[2 * k][0], x[2 * k][1]), pack2(x[2 * k][2], x[2 * k][3]), pack2(x[2 * k + 1][0], x[2 * k + 1][1]),
                           pack2(x[2 * k + 1][2], x[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < kPart / 16; n++) {
      unsigned b[4];
      ldmatrix_x4_trans(b, place(columns, 16 * k + lane % 16, piece + 2 * n + lane / 16));
      mma_bf16(sum[2 * n], a, b);
      mma_bf16(sum[2 * n + 1], a, b + 2);
    }
  }
}

// put writes sum·scale [16, kPart] to rows of a result from row `row` and feature `feature` on.
__device__ __forceinline__ void put(bf16* to, size_t stride, const float (&sum)[kPart / 8][4], float scale, int row, int valid, int feature) {
  const int lane = lane_id();
#pragma unroll
  for (int n = 0; n < kPart / 8; n++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int r = row + lane / 4 + 8 * h, d = feature + 8 * n + lane % 4 * 2;
      if (r >= valid) continue;
      bf16* at = to + r * stride + d;
      if (D % 2 == 0 && d < D) {
        *reinterpret_cast<unsigned*>(at) = pack2(sum[n][2 * h] * scale, sum[n][2 * h + 1] * scale);
      } else {
        if (d < D) store(at, sum[n][2 * h] * scale);
        if (d + 1 < D) store(at + 1, sum[n][2 * h + 1] * scale);
      }
    }
  }
}

// tile computes the probabilities p and the gradients ds of the scores of the warp's 16 rows and kColumns columns, which
// begin at positions row and column of the sequence. The statistics belong to the columns where rows are keys, else to
// the rows.
template <bool Keys>
__device__ __forceinline__ void tile(float (&p)[kColumns / 8][4], float (&ds)[kColumns / 8][4], const float* lse, const float* dot, int row,
                                     int column) {
  const int lane = lane_id();
  const int gap = Keys ? column - row - 15 : row - column - kColumns + 1;                // least of query minus key
  const int reach = Keys ? column + kColumns - 1 - row : row + 15 - column;              // most of it
  const bool whole = gap >= 0 && (WINDOW == 0 || reach < WINDOW);
#pragma unroll
  for (int n = 0; n < kColumns / 8; n++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int r = lane / 4 + i / 2 * 8, c = 8 * n + lane % 4 * 2 + i % 2;
      const int stat = Keys ? c : r;
      const int behind = Keys ? column + c - row - r : row + r - column - c;
      float x = exp2_(fmaf(p[n][i], SCALE * kLog2e, -lse[stat]));
      if (!whole && !(behind >= 0 && (WINDOW == 0 || behind < WINDOW))) x = 0;
      p[n][i] = x;
      ds[n][i] = x * (ds[n][i] - dot[stat]);
    }
  }
}

// keys: block (tile, key head) computes dk and dv of 64 keys.
extern "C" __global__ void __launch_bounds__(kWarps * 32) attention_backward_keys(bf16* dk, bf16* dv, const bf16* q, const bf16* k, const bf16* v, const bf16* dO,
                                                                                   const float* stats, const int* cu, int S) {
  SHARED(shared);
  bf16* const ks = reinterpret_cast<bf16*>(shared);
  bf16* const vs = ks + kTile * kDim;
  bf16* const qs = vs + kTile * kDim;
  bf16* const dos = qs + kColumns * kDim;
  float* const stat = reinterpret_cast<float*>(dos + kColumns * kDim); // [2, kColumns]

  int seq, first, count;
  find_chunk(cu, S, kTile, blockIdx.x, seq, first, count);
  if (seq < 0) return;
  const int begin = cu[seq], length = cu[seq + 1] - begin, own = first - begin, head = blockIdx.y;
  const int end = WINDOW > 0 ? min(length, own + kTile - 1 + WINDOW) : length;
  const int row = warp_id() % 4 * 16, feature = warp_id() / 4 * kPart;

  fetch<kTile>(ks, k + ((size_t)first * KV + head) * D, (size_t)KV * D, count);
  fetch<kTile>(vs, v + ((size_t)first * KV + head) * D, (size_t)KV * D, count);
  float gk[kPart / 8][4] = {}, gv[kPart / 8][4] = {};
  for (int column = own; column < end; column += kColumns) {
    for (int h = head * kGroup; h < (head + 1) * kGroup; h++) {
      const size_t at = ((size_t)(begin + column) * H + h) * D;
      sync_block();
      fetch<kColumns>(qs, q + at, (size_t)H * D, length - column);
      fetch<kColumns>(dos, dO + at, (size_t)H * D, length - column);
      const float* from = stats + ((size_t)(blockIdx.x + (column - own) / kTile) * H + h) * 2 * kTile + column % kTile;
      for (int i = threadIdx.x; i < 2 * kColumns; i += kWarps * 32) stat[i] = from[i / kColumns * kTile + i % kColumns];
      cp_async_commit();
      cp_async_wait<0>();
      sync_block();
      float p[kColumns / 8][4], ds[kColumns / 8][4];
      multiply(p, ks + row * kDim, qs);
      multiply(ds, vs + row * kDim, dos);
      tile<true>(p, ds, stat, stat + kColumns, own + row, column);
      accumulate(gv, p, dos, feature / 8);
      accumulate(gk, ds, qs, feature / 8);
    }
  }
  if (dk) put(dk + ((size_t)first * KV + head) * D, (size_t)KV * D, gk, SCALE, row, count, feature);
  if (dv) put(dv + ((size_t)first * KV + head) * D, (size_t)KV * D, gv, 1, row, count, feature);
}

// queries: block (tile from the last, head) computes dq of 64 queries.
extern "C" __global__ void __launch_bounds__(kWarps * 32) attention_backward_queries(bf16* dq, const bf16* q, const bf16* k, const bf16* v, const bf16* dO,
                                                                                      const float* stats, const int* cu, int S) {
  SHARED(shared);
  bf16* const qs = reinterpret_cast<bf16*>(shared);
  bf16* const dos = qs + kTile * kDim;
  bf16* const ks = dos + kTile * kDim;
  bf16* const vs = ks + kColumns * kDim;
  float* const stat = reinterpret_cast<float*>(vs + kColumns * kDim); // [2, 64]

  const int chunk = gridDim.x - 1 - blockIdx.x;
  int seq, first, count;
  find_chunk(cu, S, kTile, chunk, seq, first, count);
  if (seq < 0) return;
  const int begin = cu[seq], own = first - begin, head = blockIdx.y;
  const int row = warp_id() % 4 * 16, feature = warp_id() / 4 * kPart;

  fetch<kTile>(qs, q + ((size_t)first * H + head) * D, (size_t)H * D, count);
  fetch<kTile>(dos, dO + ((size_t)first * H + head) * D, (size_t)H * D, count);
  for (int i = threadIdx.x; i < 2 * kTile; i += kWarps * 32) stat[i] = stats[((size_t)chunk * H + head) * 2 * kTile + i];
  float g[kPart / 8][4] = {};
  const int oldest = WINDOW > 0 ? max(0, own - WINDOW + 1) / kColumns * kColumns : 0;
  for (int column = oldest; column < own + count; column += kColumns) {
    const size_t at = ((size_t)(begin + column) * KV + head / kGroup) * D;
    sync_block();
    fetch<kColumns>(ks, k + at, (size_t)KV * D, own + count - column);
    fetch<kColumns>(vs, v + at, (size_t)KV * D, own + count - column);
    cp_async_commit();
    cp_async_wait<0>();
    sync_block();
    float p[kColumns / 8][4], ds[kColumns / 8][4];
    multiply(p, qs + row * kDim, ks);
    multiply(ds, dos + row * kDim, vs);
    tile<false>(p, ds, stat + row, stat + kTile + row, own + row, column);
    accumulate(g, ds, ks, feature / 8);
  }
  put(dq + ((size_t)first * H + head) * D, (size_t)H * D, g, SCALE, row, count, feature);
}
