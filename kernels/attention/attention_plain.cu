// Attention forward in float32 by ordinary arithmetic: for checks, and for every shape. A block has 32 query rows and 128
// threads, each with 2 rows × 4 keys of the scores and 2 rows × an eighth of the features of the result.

constexpr int KEYS = 32, THREADS = 128;
constexpr int WIDTH = D | 1;              // of rows in shared memory: no two of 32 rows in one bank
constexpr int EACH = (D + 7) / 8;         // features of a thread
constexpr int BYTES = (ROWS + KEYS) * WIDTH * 4 + ROWS * (KEYS + 1) * 4;  // as the launch asks for them

extern "C" __global__ void __launch_bounds__(THREADS) attention_plain(T* o, float* lse, const T* q, const T* k, const T* v, const T* kc, const T* vc, int cap,
                                                                      const int* buf, int S, int N, float scale) {
  SHARED(memory);
  float* qs = (float*)memory;           // [ROWS][WIDTH], scaled
  float* ks = qs + ROWS * WIDTH;        // [KEYS][WIDTH]: keys, then values
  float* ps = ks + KEYS * WIDTH;        // [ROWS][KEYS + 1]: exp(scores)
  const Sequences seqs = sequences(buf, S);
  clear_outside(o, lse, seqs.cu, S, N);
  const Tile tile(blockIdx.x, gridDim.x, seqs, S);
  if (tile.seq < 0) return;
  Keys keys(k, v, kc, vc, cap, seqs, tile.seq, tile.head / GROUP);
  const int y = threadIdx.x / 8 * 2, x = threadIdx.x % 8;

  for (int i = threadIdx.x; i < ROWS * D; i += THREADS) {
    const int r = i / D, d = i % D;
    qs[r * WIDTH + d] = tile.has(r) ? load(q + tile.index(r) * D + d) * scale : 0;
  }
  float acc[2][EACH], top[2], sum[2] = {0, 0};
#pragma unroll
  for (int r = 0; r < 2; r++) {
    top[r] = -infinity();
#pragma unroll
    for (int i = 0; i < EACH; i++) acc[r][i] = 0;
  }
  for (int at = tile.from; at < tile.to; at += KEYS) {
    keys.enter(at);
    sync_block();
    for (int i = threadIdx.x; i < KEYS * D; i += THREADS) {
      const int j = i / D, d = i % D;
      ks[j * WIDTH + d] = at + j < tile.to ? load(keys.key(at + j) + d) : 0;
    }
    sync_block();
    float s[2][4] = {};
    for (int d = 0; d < D; d++)
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const float key = ks[(x + 8 * c) * WIDTH + d];
        s[0][c] = fmaf(qs[y * WIDTH + d], key, s[0][c]);
        s[1][c] = fmaf(qs[(y + 1) * WIDTH + d], key, s[1][c]);
      }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int p = tile.at(y + r);
      float high = -infinity();
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const int j = at + x + 8 * c;
        if (j > p || j < oldest(p)) s[r][c] = -infinity();
        high = fmaxf(high, s[r][c]);
      }
      high = fmaxf(top[r], warp_max<8>(high));
      const float base = high == -infinity() ? 0 : high, shrink = exp_(top[r] - base);
      top[r] = high;
      sum[r] *= shrink;
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const float e = exp_(s[r][c] - base);
        sum[r] += e;
        ps[(y + r) * (KEYS + 1) + x + 8 * c] = e;
      }
#pragma unroll
      for (int i = 0; i < EACH; i++) acc[r][i] *= shrink;
    }
    sync_block();
    for (int i = threadIdx.x; i < KEYS * D; i += THREADS) {
      const int j = i / D, d = i % D;
      ks[j * WIDTH + d] = at + j < tile.to ? load(keys.value(at + j) + d) : 0;
    }
    sync_block();
    for (int j = 0; j < KEYS; j++) {
      const float a = ps[y * (KEYS + 1) + j], b = ps[(y + 1) * (KEYS + 1) + j];
#pragma unroll
      for (int i = 0; i < EACH; i++) {
        const float value = D % 8 == 0 || x + 8 * i < D ? ks[j * WIDTH + x + 8 * i] : 0;
        acc[0][i] = fmaf(a, value, acc[0][i]);
        acc[1][i] = fmaf(b, value, acc[1][i]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const float total = warp_sum<8>(sum[r]);
    if (!tile.has(y + r)) continue;
    const size_t row = tile.index(y + r);
#pragma unroll
    for (int i = 0; i < EACH; i++)
      if (x + 8 * i < D) store(o + row * D + x + 8 * i, acc[r][i] / total);
    if (lse && x == 0) lse[row] = top[r] + log_(total);
  }
}
