// Attention forward in bfloat16 on tensor cores of any device since 8.0, for every head dim up to 256, with or without a cache
// (FlashAttention-2, https://arxiv.org/abs/2307.08691). A block has ROWS query rows and 4 warps, a warp ROWS/4 of the rows.
// The values of a tile arrive while its scores are computed, the next keys while the values are used.

constexpr int THREADS = 128;
constexpr int KEYS = DP <= 128 ? 64 : 32;   // keys of a tile
constexpr int BANDS = ROWS / 64;            // bands of 16 rows of a warp
constexpr int BYTES = (ROWS + 2 * KEYS) * PITCH;        // as the launch asks for them

extern "C" __global__ void __launch_bounds__(THREADS) attention_mma(T* o, float* lse, const T* q, const T* k, const T* v, const T* kc, const T* vc, int cap,
                                                                    const int* buf, int S, int N, float scale) {
  SHARED(memory);
  char *qs = memory, *ks = qs + ROWS * PITCH, *vs = ks + KEYS * PITCH;
  const Sequences seqs = sequences(buf, S);
  clear_outside(o, lse, seqs.cu, S, N);
  const Tile tile(blockIdx.x, gridDim.x, seqs, S);
  if (tile.seq < 0 || (CACHED && seqs.cu[tile.seq + 1] - seqs.cu[tile.seq] <= FEW)) return;
  Keys keys(k, v, kc, vc, cap, seqs, tile.seq, tile.head / GROUP);
  const int lane = lane_id(), warp = warp_id();
  const int band = warp * (16 * BANDS);  // the warp's first row
  const float fold = scale * LOG2E;

  for (int i = threadIdx.x; i < ROWS * (DP / 8); i += THREADS) {
    const int r = i / (DP / 8), c = i % (DP / 8);
    const bool has = tile.has(r);
    fetch(place(qs, r, c), q + (has ? tile.index(r) * D : 0), c, has);
  }
  const auto load_keys = [&](int at) {
    keys.enter(at);
#pragma unroll 2
    for (int i = threadIdx.x; i < KEYS * (DP / 8); i += THREADS) {
      const int j = i / (DP / 8), c = i % (DP / 8);
      fetch(place(ks, j, c), keys.key(at + j < tile.to ? at + j : at), c, at + j < tile.to);
    }
    cp_async_commit();
  };
  const auto load_values = [&](int at) {
    keys.enter(at);
#pragma unroll 2
    for (int i = threadIdx.x; i < KEYS * (DP / 8); i += THREADS) {
      const int j = i / (DP / 8), c = i % (DP / 8);
      fetch(place(vs, j, c), keys.value(at + j < tile.to ? at + j : at), c, at + j < tile.to);
    }
    cp_async_commit();
  };

  // A thread has rows band + 16b + lane/4 + 8h of bands b, halves h.
  float acc[BANDS][DP / 8][4], top[BANDS][2], sum[BANDS][2];
#pragma unroll
  for (int b = 0; b < BANDS; b++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      top[b][h] = -infinity();
      sum[b][h] = 0;
    }
#pragma unroll
    for (int n = 0; n < DP / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) acc[b][n][e] = 0;
  }
  const int last = tile.position + tile.count - 1;  // the newest token's position

  load_keys(tile.from);
  for (int at = tile.from; at < tile.to; at += KEYS) {
    cp_async_wait<0>();
    sync_block();
    load_values(at);
    float s[BANDS][KEYS / 8][4] = {};
#pragma unroll
    for (int d = 0; d < DP / 16; d++) {
      unsigned a[BANDS][4];
#pragma unroll
      for (int b = 0; b < BANDS; b++) ldmatrix_x4(a[b], place(qs, band + 16 * b + lane % 16, 2 * d + lane / 16));
#pragma unroll
      for (int n = 0; n < KEYS / 16; n++) {
        unsigned c[4];
        ldmatrix_x4(c, place(ks, 16 * n + lane % 8 + lane / 16 * 8, 2 * d + lane / 8 % 2));
#pragma unroll
        for (int b = 0; b < BANDS; b++) {
          mma_bf16(s[b][2 * n], a[b], c);
          mma_bf16(s[b][2 * n + 1], a[b], c + 2);
        }
      }
    }
    // Some row does not see some key: the oldest row misses the newest keys, the newest row the oldest keys.
    if (at + KEYS - 1 > tile.position || (WINDOW && at < oldest(last))) {
#pragma unroll
      for (int b = 0; b < BANDS; b++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const int high = tile.at(band + 16 * b + lane / 4 + 8 * h) - at - lane % 4 * 2, low = oldest(high + at + lane % 4 * 2) - at - lane % 4 * 2;
#pragma unroll
          for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
              if (8 * n + e > high || (WINDOW && 8 * n + e < low)) s[b][n][2 * h + e] = -infinity();
        }
    }
#pragma unroll
    for (int b = 0; b < BANDS; b++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float most = top[b][h];
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
          for (int e = 0; e < 2; e++) most = fmaxf(most, s[b][n][2 * h + e]);
        most = warp_max<4>(most);
        const float base = most == -infinity() ? 0 : most * fold, shrink = exp2_(top[b][h] * fold - base);
        top[b][h] = most;
        sum[b][h] *= shrink;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
          for (int e = 0; e < 2; e++) {
            float& x = s[b][n][2 * h + e];
            x = exp2_(fmaf(x, fold, -base));
            sum[b][h] += x;
          }
#pragma unroll
        for (int n = 0; n < DP / 8; n++) {
          acc[b][n][2 * h] *= shrink;
          acc[b][n][2 * h + 1] *= shrink;
        }
      }
    cp_async_wait<0>();
    sync_block();
    if (at + KEYS < tile.to) load_keys(at + KEYS);
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++) {
      unsigned a[BANDS][4];
#pragma unroll
      for (int b = 0; b < BANDS; b++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          a[b][2 * i] = pack2(s[b][2 * j + i][0], s[b][2 * j + i][1]);
          a[b][2 * i + 1] = pack2(s[b][2 * j + i][2], s[b][2 * j + i][3]);
        }
#pragma unroll
      for (int n = 0; n < DP / 16; n++) {
        unsigned c[4];
        ldmatrix_x4_trans(c, place(vs, 16 * j + lane % 16, 2 * n + lane / 16));
#pragma unroll
        for (int b = 0; b < BANDS; b++) {
          mma_bf16(acc[b][2 * n], a[b], c);
          mma_bf16(acc[b][2 * n + 1], a[b], c + 2);
        }
      }
    }
  }

  // The result leaves through the warp's own rows of the queries' place, in whole rows.
  sync_warp();
#pragma unroll
  for (int b = 0; b < BANDS; b++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int r = band + 16 * b + lane / 4 + 8 * h;
      const float total = warp_sum<4>(sum[b][h]), each = 1 / total;
      if (lse && lane % 4 == 0 && tile.has(r)) lse[tile.index(r)] = top[b][h] * scale + log_(total);
#pragma unroll
      for (int n = 0; n < DP / 8; n++) ((unsigned*)place(qs, r, n))[lane % 4] = pack2(acc[b][n][2 * h] * each, acc[b][n][2 * h + 1] * each);
    }
  sync_warp();
  for (int i = lane; i < 16 * BANDS * (DP / 8); i += 32) {
    const int r = band + i / (DP / 8), c = i % (DP / 8);
    if (!tile.has(r)) continue;
    T* to = o + tile.index(r) * D + c * 8;
    const T* from = (const T*)place(qs, r, c);
    if constexpr (D % 8 == 0) {
      if (c * 8 < D) storev(to, loadv<8>(from));
    } else {
#pragma unroll
      for (int e = 0; e < 8; e++)
        if (c * 8 + e < D) to[e] = from[e];
    }
  }
}
